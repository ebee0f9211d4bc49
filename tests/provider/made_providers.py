"""A provider over a real journal and a real server, whose layers and runner do what a test sets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from layer2.assembly import JoiningLegs, Layers
from layer2.errors import TaskCancelled
from layer2.formats.evm_address import to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.ports.journal import Json, Role, SwapRecord
from layer2.provider.bounds import Limits
from layer2.provider.http import create_app
from layer2.provider.nodes import Nodes
from layer2.provider.pricing import Price, PriceList
from layer2.provider.quotes import QuoteRequest
from layer2.provider.server import serving
from layer2.provider.service import SwapProvider
from layer2.provider.swap_book import SwapBook
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import ProviderState, write_state
from layer2.terms.documents import SignedQuote
from layer2.terms.signing import write_signed_quote
from swap_rules.example_terms import (
    AMOUNT,
    IDENTITY,
    NOW,
    PROVIDER_NODE,
    TAKER_EVM,
    TAKER_NODE,
    bitcoin_keys,
    invoice_for,
    offer_of,
)

BOB, LIGHTNING, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.ROOTSTOCK
ETH, RBTC = AssetId("ETH", 18), AssetId("RBTC", 18)
PRICE = Price(fee_ppm=3000, base_fee=120, network_fee=50, min_amount=10_000, max_amount=4_000_000)
PRICES = PriceList(default=PRICE, safe_from=500_000, finalized_from=2_000_000)
LIMITS = Limits(
    max_open_swaps=3,
    max_open_swaps_per_taker=2,
    max_unfinished_swaps=50,
    max_event_streams=1,
    gas_per_swap_wei=10,
)
LANDING = REGTEST.margins(BOB).landing_time
OTHER_TAKERS = [bytes([number]) * 20 for number in range(0x70, 0x80)]


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class CountedEntropy:
    """Bytes that differ every time, and are the same in every run."""

    def __init__(self, name: str = "") -> None:
        self._name, self._counter = name, itertools.count()

    def token(self, length: int) -> bytes:
        return hashlib.sha256(f"{self._name}{next(self._counter)}".encode()).digest()[:length]


def _not_asked(*_: object) -> Any:
    raise AssertionError("this is the runner's affair")


@dataclass
class SetLayer(JoiningLegs):
    """A layer that answers as a test sets it, and makes hold invoices as lnd does."""

    protocol: Layer2ProtocolType
    clock: SetClock
    balances: dict[AssetId, Balance] = field(default_factory=dict)
    away: Exception | None = None
    """Raised by every call while it is there."""
    cannot_finish: Exception | None = None
    offer_error: Exception | None = None
    checked: list[tuple[Htlc, Side]] = field(default_factory=list)
    reserved: set[Htlc] = field(default_factory=set)
    freed: list[Htlc] = field(default_factory=list)
    offered: dict[bytes, str] = field(default_factory=dict)
    invoice_changes: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    """Fields of the view of every leg, in place of those of an unfunded leg."""
    late: list[frozenset[bytes]] = field(default_factory=list)
    """What the next looks for late fundings find."""
    asked_since: list[int] = field(default_factory=list)
    clock_reads: int = 0
    joins: int = 0
    found: LegEvidence | None = None
    """The evidence of every leg."""
    confirms: bool | Exception = False
    """Whether the node still has the block of evidence."""
    observed: int = 0
    confirmed: list[tuple[LegEvidence, bytes | None, Finality]] = field(default_factory=list)

    async def join(self) -> None:
        self.joins += 1
        self._fail()

    async def leg_offer(self) -> LegOffer:
        self._fail()
        return offer_of(self.protocol, REGTEST, Finality.SAFE)

    async def offer(self, request: OfferRequest) -> str:
        self._fail()
        if self.offer_error is not None:
            raise self.offer_error
        assert request.side is Side.PAYEE
        named = ""
        if LAYERS[self.protocol].kind == "lightning":
            changes = {"timestamp": int(self.clock.now()), **self.invoice_changes}
            named = invoice_for(request, PROVIDER_NODE, REGTEST, **changes)
        self.offered[request.payment_hash] = named
        return named

    async def network_cost(self, amount: int) -> int | None:
        return None

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        self._fail()
        self.checked.append((htlc, side))
        if self.cannot_finish is not None:
            raise self.cannot_finish

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        self.reserved.add(htlc)

    def free(self, htlc: Htlc) -> None:
        self.reserved.discard(htlc)
        self.freed.append(htlc)

    async def read_clock(self) -> ClockReading:
        self.clock_reads += 1
        self._fail()
        return ClockReading(int(self.clock.now()), 100)

    async def balances_async(self) -> Mapping[AssetId, Balance]:
        self._fail()
        return self.balances

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        self._fail()
        self.asked_since.append(since)
        return (self.late.pop(0) if self.late else frozenset()), since + 1

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        _not_asked()
        return {}

    async def perform(self, act: Json) -> None:
        _not_asked()

    async def act_status(self, act: Json) -> ActStatus:
        _not_asked()
        return ActStatus.UNSEEN

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        self._fail()
        self.observed += 1
        return LegView(**{"state": LegState.NONE, "clock": ClockReading(int(self.clock.now()), 100), **self.shown})

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        _not_asked()

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        self._fail()
        return self.found

    async def confirm_evidence(self, evidence: LegEvidence, *, contract: bytes | None, finality: Finality) -> bool:
        self._fail()
        self.confirmed.append((evidence, contract, finality))
        if isinstance(self.confirms, Exception):
            raise self.confirms
        return self.confirms

    def _fail(self) -> None:
        if self.away is not None:
            raise self.away


class SetRunner(SwapRunner):
    """Notes what it is to drive; a swap moves when the test moves it."""

    def __init__(self, journal: SqlJournal) -> None:
        self.driven: list[SwapId] = []
        self.revisited: list[SwapId] = []
        self.watchers: dict[SwapId, set[asyncio.Queue[SwapRecord | None]]] = {}
        self._journal = journal
        self.left = asyncio.Event()
        self.on_change: Callable[[SwapRecord], None] | None = None

    def drive(self, record: SwapRecord) -> None:
        self.driven.append(record.swap_id)

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        self.revisited.append(record.swap_id)
        return record

    async def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
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

    async def move(
        self, swap_id: SwapId, state: ProviderState, event: str, now: int = NOW + 5, attention: str | None = None
    ) -> SwapRecord:
        """The swap's next state, as the engine would write it."""
        record = await self._journal.load(swap_id)
        assert record is not None
        record = await self._journal.advance(
            record, state=write_state(state), is_final=state.is_final, event=event, now=now, attention=attention
        )
        self.announce(record)
        return record

    def announce(self, record: SwapRecord) -> None:
        for queue in self.watchers.get(record.swap_id, ()):
            queue.put_nowait(record)
        if self.on_change is not None:
            self.on_change(record)

    def close(self) -> None:
        for queues in self.watchers.values():
            for queue in queues:
                queue.put_nowait(None)


