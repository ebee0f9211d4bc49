"""The mock network's layers and provider with failures, an engine and a clock; the journal is the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from layer2.errors import Layer2Error, TaskCancelled
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import ClockReading, LegState, LegView, OfferRequest, Side
from layer2.manager.records import TransferRecords
from layer2.manager.taker import Taker
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.model.transactions import Finality, SwapId, TxState, TxStatus
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import SystemEntropy
from layer2.ports.journal import Role, SwapRecord
from layer2.provider_client import PairOffer, ProviderEndpoint, ProviderInfo
from layer2.signers.software import SeedPreimages
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import TakerState, write_state
from layer2.terms.documents import SignedQuote, SignedTerms
from layer2.terms.transfers import TransferRequest
from layer2.testing.mock_network import IDENTITY_KEY, TAKER, MockLegs, MockProvider

BOB, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK
NOW = 1_790_000_000
AMOUNT = 100_000
TAKER_ADDRESS = to_checksum(address_of_public_key(TAKER.public_key.format()))
SEED = SeedPreimages(b"\x09" * 32)
REQUEST = TransferRequest(BTC, AMOUNT, BOB, ROOTSTOCK, max_fee=1_000)


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def now(self) -> float:
        return self.time


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


class FakeLegs(MockLegs):
    """The taker's part in swaps on one layer, up to the agreement, with failures."""

    def __init__(self, layer: Layer2ProtocolType, clock: FakeClock | None = None) -> None:
        super().__init__(layer, clock or FakeClock())
        self.cost: int | None = 25
        self.shows = LegState.NONE
        """Of every leg."""
        self.failures: list[Layer2Error] = []
        self.lacks: Layer2Error | None = None
        """Raised when it is asked whether it can pay."""
        self.asked: list[str] = []

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.failures:
            raise self.failures.pop(0)

    async def offer(self, request: OfferRequest) -> str:
        self._note("offer")
        return await super().offer(request)

    async def network_cost(self, amount: int) -> int | None:
        return self.cost

    async def check_can_pay(self, amount: int) -> None:
        self._note(f"check_can_pay {amount}")
        if self.lacks is not None:
            raise self.lacks

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        self._note(f"check_can_finish {side.value}")

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        self._note(f"observe {side.value}")
        return LegView(self.shows, ClockReading(NOW, 1))

    async def read_clock(self) -> ClockReading:
        self._note("read_clock")
        return await super().read_clock()


