"""Reading what lnd answers: protobuf's JSON, where 64-bit integers are strings and bytes are base64.

Whatever has another shape than expected is a ``BadAnswer`` that names the call and the field, and never the value,
which may be a secret.
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
"""The layer's name, as errors carry it."""

Word = TypeVar("Word", bound=Enum)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as errors name it."""

    method: str
    """GET reads, POST acts."""
    path: str
    """Without its query."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def outcome(self) -> Outcome:
        """What is known of it where it was sent and no answer could be understood."""
        return Outcome.UNKNOWN if self.method == "POST" else Outcome.NOT_SENT


class LndObject:
    """One JSON object of an answer.

    Args:
        value: what the JSON reader made.
        call: what it answers.

    Raises, all methods: BadAnswer.
    """

    def __init__(self, value: object, call: Call) -> None:
        self._call = call
        if not isinstance(value, Mapping):
            raise self.wrong("its answer is no JSON object")
        self._fields = value

    def wrong(self, problem: str) -> BadAnswer:
        """The error to raise where this answer cannot be right."""
        return BadAnswer(
            f"lnd, {self._call}: {problem}",
            protocol=LIGHTNING,
            operation=str(self._call),
            outcome=self._call.outcome,
        )

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self.wrong(f"field {name} is no text")
        return value

    def integer(self, name: str) -> int:
        """An integer that is not negative, as a number or as a decimal string."""
        value = self._fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(f"field {name} is no integer that is not negative")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise self.wrong(f"field {name} is no boolean")
        return value

    def data(self, name: str) -> bytes:
        """Bytes in base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(f"field {name} is no base64") from None

    def hex(self, name: str, length: int) -> bytes:
        """So many bytes in hexadecimal digits."""
        try:
            data = bytes.fromhex(self.text(name))
        except ValueError:
            data = b""
        if len(data) != length:
            raise self.wrong(f"field {name} is not {length} bytes in hexadecimal digits")
        return data

    def word(self, name: str, words: type[Word]) -> Word:
        """One of an enum's values."""
        value = self.text(name)
        try:
            return words(value)
        except ValueError:
            raise self.wrong(f"field {name} is {printable(value)}, which is not known here") from None

    def inner(self, name: str) -> LndObject:
        return LndObject(self._fields.get(name), self._call)

    def objects(self, name: str) -> list[LndObject]:
        return [LndObject(item, self._call) for item in self._list(name)]

    def integers(self, name: str) -> list[int]:
        return [LndObject({name: item}, self._call).integer(name) for item in self._list(name)]

    def _list(self, name: str) -> list[object]:
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise self.wrong(f"field {name} is no list")
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and what the node's machine said of the time in it."""

    fields: LndObject
    date: float | None
    """Unix seconds of the HTTP ``Date`` header; None where it had none that is readable."""