def _named(layer: Layer2ProtocolType, account: bytes) -> str:
    """The taker's account with the checksum of the layer's regtest, or its keys on Bitcoin."""
    if layer is Layer2ProtocolType.BITCOIN:
        return bitcoin_keys(taker=True).write()
    (chain_id,) = LAYERS[layer].network_ids["regtest"]
    return to_checksum(account, int(chain_id))


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited here has no event
            await asyncio.sleep(0.001)


def token_of(number: int) -> bytes:
    """The access token of a test's swap."""
    return hashlib.sha256(b"access" + bytes([number])).digest()


@dataclass
class World:
    """One provider and everything that it uses."""

    provider: SwapProvider
    journal: SqlJournal
    runner: SetRunner
    clock: SetClock
    layers: dict[Layer2ProtocolType, SetLayer]
    nodes: Nodes
    book: SwapBook
    identity: SoftwareIdentity
    quotes: dict[str, SignedQuote] = field(default_factory=dict)
    """Those that were issued, by their ids."""

    @property
    def bob(self) -> SetLayer:
        return self.layers[BOB]

    @property
    def lightning(self) -> SetLayer:
        return self.layers[LIGHTNING]

    async def quote(
        self,
        source: Layer2ProtocolType = BOB,
        destination: Layer2ProtocolType | None = None,
        amount: int | None = AMOUNT,
        send_amount: int | None = None,
        asset: str = "BTC",
    ) -> SignedQuote:
        destination = _other(source) if destination is None else destination
        quote = await self.provider.quote(QuoteRequest(asset, source, destination, amount, send_amount))
        self.quotes[quote.quote.quote_id] = quote
        return quote

    async def open_swap(self, request: SwapRequest) -> Json:
        """Request terms as a taker does, with the quote as it was issued."""
        return await self.provider.open_swap(request, self.quotes[request.quote_id])

    def written(self, request: SwapRequest) -> dict[str, Any]:
        """The body of ``POST /v1/swaps``."""
        return {
            "swap_id": request.swap_id,
            "quote": write_signed_quote(self.quotes[request.quote_id]),
            "payment_hash": request.payment_hash.hex(),
            "source": request.source,
            "destination": request.destination,
            "access_hash": request.access_hash.hex(),
        }

    async def request(
        self,
        number: int = 0,
        source: Layer2ProtocolType = BOB,
        destination: Layer2ProtocolType | None = None,
        *,
        amount: int = AMOUNT,
        taker: bytes = TAKER_EVM,
    ) -> SwapRequest:
        """A taker's request under a new quote; its hash, id and token follow from the number."""
        destination = _other(source) if destination is None else destination
        await self.look()
        payment_hash = hashlib.sha256(bytes([number])).digest()
        quote = (await self.quote(source, destination, amount)).quote
        return SwapRequest(
            swap_id=SwapId(bytes([number]).hex() * 16),
            quote_id=quote.quote_id,
            payment_hash=payment_hash,
            source="" if source is LIGHTNING else _named(source, taker),
            destination=self.invoice(payment_hash, amount) if destination is LIGHTNING else _named(destination, taker),
            access_hash=hashlib.sha256(token_of(number)).digest(),
        )

    def invoice(self, payment_hash: bytes, amount: int = AMOUNT, signer: Any = TAKER_NODE, **changes: Any) -> str:
        """A taker's invoice, made now."""
        wanted = OfferRequest(
            Side.PAYEE, payment_hash, amount, "", REGTEST.own_invoice_expiry, REGTEST.own_final_cltv_delta
        )
        return invoice_for(wanted, signer, REGTEST, **{"timestamp": int(self.clock.now()), **changes})

    async def accept(self, number: int = 0, source: Layer2ProtocolType = BOB, **changes: Any) -> SwapRequest:
        """A swap that the provider has accepted."""
        request = await self.request(number, source, **changes)
        await self.open_swap(request)
        return request

    async def look(self) -> None:
        """Read all nodes, as a provider does every few seconds."""
        self.nodes.doubt(*self.layers)
        await self.nodes.problem(self.layers)

    async def records(self) -> Sequence[SwapRecord]:
        return await self.journal.list(role=Role.PROVIDER)


