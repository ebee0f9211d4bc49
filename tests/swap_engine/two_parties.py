"""A taker and a provider, each with a journal, layers and runners of its own, in one world."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from layer2.formats.signed_terms import write_signed_terms
from layer2.interfaces import Role, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC
from layer2.proofs.model import LegEvidence
from layer2.swap_engine.records import agreed_record, agreed_state, planned_record, record_state
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_rules.timelocks import REGTEST
from layer2.terms import EvmLeg, LightningLeg, SignedTerms, Terms
from layer2.transactions import Preimage, SwapId
from layer2.transfers import TransferRequest
from swap_engine.fake_layers import FakeChain, FakeLayer, FakeLightning
from swap_engine.faults import Fault
from swap_engine.memory_journal import MemoryJournal
from swap_engine.virtual_time import VirtualClock
from swap_engine.world import Invoice, Lock, World, expires_at
from swap_rules.example_terms import (
    AMOUNT,
    FEE,
    NOW,
    PAYMENT_HASH,
    PREIMAGE,
    SWAP_ID,
    bob_to_lightning,
    lightning_to_bob,
)


class OnePreimage:
    def preimage(self, swap_id: SwapId) -> Preimage:
        return PREIMAGE


def make_proof(signed: SignedTerms, source: LegEvidence | None, destination: LegEvidence | None) -> bytes:
    return f"{type(source).__name__} and {type(destination).__name__}".encode()


class Party:
    """One side: its journal outlives its runners."""

    def __init__(self, world: World, name: str, role: Role) -> None:
        self.name, self.role = name, role
        self.journal = MemoryJournal()
        self.chain, self.lightning = FakeChain(world, name), FakeLightning(world, name)
        self.seen: list[str] = []
        self.runner = self.start()

    @property
    def layers(self) -> tuple[FakeLayer, FakeLayer]:
        return self.chain, self.lightning

    @property
    def record(self) -> SwapRecord:
        return self.journal.records[SWAP_ID]

    @property
    def state(self) -> str:
        return record_state(self.record).name

    def start(self) -> SwapRunner:
        """A new runner on the old journal: what a restart is."""
        self.runner = SwapRunner(
            self.journal,
            {Layer2ProtocolType.BOB: self.chain, Layer2ProtocolType.LIGHTNING: self.lightning},
            OnePreimage() if self.role is Role.TAKER else None,
            REGTEST,
            VirtualClock(),
            lambda record: self.seen.append(record_state(record).name),
            make_proof=make_proof,
            poll_seconds=60,
        )
        return self.runner

    def on_fault(self, fault: Fault) -> None:
        self.journal.fault = fault
        for layer in self.layers:
            layer.fault = fault

    async def restart(self) -> None:
        await self.runner.aclose()
        await self.start().resume()


class Scene:
    """A swap that both have agreed to, not yet driven."""

    invoice: Invoice

    def __init__(self, terms: Terms, *, recipient: str | None = None) -> None:
        self.world, self.terms, self.recipient = World(), terms, recipient
        self.taker = Party(self.world, "taker", Role.TAKER)
        self.provider = Party(self.world, "provider", Role.PROVIDER)

    @classmethod
    async def to_lightning(cls, *, recipient: str | None = None) -> Scene:
        scene = cls(bob_to_lightning(), recipient=recipient)
        payee, leg = ("taker" if recipient is None else "stranger"), scene.terms.destination
        assert isinstance(leg, LightningLeg)
        scene.invoice = Invoice(PAYMENT_HASH, payee, AMOUNT, expires_at(leg), PREIMAGE)
        await scene._agree()
        return scene

    @classmethod
    async def to_bob(cls) -> Scene:
        scene = cls(lightning_to_bob())
        leg = scene.terms.source
        assert isinstance(leg, LightningLeg)
        scene.invoice = Invoice(PAYMENT_HASH, "provider", AMOUNT + FEE, expires_at(leg), None)
        await scene._agree()
        return scene

    @property
    def lock(self) -> Lock:
        return self.world.locks[PAYMENT_HASH]

    @property
    def deadline(self) -> int:
        """Of the lock on BOB, whichever leg that is."""
        for leg in (self.terms.source, self.terms.destination):
            if isinstance(leg, EvmLeg):
                return leg.deadline
        raise AssertionError("one leg is on BOB")

    @property
    def payment(self) -> LightningLeg:
        for leg in (self.terms.source, self.terms.destination):
            if isinstance(leg, LightningLeg):
                return leg
        raise AssertionError("one leg is on Lightning")

    async def _agree(self) -> None:
        self.world.invoices[PAYMENT_HASH] = self.invoice
        signed = write_signed_terms(SignedTerms(self.terms, b"\x05" * 64))
        to_lightning = isinstance(self.terms.source, EvmLeg)
        ends = (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)
        request = TransferRequest(BTC, AMOUNT, *(ends if to_lightning else ends[::-1]), recipient=self.recipient)
        planned = await self.taker.journal.create(
            planned_record(
                swap_id=SWAP_ID,
                request=request,
                provider_name="example",
                payment_hash=PAYMENT_HASH,
                idempotency_key=None,
                now=NOW,
            )
        )
        await self.taker.journal.advance(
            planned, state=agreed_state(), is_final=False, event="agreed", now=NOW, terms=signed
        )
        await self.provider.journal.create(
            agreed_record(
                signed_terms=signed,
                payment_hash=PAYMENT_HASH,
                swap_id=SWAP_ID,
                request={},
                idempotency_key=None,
                now=NOW,
            )
        )

    @property
    def parties(self) -> Sequence[Party]:
        return self.taker, self.provider

    async def play(self) -> None:
        """Drive both until both are final."""
        for party in self.parties:
            await party.runner.resume()
        await asyncio.gather(*(party.runner.wait(SWAP_ID) for party in self.parties))

    async def close(self) -> None:
        for party in self.parties:
            await party.runner.aclose()

    def gained(self, party: str) -> int:
        """What the party has more than at the beginning, satoshi, over both layers."""
        return sum(amount for (owner, _), amount in self.world.balances.items() if owner == party)
