"""A plain REST client for the tests of the simulated Lightning nodes: pinned certificate, macaroon, no library."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp

from layer2.local.network import LightningNode
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.network import LightningSimulation

START = 1_800_000_000
SEED = b"a seed for tests"


class Refused(Exception):
    """lnd's error body and the HTTP status that came with it."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.code = body["code"]
        self.message = body["message"]


class Client:
    """One node, used with its owner's credentials."""

    def __init__(self, node: LightningNode, session: aiohttp.ClientSession) -> None:
        self.node = node
        self._session = session
        self.macaroon: str | None = Path(node.macaroon_file).read_bytes().hex()
        self._tls = ssl.create_default_context(cafile=node.certificate_file)

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: dict[str, Any] | str | bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {} if self.macaroon is None else {"Grpc-Metadata-Macaroon": self.macaroon}
        url = self.node.rest_url + path
        data = json.dumps(body) if isinstance(body, dict) else body
        async with self._session.request(method, url, data=data, headers=headers, ssl=self._tls) as response:
            yield response

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path, None)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        async with self.open(method, path, body) as response:
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                raise Refused(response.status, answer)
            return answer

    @asynccontextmanager
    async def stream(self, method: str, path: str, **body: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self.open(method, path, body or None) as response:
            if response.status != 200:
                raise Refused(response.status, (await response.json())["error"])
            yield _results(response)

    async def pay(self, payment_request: str, **fields: Any) -> dict[str, Any]:
        """Send a payment and return the last state of the stream."""
        async with self.stream("POST", "/v2/router/send", **send_fields(payment_request, **fields)) as states:
            return [state async for state in states][-1]

    async def invoice(self, **fields: Any) -> dict[str, Any]:
        return await self.post("/v1/invoices", **fields)

    async def balance_sat(self) -> int:
        return int((await self.get("/v1/balance/channels"))["balance"])


def send_fields(payment_request: str, **fields: Any) -> dict[str, Any]:
    return {"payment_request": payment_request, "timeout_seconds": 60, "fee_limit_sat": "10"} | fields


async def _results(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    while line := await response.content.readline():
        yield json.loads(line)["result"]


@dataclass
class Running:
    """Both nodes and their controls."""

    simulation: LightningSimulation
    clock: SimClock
    taker: Client
    provider: Client

    async def wait_for_open_requests(self, name: str, number: int) -> None:
        """Return when that number of requests are open at the named node."""
        async with asyncio.timeout(5):
            while self.simulation.status()[name]["open_requests"] != number:  # noqa: ASYNC110 - the simulation has no event for it
                await asyncio.sleep(0)  # The node runs on this event loop: this lets it run, without a delay.


@asynccontextmanager
async def running(directory: Path, *, seed: bytes = SEED, channels: int = 1) -> AsyncIterator[Running]:
    clock = SimClock.manual(START)
    simulation = LightningSimulation(seed, clock, directory, channels)
    taker, provider = await simulation.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield Running(simulation, clock, Client(taker, session), Client(provider, session))
    finally:
        await simulation.stop()


def preimage_of(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def standard(data: bytes) -> str:
    return b64encode(data).decode()


def url_safe(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def from_base64(text: str) -> bytes:
    return b64decode(text, validate=True)
