"""Parses requests to lnd's REST interface: JSON bodies, path and query parameters. Defines its errors.

The rules are those of protobuf's JSON mapping behind lnd's gateway: 64-bit integers may come as strings, bytes
are padded base64 in either alphabet, an omitted field has its zero value, and an unknown field of a body is an error.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from itertools import islice
from typing import Any, TypeVar

__all__ = ["MalformedRequest", "Message", "RestError", "Status", "dates", "page", "read_base64", "read_hex"]

_R = TypeVar("_R")


class Status(IntEnum):
    """The gRPC status codes that lnd uses."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    UNIMPLEMENTED = 12

    @property
    def http(self) -> int:
        """The HTTP status that the gateway returns for it."""
        return _HTTP[self]


_HTTP = {
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.UNIMPLEMENTED: 501,
}


class RestError(Exception):
    """An error answer of lnd.

    Args:
        message: lnd's error message.
        status: the gRPC status; UNKNOWN if lnd does not set one.
        http: the HTTP status, if it differs from the one for ``status``.
    """

    def __init__(self, message: str, status: Status = Status.UNKNOWN, *, http: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.http = status.http if http is None else http

    def body(self) -> dict[str, Any]:
        """``google.rpc.Status`` as JSON."""
        return {"code": int(self.status), "message": str(self), "details": []}


class MalformedRequest(RestError):
    """A request that lnd's gateway cannot parse. It does not reach the node, and does not start a stream."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Status.INVALID_ARGUMENT)


class Message:
    """The fields of one request, read by type.

    Args:
        fields: the raw values; those of query and path parameters are strings.
    """

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_body(cls, body: bytes, known: frozenset[str], absent: frozenset[str] = frozenset()) -> Message:
        """Read a JSON body.

        Args:
            body: the request's body.
            known: the request's fields that the simulated node supports.
            absent: fields that lnd has and the simulated node does not support: only their zero value is accepted.

        Raises:
            MalformedRequest: the body is not an object, or has an unknown field.
            RestError: one of ``absent`` has a value.
        """
        try:
            fields = json.loads(body or b"{}")
        except ValueError as error:
            raise MalformedRequest(f"proto: syntax error: {error}") from None
        if not isinstance(fields, dict):
            raise MalformedRequest("proto: syntax error: unexpected token")
        for name, value in fields.items():
            if name in absent and value:
                raise RestError(f"the simulated node does not support the field {name}", Status.UNIMPLEMENTED)
            if name not in known | absent:
                raise MalformedRequest(f'proto: unknown field "{name}"')
        return cls(fields)

    def text(self, name: str) -> str:
        """A string, empty if omitted."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise _invalid(name, value)
        return value

    def flag(self, name: str) -> bool:
        """A bool, false if omitted."""
        value = self._fields.get(name, False)
        if value in ("true", "false", "1", "0"):
            value = value in ("true", "1")
        if not isinstance(value, bool):
            raise _invalid(name, value)
        return value

    def number(self, name: str, bits: int = 64, *, signed: bool = True) -> int:
        """An integer or a decimal string, zero if omitted."""
        value = self._fields.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _invalid(name, value)
        try:
            number = int(value)
        except ValueError:
            raise _invalid(name, value) from None
        low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
        if not low <= number < high:
            raise _invalid(name, value)
        return number

    def data(self, name: str) -> bytes:
        """Bytes in base64, empty if omitted."""
        return read_base64(self.text(name), name)

    def messages(self, name: str) -> list[Message]:
        """A list of messages, empty if omitted."""
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise _invalid(name, value)
        return [Message(item) for item in value]

    def records(self, name: str) -> dict[int, bytes]:
        """A map from numbers to bytes, empty if omitted."""
        value = self._fields.get(name, {})
        if not isinstance(value, dict):
            raise _invalid(name, value)
        found: dict[int, bytes] = {}
        for key, data in value.items():
            if not isinstance(data, str) or not key.isdecimal() or int(key) >= 1 << 64:
                raise _invalid(name, data)
            found[int(key)] = read_base64(data, name)
        return found

    def amount_msat(self, sat_name: str, msat_name: str) -> int:
        """An amount in satoshi or in millisatoshi, but not both."""
        sat, msat = self.number(sat_name), self.number(msat_name)
        if sat and msat:
            raise RestError("sat and msat arguments are mutually exclusive")
        if sat < 0 or msat < 0:
            raise RestError("amount cannot be negative")
        return sat * 1000 or msat

    def bytes32(self, name: str, what: str) -> bytes:
        """A hash or a preimage."""
        value = self.data(name)
        if len(value) != 32:
            raise RestError(f"invalid {what} length of {len(value)}, want 32")
        return value


def read_base64(text: str, name: str) -> bytes:
    """Decode padded base64, standard or URL-safe.

    Raises:
        MalformedRequest: the text is neither.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedRequest(f"type mismatch, parameter: {name}, error: illegal base64 data") from None


def read_hex(text: str) -> bytes:
    """Decode hexadecimal digits.

    Raises:
        RestError: the text is not hexadecimal; the message is Go's.
    """
    for character in text:
        if character not in "0123456789abcdefABCDEF":
            raise RestError(f"encoding/hex: invalid byte: U+{ord(character):04X} {character!r}")
    if len(text) % 2:
        raise RestError("encoding/hex: odd length hex string")
    return bytes.fromhex(text)


def _invalid(name: str, value: object) -> MalformedRequest:
    # The value is omitted, because it may be a preimage in the wrong field.
    return MalformedRequest(f"proto: invalid value of type {type(value).__name__} for field {name}")


def dates(request: Message) -> tuple[int, int]:
    """The first and last unix second of a list request.

    Raises:
        RestError: they are in the wrong order.
    """
    start = request.number("creation_date_start", signed=False)
    end = request.number("creation_date_end", signed=False)
    if start and end and start >= end:
        raise RestError(f"start date({start}) must be before end date({end})")
    return start, end or 1 << 63


def page(
    at: Callable[[int], _R | None], last: int, request: Message, limit: int, wanted: Callable[[_R], bool]
) -> list[_R]:
    """Select the records for a list request, in ascending order of their index.

    ``index_offset`` is exclusive. With ``reversed`` the list ends before it, or at the newest record.

    Args:
        at: returns the record with an index, or None if it has been replaced.
        last: the newest record's index; the first index is 1.
        request: the list request.
        limit: the largest number of records.
        wanted: selects the records to include.
    """
    offset = request.number("index_offset", signed=False)
    backwards = request.flag("reversed")
    newest = offset - 1 if 0 < offset <= last else last
    indexes = range(newest, 0, -1) if backwards else range(offset + 1, last + 1)
    records = (at(index) for index in indexes)
    found = list(islice((record for record in records if record is not None and wanted(record)), limit))
    return found[::-1] if backwards else found
