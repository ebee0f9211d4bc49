"""A taker and a provider in one world, each with a separate journal, layers and runners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from layer2.legs.evm import EvmLeg
from layer2.legs.invoices import decoded
from layer2.legs.leg import Htlc, Leg
from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import REGTEST, TimelockSettings
from layer2.legs.views import Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.ports.journal import Intent, Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.records import record_state, write_request
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_rules.states import ProviderAgreed, TakerAgreed, TakerPlanned, write_state
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash, write_signed_terms
from layer2.terms.transfers import TransferRequest
from swap_engine.chain import Chain, Lock
from swap_engine.fake_layers import FakeChain, FakeLayer, FakeLightning
from swap_engine.faults import Fault
from swap_engine.memory_journal import MemoryJournal
from swap_engine.virtual_time import VirtualClock
from swap_engine.world import Invoice, World
from swap_rules.example_terms import AMOUNT, NOW, PAYMENT_HASH, PREIMAGE, SWAP_ID, signed_terms, terms_of

PAIRS = [("bob", "lightning"), ("lightning", "bob"), ("bob", "rootstock"), ("rootstock", "bob")]
PAIR_IDS = [f"{source}-to-{destination}" for source, destination in PAIRS]


class OnePreimage:
    def preimage(self, swap_id: SwapId) -> Preimage:
        return PREIMAGE


class WrongClock:
    """A machine's clock that can be wrong."""

    error = 0.0

    def now(self) -> float:
        return VirtualClock().now() + self.error


class Party:
    """One party, whose journal outlives its runners."""

    def __init__(self, world: World, name: str, role: Role, terms: Terms) -> None:
        self.name, self.role, self.world = name, role, world
        self.journal = MemoryJournal()
        self.source, self.destination = self._client(terms.source), self._client(terms.destination)
        self.legs: dict[Layer2ProtocolType, FakeLayer] = {one.layer: one for one in self.layers}
        """The layers that are up; a test may remove one."""
        self.seen: list[str] = []
        self.clock = WrongClock()
        self.runner = self.start()

    def _client(self, leg: Leg) -> FakeLayer:
        kind = FakeChain if isinstance(leg, EvmLeg) else FakeLightning
        return kind(self.world, self.name, leg.protocol)

    @property
    def layers(self) -> tuple[FakeLayer, FakeLayer]:
        return self.source, self.destination

    @property
    def record(self) -> SwapRecord:
        return self.journal.records[SWAP_ID]

    @property
    def state(self) -> str:
        return record_state(self.record).name

    @property
    def proof(self) -> str | None:
        """The kinds of evidence that the saved proof has."""
        data = self.journal.proofs.get(SWAP_ID)
        if data is None:
            return None
        proof = TransferProof.from_bytes(data)
        return f"{type(proof.source_leg).__name__} and {type(proof.destination_leg).__name__}"

    def start(self, *, may_fund: bool = True) -> SwapRunner:
        """Restart: a new runner on the old journal."""
        self.runner = SwapRunner(
            self.journal,
            self.legs,
            OnePreimage() if self.role is Role.TAKER else None,
            self.world.rules,
            self.clock,
            lambda record: self.seen.append(record_state(record).name),
            poll_seconds=60 if self.world.rules is REGTEST else 600,
            may_fund=may_fund,
        )
        return self.runner

    def set_clock(self, error: float) -> None:
        """Set this party's machine to a wrong time, by so many seconds."""
        self.clock.error = error
        for layer in self.layers:
            layer.clock_error = error

    def on_fault(self, fault: Fault) -> None:
        self.journal.fault = fault
        for layer in self.layers:
            layer.fault = fault

    async def restart(self, *, may_fund: bool = True) -> None:
        await self.runner.aclose()
        for layer in self.layers:
            layer.restart()
        await self.start(may_fund=may_fund).resume()

    async def fundings(self) -> Sequence[Intent]:
        """Its intents to fund, with what is known of their delivery."""
        return [each for each in await self.journal.intents(SWAP_ID) if each.verb == Verb.FUND.value]

    async def until(self, *states: str) -> SwapRecord:
        """Wait until the swap is in one of the states, or final."""
        return await wait_for(self.runner, SWAP_ID, until=lambda record: record_state(record).name in states)


async def wait_for(
    runner: SwapRunner, swap_id: SwapId, *, until: Callable[[SwapRecord], bool] = lambda record: False
) -> SwapRecord:
    """The record once ``until`` holds for it, or it is final."""
    async with aclosing(runner.watch(swap_id)) as records:
        async for record in records:
            if record.is_final or until(record):
                return record
    raise AssertionError("watching ends with a final record")


