"""What a node's answer to a batch of calls says, decided without any I/O.

Source: JSON-RPC 2.0, sections 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import orjson

from layer2.errors import FormatError
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_revert import decode_revert
from layer2.formats.printable import printable

__all__ = ["Answer", "BatchRefused", "Malformed", "Refused", "Result", "read_answers"]


_TOO_MANY = re.compile(
    r"rate.?limit|too many requests|request limit|requests? per second|compute units per second|throttl", re.IGNORECASE
)
"""What providers call it; those that use a code of their own for it say so in words too."""
_TOO_MANY_CODES = frozenset({429, -32029})
_INDEXING = re.compile(r"indexing is in progress|index is not ready", re.IGNORECASE)
"""op-geth on a receipt, until its index of transactions has caught up: that is not "no receipt"."""


_LONG_DATA = re.compile(r"[0-9a-fA-F]{65,}")
"""More than a hash: a node's words may repeat what it was sent, a claim with its preimage too."""


class Result(NamedTuple):
    """The call succeeded; the value is whatever the node sent."""

    value: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """The node answered this call with an error of its own."""

    code: int | None
    message: str
    """Printable, shortened, with the reason of a revert where there is one."""
    passing: bool = False
    """Whether the node says that it did not look at the call now, and may later: too many calls, an index that is
    not ready."""
    pause: float | None = None
    """Seconds for which the node wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """There is no answer to this call, or not one that JSON-RPC allows."""

    problem: str


Answer: TypeAlias = Result | Refused | Malformed


class BatchRefused(Exception):
    """The node answered all calls with one error; none of them has an answer of its own."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def read_answers(body: bytes, ids: Sequence[int]) -> list[Answer]:
    """Match the answers to the calls by id.

    Args:
        body: what came over HTTP.
        ids: of the calls, in order; one call was sent alone, several as an array.

    Returns:
        For each call its answer. Answers to what was not asked are not looked at; a call that is answered twice
        is malformed, because nobody can say which answer is meant.

    Raises:
        BatchRefused: one error stands for several calls. op-geth gives it the id of the first call.
        FormatError: the body is no JSON, or no answer at all.
    """
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
            # A request that the node could not read is answered with no id.
            return [_refused(items[0]["error"])]
    found: dict[int, Answer] = {}
    for item in items:
        if not isinstance(item, dict):
            raise FormatError("the answer is neither an object nor a list of objects")
        identifier = item.get("id")
        if type(identifier) is int:
            known = identifier in found
            found[identifier] = Malformed("it was answered twice") if known else _answer(item)
    missing = Malformed("the node did not answer it")
    return [found.get(identifier, missing) for identifier in ids]


def _in_order(items: Sequence[object], ids: Sequence[int]) -> list[Answer] | None:
    """The answers where each is a plain result in its call's place, as nearly always; None where one is not."""
    answers: list[Answer] = []
    for item, expected in zip(items, ids, strict=True):
        if type(item) is not dict or "error" in item or "result" not in item:
            return None
        identifier = item.get("id")
        if type(identifier) is not int or identifier != expected:
            return None
        answers.append(Result(item["result"]))
    return answers


def _answer(item: dict[str, Any]) -> Answer:
    error = item.get("error")
    if error is not None:
        return _refused(error) if item.get("result") is None else Malformed("it has both a result and an error")
    if "result" not in item:
        return Malformed("it has neither a result nor an error")
    return Result(item["result"])


def _refused(error: object) -> Refused:
    if not isinstance(error, dict):
        return Refused(None, _words(error))
    code, message = error.get("code"), _words(error.get("message", ""))
    if type(code) is not int:
        code = None
    data = error.get("data")
    if isinstance(data, str) and "revert" in message:
        try:
            message = f"{message.partition(':')[0]}: {decode_revert(parse_data(data, 'data'))}"
        except FormatError:
            message = f"{message} (its data is not readable)"
        # A contract chooses the words of its revert, so they are no statement of the node.
        return Refused(code, message)
    too_many = code in _TOO_MANY_CODES or _TOO_MANY.search(message) is not None
    passing = too_many or _INDEXING.search(message) is not None
    return Refused(code, message, passing, _asked_pause(data) if too_many else None)


def _words(said: object) -> str:
    """What the node says, without what it was sent."""
    return printable(_LONG_DATA.sub("..", str(said)))


def _asked_pause(data: object) -> float | None:
    """``error.data.rate.backoff_seconds``, with which one large provider says how long."""
    rate = data.get("rate") if isinstance(data, dict) else None
    seconds = rate.get("backoff_seconds") if isinstance(rate, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None
