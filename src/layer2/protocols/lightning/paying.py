"""Paying: the public calls around own payments. One payment for a key, and one for a payment hash."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import assert_never

from layer2.aio.blocking import twin
from layer2.errors import (
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
)
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.model.money import BTC, MSAT_DECIMALS, checked_amount, rescaled
from layer2.model.transactions import Preimage
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecord, SendRecords
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay, read_act, write_act
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.estimates import RouteEstimate, estimate_by_graph, estimate_by_probe
from layer2.protocols.lightning.payments.payments import joined
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import (
    KeysendRequest,
    LightningTransaction,
    PaymentRequest,
    check_keysend,
    check_payable,
    decode_invoice,
)
from layer2.protocols.lightning.recipients.recipient import NodeKey, read_recipient
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.statuses import LightningStatus, payment_status

__all__ = ["LightningPaying"]


class LightningPaying(LightningParts):
    """Payments of the party's own lnd.

    Args:
        settings: where the node is, and the payer's limits.
        sends: where payments with an idempotency key are recorded before they are sent.
        clock: this machine's.
    """

    def __init__(self, settings: LightningSettings, sends: SendRecords, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._sends = sends

    async def submit_transaction_async(
        self,
        transaction: LightningTransaction,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> LightningStatus:
        """Pay an invoice, or a node's key; return once the node has taken the payment, which is not success yet.

        One payment per payment hash: one that is under way or has succeeded is joined, and its status returned. A
        payment that FAILED is sent again only for another key, or when it is asked for without one.

        Args:
            transaction: an invoice's text, or a request with limits. For a ``KeysendRequest`` without a key each call
                is a payment of its own.
            idempotency_key: written down before anything is sent; the same key never pays a second time.

        Raises:
            FormatError, InvalidRequest, FundsRulesError: nothing was sent.
            InsufficientFunds: the channels cannot send it; nothing was sent.
            TransactionError: lnd refused it (outcome REJECTED).
            NodeUnreachable, BadAnswer, AsyncTimeout: where the outcome is UNKNOWN, ask for the status of ``tx_id``.
            IdempotencyConflict: the key was used for another request.
        """
        request = PaymentRequest(transaction) if isinstance(transaction, str) else transaction

        async def make_act() -> Pay | Keysend:
            return self._act_of(request)

        return await self._pay(
            request.digest(),
            make_act,
            idempotency_key,
            operation="submit_transaction_async",
            timeout=timeout,
        )

    async def estimate_fee_async(
        self, recipient: str, amount: int | None = None, *, timeout: float | None = None
    ) -> RouteEstimate:
        """Estimate what paying would cost in routing, by the node's graph, or by a probe.

        The graph does not know the private channels that an invoice's route hints name. Then the node sends payments
        that cannot succeed, as nobody knows their preimage: they lock money for a moment, and whoever forwards them,
        and the payee, can tell that someone asks. An estimate promises nothing: the limit of a payment does.

        Args:
            recipient: an invoice, or a node's public key, as ``transfer_asset_async`` takes them.
            amount: satoshi; may be omitted for an invoice that says it.

        Raises:
            InvalidAmount: no amount is given, or another one than the invoice's.
            InvalidRequest: the recipient only makes an invoice when it is to be paid; or the invoice has route hints
                and leaves the amount to the payer, which lnd does not estimate.
            InsufficientFunds: no channel can send that much.
            TransactionError: there is no route (code ``no_route``).
        """
        named = read_recipient(recipient)
        payee = named.payee
        if not isinstance(payee, Bolt11Invoice | NodeKey):
            raise InvalidRequest(
                "fees are estimated for an invoice or a node's key; this recipient makes an invoice when it is paid",
                protocol=LIGHTNING,
            )
        own_amount = payee.amount_msat if isinstance(payee, Bolt11Invoice) else None
        if amount is not None:
            amount_msat = rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS)
        elif (asked := named.amount_msat or own_amount) is not None:
            amount_msat = asked
        else:
            raise InvalidAmount("the recipient leaves the amount to the payer: say how much", protocol=LIGHTNING)
        named.check_amount(amount_msat)
        async with self._within(timeout, "estimate_fee_async"):
            node = await self._recent_node.get()
            match payee:
                case NodeKey():
                    key, delta = payee.key, KEYSEND_FINAL_CLTV_DELTA
                case Bolt11Invoice():
                    key, delta = payee.payee, payee.min_final_cltv_expiry_delta
                case _:
                    assert_never(payee)
            if key == node.key:
                # lnd would find a way in a circle.
                raise InvalidRequest("the payee is the own node", protocol=LIGHTNING)
            if isinstance(payee, NodeKey) or not payee.route_hints:
                return await estimate_by_graph(self._rest, key, amount_msat, delta, node.height)
            if own_amount is None:
                raise InvalidRequest(
                    "an invoice with route hints and without an amount cannot be estimated",
                    protocol=LIGHTNING,
                    remedy="ask the payee for an invoice with an amount",
                )
            # Half of what the call has: lnd ends a probe later than it is told.
            seconds = max(1, int(self._settings.default_timeout / 2))
            return await estimate_by_probe(self._rest, payee, node.height, seconds)

    estimate_fee_sync = twin(estimate_fee_async)

    async def _pay(
        self,
        digest: str,
        make_act: Callable[[], Awaitable[Pay | Keysend]],
        idempotency_key: str | None,
        *,
        operation: str,
        timeout: float | None,
    ) -> LightningStatus:
        """Pay once for a key.

        Args:
            digest: of what was asked for.
            make_act: says what to send; called only where nothing is recorded under the key.
            idempotency_key: None pays whatever was paid before, except that a hash under way or paid is joined.
            operation: the public call's name.
            timeout: seconds for all of it.
        """
        async with self._within(timeout, operation) as call:
            act, is_first = await self._recorded(digest, make_act, idempotency_key)
            call.tx_id = act.payment_id
            async with self._payments.one_at_a_time(act.payment_hash):
                if not is_first:
                    known = await self._payments.find(act.payment_hash)
                    if known is not None:
                        return payment_status(joined(known, act))
                return payment_status(await self._send(act))

    def _act_of(self, request: PaymentRequest | KeysendRequest) -> Pay | Keysend:
        """What to send for a request. Another one each time for a node's key, because its preimage is drawn here."""
        match request:
            case PaymentRequest():
                return request.resolved(decode_invoice(request.invoice), self._settings)
            case KeysendRequest():
                return request.resolved(Preimage(secrets.token_bytes(32)), self._settings)
            case _:
                assert_never(request)

    async def _recorded(
        self, digest: str, make_act: Callable[[], Awaitable[Pay | Keysend]], idempotency_key: str | None
    ) -> tuple[Pay | Keysend, bool]:
        """What to send for the key, written down by now, and whether nobody can have sent it for that key yet."""
        if idempotency_key is None:
            return await make_act(), True
        stored = await self._sends.find_send(LIGHTNING, idempotency_key)
        if stored is None:
            made = await make_act()
            record = SendRecord(LIGHTNING, idempotency_key, digest, made.payment_id, write_act(made))
            stored = await self._sends.add_send(record)
            if stored is record:
                return made, True
        if stored.request != digest:
            raise IdempotencyConflict(
                "the idempotency key was used with another request; nothing was sent",
                protocol=LIGHTNING,
                tx_id=stored.tx_id,
            )
        act = read_act(stored.act)
        if not isinstance(act, Pay | Keysend):
            raise FormatError("the record of this key is not one of a payment", protocol=LIGHTNING)
        return act, False

    async def _send(self, act: Pay | Keysend) -> PaymentRecord:
        try:
            await self._check_sendable(act)
        except (FundsRulesError, InsufficientFunds):
            # It may have been paid when it still could: then this caller joins, as after a refusal of lnd's.
            known = await self._payments.find(act.payment_hash)
            if known is None or known.state is PaymentState.FAILED:
                raise
            return joined(known, act)
        self._liquidity.sent(act.amount_msat)
        return await self._payments.send(act)

    async def _check_sendable(self, act: Pay | Keysend) -> None:
        state = await self._recent_node.get()
        match act:
            case Pay():
                invoice, prefix = decode_invoice(act.invoice), self._settings.invoice_prefix
                check_payable(act, invoice, prefix=prefix, own_key=state.key, now=state.date)
                self._given_hashes.check_not_paid_under(act.payment_hash)
                max_parts = act.max_parts
            case Keysend():
                check_keysend(act, own_key=state.key)
                max_parts = 1
            case _:
                assert_never(act)
        await self._liquidity.check_sendable(act.amount_msat, max_parts=max_parts)
