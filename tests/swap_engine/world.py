"""Two layers in memory, shared by a taker and a provider: a chain with the HTLC contract, and Lightning.

They keep the promises that the real layers make, on virtual time, and count the money: balances are changes since the
beginning, and every send of a Lightning payment is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from layer2.errors import InsufficientFunds, Outcome, TransactionError
from layer2.formats import bolt11
from layer2.interfaces import Json
from layer2.layers import Layer2ProtocolType
from layer2.proofs.model import EvmReceiptEvidence, LegEvidence, LightningPaymentEvidence
from layer2.protocol_client import HtlcLayer, OfferRequest
from layer2.swap_rules.legs import ActStatus, ClockReading, Htlc, LegState, LegView, Side, Verb
from layer2.swap_rules.timelocks import REGTEST, TimelockSettings, finality_seconds
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Finality, Preimage
from swap_engine.faults import Fault, breathe
from swap_engine.virtual_time import EPOCH

INCLUSION_SECONDS = 2
SECONDS_PER_BLOCK = 8
FIRST_HEIGHT = 1000


class World:
    """Both layers. ``change`` wakes everybody who waits for one of them."""

    def __init__(self, settings: TimelockSettings = REGTEST) -> None:
        self.settings = settings
        self.balances: dict[tuple[str, str], int] = {}
        self.locks: dict[bytes, Lock] = {}
        self.transactions: dict[int, Transaction] = {}
        self.invoices: dict[bytes, Invoice] = {}
        self.payments: dict[bytes, Payment] = {}
        self.sends: dict[bytes, int] = {}
        self._changed = asyncio.Event()

    def now(self) -> int:
        return EPOCH + int(asyncio.get_running_loop().time())

    def height(self) -> int:
        return FIRST_HEIGHT + (self.now() - EPOCH) // SECONDS_PER_BLOCK

    def pay(self, party: str, layer: str, amount: int) -> None:
        self.balances[party, layer] = self.balances.get((party, layer), 0) + amount

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        def then() -> None:
            what()
            self.change()

        asyncio.get_running_loop().call_later(seconds, then)

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def next_change(self) -> None:
        await self._changed.wait()


@dataclass
class Lock:
    leg: EvmLeg
    payer: str
    locked_at: int
    state: str = "locked"
    ended_at: int = 0
    preimage: Preimage | None = None


@dataclass
class Transaction:
    sender: str
    verb: str
    htlc: Htlc
    preimage: Preimage | None
    status: ActStatus = ActStatus.UNSEEN


@dataclass
class Invoice:
    leg_hash: bytes
    payee: str
    amount: int
    preimage: Preimage | None
    """None: a hold invoice."""
    state: str = "open"
    expiry_height: int = 0
    ended_at: int = 0


@dataclass
class Payment:
    payer: str
    state: str = "in_flight"
    preimage: Preimage | None = None
    expires_at: int = 0
    failed_to_sender: bool = False


@dataclass
class FakeLayer(HtlcLayer):
    """What the two fake layers share: whose client it is, and the faults.

    ``fault`` is called before and after each call with its name; it may raise.
    """

    world: World
    party: str
    fault: Fault = breathe
    can_finish: bool = True

    async def offer(self, request: OfferRequest) -> str:
        raise AssertionError("the engine never asks for offers")

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        await self.fault("before", "check_can_finish")
        if not self.can_finish:
            raise InsufficientFunds("no gas to finish")

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        await self.fault("before", "wait_for_change")
        await self.world.next_change()

    async def read_clock(self) -> ClockReading:
        return ClockReading(self.world.now(), self.world.height())


class FakeChain(FakeLayer):
    """BOB: a lock is one for each payment hash here, because the tests have one swap each."""

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        number = len(self.world.transactions) + 1
        self.world.transactions[number] = Transaction(self.party, verb.value, htlc, preimage)
        return {"transaction": number}

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        transaction = self.world.transactions[act["transaction"]]
        if transaction.status is ActStatus.UNSEEN:
            transaction.status = ActStatus.UNDER_WAY
            self.world.later(INCLUSION_SECONDS, lambda: self._execute(transaction))
        await self.fault("after", "perform")

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        return self.world.transactions[act["transaction"]].status

    def _execute(self, transaction: Transaction) -> None:
        world, htlc = self.world, transaction.htlc
        leg, lock = htlc.leg, world.locks.get(htlc.payment_hash)
        assert isinstance(leg, EvmLeg)
        transaction.status = ActStatus.FAILED
        if transaction.verb == "fund":
            if lock is not None or world.now() >= leg.deadline:
                return
            world.locks[htlc.payment_hash] = Lock(leg, transaction.sender, world.now())
            world.pay(transaction.sender, "bob", -leg.amount)
        elif transaction.verb == "collect":
            if lock is None or lock.state != "locked" or transaction.preimage is None:
                return
            lock.state, lock.ended_at, lock.preimage = "claimed", world.now(), transaction.preimage
            world.pay("provider" if lock.payer == "taker" else "taker", "bob", leg.amount)
        else:
            if lock is None or lock.state != "locked":
                return
            if world.now() < leg.deadline and transaction.sender == lock.payer:
                return
            lock.state, lock.ended_at = "refunded", world.now()
            world.pay(lock.payer, "bob", leg.amount)
        transaction.status = ActStatus.DONE
        # Each finality changes what observe answers.
        for finality in (Finality.SAFE, Finality.FINALIZED):
            world.later(finality_seconds(finality, world.settings), lambda: None)

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        await self.fault("before", "observe")
        world, leg, lock = self.world, htlc.leg, self.world.locks.get(htlc.payment_hash)
        assert isinstance(leg, EvmLeg)
        clock, wait = ClockReading(world.now(), world.now() // 2), finality_seconds(finality, world.settings)
        full = finality_seconds(Finality.FINALIZED, world.settings)
        if lock is None:
            return LegView(LegState.NONE, clock, over=world.now() >= leg.deadline + full)
        tx_id = f"0x{htlc.payment_hash.hex()}"
        age = world.now() - (lock.ended_at or lock.locked_at)
        match lock.state:
            case "locked":
                state = LegState.FUNDED if age >= wait else LegState.PENDING
                return LegView(state, clock, tx_id=tx_id)
            case "claimed":
                return LegView(LegState.COLLECTED, clock, final=age >= wait, preimage=lock.preimage, tx_id=tx_id)
            case _:
                return LegView(
                    LegState.RETURNED, clock, final=age >= wait, over=age >= full, tx_id=tx_id, reason="refunded"
                )

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        if htlc.payment_hash not in self.world.locks:
            return None
        return EvmReceiptEvidence(Layer2ProtocolType.BOB, b"header", 0, (b"node",), 0)


class FakeLightning(FakeLayer):
    """One invoice and one payment for each hash. A failed payment may be sent again, as lnd allows."""

    routes: bool = True

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        leg = htlc.leg
        assert isinstance(leg, LightningLeg)
        act: dict[str, Any] = {
            "verb": verb.value,
            "hash": htlc.payment_hash.hex(),
            "amount": leg.amount_msat // 1000,
            "cltv_limit": leg.cltv_limit,
        }
        if preimage is not None:
            act["preimage"] = preimage.secret.hex()
        return act

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        self._do(act)
        await self.fault("after", "perform")

    def _do(self, act: Json) -> None:
        world, payment_hash = self.world, bytes.fromhex(act["hash"])
        invoice = world.invoices[payment_hash]
        match act["verb"]:
            case "fund":
                self._send(invoice, act)
            case "collect":
                preimage = Preimage(bytes.fromhex(act["preimage"]))
                if invoice.state == "accepted" and preimage.payment_hash == payment_hash:
                    self._settle(invoice, preimage)
                elif invoice.state != "settled":
                    raise TransactionError("the invoice is not accepted", outcome=Outcome.REJECTED)
            case "release":
                if invoice.state in ("open", "accepted"):
                    self._cancel(invoice)
        world.change()

    def _send(self, invoice: Invoice, act: Json) -> None:
        world = self.world
        world.sends[invoice.leg_hash] = world.sends.get(invoice.leg_hash, 0) + 1
        known = world.payments.get(invoice.leg_hash)
        if known is not None and known.state != "failed":
            return
        payment = world.payments[invoice.leg_hash] = Payment(self.party)
        world.pay(self.party, "lightning", -act["amount"])

        def arrive() -> None:
            if invoice.state != "open" or not self.routes:
                self._fail(payment, act["amount"])
                return
            invoice.state = "accepted"
            invoice.expiry_height = world.height() + act["cltv_limit"]
            if invoice.preimage is not None:
                self._settle(invoice, invoice.preimage)
                return
            blocks = act["cltv_limit"] - world.settings.hold_expiry_delta
            world.later(blocks * SECONDS_PER_BLOCK, lambda: self._cancel(invoice))

        world.later(1, arrive)

    def _settle(self, invoice: Invoice, preimage: Preimage) -> None:
        world, payment = self.world, self.world.payments[invoice.leg_hash]
        invoice.state, invoice.ended_at = "settled", world.now()
        world.pay(invoice.payee, "lightning", invoice.amount)
        payment.state, payment.preimage = "succeeded", preimage
        # Until the commitment is irrevocable.
        world.later(2, lambda: None)

    def _cancel(self, invoice: Invoice) -> None:
        if invoice.state not in ("open", "accepted"):
            return
        was_accepted, invoice.state = invoice.state == "accepted", "cancelled"
        payment = self.world.payments.get(invoice.leg_hash)
        if was_accepted and payment is not None:
            self._fail(payment, invoice.amount)

    def _fail(self, payment: Payment, amount: int) -> None:
        payment.state, payment.failed_to_sender = "failed", True
        self.world.pay(payment.payer, "lightning", amount)

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        payment_hash = bytes.fromhex(act["hash"])
        if act["verb"] == "fund":
            payment = self.world.payments.get(payment_hash)
            if payment is None:
                return ActStatus.UNSEEN
            return {
                "in_flight": ActStatus.UNDER_WAY,
                "succeeded": ActStatus.DONE,
                "failed": ActStatus.FAILED,
            }[payment.state]
        wanted = "settled" if act["verb"] == "collect" else "cancelled"
        return ActStatus.DONE if self.world.invoices[payment_hash].state == wanted else ActStatus.UNSEEN

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        await self.fault("before", "observe")
        clock = ClockReading(self.world.now(), self.world.height())
        if side is Side.PAYER:
            return self._seen_by_payer(htlc, clock)
        invoice = self.world.invoices.get(htlc.payment_hash)
        if invoice is None:
            return LegView(LegState.NONE, clock)
        tx_id = htlc.payment_hash.hex()
        match invoice.state:
            case "open":
                return LegView(LegState.NONE, clock)
            case "accepted":
                return LegView(
                    LegState.FUNDED,
                    clock,
                    tx_id=tx_id,
                    expiry_height=invoice.expiry_height,
                    parts=1,
                    smallest_part_msat=invoice.amount * 1000,
                )
            case "settled":
                final = self.world.now() >= invoice.ended_at + 2
                payment = self.world.payments[htlc.payment_hash]
                return LegView(
                    LegState.COLLECTED,
                    clock,
                    final=final,
                    preimage=payment.preimage,
                    tx_id=tx_id,
                    expiry_height=invoice.expiry_height,
                )
            case _:
                return LegView(LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id)

    def _seen_by_payer(self, htlc: Htlc, clock: ClockReading) -> LegView:
        payment, tx_id = self.world.payments.get(htlc.payment_hash), htlc.payment_hash.hex()
        leg = htlc.leg
        assert isinstance(leg, LightningLeg)
        if payment is None:
            # An expired invoice, and the node, asked after that, knows of no payment.
            return LegView(LegState.NONE, clock, over=self.world.now() > expires_at(leg) + 60)
        match payment.state:
            case "in_flight":
                return LegView(LegState.PENDING, clock, tx_id=tx_id)
            case "succeeded":
                return LegView(LegState.COLLECTED, clock, final=True, preimage=payment.preimage, tx_id=tx_id)
            case _:
                return LegView(
                    LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id, reason="no route or cancelled"
                )

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        payment = self.world.payments.get(htlc.payment_hash)
        if payment is None or payment.preimage is None:
            return None
        return LightningPaymentEvidence(payment.preimage)


def expires_at(leg: LightningLeg) -> int:
    return bolt11.decode(leg.invoice).expires_at
