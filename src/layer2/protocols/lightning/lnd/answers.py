"""Typed reading of lnd's answers: protobuf's JSON, in which 64-bit integers are strings and bytes are base64.

An answer of another shape raises ``BadAnswer``, which names the call and the field but not the value: it may be secret.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from layer2.errors import BadAnswer, Outcome
from layer2.formats.printable import printable
from layer2.model.layers import Layer2ProtocolType

__all__ = ["LIGHTNING", "Answer", "Call", "LndObject"]

LIGHTNING: Final = Layer2ProtocolType.LIGHTNING.value
"""The name of the layer in errors."""

EnumT = TypeVar("EnumT", bound=Enum)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as it is named in errors."""

    method: str
    """GET for reads, POST for acts."""
    path: str
    """Without the query."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def outcome(self) -> Outcome:
        """The outcome if the call was sent and no readable answer came."""
        return Outcome.UNKNOWN if self.method == "POST" else Outcome.NOT_SENT


class LndObject:
    """One JSON object of an answer. Every method raises ``BadAnswer`` if the field has another shape.

    Args:
        value: the decoded JSON.
        call: the call that it answers.
    """

    def __init__(self, value: object, call: Call) -> None:
        self._call = call
        if not isinstance(value, Mapping):
            raise self.wrong("the answer is not a JSON object")
        self._fields = value

    def wrong(self, problem: str) -> BadAnswer:
        """Make the error to raise if the answer cannot be right."""
        return BadAnswer(
            f"lnd, {self._call}: {problem}",
            protocol=LIGHTNING,
            operation=str(self._call),
            outcome=self._call.outcome,
        )

    def text(self, name: str) -> str:
        """A string."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self.wrong(f"field {name} is not a string")
        return value

    def integer(self, name: str) -> int:
        """A non-negative integer, given as a number or as a decimal string."""
        value = self._fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(f"field {name} is not a non-negative integer")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise self.wrong(f"field {name} is not a boolean")
        return value

    def data(self, name: str) -> bytes:
        """Bytes, given in base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(f"field {name} is not base64") from None

    def hex(self, name: str, length: int) -> bytes:
        """Bytes of that length, given in hexadecimal digits."""
        try:
            data = bytes.fromhex(self.text(name))
        except ValueError:
            data = b""
        if len(data) != length:
            raise self.wrong(f"field {name} is not {length} bytes in hexadecimal digits")
        return data

    def enum(self, name: str, kind: type[EnumT]) -> EnumT:
        """The member of an enum that has this value."""
        value = self.text(name)
        try:
            return kind(value)
        except ValueError:
            raise self.wrong(f"field {name} is {printable(value)}, which is not a known value") from None

    def inner(self, name: str) -> LndObject:
        """An object."""
        return LndObject(self._fields.get(name), self._call)

    def objects(self, name: str) -> list[LndObject]:
        """A list of objects."""
        return [LndObject(item, self._call) for item in self._list(name)]

    def integers(self, name: str) -> list[int]:
        """A list of non-negative integers."""
        return [LndObject({name: item}, self._call).integer(name) for item in self._list(name)]

    def _list(self, name: str) -> list[object]:
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self.wrong(f"field {name} is not a list")
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, with the time by the node's clock."""

    fields: LndObject
    date: float | None
    """Unix seconds from the HTTP header ``Date``; None if it is missing or unreadable."""