class FakeClient(Layer2ProtocolAsync[str, str, str, str]):
    """A client whose node is up, or away as ``down`` says."""

    protocol_type: ClassVar[Layer2ProtocolType]

    def __init__(self, layer: Layer2ProtocolType) -> None:
        self.protocol_type = layer  # type: ignore[misc]  # one class for every layer
        self.legs = FakeLegs(layer)
        self.down: Layer2Error | None = None
        self.initialized = 0
        self.is_closed = False
        self.balances = {BTC: Balance(10_000_000)}

    async def aclose(self) -> None:
        self.is_closed = True

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        self.initialized += 1
        if self.down is not None:
            raise self.down

    async def submit_transaction_async(
        self, transaction: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[str]:
        raise NotImplementedError

    async def get_transaction_status_async(self, tx_id: str, *, timeout: float | None = None) -> TxStatus[str]:
        raise NotImplementedError

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> str:
        raise NotImplementedError

    async def verify_proof_async(self, proof: str, *, timeout: float | None = None) -> bool:
        raise NotImplementedError

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        return self.balances

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        return TAKER_ADDRESS

    async def wait_for_status_async(
        self, tx_id: str, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[str]:
        raise NotImplementedError


class FakeProvider(MockProvider):
    """An honest provider, until a failure is queued for a call, or the call is held."""

    def __init__(self, clock: FakeClock, name: str = "one", fee: int = 420) -> None:
        super().__init__(fee, 0, clock)
        self.endpoint = ProviderEndpoint(name, "https://provider.example", IDENTITY_KEY)
        self.failures: dict[str, list[Layer2Error]] = {"quote": [], "open_swap": [], "info": []}
        self.held: asyncio.Event | None = None
        """``open_swap`` waits for it, if there is one."""
        self.requests: list[SwapRequest] = []
        self.quoted: list[TransferRequest] = []
        self.closed = False
        self.silent = False
        """It takes requests and never answers."""

    async def aclose(self) -> None:
        self.closed = True

    async def _fail(self, call: str) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.failures[call]:
            raise self.failures[call].pop(0)

    async def info(self) -> ProviderInfo:
        await self._fail("info")
        pair = PairOffer(
            self.endpoint.name, BOB, ROOTSTOCK, 10_000, 4_000_000, 120, 3_000, 50, 900, 1_000, 1_100, 1_200
        )
        return replace(await super().info(), pairs=(pair,))

    async def quote(self, request: TransferRequest) -> SignedQuote:
        self.quoted.append(request)
        await self._fail("quote")
        return await super().quote(request)

    async def open_swap(self, request: SwapRequest, quote: SignedQuote) -> SignedTerms:
        self.requests.append(request)
        if self.held is not None:
            await self.held.wait()
        await self._fail("open_swap")
        return await super().open_swap(request, quote)


class FakeEngine:
    """Notes what it is to drive; a test moves the swaps on with ``move``."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal
        self.driven: list[SwapId] = []
        self.is_closed = False
        self._changed = asyncio.Condition()

    def drive(self, record: SwapRecord) -> None:
        assert record.terms is not None
        if record.swap_id not in self.driven:
            self.driven.append(record.swap_id)

    def announce(self, record: SwapRecord) -> None:
        return None

    def awake_record(self, swap_id: SwapId) -> SwapRecord | None:
        return None

    async def resume(self, roles: Sequence[Role]) -> Sequence[SwapId]:
        found = [each for each in await self._journal.list(role=Role.TAKER, open_only=True) if each.terms is not None]
        for record in found:
            self.drive(record)
        return [record.swap_id for record in found]

    def check_open(self, swap_id: SwapId) -> None:
        if self.is_closed:
            raise TaskCancelled("closed")

    async def watch(self, swap_id: SwapId, *, poll_seconds: float | None = None) -> AsyncGenerator[SwapRecord, None]:
        version = None
        while True:
            self.check_open(swap_id)
            record = await self._journal.load(swap_id)
            assert record is not None
            if record.version != version:
                version = record.version
                yield record
            if record.is_final:
                return
            await asyncio.sleep(0.005)

    async def aclose(self) -> Sequence[SwapId]:
        self.is_closed = True
        found = [await self._journal.load(swap_id) for swap_id in self.driven]
        return [record.swap_id for record in found if record is not None and not record.is_final]


async def move(journal: SqlJournal, swap_id: str, state: TakerState, **changes: Any) -> None:
    """Write the next state of a swap, as the engine would."""
    record = await journal.load(SwapId(swap_id))
    assert record is not None
    values: dict[str, Any] = {"event": state.name, "now": NOW, **changes}
    await journal.advance(record, state=write_state(state), is_final=state.is_final, **values)


@dataclass
class World:
    """A taker and everything around it."""

    journal: SqlJournal
    clock: FakeClock
    legs: dict[Layer2ProtocolType, FakeLegs]
    providers: list[FakeProvider]
    engine: FakeEngine
    records: TransferRecords
    taker: Taker
    request: TransferRequest = field(default=REQUEST)

    @property
    def provider(self) -> FakeProvider:
        return self.providers[0]

    def asked_for(self, **changes: Any) -> TransferRequest:
        return replace(REQUEST, **changes)

    @staticmethod
    def ends_in(seconds: float = 5.0) -> float:
        return asyncio.get_running_loop().time() + seconds

    async def reasons(self) -> list[str]:
        """Why transfers were abandoned, oldest first."""
        found = [self.records.described(record) for record in await self.journal.list(role=Role.TAKER)]
        return [each.reason or "" for each in reversed(found) if each.state.value == "abandoned"]


class _SharedFile(SqlJournal):
    """A journal in a file, for a program that shares its journal; nothing else acts on it."""

    async def act(self, *, shared: bool = False) -> None:
        assert shared
        await super().act()


@asynccontextmanager
async def world(directory: Path, *, fees: Sequence[int] = (420,), shared: bool = False) -> AsyncIterator[World]:
    """A taker with fakes. If its journal is shared, other programs of the taker act, too."""
    clock = FakeClock()
    journal = await (_SharedFile if shared else SqlJournal).open(directory / "journal.sqlite")
    legs = {layer: FakeLegs(layer, clock) for layer in (BOB, ROOTSTOCK)}
    providers = [FakeProvider(clock, f"provider-{number}", fee) for number, fee in enumerate(fees)]
    engine: Any = FakeEngine(journal)
    strangers: Any = providers
    records = TransferRecords(journal, REGTEST)
    taker = Taker(
        journal=journal,
        records=records,
        engine=engine,
        legs=legs,
        providers=strangers,
        secrets=SEED,
        rules=REGTEST,
        clock=clock,
        entropy=SystemEntropy(),
        least_finality=Finality.LATEST,
        shared=shared,
    )
    try:
        yield World(journal, clock, legs, providers, engine, records, taker)
    finally:
        await taker.aclose()
        await journal.aclose()
