"""Strict reading of a JSON object: every field has the expected type, and none is missing or unknown."""

from __future__ import annotations

from collections.abc import Mapping

from layer2.errors.base import FormatError

__all__ = ["JsonObject"]

_MAX_AMOUNT_DIGITS = 78
_SHOWN = 64
"""Characters of an unknown name that a message shows."""


class JsonObject:
    """The fields of one object, which the caller takes one by one.

    Example: ``fields = JsonObject(value, "terms"); n = fields.integer("version"); fields.end()``

    Args:
        value: a result of ``canonical_json.decode``.
        what: the object's name, for messages.

    Raises, all methods: FormatError naming the object and the field.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, Mapping):
            raise FormatError(f"{what} is not a JSON object")
        self._fields: dict[str, object] = dict(value)
        self._what = what

    def _wrong(self, name: str, expected: str) -> FormatError:
        return FormatError(f"{self._what}: field {name!r} is not {expected}")

    def take(self, name: str) -> object:
        """The field's value, of any type."""
        try:
            return self._fields.pop(name)
        except KeyError:
            raise FormatError(f"{self._what}: field {name!r} is missing") from None

    def text(self, name: str, *, max_length: int = 10_000) -> str:
        """A text of at most ``max_length`` characters."""
        value = self.take(name)
        if not isinstance(value, str) or len(value) > max_length:
            raise self._wrong(name, f"a text of at most {max_length} characters")
        return value

    def integer(self, name: str, *, maximum: int = 2**53 - 1) -> int:
        """A JSON number from 0 to ``maximum``."""
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            raise self._wrong(name, f"an integer from 0 to {maximum}")
        return value

    def amount(self, name: str) -> int:
        """An amount: a decimal string without sign or leading zeros."""
        value = self.take(name)
        if (
            not isinstance(value, str)
            or not value.isascii()
            or not value.isdecimal()
            or len(value) > _MAX_AMOUNT_DIGITS
            or (value[0] == "0" and value != "0")
        ):
            raise self._wrong(name, "an amount as a decimal string")
        return int(value)

    def hex(self, name: str, *, length: int | None = None, max_length: int = 100_000) -> bytes:
        """Lower-case hex without prefix: exactly ``length`` bytes, or at most ``max_length``."""
        return self._bytes(self.take(name), name, length, max_length)

    def hex_list(self, name: str, *, max_items: int = 100, max_length: int = 100_000) -> tuple[bytes, ...]:
        """A list of at most ``max_items`` texts, each as for ``hex``."""
        return tuple(self._bytes(item, name, None, max_length) for item in self.items(name, max_items=max_items))

    def items(self, name: str, *, max_items: int = 100) -> list[object]:
        """A list of at most ``max_items`` values of any type."""
        value = self.take(name)
        if not isinstance(value, list) or len(value) > max_items:
            raise self._wrong(name, f"a list of at most {max_items} items")
        return value

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

    def _bytes(self, value: object, name: str, length: int | None, max_length: int) -> bytes:
        try:
            data = bytes.fromhex(value) if isinstance(value, str) and len(value) <= 2 * max_length else None
        except ValueError:
            data = None
        # bytes.fromhex accepts white space and upper case, so another text could give the same bytes.
        if data is None or data.hex() != value or (length is not None and len(data) != length):
            raise self._wrong(name, "lower-case hex" if length is None else f"lower-case hex of {length} bytes")
        return data
