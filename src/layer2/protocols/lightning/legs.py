"""Hash-locked legs on Lightning: the acts and reads of a swap, made with hold invoices and payments."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Final, assert_never

from layer2.aio.time_limit import time_limit
from layer2.errors import (
    BadAnswer,
    ConfigurationError,
    FormatError,
    FundsRulesError,
    InvalidRequest,
    NodeError,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.legs.evidence import LegEvidence, LightningPaymentEvidence
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg, LightningOffer, routing_fee_limit
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer
from layer2.protocols.lightning.acts import Cancel, Keysend, Pay, Settle, read_act, write_act
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import check_payable, decode_invoice, msat
from layer2.protocols.lightning.views import (
    is_past_its_locks,
    pay_act_status,
    returned_without_a_message,
    seen_by_payee,
    seen_by_payer,
)

__all__ = ["LightningLegs"]

_RESOLUTION_SECONDS: Final = 0.2
"""Seconds between reads of a settled invoice until its channels have resolved it."""


class LightningLegs(HtlcLayer):
    """Legs at the party's own lnd.

    Args:
        parts: the client's parts.
    """

    def __init__(self, parts: LightningParts) -> None:
        self._node = parts.node
        self._invoices = parts.invoices
        self._holds = parts.holds
        self._payments = parts.payments
        self._liquidity = parts.liquidity
        self._tracker = parts.tracker
        self._settings = parts.settings

    async def leg_offer(self) -> LightningOffer:
        """See ``HtlcLayer``: the node's key, and the prefix of its network."""
        return LightningOffer(self._settings.invoice_prefix, await self._node.key())

    async def offer(self, request: OfferRequest) -> str:
        """For the payee, make a hold invoice for the hash. For the payer, return an empty text.

        A repeated request gets the invoice of the first one, even if its expiry differs by now. The caller checks the
        expiry when it builds a leg from the invoice.

        Raises:
            InsufficientFunds: the channels cannot receive the amount.
            IdempotencyConflict: ``payment_hash_used``.
        """
        if request.side is Side.PAYER:
            return ""
        amount_msat = msat(request.amount)
        await self._liquidity.check_receivable(amount_msat)
        new = NewInvoice(
            amount_msat=amount_msat,
            memo=request.memo,
            expiry_seconds=request.expiry_seconds,
            final_cltv_delta=request.min_blocks,
            payment_hash=request.payment_hash,
            keeps_expiry=True,
        )
        return (await self._holds.make(new, request.payment_hash)).text

    async def network_cost(self, amount: int) -> int:
        """The maximum routing fee of a payment of that amount."""
        return routing_fee_limit(amount)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Check sync, clock and liquidity. Liquidity is not checked if the leg is already under way."""
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
        """Make an act from the leg. A payment is checked against every rule for payments."""
        leg = _leg(htlc)
        own = await self._node.key() == leg.payee
        match verb:
            case Verb.FUND:
                return write_act(await self._prepared_payment(htlc, leg))
            case Verb.COLLECT:
                _require(own, "only the payee can settle its invoice")
                if preimage is None or preimage.payment_hash != htlc.payment_hash:
                    raise FundsRulesError("the preimage of the payment hash is needed to settle", protocol=LIGHTNING)
                return write_act(Settle(preimage))
            case Verb.RELEASE:
                _require(own, "only the payee can cancel its invoice")
                return write_act(Cancel(htlc.payment_hash))
            case Verb.RECLAIM | Verb.VOID:
                raise FundsRulesError(
                    "on Lightning there is nothing to reclaim: a payment that is not collected is returned by itself",
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
            # The deadlines in the terms are computed with these values, not with this party's own settings.
            timeout_seconds=timelocks.payment_timeout,
            max_parts=timelocks.max_parts,
        )
        _require(leg.prefix == self._settings.invoice_prefix, f"the leg is on the network {leg.prefix!r}")
        invoice = decode_invoice(leg.invoice)
        _require(invoice.payee == leg.payee, "the invoice is signed by another node than the terms name")
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
        """Send the payment, unless the node has one with its hash; or settle or cancel the invoice. Can be repeated.

        Raises:
            TransactionError: it was refused, or FAILED at once, or (FundsRulesError) must no longer be sent; outcome
                REJECTED.
            NodeUnreachable: outcome NOT_SENT if a payment was certainly not sent.
            NodeError: outcome UNKNOWN.
        """
        match _leg_act(act):
            case Pay() as pay:
                await self._send_once(pay)
            case Settle(preimage):
                await self._invoices.settle(preimage)
            case Cancel(payment_hash):
                await self._cancel(payment_hash)

    async def _send_once(self, pay: Pay) -> None:
        async with self._payments.one_at_a_time(pay.payment_hash):
            if await self._was_sent(pay):
                return
            self._liquidity.sent(pay.amount_msat)
            try:
                payment = await self._payments.send(pay)
            except NodeError as error:
                if not _had_no_connection(error):
                    error.outcome = Outcome.UNKNOWN
                raise
        if payment.state is PaymentState.FAILED:
            raise TransactionError(
                f"the payment failed: {payment.failure}",
                protocol=LIGHTNING,
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            )

    async def _was_sent(self, pay: Pay) -> bool:
        """Return whether the node has the payment. If not, check that it may be sent."""
        try:
            if await self._payments.find(pay.payment_hash) is not None:
                return True
            await self._check_payable(pay)
        except FundsRulesError as error:
            error.outcome = Outcome.REJECTED
            raise
        except (NodeError, ConfigurationError) as error:
            # These are errors of reads, so no payment was sent.
            raise NodeUnreachable(
                f"the payment was not sent, because the check before it failed: {error.message}",
                code=error.code,
                protocol=LIGHTNING,
                operation=error.operation,
                outcome=Outcome.NOT_SENT,
                tx_id=pay.payment_id,
                remedy=error.remedy,
            ) from error
        return False

    async def _cancel(self, payment_hash: bytes) -> None:
        try:
            await self._invoices.cancel(payment_hash)
        except TransactionError:
            # An invoice that the node does not have cannot be paid.
            if await self._invoices.find(payment_hash) is not None:
                raise

    async def act_status(self, act: Json) -> ActStatus:
        """Return the status of an act, from the node's record of the payment or invoice."""
        known_act = _leg_act(act)
        if isinstance(known_act, Pay):
            return pay_act_status(await self._payments.find(known_act.payment_hash))
        invoice = await self._invoices.find(known_act.payment_hash)
        is_settling = isinstance(known_act, Settle)
        if invoice is None:
            return ActStatus.UNSEEN if is_settling else ActStatus.DONE
        match invoice.state:
            case InvoiceState.SETTLED:
                return ActStatus.DONE if is_settling else ActStatus.FAILED
            case InvoiceState.CANCELED:
                return ActStatus.FAILED if is_settling else ActStatus.DONE
            case InvoiceState.OPEN | InvoiceState.ACCEPTED:
                return ActStatus.UNSEEN
            case _:
                assert_never(invoice.state)

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """Read the leg once.

        If the node is not synced or its clock differs, the call raises ``BadAnswer``, with two exceptions. A leg that
        has ended is shown. A held payment is shown as PENDING, so that nothing relies on it; a party that has the
        preimage, or has revealed it, settles it all the same.
        """
        leg = _leg(htlc)
        # The time is read first: what is concluded from it must be read later.
        state = await self._node.state()
        payment = None
        match side:
            case Side.PAYER:
                payment = await self._payments.find(htlc.payment_hash)
                view = seen_by_payer(leg, payment, state.clock)
            case Side.PAYEE:
                invoice = await self._invoices.find(htlc.payment_hash)
                is_final = await self._is_resolved(invoice, htlc.payment_hash)
                view = seen_by_payee(leg, invoice, state.clock, is_final=is_final)
            case _:
                assert_never(side)
        if view.state not in (LegState.COLLECTED, LegState.RETURNED):
            try:
                state.check_current()
            except BadAnswer as error:
                if view.held is None:
                    raise
                return replace(view, state=LegState.PENDING, reason=error.message)
        if view.state is LegState.FUNDED and payment is not None and await self._has_vanished(leg, payment, view.clock):
            return returned_without_a_message(view)
        return view

    async def _has_vanished(self, leg: LightningLeg, payment: PaymentRecord, clock: ClockReading) -> bool:
        """Return whether no channel has an HTLC of a payment in flight, and none can still be added.

        lnd lists such a payment as in flight permanently if it was killed between the record and the channel's update.
        """
        if not is_past_its_locks(leg, payment, clock, self._settings.timelocks):
            return False
        # In this order, a channel that starts to close between the two calls is in one of the answers.
        if any(payment.payment_hash in channel.hashes for channel in await self._node.channels()):
            return False
        # lnd does not show the hashes of the HTLCs in a closing channel.
        return not await self._node.has_closing_channels()

    async def _is_resolved(self, invoice: InvoiceRecord | None, payment_hash: bytes) -> bool:
        """Return whether every channel has resolved a settled invoice. lnd shows SETTLED before its peer commits."""
        if invoice is None or invoice.state is not InvoiceState.SETTLED:
            return False
        channels = await self._node.channels()
        if any(payment_hash in channel.hashes for channel in channels):
            return False
        open_ids = frozenset().union(*(channel.ids for channel in channels))
        closed_meanwhile = {htlc.channel_id for htlc in invoice.htlcs_in(HtlcState.SETTLED)} - open_ids
        return not closed_meanwhile or closed_meanwhile <= await self._node.closed_channel_ids()

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Return when the node shows a change of the leg, and after the poll interval at the latest."""
        leg = _leg(htlc)
        seconds = self._settings.poll_interval_ms / 1000
        if view.state is LegState.COLLECTED:
            # The status cannot change; the peer commits to a settled payment within one exchange of messages.
            await asyncio.sleep(min(seconds, _RESOLUTION_SECONDS))
            return
        if view.state is LegState.PENDING and view.held is not None:
            # Only the node's clock or sync can change the view.
            await asyncio.sleep(seconds)
            return
        is_payee = await self._node.key() == leg.payee
        async with (
            time_limit(asyncio.timeout(seconds)),
            aclosing(self._tracker.follow(htlc.payment_hash)) as statuses,
        ):
            async for status in statuses:
                if is_payee and status.invoice is not None:
                    seen = seen_by_payee(leg, status.invoice, view.clock, is_final=view.final)
                elif not is_payee and status.payment is not None:
                    seen = seen_by_payer(leg, status.payment, view.clock)
                else:
                    continue
                if (seen.state, seen.held) != (view.state, view.held):
                    return
            # The status of this hash cannot change.
            await asyncio.sleep(seconds)

    async def read_clock(self) -> ClockReading:
        """Return the node's time and the Bitcoin height."""
        return (await self._node.current_state()).clock

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """Return the preimage if the payment has succeeded or the invoice is settled."""
        records = self._payments if side is Side.PAYER else self._invoices
        known = await records.find(htlc.payment_hash)
        return None if known is None or known.preimage is None else LightningPaymentEvidence(known.preimage)


def _leg(htlc: Htlc) -> LightningLeg:
    if not isinstance(htlc.leg, LightningLeg):
        raise InvalidRequest("this leg is not on Lightning", protocol=LIGHTNING)
    return htlc.leg


def _leg_act(value: Json) -> Pay | Settle | Cancel:
    act = read_act(value)
    if isinstance(act, Keysend):
        raise FormatError("a leg is paid by its invoice, not by keysend", protocol=LIGHTNING)
    return act


def _had_no_connection(error: NodeError) -> bool:
    """Whether an act was certainly not sent."""
    no_connection = isinstance(error, NodeUnreachable) or error.code == "certificate"
    return no_connection and error.outcome is Outcome.NOT_SENT


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise FundsRulesError(problem, protocol=LIGHTNING)
