"""Strict reading of a JSON object: every field has the expected type, and none is missing or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from layer2.errors.base import FormatError

__all__ = ["JsonObject", "Reader", "UnexpectedValue", "amount", "hexadecimal", "integer", "list_of", "text"]

_MAX_AMOUNT_DIGITS = 78
_SHOWN = 64
"""Characters of an unknown name that a message shows."""

T = TypeVar("T")
Reader: TypeAlias = Callable[[object], T]
"""Converts the value of a field. It raises ``UnexpectedValue``, or ``FormatError`` if it can say more."""


class UnexpectedValue(Exception):
    """A value that a reader does not accept. The message says what it is not."""


class JsonObject:
    """The fields of one object, which the caller takes one by one.

    Example: ``fields = JsonObject(value, "terms"); n = fields.integer("version"); fields.end()``

    Args:
        value: a result of ``canonical_json.decode``.
        what: the object's name, for messages.

    Raises, all methods: FormatError naming the object and the field.
    """

    __slots__ = ("_fields", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(f"{what} is not a JSON object")
        self._fields: dict[str, object] = value.copy()
        self._what = what

    def take(self, name: str) -> object:
        """The field's value, of any type."""
        try:
            return self._fields.pop(name)
        except KeyError:
            raise FormatError(f"{self._what}: field {name!r} is missing") from None

    def read(self, name: str, reader: Reader[T]) -> T:
        """The field's value, converted."""
        value = self.take(name)
        try:
            return reader(value)
        except UnexpectedValue as error:
            raise self._wrong(name, error) from None

    def read_all(self, forms: Iterable[tuple[str, Callable[..., object], bool]]) -> list[Any]:
        """The values of several fields.

        Args:
            forms: for each field its name, what converts it, and whether that takes the field as a ``JsonObject``
                instead of its value.
        """
        # One loop without a call for each step, because verifiers read many objects.
        fields, values = self._fields, []
        for name, reader, takes_object in forms:
            if name not in fields:
                self.take(name)
            try:
                values.append(reader(self.nested(name) if takes_object else fields.pop(name)))
            except UnexpectedValue as error:
                raise self._wrong(name, error) from None
        return values

    def text(self, name: str, *, max_length: int = 10_000) -> str:
        """A text of at most ``max_length`` characters."""
        return self.read(name, text(max_length))

    def integer(self, name: str, *, maximum: int = 2**53 - 1) -> int:
        """A JSON number from 0 to ``maximum``."""
        return self.read(name, integer(maximum))

    def amount(self, name: str) -> int:
        """An amount: a decimal string without sign or leading zeros."""
        return self.read(name, amount)

    def hex(self, name: str, *, length: int | None = None, max_length: int = 100_000) -> bytes:
        """Lower-case hex without prefix: exactly ``length`` bytes, or at most ``max_length``."""
        return self.read(name, hexadecimal(length, max_length=max_length))

    def hex_list(self, name: str, *, max_items: int = 100, max_length: int = 100_000) -> tuple[bytes, ...]:
        """A list of at most ``max_items`` texts, each as for ``hex``."""
        return self.read(name, list_of(hexadecimal(max_length=max_length), max_items))

    def items(self, name: str, *, max_items: int = 100) -> list[object]:
        """A list of at most ``max_items`` values of any type."""
        return [*self.read(name, list_of(lambda item: item, max_items))]

    def nested(self, name: str) -> JsonObject:
        """The object in the field; the caller reads it and calls its ``end``."""
        return JsonObject(self.take(name), f"{self._what}.{name}")

    def end(self) -> None:
        """Check that every field was taken.

        Raises:
            FormatError: the object has an unknown field.
        """
        if self._fields:
            raise FormatError(f"{self._what}: unknown field {min(self._fields)[:_SHOWN]!r}")

    def _wrong(self, name: str, error: UnexpectedValue) -> FormatError:
        return FormatError(f"{self._what}: field {name!r} is not {error}")


def text(max_length: int) -> Reader[str]:
    """A text of at most ``max_length`` characters."""

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > max_length:
            raise UnexpectedValue(f"a text of at most {max_length} characters")
        return value

    return read


def integer(maximum: int = 2**53 - 1) -> Reader[int]:
    """A JSON number from 0 to ``maximum``."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
            raise UnexpectedValue(f"an integer from 0 to {maximum}")
        return value

    return read


def amount(value: object) -> int:
    """A decimal string without sign or leading zeros."""
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isdecimal()
        or len(value) > _MAX_AMOUNT_DIGITS
        or (value[0] == "0" and value != "0")
    ):
        raise UnexpectedValue("an amount as a decimal string")
    return int(value)


def hexadecimal(length: int | None = None, *, max_length: int = 100_000) -> Reader[bytes]:
    """Lower-case hex without prefix: exactly ``length`` bytes, or at most ``max_length``."""
    most_digits = 2 * (max_length if length is None else length)

    def read(value: object) -> bytes:
        try:
            data = bytes.fromhex(value) if isinstance(value, str) and len(value) <= most_digits else None
        except ValueError:
            data = None
        # bytes.fromhex accepts white space and upper case, so another text could give the same bytes.
        if data is None or data.hex() != value or (length is not None and len(data) != length):
            raise UnexpectedValue("lower-case hex" if length is None else f"lower-case hex of {length} bytes")
        return data

    return read


def list_of(reader: Reader[T], max_items: int) -> Reader[tuple[T, ...]]:
    """A list of at most ``max_items`` values, each converted."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) > max_items:
            raise UnexpectedValue(f"a list of at most {max_items} items")
        return tuple([reader(item) for item in value])

    return read
