"""A provider over a real journal and a real server, whose layers and runner are told what to say."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from layer2.errors import TaskCancelled
from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields
from layer2.formats.evm_address import to_checksum
from layer2.interfaces import Role, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, ETH, AssetId, Balance
from layer2.protocol_client import OfferRequest
from layer2.provider.http import create_app
from layer2.provider.inventory import ProviderLayer
from layer2.provider.pricing import Pricing
from layer2.provider.quotes import ProviderFacts
from layer2.provider.server import serving
from layer2.provider.service import Limits, SwapProvider
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.journal import SqliteJournal
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.legs import ClockReading, Htlc, Side
from layer2.swap_rules.states import ProviderState, write_state
from layer2.swap_rules.timelocks import REGTEST
from layer2.transactions import SwapId
from swap_rules.made_agreements import (
    AMOUNT,
    BOB,
    IDENTITY,
    LIGHTNING,
    NOW,
    PROVIDER,
    PROVIDER_NODE,
    TAKER,
    TAKER_NETWORK,
    TAKER_NODE,
    invoice,
)

PRICING = Pricing(
    fee_ppm=3000,
    base_fee=120,
    network_fee=50,
    min_amount=10_000,
    max_amount=4_000_000,
    safe_from=500_000,
    finalized_from=2_000_000,
)
LIMITS = Limits(open_swaps=3, open_swaps_per_taker=2, watched_swaps=50, open_quotes=5, event_streams=1, gas_per_swap=10)
FACTS = ProviderFacts(
    chain_id=TAKER_NETWORK.chain_id,
    contract=TAKER_NETWORK.contract,
    token=TAKER_NETWORK.token,
    token_decimals=TAKER_NETWORK.token_decimals,
    evm_address=PROVIDER,
    lightning_network="bcrt",
    node_key=PROVIDER_NODE.public_key.format(),
)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class CountedEntropy:
    """Bytes that differ every time, and are the same in every run."""

    def __init__(self) -> None:
        self._counter = itertools.count()

    def token(self, length: int) -> bytes:
        return hashlib.sha256(str(next(self._counter)).encode()).digest()[:length]


@dataclass
class ToldLayer:
    """A layer's client that answers as it is told, and makes hold invoices as lnd does."""

    clock: SetClock
    balances: dict[AssetId, Balance] = field(default_factory=dict)
    error: Exception | None = None
    """Raised by every call while it is there."""
    cannot_finish: Exception | None = None
    offer_error: Exception | None = None
    checked: list[tuple[Htlc, Side]] = field(default_factory=list)
    offered: dict[bytes, str] = field(default_factory=dict)
    invoice_changes: dict[str, Any] = field(default_factory=dict)
    clock_reads: int = 0

    async def offer(self, request: OfferRequest) -> str:
        self._fail()
        assert request.preimage is None, "a provider's invoice is held"
        if self.offer_error is not None:
            raise self.offer_error
        text = bolt11.encode(
            replace(
                InvoiceFields(
                    prefix="bcrt",
                    amount_msat=request.amount * 1000,
                    timestamp=int(self.clock.now()),
                    payment_hash=request.payment_hash,
                    payment_secret=bytes(32),
                    description=request.memo,
                    expiry=request.expiry_seconds,
                    min_final_cltv_expiry_delta=request.final_cltv_delta,
                ),
                **self.invoice_changes,
            ),
            lambda digest: PROVIDER_NODE.sign_recoverable(digest, hasher=None),
        )
        self.offered[request.payment_hash] = text
        return text

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        self._fail()
        self.checked.append((htlc, side))
        if self.cannot_finish is not None:
            raise self.cannot_finish

    async def read_clock(self) -> ClockReading:
        self.clock_reads += 1
        self._fail()
        return ClockReading(int(self.clock.now()), 100)

    async def balances_async(self) -> Mapping[AssetId, Balance]:
        self._fail()
        return self.balances

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class ToldRunner:
    """Notes what it is to drive; a swap moves when the test says so."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.driven: list[SwapId] = []
        self.watchers: dict[SwapId, set[asyncio.Queue[SwapRecord | None]]] = {}
        self._journal = journal
        self.left = asyncio.Event()

    def drive(self, record: SwapRecord) -> None:
        self.driven.append(record.swap_id)

    async def watch(self, swap_id: SwapId) -> AsyncGenerator[SwapRecord, None]:
        queue: asyncio.Queue[SwapRecord | None] = asyncio.Queue()
        self.watchers.setdefault(swap_id, set()).add(queue)
        try:
            record = await self._journal.load(swap_id)
            assert record is not None
            yield record
            while not record.is_final:
                new = await queue.get()
                if new is None:
                    raise TaskCancelled("the runner was closed")
                record = new
                yield record
        finally:
            self.watchers[swap_id].remove(queue)
            self.left.set()

    async def move(self, swap_id: SwapId, state: ProviderState, event: str, now: int = NOW + 5) -> SwapRecord:
        """The swap's next state, as the engine would write it."""
        record = await self._journal.load(swap_id)
        assert record is not None
        record = await self._journal.advance(
            record, state=write_state(state), is_final=state.is_final, event=event, now=now
        )
        for queue in self.watchers.get(swap_id, ()):
            queue.put_nowait(record)
        return record

    def close(self) -> None:
        for queues in self.watchers.values():
            for queue in queues:
                queue.put_nowait(None)


