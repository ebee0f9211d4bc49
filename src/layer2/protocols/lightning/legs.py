"""Hash-locked legs on Lightning: the seven verbs over invoices and payments."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Final, assert_never

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, Outcome, TransactionError
from layer2.interfaces import Json
from layer2.money import MSAT_DECIMALS, rescaled
from layer2.proofs.model import LegEvidence, LightningPaymentEvidence
from layer2.protocol_client import HtlcLayer, OfferRequest
from layer2.protocols.lightning.acts import Cancel, Keysend, Pay, Settle, read_act, write_act
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import check_payable, decode_invoice
from layer2.swap_rules.legs import ActStatus, ClockReading, Htlc, LegState, LegView, Side, Verb
from layer2.terms import LightningLeg
from layer2.transactions import Finality, Preimage

__all__ = ["LightningHtlcs"]

_BTC_DECIMALS: Final = 8
_RESOLUTION_SECONDS: Final = 0.2
EXPIRY_MARGIN: Final = 120
"""Seconds after an invoice's expiry from which nobody can have begun to pay it: twice the clocks' difference."""


class LightningHtlcs(LightningParts, HtlcLayer):
    """Legs at the party's own lnd."""

    async def offer(self, request: OfferRequest) -> str:
        """Payee: a plain invoice for the preimage, or a hold invoice for the hash; checked before it is returned.

        Raises:
            InsufficientFunds: nobody could pay it over the channels as they are.
        """
        if request.preimage is not None and request.preimage.payment_hash != request.payment_hash:
            raise FundsRulesError("the preimage does not belong to the payment hash", protocol=LIGHTNING)
        amount_msat = rescaled(request.amount, _BTC_DECIMALS, MSAT_DECIMALS)
        await self._liquidity.check_receivable(amount_msat)
        invoice = await self._make_invoice(
            NewInvoice(
                amount_msat=amount_msat,
                memo=request.memo,
                expiry_seconds=request.expiry_seconds,
                final_cltv_delta=request.final_cltv_delta,
                payment_hash=request.payment_hash,
                preimage=request.preimage,
            )
        )
        return invoice.text

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Check sync, clock and liquidity; what the leg itself has bound already is not asked for again."""
        leg = _leg(htlc)
        await self._node.current_state()
        match side:
            case Side.PAYER:
                payment = await self._payments.find(htlc.payment_hash)
                if payment is not None and payment.state is not PaymentState.FAILED:
                    return
                needed = leg.amount_msat + leg.fee_limit_msat
                max_parts = self._settings.timelocks.max_parts
                await self._liquidity.check_sendable(needed, max_parts=max_parts, trusted_seconds=0)
            case Side.PAYEE:
                invoice = await self._invoices.find(htlc.payment_hash)
                if invoice is not None and invoice.state in (InvoiceState.ACCEPTED, InvoiceState.SETTLED):
                    return
                await self._liquidity.check_receivable(leg.amount_msat)
            case _:
                assert_never(side)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """Make the act from leg and terms alone; a payment is checked against every rule for what is paid."""
        leg = _leg(htlc)
        own = await self._node.key() == leg.payee
        match verb:
            case Verb.FUND:
                return write_act(await self._prepared_payment(htlc, leg))
            case Verb.COLLECT:
                _require(own, "only the payee can settle its invoice")
                _require(
                    preimage is not None and preimage.payment_hash == htlc.payment_hash,
                    "to settle needs the preimage of the payment hash",
                )
                assert preimage is not None  # The line above has refused None.
                return write_act(Settle(preimage))
            case Verb.RELEASE:
                _require(own, "only the payee can cancel its invoice")
                return write_act(Cancel(htlc.payment_hash))
            case Verb.RECLAIM:
                raise FundsRulesError(
                    "on Lightning there is nothing to reclaim: a payment that is not collected comes back by itself",
                    protocol=LIGHTNING,
                )
            case _:
                assert_never(verb)

    async def _prepared_payment(self, htlc: Htlc, leg: LightningLeg) -> Pay:
        timelocks = self._settings.timelocks
        pay = Pay(
            payment_hash=htlc.payment_hash,
            invoice=leg.invoice,
            amount_msat=leg.amount_msat,
            fee_limit_msat=leg.fee_limit_msat,
            cltv_limit=leg.cltv_limit,
            # The deadlines of the terms are computed with the network's, not with what this party prefers.
            timeout_seconds=timelocks.payment_timeout,
            max_parts=timelocks.max_parts,
        )
        _require(leg.network == self._settings.invoice_prefix, f"the leg is on the network {leg.network!r}")
        invoice = decode_invoice(leg.invoice)
        _require(invoice.payee == leg.payee, "the invoice is signed by another node than the terms'")
        await self._check_payable(pay)
        known = await self._payments.find(pay.payment_hash)
        _require(known is None, "a payment with this hash was sent before; a hash is paid once")
        return pay

    async def _check_payable(self, pay: Pay) -> None:
        state = await self._node.current_state()
        invoice = decode_invoice(pay.invoice)
        check_payable(pay, invoice, prefix=self._settings.invoice_prefix, own_key=state.key, now=state.date)
        _require(invoice.amount_msat is not None, "the invoice leaves the amount to the payer")

    async def perform(self, act: Json) -> None:
        """Send the payment unless the node knows its hash already, or settle or cancel, each as often as it is asked.

        Raises:
            TransactionError: it was refused, or FAILED at once, or (FundsRulesError) must not be sent any more;
                outcome REJECTED.
            NodeUnreachable, BadAnswer: outcome UNKNOWN.
        """
        match _leg_act(act):
            case Pay() as pay:
                await self._send_once(pay)
            case Settle(preimage):
                await self._invoices.settle(preimage)
            case Cancel(payment_hash):
                await self._invoices.cancel(payment_hash)

    async def _send_once(self, pay: Pay) -> None:
        async with self._payments.one_at_a_time(pay.payment_hash):
            if await self._payments.find(pay.payment_hash) is not None:
                return
            try:
                await self._check_payable(pay)
            except FundsRulesError as error:
                error.outcome = Outcome.REJECTED
                raise
            self._liquidity.sent(pay.amount_msat)
            payment = await self._payments.send(pay)
        if payment.state is PaymentState.FAILED:
            raise TransactionError(
                f"the payment failed: {payment.failure}",
                protocol=LIGHTNING,
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            )

    async def act_status(self, act: Json) -> ActStatus:
        """What became of a payment, or of settling or cancelling, in the node's own words."""
        known_act = _leg_act(act)
        match known_act:
            case Pay():
                return _payment_status(await self._payments.find(known_act.payment_hash))
            case Settle():
                done, failed = InvoiceState.SETTLED, InvoiceState.CANCELED
            case Cancel():
                done, failed = InvoiceState.CANCELED, InvoiceState.SETTLED
            case _:
                assert_never(known_act)
        invoice = await self._invoices.find(known_act.payment_hash)
        if invoice is not None and invoice.state is done:
            return ActStatus.DONE
        if invoice is not None and invoice.state is failed:
            return ActStatus.FAILED
        return ActStatus.UNSEEN

    async def observe(self, htlc: Htlc, side: Side, finality: Finality) -> LegView:
        """One read of the leg. ``finality`` has no meaning here: a payment is held, settled, or it came back.

        While the leg can still be funded or is held, a node that is not synced or has another time is refused
        (BadAnswer). How it ended is told whatever the clocks.
        """
        leg = _leg(htlc)
        # The time is read first: what is concluded from it must have been asked after it.
        state = await self._node.state()
        match side:
            case Side.PAYER:
                payment = await self._payments.find(htlc.payment_hash)
                view = _seen_by_payer(leg, payment, state.clock)
            case Side.PAYEE:
                invoice = await self._invoices.find(htlc.payment_hash)
                is_final = await self._is_resolved(invoice, htlc.payment_hash)
                view = _seen_by_payee(leg, invoice, state.clock, is_final=is_final)
            case _:
                assert_never(side)
        if view.state not in (LegState.COLLECTED, LegState.RETURNED):
            state.check_current()
        return view

    async def _is_resolved(self, invoice: InvoiceRecord | None, payment_hash: bytes) -> bool:
        """Whether no channel can lose a settled invoice any more: lnd says SETTLED before its peer has committed."""
        if invoice is None or invoice.state is not InvoiceState.SETTLED:
            return False
        channels = await self._node.channels()
        if any(payment_hash in channel.hashes for channel in channels):
            return False
        open_ids = frozenset().union(*(channel.ids for channel in channels))
        closed_meanwhile = {htlc.channel_id for htlc in invoice.htlcs_in(HtlcState.SETTLED)} - open_ids
        return not closed_meanwhile or closed_meanwhile <= await self._node.closed_channel_ids()

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Return at the node's next word about the leg, and after the poll interval in any case."""
        leg = _leg(htlc)
        seconds = self._settings.poll_interval_seconds
        if view.state is LegState.COLLECTED:
            # The node has no more to say; its peer commits to what is settled within an exchange of messages.
            await asyncio.sleep(min(seconds, _RESOLUTION_SECONDS))
            return
        is_payee = await self._node.key() == leg.payee
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), aclosing(self._watches.words(htlc.payment_hash)) as words:
                async for word in words:
                    if is_payee:
                        seen = _seen_by_payee(leg, word.invoice, view.clock, is_final=view.final)
                    else:
                        seen = _seen_by_payer(leg, word.payment, view.clock)
                    if _differs(seen, view):
                        return
                # Nothing more will be said of it.
                await asyncio.sleep(seconds)

    async def read_clock(self) -> ClockReading:
        """The node's time and the height of Bitcoin's chain."""
        return (await self._node.current_state()).clock

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """The preimage, once the payment has succeeded or the invoice is settled."""
        match side:
            case Side.PAYER:
                payment = await self._payments.find(htlc.payment_hash)
                preimage = None if payment is None else payment.preimage
            case Side.PAYEE:
                invoice = await self._invoices.find(htlc.payment_hash)
                preimage = None if invoice is None else invoice.preimage
            case _:
                assert_never(side)
        return None if preimage is None else LightningPaymentEvidence(preimage)


