"""Parses requests to lnd's REST interface: JSON bodies, path and query parameters. Defines its errors.

A body follows protobuf's JSON mapping, as in lnd's gateway: names are in snake_case or camelCase and occur once, an
integer may be a number or a string and may have an exponent, bytes are base64 in either alphabet, with or without
padding, and an omitted field has its zero value. An unknown field of a body is an error; one of a query is ignored.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import islice
from typing import TypeAlias, TypeVar

import orjson

__all__ = [
    "Fields",
    "Kind",
    "MalformedRequest",
    "Message",
    "RestError",
    "Status",
    "dates",
    "fields",
    "page",
    "read_hex",
]

_R = TypeVar("_R")
_V = TypeVar("_V", str, int, bytes, dict[int, bytes], list["Message"])

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_OTHER_ALPHABET = str.maketrans("-_+/", "+/!!")
"""Turns URL-safe base64 into standard base64, and standard digits into illegal ones."""
_FLAGS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)
"""The texts of a flag in a query."""


class Kind(Enum):
    """The type of a field. Integers have their limits as the value."""

    TEXT = "string"
    FLAG = "bool"
    DATA = "bytes"
    INT32 = range(-(1 << 31), 1 << 31)
    INT64 = range(-(1 << 63), 1 << 63)
    UINT32 = range(1 << 32)
    UINT64 = range(1 << 64)
    RECORDS = "map<uint64, bytes>"
    ABSENT = "absent"
    """lnd has the field and the simulated node does not support it: only its zero value is accepted."""


Fields: TypeAlias = Mapping[str, "Kind | Fields"]
"""The fields of a message by name. Nested fields are those of a repeated message."""


def fields(**names: str) -> Fields:
    """Define fields by their kind, such as ``fields(text="memo", int64="value expiry")``."""
    return {name: Kind[kind.upper()] for kind, listed in names.items() for name in listed.split()}


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

    def body(self) -> dict[str, object]:
        """``google.rpc.Status`` as JSON."""
        return {"code": int(self.status), "message": str(self), "details": []}


class MalformedRequest(RestError):
    """A request that lnd's gateway cannot parse. It does not reach the node, and does not start a stream."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Status.INVALID_ARGUMENT)


class Message:
    """The fields of one request, read by type.

    Args:
        values: each field's value in the type of its kind; an omitted one has its zero value.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @classmethod
    def from_body(cls, body: bytes, fields: Fields) -> Message:
        """Read a JSON body.

        Raises:
            MalformedRequest: the body is not an object, has an unknown field, or a field of another kind.
            RestError: a field that is not supported has a value.
        """
        text = body.strip() or b"{}"
        try:
            # orjson refuses deep nesting, lone surrogates and NaN; json finds repeated names and reads exact numbers.
            orjson.loads(text)
            document = json.loads(text, object_pairs_hook=_object, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise MalformedRequest("proto: syntax error") from None
        return cls.from_json(document, fields)

    @classmethod
    def from_json(cls, document: object, fields: Fields) -> Message:
        """Read a parsed JSON object."""
        if not isinstance(document, dict):
            raise MalformedRequest("proto: syntax error: unexpected token")
        names = _names(fields)
        values: dict[str, object] = {}
        for given, value in document.items():
            name = names.get(given)
            if name is None:
                raise MalformedRequest(f'proto: unknown field "{given}"')
            if name in values:
                raise MalformedRequest(f'proto: duplicate field "{given}"')
            values[name] = None if value is None else _from_json(name, value, fields[name])
        return cls({name: value for name, value in values.items() if value is not None})

    @classmethod
    def from_parameters(cls, parameters: Iterable[tuple[str, str]], fields: Fields) -> Message:
        """Read the parameters of a path and a query.

        Raises:
            MalformedRequest: a parameter is repeated or malformed.
            RestError: a field that is not supported has a value.
        """
        names = _names(fields)
        values: dict[str, object] = {}
        for given, text in parameters:
            name = names.get(given)
            if name is None:
                continue
            if name in values:
                raise MalformedRequest(f'too many values for field "{name}"')
            values[name] = _from_text(name, text, fields[name])
        return cls(values)

    def _get(self, name: str, zero: _V) -> _V:
        value = self._values.get(name, zero)
        assert isinstance(value, type(zero))
        return value

    def text(self, name: str) -> str:
        """A string, empty if omitted."""
        return self._get(name, "")

    def flag(self, name: str) -> bool:
        """A bool, false if omitted."""
        return bool(self._get(name, 0))

    def number(self, name: str) -> int:
        """An integer, zero if omitted."""
        return self._get(name, 0)

    def data(self, name: str) -> bytes:
        """Bytes, empty if omitted."""
        return self._get(name, b"")

    def messages(self, name: str) -> list[Message]:
        """A list of messages, empty if omitted."""
        return self._get(name, list[Message]())

    def records(self, name: str) -> dict[int, bytes]:
        """A map from numbers to bytes, empty if omitted."""
        return self._get(name, dict[int, bytes]())

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


def _names(fields: Fields) -> dict[str, str]:
    """The fields' names by each of their forms: as defined, and in camelCase."""
    return {re.sub("_([a-z])", lambda found: found[1].upper(), name): name for name in fields} | {
        name: name for name in fields
    }


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("proto: duplicate field")
    return found


