"""JSON-RPC 2.0 over HTTP as rskj does it: batches of at most 50 calls, and HTTP status 400 for some errors.

Sources: rskj (``JsonRpcWeb3ServerHandler``, ``JsonRpcRequestValidatorInterceptor``, ``Web3HttpStatusCodeProvider``,
``reference.conf``).
"""

from __future__ import annotations

from typing import Final

import orjson

from layer2.local.simnet.evm.arguments import INVALID_PARAMS
from layer2.local.simnet.evm.json_rpc import Execute, answer_text

__all__ = ["respond"]

_MOST_CALLS: Final = 50
_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
_BAD_REQUEST: Final = 400
_BAD_CODES: Final = frozenset({_PARSE_ERROR, _INVALID_REQUEST, INVALID_PARAMS})
"""The codes of errors that a single call answers with HTTP status 400. An unknown block is one of them."""


def respond(text: bytes, execute: Execute) -> tuple[bytes, int]:
    """The body of the answer to a call or a batch, and its HTTP status."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        request = None
    if isinstance(request, list) and len(request) > _MOST_CALLS:
        message = f"Cannot dispatch batch requests. {_MOST_CALLS} is the max number of supported batch requests"
        return orjson.dumps({"error": {"code": _INVALID_REQUEST, "message": message}}), _BAD_REQUEST
    body = answer_text(text, execute) or b""
    answer = orjson.loads(body) if body else None
    error = answer.get("error") if isinstance(answer, dict) else None
    return body, _BAD_REQUEST if error is not None and error["code"] in _BAD_CODES else 200