class Scene:
    """A swap that both have agreed to and that is not driven yet."""

    def __init__(self, terms: Terms, rules: TimelockSettings, *, foreign: bool) -> None:
        per_block = 8 if rules is REGTEST else 600
        self.world, self.terms, self.foreign = World(rules=rules, seconds_per_block=per_block), terms, foreign
        self._own_accounts()
        self.taker = Party(self.world, "taker", Role.TAKER, terms)
        self.provider = Party(self.world, "provider", Role.PROVIDER, terms)

    @classmethod
    async def of(
        cls,
        source: str,
        destination: str,
        rules: TimelockSettings = REGTEST,
        finality: Finality = Finality.SAFE,
        *,
        foreign: bool = False,
    ) -> Scene:
        scene = cls(terms_of(source, destination, rules, finality, foreign=foreign), rules, foreign=foreign)
        await scene._agree()
        return scene

    @classmethod
    async def to_lightning(cls, *, foreign: bool = False, finality: Finality = Finality.SAFE) -> Scene:
        return await cls.of("bob", "lightning", finality=finality, foreign=foreign)

    @classmethod
    async def to_bob(cls, *, finality: Finality = Finality.SAFE) -> Scene:
        return await cls.of("lightning", "bob", finality=finality)

    def htlc(self, leg: Leg) -> Htlc:
        return Htlc(leg, PAYMENT_HASH, terms_hash(self.terms))

    @property
    def invoice(self) -> Invoice:
        return self.world.invoices[PAYMENT_HASH]

    def chain_of(self, leg: Leg) -> Chain:
        return self.world.chain(leg.protocol)

    def lock_of(self, leg: Leg) -> Lock | None:
        """The lock in the newest block."""
        return self.chain_of(leg).lock(self.htlc(leg))

    @property
    def evm_leg(self) -> EvmLeg:
        """The first leg that is a lock."""
        for leg in (self.terms.source, self.terms.destination):
            if isinstance(leg, EvmLeg):
                return leg
        raise AssertionError("one leg is on a chain")

    @property
    def chain(self) -> Chain:
        return self.chain_of(self.evm_leg)

    @property
    def lock(self) -> Lock:
        found = self.lock_of(self.evm_leg)
        assert found is not None
        return found

    @property
    def deadline(self) -> int:
        return self.evm_leg.deadline

    @property
    def payment(self) -> LightningLeg:
        for leg in (self.terms.source, self.terms.destination):
            if isinstance(leg, LightningLeg):
                return leg
        raise AssertionError("one leg is on Lightning")

    def _own_accounts(self) -> None:
        ends = ((self.terms.source, "taker", "provider"), (self.terms.destination, "provider", "taker"))
        for leg, payer, payee in ends:
            if isinstance(leg, EvmLeg):
                self.world.owners |= {leg.payer: payer, leg.payee: payee}
                self.world.chain(leg.protocol)
            elif isinstance(leg, LightningLeg):
                self.world.invoices[PAYMENT_HASH] = Invoice(
                    PAYMENT_HASH,
                    "stranger" if self.foreign else payee,
                    leg.amount_msat // 1000,
                    decoded(leg.invoice).expires_at,
                    PREIMAGE if self.foreign else None,
                )

    async def _agree(self) -> None:
        signed = write_signed_terms(signed_terms(self.terms))
        source, destination = self.terms.source.protocol, self.terms.destination.protocol
        recipient = self.payment.invoice if self.foreign else None
        planned = await self.taker.journal.create(
            SwapRecord(
                swap_id=SWAP_ID,
                role=Role.TAKER,
                state=write_state(TakerPlanned()),
                request=write_request(TransferRequest(BTC, AMOUNT, source, destination, recipient=recipient)),
                provider_name="example",
                quote_id=self.terms.quote_id,
                access=b"\xac" * 32,
                payment_hash=PAYMENT_HASH,
                created_at=NOW,
                updated_at=NOW,
            )
        )
        await self.taker.journal.advance(
            planned, state=write_state(TakerAgreed()), is_final=False, event="agreed", now=NOW, terms=signed
        )
        await self.provider.journal.create(
            SwapRecord(
                swap_id=SWAP_ID,
                role=Role.PROVIDER,
                state=write_state(ProviderAgreed()),
                payment_hash=PAYMENT_HASH,
                terms=signed,
                request={},
                quote_id=self.terms.quote_id,
                access=b"\xac" * 32,
                created_at=NOW,
                updated_at=NOW,
            )
        )

    @property
    def parties(self) -> Sequence[Party]:
        return self.taker, self.provider

    async def begin(self) -> None:
        for party in self.parties:
            await party.runner.resume()

    async def play(self) -> None:
        """Drive both until both are final."""
        await self.begin()
        await self.both_final()

    async def both_final(self) -> None:
        await asyncio.gather(*(wait_for(party.runner, SWAP_ID) for party in self.parties))

    async def close(self) -> None:
        for party in self.parties:
            await party.runner.aclose()

    @property
    def states(self) -> tuple[str, str]:
        return self.taker.state, self.provider.state

    @property
    def gains(self) -> tuple[int, int]:
        return self.gained("taker"), self.gained("provider")

    def gained(self, party: str) -> int:
        """The party's gain in satoshi since the beginning, over all layers."""
        return self.world.gained(party)

    async def when(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds, checking it at least every second."""
        while not holds():
            await asyncio.wait((asyncio.ensure_future(self.world.changed.wait()),), timeout=1)

    async def sleep_until(self, at: int) -> None:
        """Unix seconds of wall time."""
        await asyncio.sleep(max(0, at - VirtualClock().now()))
