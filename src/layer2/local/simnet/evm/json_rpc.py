"""JSON-RPC 2.0 without any transport, with op-geth's limits.

Sources: JSON-RPC 2.0; op-geth's limits of 1000 calls and 25 MB of results in a batch and 5 MiB in a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import orjson

from layer2.local.simnet.evm.arguments import INVALID_PARAMS, RpcError

__all__ = ["MOST_REQUEST_BYTES", "Execute", "answer_text", "methods_of"]

MOST_REQUEST_BYTES = 5 * 1024 * 1024
_MOST_CALLS = 1000
_MOST_RESULT_BYTES = 25_000_000
_PARSE_ERROR = -32700
_INVALID_REQUEST = -32600
_RESPONSE_TOO_LARGE = -32003

Execute: TypeAlias = Callable[[str, list[object]], object]
"""Executes a method with its arguments, and returns the result or raises RpcError."""


def answer_text(text: str | bytes, execute: Execute) -> bytes | None:
    """Execute a call or a batch. Returns None if it holds notifications only, which are not answered."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _error(None, _PARSE_ERROR, "parse error")
    if not isinstance(body, list):
        return _answer_one(body, execute)
    if not body:
        return _error(None, _INVALID_REQUEST, "empty batch")
    if len(body) > _MOST_CALLS:
        # One error, with the first call's id, replaces all answers.
        return b"[" + _error(_fields(body[0]).get("id"), _INVALID_REQUEST, "batch too large") + b"]"
    answers: list[bytes] = []
    size = 0
    for call in body:
        if size > _MOST_RESULT_BYTES:
            answers.append(_error(_fields(call).get("id"), _RESPONSE_TOO_LARGE, "response too large"))
        elif (answer := _answer_one(call, execute)) is not None:
            answers.append(answer)
            size += len(answer)
    return b"[" + b",".join(answers) + b"]" if answers else None


def methods_of(text: bytes) -> frozenset[str]:
    """The methods of a call or of a batch; none if the text is not JSON."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return frozenset()
    calls = body if isinstance(body, list) else [body]
    return frozenset(str(call.get("method")) for call in calls if isinstance(call, dict))


def _answer_one(call: object, execute: Execute) -> bytes | None:
    fields = _fields(call)
    identifier, method, arguments = (fields.get(name) for name in ("id", "method", "params"))
    if not isinstance(method, str) or fields.get("jsonrpc") != "2.0":
        return _error(identifier, _INVALID_REQUEST, "invalid request")
    try:
        if not isinstance(arguments, list | None):
            raise RpcError(INVALID_PARAMS, "non-array args")
        answer = _encode(identifier, result=execute(method, arguments or []))
    except RpcError as error:
        answer = _error(identifier, error.code, str(error), error.data)
    # A request without an id is a notification.
    return answer if "id" in fields else None


def _fields(call: object) -> Mapping[str, object]:
    return call if isinstance(call, dict) else {}


def _error(identifier: object, code: int, message: str, data: str | None = None) -> bytes:
    return _encode(identifier, error={"code": code, "message": message, **({} if data is None else {"data": data})})


def _encode(identifier: object, **answer: object) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": identifier, **answer})
