"""Reading a node's answer to a batch of calls. Pure.

Source: JSON-RPC 2.0, sections 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import orjson

from layer2.errors import BadAnswer, FormatError
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_revert import decode_revert
from layer2.formats.printable import printable
from layer2.protocols.evm.rpc.http_exchange import Failure

__all__ = ["Answer", "BatchRefused", "Refused", "Result", "read_answers", "read_refusal"]

_TOO_MANY = re.compile(
    r"rate.?limit|too many requests|request limit|requests? per second|compute units per second|throttl", re.IGNORECASE
)
"""Messages of providers that limit requests. Providers with a code of their own use such a message too."""
_TOO_MANY_CODES = frozenset({429, -32029})
_INDEXING = re.compile(r"indexing is in progress|index is not ready", re.IGNORECASE)
"""op-geth's answer about a receipt until its index of transactions is complete. It does not mean "no receipt"."""
_MOST_CONTAINERS = 200_000
"""Objects and lists in one answer. Decoding takes time and memory for each of them: 24 MB of ``{}`` stop the event loop
for two seconds. The receipts of a full block have less than 10,000."""
_LONG_DATA = re.compile(r"[0-9a-fA-F]{65,}")
"""Longer than a hash. A node's message may repeat the request, and thereby a claim with its preimage."""


class Result(NamedTuple):
    """The call succeeded. The value is unchecked JSON."""

    value: object


@dataclass(frozen=True, slots=True)
class Refused:
    """The node answered this call with an error."""

    code: int | None
    message: str
    """Printable and shortened, with the contract's reason if the call reverted."""
    temporary: bool = False
    """The node did not process the call and may do so later: too many calls, or an index that is not ready."""
    pause: float | None = None
    """Seconds for which the node asks for no requests."""


Answer: TypeAlias = Result | Refused | Failure
"""A ``Failure``: the answer to this call is missing or is not valid JSON-RPC."""


class BatchRefused(Exception):
    """The node answered all calls with one error."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def read_answers(body: bytes | bytearray, ids: Sequence[int]) -> list[Answer]:
    """Match the answers to the calls by id.

    Args:
        body: the body of the HTTP response.
        ids: the ids of the calls, in order. One call was sent alone, several as an array.

    Returns:
        The answer to each call. Answers with other ids are ignored. A call with two answers has failed, because
        either may be the right one.

    Raises:
        BatchRefused: one error answers several calls. op-geth gives it the id of the first call.
        FormatError: the body is not JSON, is not an answer, or has more objects and lists than any ordinary answer.
    """
    if body.count(b"{") + body.count(b"[") > _MOST_CONTAINERS:
        raise FormatError(f"the answer has more than {_MOST_CONTAINERS} objects and lists")
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FormatError("the answer is not JSON") from error
    items = decoded if isinstance(decoded, list) else [decoded]
    if len(items) == len(ids) and (answers := _in_order(items, ids)) is not None:
        return answers
    if len(items) == 1 and isinstance(items[0], dict) and "error" in items[0]:
        if len(ids) > 1:
            raise BatchRefused(_refused(items[0]["error"]))
        if items[0].get("id") is None:
            # The answer to an unreadable request has no id.
            return [_refused(items[0]["error"])]
    found: dict[int, Answer] = {}
    for item in items:
        if not isinstance(item, dict):
            raise FormatError("the answer is neither an object nor a list of objects")
        identifier = item.get("id")
        if type(identifier) is int:
            known = identifier in found
            found[identifier] = Failure(BadAnswer, "it was answered twice") if known else _answer(item)
    missing = Failure(BadAnswer, "the node did not answer it")
    return [found.get(identifier, missing) for identifier in ids]


def read_refusal(body: bytes | bytearray, identifier: int) -> Refused | None:
    """The error that answers the only call of a request with HTTP status 400; None if the body is anything else."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("id") != identifier or not isinstance(answer.get("error"), dict):
        return None
    return _refused(answer["error"])


def _in_order(items: Sequence[object], ids: Sequence[int]) -> list[Answer] | None:
    """The answers, if all are results in the order of their calls, which is the usual case; else None."""
    answers: list[Answer] = []
    for item, expected in zip(items, ids, strict=True):
        if type(item) is not dict or "error" in item or "result" not in item:
            return None
        identifier = item.get("id")
        if type(identifier) is not int or identifier != expected:
            return None
        answers.append(Result(item["result"]))
    return answers


def _answer(item: Mapping[str, object]) -> Answer:
    error = item.get("error")
    if error is not None:
        both = "it has both a result and an error"
        return _refused(error) if item.get("result") is None else Failure(BadAnswer, both)
    if "result" not in item:
        return Failure(BadAnswer, "it has neither a result nor an error")
    return Result(item["result"])


def _refused(error: object) -> Refused:
    if not isinstance(error, dict):
        return Refused(None, _message(error))
    code, message = error.get("code"), _message(error.get("message", ""))
    if type(code) is not int:
        code = None
    data = error.get("data")
    if isinstance(data, str) and "revert" in message:
        try:
            message = f"{message.partition(':')[0]}: {decode_revert(parse_data(data, 'data'))}"
        except FormatError:
            message = f"{message} (its data is not readable)"
        # The contract chooses the reason of its revert, so nothing is inferred from the text.
        return Refused(code, message)
    too_many = code in _TOO_MANY_CODES or _TOO_MANY.search(message) is not None
    temporary = too_many or _INDEXING.search(message) is not None
    return Refused(code, message, temporary, _asked_pause(data) if too_many else None)


def _message(message: object) -> str:
    """The node's message without data that may come from the request."""
    return printable(_LONG_DATA.sub("..", str(message)))


def _asked_pause(data: object) -> float | None:
    """The pause in ``error.data.rate.backoff_seconds``, as one large provider sends it."""
    rate = data.get("rate") if isinstance(data, dict) else None
    seconds = rate.get("backoff_seconds") if isinstance(rate, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None
