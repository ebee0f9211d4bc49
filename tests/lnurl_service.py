"""An LNURL-pay service on this machine (LUD-06, LUD-16), which can misbehave on request."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from aiohttp import web

from layer2.formats import lnurl

__all__ = ["LnurlService", "running_service"]

MakeInvoice = Callable[[int, bytes], Awaitable[str]]
"""(millisatoshi, description hash) -> a BOLT 11 invoice."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SECRET = "token=only-the-payer-knows"


@dataclass
class LnurlService:
    """A service that returns invoices of one payee. Tests can change each part of its answers."""

    make_invoice: MakeInvoice
    port: int = 0
    scheme: str = "http"
    identifier: str | None = None
    """Its identifier in the metadata; None for its address."""
    changes: dict[str, object] = field(default_factory=dict)
    """Extra fields of its first answer."""
    requests: list[web.Request] = field(default_factory=list)
    answer_first: Handler | None = None
    answer_second: Handler | None = None

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """Its address as in LUD-16, with a port for tests."""
        return f"alice@127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/pay?{SECRET}"

    @property
    def lnurl(self) -> str:
        return lnurl.encode(self.url)

    @property
    def metadata(self) -> str:
        return json.dumps([["text/identifier", self.identifier or self.address], ["text/plain", "tea for two"]])

    @property
    def offer(self) -> dict[str, object]:
        return {
            "tag": "payRequest",
            "callback": f"{self.origin}/invoice?{SECRET}",
            "minSendable": 1_000,
            "maxSendable": 100_000_000_000,
            "metadata": self.metadata,
        } | self.changes

    async def first(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.answer_first is not None:
            return await self.answer_first(request)
        return web.json_response(self.offer)

    async def second(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.answer_second is not None:
            return await self.answer_second(request)
        metadata_hash = sha256(self.metadata.encode()).digest()
        return web.json_response(
            {"pr": await self.make_invoice(int(request.query["amount"]), metadata_hash), "routes": []}
        )


@asynccontextmanager
async def running_service(make_invoice: MakeInvoice, tls: ssl.SSLContext | None = None) -> AsyncIterator[LnurlService]:
    """Run the service on a loopback port until the block ends."""
    service = LnurlService(make_invoice, scheme="http" if tls is None else "https")
    application = web.Application()
    application.router.add_get("/.well-known/lnurlp/{name}", service.first)
    application.router.add_get("/pay", service.first)
    application.router.add_get("/invoice", service.second)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        service.port = runner.addresses[0][1]
        yield service
    finally:
        await runner.cleanup()