def _leg(htlc: Htlc) -> LightningLeg:
    if not isinstance(htlc.leg, LightningLeg):
        raise InvalidRequest("this leg is not on Lightning", protocol=LIGHTNING)
    return htlc.leg


def _leg_act(value: Json) -> Pay | Settle | Cancel:
    act = read_act(value)
    if isinstance(act, Keysend):
        raise FormatError("a leg is paid by its invoice, never by keysend", protocol=LIGHTNING)
    return act


def _differs(seen: LegView, view: LegView) -> bool:
    return (seen.state, seen.parts) != (view.state, view.parts)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise FundsRulesError(problem, protocol=LIGHTNING)


def _payment_status(payment: PaymentRecord | None) -> ActStatus:
    if payment is None:
        return ActStatus.UNSEEN
    match payment.state:
        case PaymentState.INITIATED | PaymentState.IN_FLIGHT:
            return ActStatus.UNDER_WAY
        case PaymentState.SUCCEEDED:
            return ActStatus.DONE
        case PaymentState.FAILED:
            return ActStatus.FAILED
        case _:
            assert_never(payment.state)


def _seen_by_payer(leg: LightningLeg, payment: PaymentRecord | None, clock: ClockReading) -> LegView:
    if payment is None:
        is_over = clock.chain_time > decode_invoice(leg.invoice).expires_at + EXPIRY_MARGIN
        return LegView(LegState.NONE, clock, over=is_over)
    tx_id = payment.payment_hash.hex()
    if payment.invoice != leg.invoice or payment.amount_msat != leg.amount_msat:
        reason = "the node's payment with this hash is of another invoice"
        return LegView(LegState.NONE, clock, preimage=payment.preimage, reason=reason)
    match payment.state:
        case PaymentState.INITIATED | PaymentState.IN_FLIGHT:
            return LegView(LegState.PENDING, clock, tx_id=tx_id)
        case PaymentState.SUCCEEDED:
            return LegView(LegState.COLLECTED, clock, final=True, preimage=payment.preimage, tx_id=tx_id)
        case PaymentState.FAILED:
            return LegView(LegState.RETURNED, clock, final=True, over=True, tx_id=tx_id, reason=payment.failure)
        case _:
            assert_never(payment.state)


