"""What a party's own nodes say of the world and do to it: ``HtlcLayer`` as the real clients promise it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layer2.errors import InsufficientFunds
from layer2.interfaces import Json
from layer2.layers import Layer2ProtocolType
from layer2.proofs.model import EvmReceiptEvidence, LegEvidence, LightningPaymentEvidence
from layer2.protocol_client import HtlcLayer, OfferRequest
from layer2.swap_rules.legs import ActStatus, ClockReading, Htlc, LegState, LegView, Side, Verb
from layer2.swap_rules.timelocks import finality_seconds
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Finality, Preimage
from swap_engine.faults import Fault, breathe
from swap_engine.world import Invoice, Transaction, World, expires_at


@dataclass
class FakeLayer(HtlcLayer):
    """What both layers share: whose client it is, and the faults before and after its calls."""

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
        await self.world.changed.wait()

    async def read_clock(self) -> ClockReading:
        return ClockReading(self.world.now(), self.world.height())


class FakeChain(FakeLayer):
    """BOB: one lock for each payment hash, because these tests have one swap each."""

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        number = len(self.world.transactions) + 1
        self.world.transactions[number] = Transaction(self.party, verb.value, htlc, preimage)
        return {"transaction": number}

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        self.world.broadcast(self.world.transactions[act["transaction"]])
        await self.fault("after", "perform")

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        return self.world.transactions[act["transaction"]].status

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        await self.fault("before", "observe")
        world, leg, lock = self.world, htlc.leg, self.world.locks.get(htlc.payment_hash)
        assert isinstance(leg, EvmLeg)
        clock = ClockReading(world.chain_time(), world.now() // 2)
        wanted = finality_seconds(finality, world.settings)
        full = finality_seconds(Finality.FINALIZED, world.settings)
        if lock is None:
            return LegView(LegState.NONE, clock, over=world.chain_time() >= leg.deadline + full)
        tx_id = f"0x{htlc.payment_hash.hex()}"
        age = world.now() - (lock.ended_at or lock.locked_at)
        match lock.state:
            case "locked":
                return LegView(LegState.FUNDED if age >= wanted else LegState.PENDING, clock, tx_id=tx_id)
            case "claimed":
                return LegView(LegState.COLLECTED, clock, final=age >= wanted, preimage=lock.preimage, tx_id=tx_id)
            case _:
                return LegView(
                    LegState.RETURNED,
                    clock,
                    final=age >= wanted,
                    over=age >= full,
                    tx_id=tx_id,
                    reason="refunded",
                )

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        if htlc.payment_hash not in self.world.locks:
            return None
        return EvmReceiptEvidence(Layer2ProtocolType.BOB, b"header", 0, (b"node",), 0)


class FakeLightning(FakeLayer):
    """An lnd: as payee it gives up a hold invoice before its HTLCs expire."""

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        await self.fault("before", "prepare")
        leg = htlc.leg
        assert isinstance(leg, LightningLeg)
        act: dict[str, Any] = {"verb": verb.value, "hash": htlc.payment_hash.hex(), "cltv_limit": leg.cltv_limit}
        if preimage is not None:
            act["preimage"] = preimage.secret.hex()
        return act

    async def perform(self, act: Json) -> None:
        await self.fault("before", "perform")
        invoice = self.world.invoices[bytes.fromhex(act["hash"])]
        match act["verb"]:
            case "fund":
                self.world.send(invoice, self.party, act["cltv_limit"])
            case "collect":
                self.world.settle(invoice, Preimage(bytes.fromhex(act["preimage"])))
            case _:
                self.world.cancel(invoice)
        self.world.change()
        await self.fault("after", "perform")

    async def act_status(self, act: Json) -> ActStatus:
        await self.fault("before", "act_status")
        invoice = self.world.invoices[bytes.fromhex(act["hash"])]
        if act["verb"] == "fund":
            return {
                "none": ActStatus.UNSEEN,
                "in_flight": ActStatus.UNDER_WAY,
                "succeeded": ActStatus.DONE,
                "failed": ActStatus.FAILED,
            }[invoice.payment]
        wanted = "settled" if act["verb"] == "collect" else "cancelled"
        return ActStatus.DONE if invoice.state == wanted else ActStatus.UNSEEN

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        await self.fault("before", "observe")
        invoice, leg = self.world.invoices[htlc.payment_hash], htlc.leg
        assert isinstance(leg, LightningLeg)
        clock = ClockReading(self.world.now(), self.world.height())
        return self._as_payer(invoice, leg, clock) if side is Side.PAYER else self._as_payee(invoice, clock)

    def _as_payer(self, invoice: Invoice, leg: LightningLeg, clock: ClockReading) -> LegView:
        tx_id = invoice.payment_hash.hex()
        match invoice.payment:
            case "none":
                # The invoice has expired, and the node, asked after that, knows of no payment.
                return LegView(LegState.NONE, clock, over=self.world.now() > expires_at(leg) + 60)
            case "in_flight":
                return LegView(LegState.PENDING, clock, tx_id=tx_id)
            case "succeeded":
                return LegView(LegState.COLLECTED, clock, final=True, preimage=invoice.preimage, tx_id=tx_id)
            case _:
                return LegView(LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id, reason="failed")

    def _as_payee(self, invoice: Invoice, clock: ClockReading) -> LegView:
        tx_id, world = invoice.payment_hash.hex(), self.world
        match invoice.state:
            case "open":
                return LegView(LegState.NONE, clock)
            case "accepted":
                if invoice.expiry_height - world.height() <= world.settings.hold_expiry_delta:
                    world.cancel(invoice)
                    return LegView(LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id)
                return LegView(
                    LegState.FUNDED,
                    clock,
                    tx_id=tx_id,
                    expiry_height=invoice.expiry_height,
                    parts=invoice.parts,
                    smallest_part_msat=invoice.amount * 1000 // invoice.parts,
                )
            case "settled":
                return LegView(
                    LegState.COLLECTED,
                    clock,
                    final=world.now() >= invoice.ended_at + 2,
                    preimage=invoice.preimage,
                    tx_id=tx_id,
                    expiry_height=invoice.expiry_height,
                )
            case _:
                return LegView(LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id)

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        await self.fault("before", "evidence")
        invoice = self.world.invoices[htlc.payment_hash]
        if invoice.state != "settled" or invoice.preimage is None:
            return None
        return LightningPaymentEvidence(invoice.preimage)