@dataclass
class World:
    """One provider and all that it stands on."""

    provider: SwapProvider
    journal: SqliteJournal
    runner: ToldRunner
    clock: SetClock
    bob: ToldLayer
    lightning: ToldLayer
    identity: SoftwareIdentity

    async def quote_id(self, source: Layer2ProtocolType = BOB, amount: int = AMOUNT) -> str:
        destination = LIGHTNING if source is BOB else BOB
        signed = await self.provider.quote("BTC", amount, source, destination)
        return signed.quote.quote_id

    async def request(
        self, number: int = 0, source: Layer2ProtocolType = BOB, *, amount: int = AMOUNT, taker: bytes = TAKER
    ) -> SwapRequest:
        """A taker's request under a new quote; its hash and id follow from the number."""
        payment_hash = hashlib.sha256(bytes([number])).digest()
        offer = (
            invoice(TAKER_NODE, payment_hash=payment_hash, amount_msat=amount * 1000, timestamp=int(self.clock.now()))
            if source is BOB
            else to_checksum(taker)
        )
        return SwapRequest(
            SwapId(bytes([number]).hex() * 16), await self.quote_id(source, amount), payment_hash, offer, taker
        )

    async def records(self) -> list[SwapRecord]:
        return list(await self.journal.list(role=Role.PROVIDER))


@contextlib.asynccontextmanager
async def world(directory: Path, **changes: Any) -> AsyncIterator[World]:
    """A provider whose clock stands at NOW.

    Args:
        changes: fields of ``Limits``.
    """
    journal = await SqliteJournal.open(directory / "journal.sqlite")
    try:
        clock, runner, identity = SetClock(), ToldRunner(journal), SoftwareIdentity(IDENTITY.secret)
        bob = ToldLayer(clock, {BTC: Balance(10_000_000), ETH: Balance(10**18)})
        lightning = ToldLayer(clock, {BTC: Balance(10_000_000, receivable=10_000_000)})
        layers: dict[Layer2ProtocolType, ProviderLayer] = {BOB: bob, LIGHTNING: lightning}
        provider = SwapProvider(
            facts=FACTS,
            pricing=PRICING,
            limits=replace(LIMITS, **changes),
            settings=REGTEST,
            signer=identity,
            journal=journal,
            layers=layers,
            runner=runner,
            clock=clock,
            entropy=CountedEntropy(),
        )
        yield World(provider, journal, runner, clock, bob, lightning, identity)
    finally:
        await journal.aclose()


@contextlib.asynccontextmanager
async def served(made: World) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Its address on this machine's loopback, and a session to ask with."""
    async with serving(create_app(made.provider), "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        try:
            yield url, session
        finally:
            made.runner.close()
