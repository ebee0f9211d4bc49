"""Two real lnd nodes with a channel, our clients for them, and plain REST clients for the same nodes."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson

from layer2 import ConnectionPoolConfig, Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.config import JournalSection
from layer2.local.network import LightningNode, LocalNetwork, Party
from layer2.local.parties import party_values
from layer2.protocols.lightning import LightningNetwork

__all__ = ["CONNECTIONS", "Bench", "Effort", "PlainLnd", "in_turns", "opened"]

CONNECTIONS = 100
"""The most connections to one node, for our client and for plain calls."""
_POLL_INTERVAL_MS = 1000
"""The library's default. The local network's own settings are shorter."""
_MOST_CALLS = 20_000

Item = TypeVar("Item")
Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Effort:
    """The size of a run."""

    rounds: int
    invoices: int
    """In a round."""
    payments: dict[int, int]
    """In a round, by concurrency."""
    subscriptions: int
    holds: int
    """The number of hold invoices to subscribe to."""
    storm_seconds: float
    """Seconds with cancellations, in total."""
    is_quick: bool


class PlainLnd:
    """A node's REST interface with only aiohttp and orjson. It keeps connections and reads answers completely.

    Args:
        node: its connection details.
        session: the HTTP session, with at most ``CONNECTIONS`` to one node; the caller closes it.
    """

    def __init__(self, node: LightningNode, session: aiohttp.ClientSession) -> None:
        self._url = node.rest_url
        self._session = session
        self._tls = ssl.create_default_context(cafile=node.certificate_file)
        self._headers = {"Grpc-Metadata-macaroon": Path(node.macaroon_file).read_bytes().hex()}

    async def create_invoice(self, satoshi: int) -> str:
        """Create an invoice and return it as a BOLT 11 string."""
        answer = orjson.loads(await self._post("/v1/invoices", {"value": str(satoshi), "expiry": "3600"}))
        return str(answer["payment_request"])

    async def create_hold_invoice(self, payment_hash: bytes, satoshi: int) -> str:
        """Create a hold invoice."""
        body = {"hash": b64encode(payment_hash).decode(), "value": str(satoshi), "expiry": "3600"}
        return str(orjson.loads(await self._post("/v2/invoices/hodl", body))["payment_request"])

    async def settle(self, preimage: bytes) -> None:
        """Settle a held invoice."""
        await self._post("/v2/invoices/settle", {"preimage": b64encode(preimage).decode()})

    async def pay(self, invoice: str) -> None:
        """Pay, and wait until the payment has succeeded."""
        body = {
            "payment_request": invoice,
            "fee_limit_msat": "10000",
            "timeout_seconds": 60,
            "no_inflight_updates": True,
        }
        last = (await self._post("/v2/router/send", body)).splitlines()[-1]
        status = orjson.loads(last)["result"]["status"]
        if status != "SUCCEEDED":
            raise SystemExit(f"a plain payment ended {status}")

    async def _post(self, path: str, body: dict[str, Any]) -> bytes:
        async with self._session.post(
            self._url + path, data=orjson.dumps(body), headers=self._headers, ssl=self._tls
        ) as response:
            content = await response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {content.decode(errors='replace')}")
        return content


class Bench:
    """A running network, with our clients and the plain clients for its nodes."""

    def __init__(
        self, network: LocalNetwork, directory: Path, payer: LightningNetwork, payee: LightningNetwork, session: Any
    ) -> None:
        self.network = network
        self.directory = directory
        self.payer = payer
        self.payee = payee
        self.plain_payer = PlainLnd(network.taker.lightning, session)
        self.plain_payee = PlainLnd(network.provider.lightning, session)

    async def invoices(self, count: int, satoshi: int) -> list[str]:
        """Create new invoices of the payee in advance."""
        _, made = await in_turns(10, self.plain_payee.create_invoice, [satoshi] * count)
        return made


@asynccontextmanager
async def opened(network: LocalNetwork, party: Party, journal: Path) -> AsyncIterator[LightningNetwork]:
    """Open a client for one party's node as a user does, with its own journal."""
    values = party_values(network, party)
    values["lightning"]["poll_interval_ms"] = _POLL_INTERVAL_MS
    # With the default of 100, other callers would wait in the manager, not at the node.
    pool = ConnectionPoolConfig(max_connections=CONNECTIONS)
    journal_section = JournalSection(path=journal)
    config = Layer2Config(**values, connection_pool=pool, journal=journal_section, max_concurrency=_MOST_CALLS)
    async with Layer2Manager(config) as layers:
        lightning: LightningNetwork = await layers.get_protocol_async(Layer2ProtocolType.LIGHTNING)
        await lightning.initialize_async()
        yield lightning


async def in_turns(
    concurrency: int, call: Callable[[Item], Awaitable[Told]], items: Sequence[Item]
) -> tuple[float, list[Told]]:
    """Share the items among that many sequential callers; return calls per second and the answers."""
    waiting = iter(items)
    told: list[Told] = []

    async def caller() -> None:
        nonlocal told
        told += [await call(item) for item in waiting]

    start = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(concurrency)])
    return len(items) / (time.perf_counter() - start), told
