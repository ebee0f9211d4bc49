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

from layer2.errors.base import FormatError
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject

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

    read: Callable[[JsonObject, str], object]
    """Takes the field of that name; raises ``FormatError``."""
    write: Callable[..., JsonValue] = lambda value: value
    name: str | None = None
    """The name in JSON, if it differs from the dataclass's."""

    def named(self, name: str) -> Form:
        """The same form under another name."""
        return replace(self, name=name)


def hexadecimal(length: int | None = None, *, max_length: int = 100_000) -> Form:
    """Lower-case hex without prefix: exactly ``length`` bytes, or at most ``max_length``."""
    return Form(lambda given, name: given.hex(name, length=length, max_length=max_length), bytes.hex)


def text(max_length: int) -> Form:
    """A text of at most ``max_length`` characters."""
    return Form(lambda given, name: given.text(name, max_length=max_length))


def integer(maximum: int = 2**53 - 1) -> Form:
    """A JSON number from 0 to ``maximum``."""
    return Form(lambda given, name: given.integer(name, maximum=maximum))


def enumeration(kind: type[Enum]) -> Form:
    """The value of an enum's member."""

    def read(given: JsonObject, name: str) -> Enum:
        value = given.text(name, max_length=32)
        try:
            return kind(value)
        except ValueError as error:
            raise FormatError(f"{name} is {value!r}; it must be one of {[each.value for each in kind]}") from error

    return Form(read, lambda member: member.value)


Amount: TypeAlias = Annotated[int, Form(JsonObject.amount, str)]
"""A decimal string."""
Bytes20: TypeAlias = Annotated[bytes, hexadecimal(20)]
Bytes32: TypeAlias = Annotated[bytes, hexadecimal(32)]
Bytes33: TypeAlias = Annotated[bytes, hexadecimal(33)]
Text8: TypeAlias = Annotated[str, text(8)]
Text16: TypeAlias = Annotated[str, text(16)]


def write_record(record: object) -> dict[str, JsonValue]:
    """The fields of a dataclass as a JSON object."""
    kind: type = type(record)
    return {key: form.write(getattr(record, name)) for name, key, form in _members(kind)}


def read_record(kind: type[T], given: JsonObject) -> T:
    """The reverse of ``write_record``. The caller ends the reading of ``given``.

    Args:
        kind: the dataclass.

    Raises:
        FormatError: a field is missing or has the wrong type.
    """
    record: type = kind
    make: Callable[..., T] = kind
    return make(*[form.read(given, key) for _, key, form in _members(record)])


@cache
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
