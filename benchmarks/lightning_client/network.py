"""Two real lnd with a channel between them, our clients at them, and the same nodes asked without us."""

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

from layer2 import Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.config import ConnectionPoolSection, JournalSection
from layer2.local.network import LightningNode, LocalNetwork, Party
from layer2.local.parties import party_values
from layer2.protocols.lightning import LightningNetwork

__all__ = ["CONNECTIONS", "Bench", "Effort", "PlainLnd", "in_turns", "opened"]

CONNECTIONS = 100
"""Open at once to one node, for ours and for plain calls."""
_POLL_INTERVAL_MS = 1000
"""The library's default. The local network's own settings are shorter."""
_MOST_CALLS = 20_000

Item = TypeVar("Item")
Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    invoices: int
    """In a round."""
    payments: dict[int, int]
    """In a round, by concurrency."""
    subscriptions: int
    holds: int
    """Hold invoices that the subscriptions are to."""
    storm_seconds: float
    """With cancellations, in all."""
    is_quick: bool


class PlainLnd:
    """A node's REST interface with aiohttp and orjson alone; connections are kept, answers are read to their end.

    Args:
        node: where it is.
        session: to be closed by who made it; at most ``CONNECTIONS`` to one node.
    """

    def __init__(self, node: LightningNode, session: aiohttp.ClientSession) -> None:
        self._url = node.rest_url
        self._session = session
        self._tls = ssl.create_default_context(cafile=node.certificate_file)
        self._headers = {"Grpc-Metadata-macaroon": Path(node.macaroon_file).read_bytes().hex()}

    async def create_invoice(self, satoshi: int) -> str:
        """Make an invoice and return its text."""
        answer = orjson.loads(await self._post("/v1/invoices", {"value": str(satoshi), "expiry": "3600"}))
        return str(answer["payment_request"])

    async def create_hold_invoice(self, payment_hash: bytes, satoshi: int) -> str:
        """Make an invoice that is held until it is settled."""
        body = {"hash": b64encode(payment_hash).decode(), "value": str(satoshi), "expiry": "3600"}
        return str(orjson.loads(await self._post("/v2/invoices/hodl", body))["payment_request"])

    async def settle(self, preimage: bytes) -> None:
        """Settle a held invoice."""
        await self._post("/v2/invoices/settle", {"preimage": b64encode(preimage).decode()})

    async def pay(self, invoice: str) -> None:
        """Pay, and wait until it has succeeded."""
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
    """A running network, and both ways to its nodes."""

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
        """Fresh invoices of the payee's, made beforehand."""
        _, made = await in_turns(10, self.plain_payee.create_invoice, [satoshi] * count)
        return made


@asynccontextmanager
async def opened(network: LocalNetwork, party: Party, journal: Path) -> AsyncIterator[LightningNetwork]:
    """A client of one party's node, as a user opens it, with a journal of its own."""
    values = party_values(network, party)
    values["lightning"]["poll_interval_ms"] = _POLL_INTERVAL_MS
    # Its default of 100 would have the others wait within the manager, not at the node.
    pool = ConnectionPoolSection(max_connections=CONNECTIONS)
    journal_section = JournalSection(path=journal)
    config = Layer2Config(**values, connection_pool=pool, journal=journal_section, max_concurrency=_MOST_CALLS)
    async with Layer2Manager(config) as layers:
        lightning: LightningNetwork = await layers.get_protocol_async(Layer2ProtocolType.LIGHTNING)
        await lightning.initialize_async()
        yield lightning


async def in_turns(
    concurrency: int, call: Callable[[Item], Awaitable[Told]], items: Sequence[Item]
) -> tuple[float, list[Told]]:
    """Calls a second when so many callers share the items, each asking one after another; and what they were told."""
    waiting = iter(items)
    told: list[Told] = []

    async def caller() -> None:
        nonlocal told
        told += [await call(item) for item in waiting]

    start = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(concurrency)])
    return len(items) / (time.perf_counter() - start), told
