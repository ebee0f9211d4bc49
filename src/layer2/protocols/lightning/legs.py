"""Hash-locked legs on Lightning: the acts and reads of a swap, made with hold invoices and payments."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final, assert_never

from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    InvalidRequest,
    NodeError,
    TransactionError,
)
from layer2.legs.evidence import LegEvidence, LightningPaymentEvidence
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg, LightningOffer, routing_fee_limit
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer, LegListener
from layer2.protocols.lightning.acts import Cancel, Keysend, Pay, Settle, read_act, write_act
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.protocols.lightning.invoices.records import HtlcState, InvoiceRecord, InvoiceState
from layer2.protocols.lightning.leg_sends import LegSends, require
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.node.watch import NodeMark
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import msat
from layer2.protocols.lightning.statuses import HashStatus
from layer2.protocols.lightning.views import (
    is_past_its_locks,
    next_time,
    pay_act_status,
    returned_without_a_message,
    seen_by_payee,
    seen_by_payer,
)

__all__ = ["LightningLegs"]


_RESOLUTION_SECONDS: Final = 0.1
"""Seconds from the first look at the channels of a settled invoice to the second; from there on twice as long each
time."""
_LONGEST_RESOLUTION_SECONDS: Final = 10.0


class LightningLegs(HtlcLayer):
    """Legs at the party's own lnd.

    Args:
        parts: the client's parts.
    """

    def __init__(self, parts: LightningParts) -> None:
        self._node = parts.node
        self._invoices = parts.invoices
        self._holds = parts.holds
        self._liquidity = parts.liquidity
        self._tracker = parts.tracker
        self._watch = parts.watch
        self._records = parts.leg_records
        self._sends = LegSends(parts)
        self._settings = parts.settings
        self._interval = parts.settings.poll_interval_ms / 1000

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
        await self._liquidity.check_receivable(amount_msat, request.payment_hash)
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
        await self._node.current_state_within(self._interval)
        try:
            match side:
                case Side.PAYER:
                    needed = leg.amount_msat + leg.fee_limit_msat
                    max_parts = self._settings.timelocks.max_parts
                    await self._liquidity.check_sendable(needed, max_parts=max_parts, payment_hash=htlc.payment_hash)
                case Side.PAYEE:
                    await self._liquidity.check_receivable(leg.amount_msat, htlc.payment_hash)
                case _:
                    assert_never(side)
        except InsufficientFunds:
            if not await self._is_under_way(htlc, side):
                raise
        self._records.follow(htlc.payment_hash, side)

    async def _is_under_way(self, htlc: Htlc, side: Side) -> bool:
        if side is Side.PAYER:
            payment = await self._records.payment(htlc.payment_hash, newest=True)
            return payment is not None and payment.state is not PaymentState.FAILED
        invoice = await self._records.invoice(htlc.payment_hash, newest=True)
        return invoice is not None and invoice.state in (InvoiceState.ACCEPTED, InvoiceState.SETTLED)

    def free(self, htlc: Htlc) -> None:
        """See ``HtlcLayer``: the leg is followed no longer."""
        self._records.free(htlc.payment_hash)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """Make an act from the leg. A payment is checked against every rule for payments."""
        leg = _leg(htlc)
        own = await self._node.key() == leg.payee
        match verb:
            case Verb.FUND:
                return write_act(await self._sends.prepare(htlc.payment_hash, leg))
            case Verb.COLLECT:
                require(own, "only the payee can settle its invoice")
                if preimage is None or preimage.payment_hash != htlc.payment_hash:
                    raise FundsRulesError("the preimage of the payment hash is needed to settle", protocol=LIGHTNING)
                return write_act(Settle(preimage))
            case Verb.RELEASE:
                require(own, "only the payee can cancel its invoice")
                return write_act(Cancel(htlc.payment_hash))
            case Verb.RECLAIM | Verb.VOID:
                raise FundsRulesError(
                    "on Lightning there is nothing to reclaim: a payment that is not collected is returned by itself",
                    protocol=LIGHTNING,
                )
            case _:
                assert_never(verb)

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
                await self._sends.send_once(pay)
            case Settle(preimage):
                self._tracker.learn_invoice(await self._invoices.settle(preimage))
            case Cancel(payment_hash):
                await self._cancel(payment_hash)

    async def _cancel(self, payment_hash: bytes) -> None:
        try:
            cancelled = await self._invoices.cancel(payment_hash)
        except TransactionError:
            # An invoice that the node does not have cannot be paid.
            if await self._records.invoice(payment_hash, newest=True) is not None:
                raise
            return
        if cancelled is not None:
            self._tracker.learn_invoice(cancelled)

    async def act_status(self, act: Json) -> ActStatus:
        """Return the status of an act, from the node's record of the payment or invoice."""
        known_act = _leg_act(act)
        if isinstance(known_act, Pay):
            return pay_act_status(await self._records.sent_payment(known_act.payment_hash))
        invoice = await self._records.invoice(known_act.payment_hash)
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
        """Read the leg once: the node's state of the last poll interval, and the newest record of the hash.

        If the node is not synced or its clock differs, the call raises ``BadAnswer``, with two exceptions. A leg that
        has ended is shown. A held payment is shown as PENDING, so that nothing relies on it; a party that has the
        preimage, or has revealed it, settles it all the same.
        """
        leg = _leg(htlc)
        # The time is read first: what is concluded from it must be read later.
        state = await self._node.shared_state(self._interval)
        payment = None
        match side:
            case Side.PAYER:
                payment = await self._records.payment(htlc.payment_hash)
                if payment is None and seen_by_payer(leg, None, state.clock).over:
                    payment = await self._records.payment(htlc.payment_hash, newest=True)
                view = seen_by_payer(leg, payment, state.clock)
            case Side.PAYEE:
                invoice = await self._records.invoice(htlc.payment_hash)
                if invoice is None:
                    await self._check_payee(leg)
                if invoice is not None and invoice.state is InvoiceState.OPEN and state.date >= invoice.expires_at:
                    # lnd reports on no stream that an invoice has expired.
                    invoice = await self._records.invoice(htlc.payment_hash, newest=True)
                # A reading of the channels serves one interval: the first one may show an HTLC that is resolved later.
                recently = asyncio.get_running_loop().time() - self._interval
                moment = max(recently, self._records.changed_at(htlc.payment_hash))
                is_final = await self._is_resolved(invoice, moment)
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
            # The record may be older than the channels, and a preimage that settled it would have closed one.
            newest = await self._records.payment(htlc.payment_hash, newest=True)
            view = seen_by_payer(leg, newest, state.clock)
            return returned_without_a_message(view) if view.state is LegState.FUNDED else view
        return view

    async def _check_payee(self, leg: LightningLeg) -> None:
        """Check that this node made the leg's invoice: only then the lack of an invoice shows that none can be paid.

        Raises:
            NodeError: another node made it, which may hold a payment.
        """
        if (key := await self._node.key()) != leg.payee:
            raise NodeError(
                f"the invoice is of the node {leg.payee.hex()}, and this party's node is {key.hex()}",
                protocol=LIGHTNING,
                remedy="use the node that made the invoice",
            )

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

    async def _is_resolved(self, invoice: InvoiceRecord | None, moment: float) -> bool:
        """Return whether every channel has resolved a settled invoice. lnd shows SETTLED before its peer commits.

        Args:
            invoice: the node's, if there is one.
            moment: no reading of the channels from before counts, by the clock of the event loop. The invoice must have
                been settled by then.
        """
        if invoice is None or invoice.state is not InvoiceState.SETTLED:
            return False
        channels = await self._node.channels_since(moment)
        if any(invoice.payment_hash in channel.hashes for channel in channels):
            return False
        open_ids = frozenset().union(*(channel.ids for channel in channels))
        closed_meanwhile = {htlc.channel_id for htlc in invoice.htlcs_in(HtlcState.SETTLED)} - open_ids
        return not closed_meanwhile or closed_meanwhile <= await self._node.closed_channel_ids_since(moment)

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Return when the leg's view may differ, or the node cannot be read.

        Its record, the Bitcoin height and the node's sync and clock can change it, and a few times by the node's clock.
        One read of the node in each poll interval serves all waits.
        """
        leg = _leg(htlc)
        if view.state is LegState.COLLECTED:
            await self._resolution(htlc.payment_hash)
            return
        is_payee = await self._node.key() == leg.payee
        # A held payment is PENDING while the node is not current.
        is_current = not (view.state is LegState.PENDING and view.held is not None)
        until = next_time(leg, view.clock, self._settings.timelocks)
        mark = NodeMark(view.clock.height, is_current, until)
        with self._records.following(htlc.payment_hash, Side.PAYEE if is_payee else Side.PAYER) as tracked:
            while not _has_changed(leg, view, tracked.status, is_payee=is_payee):
                tracked.check()
                waiter = asyncio.get_running_loop().create_future()
                with tracked.waking(waiter), self._watch.waking(waiter, mark):
                    if await waiter:
                        return

    @property
    def can_follow(self) -> bool:
        """See ``HtlcLayer``."""
        return True

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """See ``HtlcLayer``: the status of the hash is reported.

        A Bitcoin height is not: it can only show, days later, that lnd forgot a payment. A payment that this party has
        not begun to send cannot change, so nothing is followed for it.
        """
        leg = _leg(htlc)
        if view.state is LegState.COLLECTED or (view.state is LegState.PENDING and view.held is not None):
            # The channels resolve it soon, or the node is not current.
            return None
        if side is Side.PAYEE or view.state is not LegState.NONE or view.reason is not None:
            tracked = self._records.listen(htlc.payment_hash, side, listener)
            if _has_changed(leg, view, tracked.status, is_payee=side is Side.PAYEE):
                self.unfollow(htlc.payment_hash, listener)
                return None
        return next_time(leg, view.clock, self._settings.timelocks)

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """See ``HtlcLayer``."""
        self._records.unlisten(payment_hash, listener)

    async def _resolution(self, payment_hash: bytes) -> None:
        """Return when the channels have resolved a settled invoice. Every reading of them serves all waits."""
        pause = _RESOLUTION_SECONDS
        while True:
            invoice = await self._records.invoice(payment_hash)
            moment = asyncio.get_running_loop().time()
            if invoice is None or await self._is_resolved(invoice, moment):
                return
            await asyncio.sleep(pause)
            # A channel that is being closed takes hours.
            pause = min(pause * 2, _LONGEST_RESOLUTION_SECONDS)

    async def read_clock(self) -> ClockReading:
        """Return the node's time and the Bitcoin height."""
        return (await self._node.current_state_within(self._interval)).clock

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """Return the preimage if the payment has succeeded or the invoice is settled."""
        known: PaymentRecord | InvoiceRecord | None
        if side is Side.PAYER:
            known = await self._records.payment(htlc.payment_hash)
        else:
            known = await self._records.invoice(htlc.payment_hash)
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


def _has_changed(leg: LightningLeg, view: LegView, status: HashStatus, *, is_payee: bool) -> bool:
    """Whether the record shows another state of the leg than the view."""
    if is_payee and status.invoice is not None:
        seen = seen_by_payee(leg, status.invoice, view.clock, is_final=view.final)
    elif not is_payee and status.payment is not None:
        seen = seen_by_payer(leg, status.payment, view.clock)
    else:
        return False
    if view.state is LegState.PENDING and view.held is not None:
        # While the node is not current, a held payment is not shown as FUNDED.
        return seen.held != view.held
    return (seen.state, seen.held) != (view.state, view.held)