def _seen_by_payee(leg: LightningLeg, invoice: InvoiceRecord | None, clock: ClockReading, *, is_final: bool) -> LegView:
    if invoice is None:
        return LegView(LegState.NONE, clock)
    if invoice.text != leg.invoice:
        reason = "the node's invoice with this hash is another one"
        return LegView(LegState.NONE, clock, preimage=invoice.preimage, reason=reason)
    match invoice.state:
        case InvoiceState.OPEN:
            return LegView(LegState.NONE, clock)
        case InvoiceState.ACCEPTED:
            return _held(leg, invoice, clock)
        case InvoiceState.SETTLED:
            return _with_parts(invoice, HtlcState.SETTLED, LegState.COLLECTED, clock, is_final=is_final)
        case InvoiceState.CANCELED:
            return LegView(LegState.RETURNED, clock, final=True, over=True, reason="the invoice is cancelled")
        case _:
            assert_never(invoice.state)


def _held(leg: LightningLeg, invoice: InvoiceRecord, clock: ClockReading) -> LegView:
    held = sum(htlc.amount_msat for htlc in invoice.htlcs_in(HtlcState.ACCEPTED))
    if held != leg.amount_msat:
        reason = f"{held} msat are held, not {leg.amount_msat}"
        return LegView(LegState.PENDING, clock, reason=reason)
    return _with_parts(invoice, HtlcState.ACCEPTED, LegState.FUNDED, clock, is_final=False)


def _with_parts(
    invoice: InvoiceRecord, which: HtlcState, state: LegState, clock: ClockReading, *, is_final: bool
) -> LegView:
    parts = invoice.htlcs_in(which)
    return LegView(
        state,
        clock,
        final=is_final,
        preimage=invoice.preimage,
        tx_id=invoice.payment_hash.hex(),
        expiry_height=min((htlc.expiry_height for htlc in parts), default=None),
        parts=len(parts),
        smallest_part_msat=min((htlc.amount_msat for htlc in parts), default=None),
    )