def _from_json(name: str, value: object, kind: Kind | Fields) -> object:
    """The value of a field in a body."""
    match kind, value:
        case (Kind.ABSENT, _) if not value or value == "0":
            return None
        case (Kind.ABSENT, _):
            raise _unsupported(name)
        case (Kind.TEXT, str()) | (Kind.FLAG, bool()):
            return value
        case (Kind.DATA, str()):
            return _json_bytes(name, value)
        case (Kind(value=range() as limits), int() | Decimal() | str()) if not isinstance(value, bool):
            return _json_integer(name, value, limits)
        case (Kind.RECORDS, dict()):
            return _json_records(name, value)
        case (Mapping(), list()):
            return [Message.from_json(item, kind) for item in value]
        case _:
            raise _invalid(name)


def _from_text(name: str, text: str, kind: Kind | Fields) -> object:
    """The value of a parameter in a path or query."""
    match kind:
        case Kind.ABSENT if text in ("", "0", "false"):
            return None
        case Kind.ABSENT:
            raise _unsupported(name)
        case Kind.TEXT:
            return text
        case Kind.FLAG if text in _FLAGS:
            return _FLAGS[text]
        case Kind.DATA:
            return _base64(name, text.translate(_OTHER_ALPHABET) if set("-_") & set(text) else text)
        case Kind(value=range() as limits):
            return _integer(name, text, limits)
        case _:
            raise _invalid(name)


def _unsupported(name: str) -> RestError:
    return RestError(f"the simulated node does not support the field {name}", Status.UNIMPLEMENTED)


def _json_integer(name: str, value: int | Decimal | str, limits: range) -> int:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise _invalid(name)
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise _invalid(name) from None
    if not limits.start <= number < limits.stop or number != int(number):
        raise _invalid(name)
    return int(number)


def _integer(name: str, text: str, limits: range) -> int:
    """Decimal digits, with a sign if the type is signed."""
    if not re.fullmatch("[+-]?[0-9]{1,99}" if limits.start else "[0-9]{1,99}", text) or int(text) not in limits:
        raise _invalid(name)
    return int(text)


def _json_bytes(name: str, value: object) -> bytes:
    """Base64 in one of the alphabets, with its padding or without."""
    if not isinstance(value, str):
        raise _invalid(name)
    standard = value.translate(_OTHER_ALPHABET) if set("-_") & set(value) else value
    return _base64(name, standard if "=" in standard else standard + "=" * (-len(standard) % 4))


def _json_records(name: str, value: dict[str, object]) -> dict[int, bytes]:
    records: dict[int, bytes] = {}
    for key, data in value.items():
        number = _integer(name, key, Kind.UINT64.value)
        if number in records:
            raise MalformedRequest(f"proto: duplicate map key for field {name}")
        records[number] = _json_bytes(name, data)
    return records


def _base64(name: str, text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise MalformedRequest(f"type mismatch, parameter: {name}, error: illegal base64 data") from None


def _invalid(name: str) -> MalformedRequest:
    # The value is omitted, because it may be a preimage in the wrong field.
    return MalformedRequest(f"proto: invalid value for field {name}")


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


def dates(request: Message) -> tuple[int, int]:
    """The first and last unix second of a list request.

    Raises:
        RestError: they are in the wrong order.
    """
    start = request.number("creation_date_start")
    end = request.number("creation_date_end")
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
    offset = request.number("index_offset")
    backwards = request.flag("reversed")
    newest = offset - 1 if 0 < offset <= last else last
    indexes = range(newest, 0, -1) if backwards else range(offset + 1, last + 1)
    records = (at(index) for index in indexes)
    found = list(islice((record for record in records if record is not None and wanted(record)), limit))
    return found[::-1] if backwards else found
