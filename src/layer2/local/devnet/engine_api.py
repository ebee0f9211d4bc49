"""The Engine API, through which a consensus client controls block building and the choice of the chain.

Sources: the Engine API specification (Prague) with the OP Stack's fields in the payload attributes; RFC 7519 for
the token (HS256, only ``iat``, as the Engine API's "Authentication" requires).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import orjson

from layer2.errors import BadAnswer
from layer2.local.devnet.json_rpc import JsonRpc

__all__ = ["EngineApi", "Forkchoice", "bearer_token"]


def bearer_token(secret: bytes, now: int) -> str:
    """Make the token that authenticates one request.

    Args:
        secret: the 32 bytes shared with the node.
        now: unix seconds; the node accepts a difference of up to one minute.
    """
    signed = _base64url(orjson.dumps({"alg": "HS256", "typ": "JWT"})) + "." + _base64url(orjson.dumps({"iat": now}))
    return signed + "." + _base64url(hmac.digest(secret, signed.encode("ascii"), hashlib.sha256))


@dataclass(frozen=True, slots=True)
class Forkchoice:
    """The three heads, as block hashes in hex."""

    head: str
    safe: str
    finalized: str


class EngineApi:
    """The Engine API of one op-geth, in the versions of its Isthmus fork.

    Args:
        url: the authenticated endpoint.
        secret: the 32 bytes shared with the node.
        session: the HTTP session to use; the caller closes it.
    """

    def __init__(self, url: str, secret: bytes, session: aiohttp.ClientSession) -> None:
        def headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {bearer_token(secret, int(time.time()))}"}

        self._rpc = JsonRpc("op-geth's engine", url, session, headers=headers)

    async def choose(self, forkchoice: Forkchoice) -> None:
        """Set the heads. Returns when every client of the node sees them."""
        await self._forkchoice_updated(forkchoice, None)

    async def start_payload(self, forkchoice: Forkchoice, attributes: Mapping[str, object]) -> str:
        """Set the heads, start to build a block on the head, and return the payload's id."""
        payload_id = await self._forkchoice_updated(forkchoice, attributes)
        if not isinstance(payload_id, str):
            raise BadAnswer("op-geth did not start to build a block", operation="engine_forkchoiceUpdatedV3")
        return payload_id

    async def finish_payload(self, payload_id: str) -> tuple[int, str]:
        """Stop building, execute the block without changing the heads, and return its number and hash."""
        envelope = await self._rpc.call("engine_getPayloadV4", payload_id)
        payload = envelope["executionPayload"]
        status = await self._rpc.call("engine_newPayloadV4", payload, [], envelope["parentBeaconBlockRoot"], [])
        _must_be_valid("engine_newPayloadV4", status)
        return int(payload["blockNumber"], 16), str(payload["blockHash"])

    async def _forkchoice_updated(self, forkchoice: Forkchoice, attributes: Mapping[str, object] | None) -> object:
        """Set the heads and return the id of the payload, None without attributes."""
        state = {
            "headBlockHash": forkchoice.head,
            "safeBlockHash": forkchoice.safe,
            "finalizedBlockHash": forkchoice.finalized,
        }
        answer = await self._rpc.call("engine_forkchoiceUpdatedV3", state, attributes)
        _must_be_valid("engine_forkchoiceUpdatedV3", answer["payloadStatus"])
        return answer.get("payloadId")


def _must_be_valid(method: str, status: Mapping[str, object]) -> None:
    if status.get("status") != "VALID":
        raise BadAnswer(f"op-geth did not accept the block: {dict(status)}", operation=method)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
