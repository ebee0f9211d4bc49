"""Fake nodes of a party: ``HtlcLayer`` with the guarantees and checks of the real clients, on the fake world."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from layer2.errors import BadAnswer, FundsRulesError, InsufficientFunds, Outcome, TransactionError
from layer2.legs.evidence import EvmReceiptEvidence, LegEvidence, LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import ActStatus, ClockReading, HeldPayment, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer, LegListener
from swap_engine.chain import Chain, Transaction
from swap_engine.faults import Fault, breathe
from swap_engine.world import Invoice, World


@dataclass
class FakeLayer(HtlcLayer):
    """The common part of both layers: the party, and the faults before and after calls."""

    world: World
    party: str
    layer: Layer2ProtocolType
    fault: Fault = breathe
    can_finish: bool = True
    clock_error: float = 0.0
    """Seconds by which this machine's clock differs from the node's."""
    reserved: set[bytes] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    can_follow: bool = True
    seen: dict[int, tuple[LegView, int]] = field(default_factory=dict)
    """The views by identity, each with the changes of the world before it."""

    async def leg_offer(self) -> LegOffer:
        raise AssertionError("the engine never asks for offers")

    async def offer(self, request: OfferRequest) -> str:
        raise AssertionError("the engine never asks for offers")

    async def network_cost(self, amount: int) -> int | None:
        raise AssertionError("the engine never asks for prices")

    async def read_clock(self) -> ClockReading:
        raise AssertionError("the engine reads clocks in views only")

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        await self.fault("before", "check_can_finish")
        self.check_side(htlc, side)
        if abs(self.clock_error) > 60:
            raise BadAnswer("the clocks of the node and this machine differ", code="clock")
        if not self.can_finish:
            raise InsufficientFunds("no gas to finish")

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        self.check_side(htlc, side)
        self.reserved.add(htlc.payment_hash)

    def free(self, htlc: Htlc) -> None:
        self.reserved.discard(htlc.payment_hash)

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        await self.fault("before", "wait_for_change")
        await self.world.changed.wait()

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        self.check_side(htlc, side)
        if self.seen[id(view)][1] != self.world.changes:
            return None
        self.world.listeners.append(listener)
        return self.next_time(htlc)

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        self.world.listeners = [each for each in self.world.listeners if each is not listener]

    def next_time(self, htlc: Htlc) -> float:
        """When the leg changes without a change of the world."""
        raise NotImplementedError

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        await self.fault("before", "observe")
        self.check_side(htlc, side)
        changes, view = self.world.changes, self.view(htlc, side)
        self.seen[id(view)] = view, changes
        return view

    def view(self, htlc: Htlc, side: Side) -> LegView:
        raise NotImplementedError

    def check_side(self, htlc: Htlc, side: Side) -> None:
        raise NotImplementedError

    def restart(self) -> None:
        """The process restarts."""
        self.reserved.clear()


SIDE_OF = {Verb.FUND: Side.PAYER, Verb.COLLECT: Side.PAYEE, Verb.RELEASE: Side.PAYEE, Verb.RECLAIM: Side.PAYER}


@dataclass
class FakeChain(FakeLayer):
    """An EVM layer with one account, whose nonces this process assigns."""

    given: set[int] = field(default_factory=set)

    @property
    def chain(self) -> Chain:
        return self.world.chain(self.layer)

    def check_side(self, htlc: Htlc, side: Side) -> None:
        leg = htlc.leg
        assert isinstance(leg, EvmLeg)
        assert leg.protocol is self.layer
        account = leg.payer if side is Side.PAYER else leg.payee
        if self.world.party(account) != self.party:
            raise FundsRulesError(f"this account is not the {side.value} of the lock")

    def restart(self) -> None:
        super().restart()
        self.given.clear()

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        self.check_side(htlc, SIDE_OF[verb])
        ledger = self.chain.ledger()
        if verb is Verb.FUND:
            if htlc.payment_hash in ledger.spent:
                raise FundsRulesError("the preimage of this payment hash is public: nothing may be locked under it")
            if self.chain.lock(htlc) is not None:
                raise FundsRulesError("this account has locked under this payment hash before")
        if verb is Verb.COLLECT and (preimage is None or preimage.payment_hash != htlc.payment_hash):
            raise FundsRulesError("collecting needs the preimage")
        if verb is Verb.RECLAIM and self.chain.time() < getattr(htlc.leg, "deadline", 0):
            raise FundsRulesError("the deadline has not passed")
        kind = "refund" if verb in (Verb.RELEASE, Verb.RECLAIM) else verb.value
        return self._signed(Transaction(self.party, self._take_nonce(), kind, htlc, preimage, self.chain.price))

    def _take_nonce(self) -> int:
        used = {one.nonce for one in self.chain.pool if one.sender == self.party} | self.given
        nonce = self.chain.ledger().nonces.get(self.party, 0)
        while nonce in used:
            nonce += 1
        self.given.add(nonce)
        return nonce

    def _signed(self, transaction: Transaction) -> Json:
        number = len(self.world.transactions) + 1
        self.world.transactions[number] = transaction
        return {"transaction": number}

    def discard(self, act: Json) -> None:
        self.calls.append("discard")
        transaction = self.world.transactions[act["transaction"]]
        transaction.is_discarded = True
        if transaction.replaces is None:
            self.given.discard(transaction.nonce)

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        transaction = self.world.transactions[act["transaction"]]
        if transaction.is_discarded:
            raise TransactionError("it was taken back", code="nonce_used", outcome=Outcome.REJECTED)
        self.chain.broadcast(transaction)
        await self.fault("after", "perform")

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        transaction = self.world.transactions[act["transaction"]]
        certain = Finality.FINALIZED if transaction.verb == "fund" else Finality.LATEST
        latest, settled = self.chain.ledger(), self.chain.ledger(certain)
        versions = [transaction]
        while (earlier := versions[-1].replaces) is not None:
            versions.append(earlier)
        for one in versions:
            if id(one) in latest.succeeded:
                if latest.succeeded[id(one)]:
                    return ActStatus.DONE
                return ActStatus.FAILED if id(one) in settled.succeeded else ActStatus.UNDER_WAY
        if settled.nonces.get(transaction.sender, 0) > transaction.nonce or transaction.is_discarded:
            return ActStatus.FAILED
        return ActStatus.UNDER_WAY if any(one in self.chain.pool for one in versions) else ActStatus.UNSEEN

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        await self.fault("before", "repriced")
        transaction = self.world.transactions[act["transaction"]]
        if transaction not in self.chain.pool or transaction.price >= self.chain.price:
            return None
        one = transaction
        return self._signed(
            Transaction(one.sender, one.nonce, one.verb, one.htlc, one.preimage, self.chain.price, replaces=one)
        )

    def next_time(self, htlc: Htlc) -> float:
        assert isinstance(htlc.leg, EvmLeg)
        return htlc.leg.deadline

    def view(self, htlc: Htlc, side: Side) -> LegView:
        chain, leg = self.chain, htlc.leg
        assert isinstance(leg, EvmLeg)
        clock = ClockReading(chain.time(), chain.time() // 2)
        latest, final = chain.lock(htlc), chain.lock(htlc, Finality.FINALIZED)
        asked = chain.lock(htlc, leg.finality)
        public = chain.ledger().spent.get(htlc.payment_hash)
        if latest is None:
            over = final is None and chain.head_time(Finality.FINALIZED) >= leg.deadline
            return LegView(LegState.NONE, clock, over=over, preimage=public)
        tx_id = f"0x{htlc.terms_hash.hex()}"
        if latest.state == "locked":
            state = LegState.FUNDED if asked is not None and asked.state == "locked" else LegState.PENDING
            return LegView(state, clock, preimage=public, tx_id=tx_id)
        arrived = asked is not None and asked.state == latest.state
        is_final = final is not None and final.state == latest.state
        return LegView(
            LegState.COLLECTED if latest.state == "claimed" else LegState.RETURNED,
            clock,
            arrived=arrived,
            final=is_final,
            over=is_final and latest.state == "refunded",
            preimage=public,
            tx_id=tx_id,
            final_at=latest.ended_at + chain.margins.final_time if arrived and not is_final else None,
        )

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        self.check_side(htlc, side)
        lock = self.chain.lock(htlc)
        if lock is None or lock.state == "locked":
            return None
        return EvmReceiptEvidence(self.layer, b"header", 0, (b"node",), 0)

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        await self.fault("before", "courtesy")
        self.check_side(htlc, Side.PAYER)
        self.calls.append("courtesy")
        self.chain.broadcast(Transaction(self.party, self._take_nonce(), "collect", htlc, preimage, self.chain.price))


class FakeLightning(FakeLayer):
    """An lnd. It pays an invoice once, and fails a held payment before its HTLCs expire."""

    def invoice(self, htlc: Htlc) -> Invoice:
        assert isinstance(htlc.leg, LightningLeg)
        return self.world.invoices[htlc.payment_hash]

    def check_side(self, htlc: Htlc, side: Side) -> None:
        is_payee = self.invoice(htlc).payee == self.party
        if is_payee != (side is Side.PAYEE):
            raise FundsRulesError(f"this node is not the {side.value} of the invoice")

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        assert verb is not Verb.RECLAIM, "a payment is returned automatically"
        self.check_side(htlc, SIDE_OF[verb])
        leg, invoice = htlc.leg, self.invoice(htlc)
        assert isinstance(leg, LightningLeg)
        if verb is Verb.FUND and invoice.payment != "none" and not invoice.is_forgotten:
            raise FundsRulesError("this node has paid, or tried to pay, this invoice before")
        act: dict[str, Any] = {"verb": verb.value, "hash": htlc.payment_hash.hex(), "cltv_limit": leg.cltv_limit}
        if verb is Verb.COLLECT:
            if preimage is None:
                raise FundsRulesError("collecting needs the preimage")
            act["preimage"] = preimage.secret.hex()
        return act

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        invoice = self.world.invoices[bytes.fromhex(act["hash"])]
        match act["verb"]:
            case "fund":
                if invoice.payment in ("initiated", "in_flight", "succeeded") and not invoice.is_forgotten:
                    raise TransactionError("the payment is in transition, or was made", outcome=Outcome.REJECTED)
                self.world.send(invoice, self.party, act["cltv_limit"])
            case "collect":
                settled = invoice.state == "settled"
                if not settled and not self.world.settle(invoice, Preimage(bytes.fromhex(act["preimage"]))):
                    raise TransactionError("the invoice cannot be settled", outcome=Outcome.REJECTED)
            case _:
                if invoice.state == "settled":
                    raise TransactionError("the invoice is settled", outcome=Outcome.REJECTED)
                self.world.cancel(invoice)
        self.world.change()
        await self.fault("after", "perform")

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        invoice = self.world.invoices[bytes.fromhex(act["hash"])]
        if act["verb"] == "fund":
            return {
                "none": ActStatus.UNSEEN,
                "initiated": ActStatus.UNDER_WAY,
                "in_flight": ActStatus.UNDER_WAY,
                "succeeded": ActStatus.DONE,
                "failed": ActStatus.FAILED,
            }["none" if invoice.is_forgotten else invoice.payment]
        wanted, other = ("settled", "cancelled") if act["verb"] == "collect" else ("cancelled", "settled")
        if invoice.state == wanted:
            return ActStatus.DONE
        return ActStatus.FAILED if invoice.state == other else ActStatus.UNSEEN

    def next_time(self, htlc: Htlc) -> float:
        expiry = self.invoice(htlc).expires_at
        return min((time for time in (expiry, expiry + 61) if time > self.world.now()), default=math.inf)

    def view(self, htlc: Htlc, side: Side) -> LegView:
        invoice = self.invoice(htlc)
        clock = ClockReading(self.world.now(), self.world.height())
        return self._as_payer(invoice, clock) if side is Side.PAYER else self._as_payee(invoice, clock)

    def _as_payer(self, invoice: Invoice, clock: ClockReading) -> LegView:
        tx_id = invoice.payment_hash.hex()
        match "none" if invoice.is_forgotten else invoice.payment:
            case "none":
                # The invoice has expired, and a later read of the node shows no payment.
                return LegView(LegState.NONE, clock, over=self.world.now() > invoice.expires_at + 60)
            case "initiated":
                return LegView(LegState.PENDING, clock, tx_id=tx_id)
            case "in_flight":
                return LegView(LegState.FUNDED, clock, tx_id=tx_id)
            case "succeeded":
                preimage = invoice.preimage
                return LegView(LegState.COLLECTED, clock, arrived=True, final=True, preimage=preimage, tx_id=tx_id)
            case _:
                return _returned(clock, tx_id, "the payment failed")

    def _as_payee(self, invoice: Invoice, clock: ClockReading) -> LegView:
        tx_id, world = invoice.payment_hash.hex(), self.world
        match invoice.state:
            case "open":
                over = world.now() >= invoice.expires_at
                return _returned(clock, None, "the invoice expired") if over else LegView(LegState.NONE, clock)
            case "accepted":
                held = HeldPayment(invoice.expiry_height, len(invoice.parts), min(invoice.parts))
                return LegView(LegState.FUNDED, clock, tx_id=tx_id, held=held)
            case "settled":
                gone = world.now() >= invoice.ended_at + 2
                known = invoice.preimage
                return LegView(LegState.COLLECTED, clock, arrived=True, final=gone, preimage=known, tx_id=tx_id)
            case _:
                return _returned(clock, tx_id, "the payment was given back")

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        self.check_side(htlc, side)
        invoice = self.invoice(htlc)
        if invoice.state != "settled" or invoice.preimage is None:
            return None
        return LightningPaymentEvidence(invoice.preimage)


def _returned(clock: ClockReading, tx_id: str | None, reason: str) -> LegView:
    return LegView(LegState.RETURNED, clock, arrived=True, final=True, over=True, tx_id=tx_id, reason=reason)
