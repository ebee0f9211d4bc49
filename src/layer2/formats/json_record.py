"""Dataclasses as JSON objects: the annotation of each field states its form, so that each format is written once.

A field is written under its name. Its form is the ``Form`` in its annotation, or follows from its type: an ``int`` is a
JSON number, an enum its value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Annotated, TypeAlias, TypeVar, get_args, get_type_hints

from layer2.formats import json_object
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject, UnexpectedValue

__all__ = [
    "Amount",
    "Bytes20",
    "Bytes32",
    "Bytes33",
    "Form",
    "Text8",
    "Text16",
    "enumeration",
    "hexadecimal",
    "integer",
    "read_record",
    "text",
    "write_record",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form:
    """How a value appears in a JSON object."""

    read: Callable[..., object]
    """Converts the field's value, as a ``Reader`` does."""
    write: Callable[..., JsonValue] = lambda value: value
    name: str | None = None
    """The name in JSON, if it differs from the dataclass's."""
    is_object: bool = False
    """``read`` takes the field as a ``JsonObject``."""

    def named(self, name: str) -> Form:
        """The same form under another name."""
        return replace(self, name=name)


def hexadecimal(length: int | None = None, *, max_length: int = 100_000) -> Form:
    """Lower-case hex without prefix: exactly ``length`` bytes, or at most ``max_length``."""
    return Form(json_object.hexadecimal(length, max_length=max_length), bytes.hex)


def text(max_length: int) -> Form:
    """A text of at most ``max_length`` characters."""
    return Form(json_object.text(max_length))


def integer(maximum: int = 2**53 - 1) -> Form:
    """A JSON number from 0 to ``maximum``."""
    return Form(json_object.integer(maximum))


def enumeration(kind: type[Enum]) -> Form:
    """The value of an enum's member."""

    members = {member.value: member for member in kind}
    short_text = json_object.text(32)

    def read(value: object) -> Enum:
        try:
            return members[short_text(value)]
        except KeyError:
            raise UnexpectedValue(f"one of {[*members]}") from None

    return Form(read, lambda member: member.value)


Amount: TypeAlias = Annotated[int, Form(json_object.amount, str)]
"""A decimal string."""
Bytes20: TypeAlias = Annotated[bytes, hexadecimal(20)]
Bytes32: TypeAlias = Annotated[bytes, hexadecimal(32)]
Bytes33: TypeAlias = Annotated[bytes, hexadecimal(33)]
Text8: TypeAlias = Annotated[str, text(8)]
Text16: TypeAlias = Annotated[str, text(16)]


def write_record(record: object) -> dict[str, JsonValue]:
    """The fields of a dataclass as a JSON object."""
    kind: type = type(record)
    return {key: write(getattr(record, name)) for name, key, write in _written(kind)}


def read_record(kind: type[T], given: JsonObject) -> T:
    """The reverse of ``write_record``. The caller ends the reading of ``given``.

    Args:
        kind: the dataclass.

    Raises:
        FormatError: a field is missing or has the wrong type.
    """
    record: type = kind
    make: Callable[..., T] = kind
    return make(*given.read_all(_read(record)))


@cache
def _written(record: type) -> tuple[tuple[str, str, Callable[..., JsonValue]], ...]:
    """For each field that the constructor takes: its name, its name in JSON, and what writes it."""
    return tuple([(name, key, form.write) for name, key, form in _members(record)])


@cache
def _read(record: type) -> tuple[tuple[str, Callable[..., object], bool], ...]:
    """For each field that the constructor takes, in order: an argument of ``JsonObject.read_all``."""
    return tuple([(key, form.read, form.is_object) for _, key, form in _members(record)])


def _members(record: type) -> tuple[tuple[str, str, Form], ...]:
    """For each field that the constructor takes: its name, its name in JSON, and its form."""
    assert is_dataclass(record)
    hints = get_type_hints(record, include_extras=True)
    forms = [(field.name, _form(hints[field.name])) for field in fields(record) if field.init]
    return tuple([(name, form.name or name, form) for name, form in forms])


def _form(hint: type) -> Form:
    for part in get_args(hint):
        if isinstance(part, Form):
            return part
    return integer() if hint is int else enumeration(hint)