def _other(layer: Layer2ProtocolType) -> Layer2ProtocolType:
    return BOB if layer is LIGHTNING else LIGHTNING


@contextlib.asynccontextmanager
async def world(
    directory: Path,
    layers: tuple[Layer2ProtocolType, ...] = (BOB, LIGHTNING),
    prices: PriceList = PRICES,
    register: Path | None = None,
    place: str | None = None,
    name: str = "",
    **changes: Any,
) -> AsyncIterator[World]:
    """A provider whose nodes have joined, and whose clock stands at NOW.

    Args:
        register: of its journal, on which it then acts.
        place: of its journal, if it is not in the directory.
        name: another one gives its quotes other ids.
        changes: fields of ``Limits``.
    """
    journal = await SqlJournal.open(place or directory / "journal.sqlite", register)
    try:
        if register is not None:
            await journal.act()
        clock, runner, identity = SetClock(), SetRunner(journal), SoftwareIdentity(IDENTITY.secret)
        gas = {BOB: {ETH: Balance(10**18)}, ROOTSTOCK: {RBTC: Balance(10**18)}}
        set_layers = {
            layer: SetLayer(layer, clock, {BTC: Balance(10_000_000), **gas.get(layer, {})}) for layer in layers
        }
        if LIGHTNING in layers:
            set_layers[LIGHTNING].balances = {BTC: Balance(10_000_000, receivable=10_000_000)}
        clients: Any = set_layers
        nodes = Nodes(Layers(clients, set_layers), clock, first_retry_seconds=0.001)
        await nodes.join()
        book = await SwapBook.load(journal, REGTEST)
        runner.on_change = book.update
        provider = SwapProvider(
            prices=prices,
            limits=LIMITS.model_copy(update=changes),
            rules=REGTEST,
            signer=identity,
            journal=journal,
            nodes=nodes,
            layers=Layers(clients, set_layers),
            runner=runner,
            book=book,
            clock=clock,
            entropy=CountedEntropy(name),
        )
        yield World(provider, journal, runner, clock, set_layers, nodes, book, identity)
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
