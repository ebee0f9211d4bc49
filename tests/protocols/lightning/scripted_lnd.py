"""A TLS server on loopback with scripted answers, for behaviour that a real node does not show."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from layer2.local.network import LightningNode


@dataclass(frozen=True)
class Reply:
    """The answer to one request.

    ``chunks`` are sent one by one, not before ``after`` is set. Then the answer ends, the connection is cut
    (``cut``), or it stays open (``silent``).
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False
    after: asyncio.Event | None = None


def answer(value: object, status: int = 200, **headers: str) -> Reply:
    return Reply((orjson.dumps(value),), status, headers)


def refusal(message: str, code: int = 2, status: int = 500) -> Reply:
    return answer({"code": code, "message": message, "details": []}, status)


def messages(*values: object) -> Reply:
    return Reply(tuple(orjson.dumps({"result": value}) + b"\n" for value in values))


NOT_FOUND = answer({"error": {"code": 5, "message": "payment isn't initiated", "details": []}}, 404)


class ScriptedLnd:
    """Answers each call with its replies in turn, and repeats the last one. A call without replies is not found."""

    def __init__(self, node: LightningNode) -> None:
        self.node = node
        self.replies: dict[str, list[Reply]] = {
            "GET /v1/state": [answer({"state": "SERVER_ACTIVE"})],
            "POST /v1/macaroon/checkpermissions": [answer({"valid": True})],
            "GET /v1/getinfo": [answer(information())],
            "GET /v1/channels": [answer({"channels": [channel()]})],
        }
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: set[object] = set()
        """Transports of all requests."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.needs_macaroon = True

    def say(self, call: str, *replies: Reply) -> None:
        self.replies[call] = list(replies)

    def queries(self, call: str) -> list[dict[str, str]]:
        """The queries of these calls."""
        return [query for asked, query in self.asked if asked == call]

    def bodies(self, call: str) -> list[Any]:
        return [orjson.loads(body) for asked, _, body in self.requests if asked == call]

    def calls(self) -> list[str]:
        return [call for call, _, _ in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = f"{request.method} {request.path}"
        self.asked.append((call, dict(request.query)))
        self.requests.append((call, dict(request.headers), await request.read()))
        self.connections.add(request.transport)
        if self.needs_macaroon and call != "GET /v1/state" and "Grpc-Metadata-macaroon" not in request.headers:
            left = [refusal("expected 1 macaroon, got 0")]
        else:
            left = self.replies.get(call, [refusal("Not Found", 5, 404)])
        reply = left.pop(0) if len(left) > 1 else left[0]
        if reply.after is not None:
            await reply.after.wait()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.chunks:
            await response.prepare(request)
        for chunk in reply.chunks:
            await response.write(chunk)
        if reply.silent:
            await asyncio.Event().wait()
        if reply.cut and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def scripted(node: LightningNode) -> AsyncIterator[ScriptedLnd]:
    """Start such a server with the certificate of that node."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(node.certificate_file, Path(node.certificate_file).with_name("tls.key"))
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    lnd = ScriptedLnd(node)
    app.router.add_route("*", "/{path:.*}", lnd.handle)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        lnd.node = replace(node, rest_url=f"https://127.0.0.1:{runner.addresses[0][1]}")
        yield lnd
    finally:
        await runner.cleanup()


def information(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "identity_pubkey": "02" + "11" * 32,
        "version": "0.21.2-beta commit=v0.21.2-beta",
        "chains": [{"chain": "bitcoin", "network": "regtest"}],
        "synced_to_chain": True,
        "block_height": 800,
    }
    return fields | changes


def invoice(text: str, payment_hash: bytes, /, **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "payment_request": text,
        "r_hash": b64encode(payment_hash).decode(),
        "r_preimage": "",
        "state": "OPEN",
        "amt_paid_msat": "0",
        "creation_date": "1800000000",
        "settle_date": "0",
        "expiry": "3600",
        "add_index": "1",
        "settle_index": "0",
        "htlcs": [],
    }
    return fields | changes


def invoice_htlc(amount_msat: int, expiry_height: int, state: str = "ACCEPTED", channel: int = 7) -> dict[str, object]:
    return {
        "chan_id": str(channel),
        "amt_msat": str(amount_msat),
        "expiry_height": expiry_height,
        "state": state,
    }


def payment(text: str, payment_hash: bytes, /, **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "payment_hash": payment_hash.hex(),
        "payment_request": text,
        "status": "IN_FLIGHT",
        "payment_preimage": bytes(32).hex(),
        "value_msat": "50000000",
        "fee_msat": "0",
        "htlcs": [],
        "failure_reason": "FAILURE_REASON_NONE",
        "payment_index": "1",
    }
    return fields | changes


def payment_htlc(
    amount_msat: int, fee_msat: int = 0, status: str = "SUCCEEDED", expiry_height: int = 900
) -> dict[str, object]:
    route = {
        "total_amt_msat": str(amount_msat + fee_msat),
        "total_fees_msat": str(fee_msat),
        "total_time_lock": expiry_height,
    }
    return {"status": status, "route": route}


def channel(number: int = 7, **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "chan_id": str(number),
        "alias_scids": [],
        "zero_conf_confirmed_scid": "0",
        "active": True,
        "initiator": True,
        "local_balance": "500000",
        "remote_balance": "400000",
        "local_chan_reserve_sat": "10000",
        "remote_chan_reserve_sat": "10000",
        "commit_fee": "2810",
        "fee_per_kw": "2500",
        "pending_htlcs": [],
        "local_constraints": channel_constraints(),
        "remote_constraints": channel_constraints(),
    }
    return fields | changes


def channel_constraints(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {"max_accepted_htlcs": 483, "max_pending_amt_msat": "990000000", "min_htlc_msat": "1"}
    return fields | changes


def channel_htlc(payment_hash: bytes, amount: int = 1_000, *, incoming: bool) -> dict[str, object]:
    return {"incoming": incoming, "amount": str(amount), "hash_lock": b64encode(payment_hash).decode()}
