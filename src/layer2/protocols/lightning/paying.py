"""Payments: from a request or a recipient to one payment per idempotency key and per payment hash."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias, assert_never

from layer2.aio.deadline import Deadline
from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    Outcome,
    TransactionError,
)
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.lnurl import LightningAddress
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.ports.journal import SendRecord, SendRecords
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay, read_act, write_act
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.estimates import RouteEstimate, estimate_by_graph, estimate_by_probe
from layer2.protocols.lightning.payments.payments import joined
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import (
    KeysendRequest,
    PaymentRequest,
    check_keysend,
    check_payable,
    decode_invoice,
)
from layer2.protocols.lightning.recipients.recipient import Lnurl, NodeKey, Payee, read_recipient, transfer_digest
from layer2.protocols.lightning.statuses import LightningStatus, payment_status

__all__ = ["Payer"]

Payment: TypeAlias = Pay | Keysend


class Payer:
    """Pays invoices, node keys and LNURL services.

    Args:
        parts: the client's parts.
        sends: the durable record of payments with an idempotency key.
    """

    def __init__(self, parts: LightningParts, sends: SendRecords) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._payments = parts.payments
        self._liquidity = parts.liquidity
        self._sends = sends

    async def pay_request(
        self, request: PaymentRequest | KeysendRequest, idempotency_key: str | None, deadline: Deadline
    ) -> LightningStatus:
        """Pay an invoice or a node's key. Arguments and errors as ``submit_transaction_async`` and ``_pay``."""

        async def make() -> Payment:
            return self._payment_for(request)

        return await self._pay(request.digest(), make, idempotency_key, deadline)

    async def transfer(
        self, recipient: str, amount_msat: int, idempotency_key: str | None, deadline: Deadline
    ) -> LightningPaymentId:
        """Pay this amount to a recipient. Arguments and errors as ``transfer_asset_async`` and ``_pay``."""
        to = read_recipient(recipient)
        to.check_amount(amount_msat)

        async def make() -> Payment:
            payment = self._payment_for(await self._request_for(to.payee, amount_msat))
            if isinstance(to.payee, Lnurl | LightningAddress):
                # The key is not bound to an invoice that cannot be paid: the service may give a better one next time.
                await self._check_sendable(payment)
            return payment

        status = await self._pay(transfer_digest(recipient, amount_msat), make, idempotency_key, deadline)
        if status.state is TxState.FAILED:
            raise TransactionError(
                f"the payment failed: {status.reason}",
                outcome=Outcome.REJECTED,
                tx_id=status.tx_id,
            )
        return status.tx_id

    async def estimate(self, recipient: str, amount_msat: int | None) -> RouteEstimate:
        """Estimate the routing fee. Errors as ``estimate_fee_async``.

        Args:
            recipient: as for ``estimate_fee_async``.
            amount_msat: None takes the amount of the recipient.
        """
        to = read_recipient(recipient)
        payee = to.payee
        if not isinstance(payee, Bolt11Invoice | NodeKey):
            raise InvalidRequest(
                "fees are estimated for an invoice or a node's key; this recipient makes an invoice when it is paid"
            )
        invoice_amount = payee.amount_msat if isinstance(payee, Bolt11Invoice) else None
        if amount_msat is None:
            amount_msat = to.amount_msat or invoice_amount
        if amount_msat is None:
            raise InvalidAmount("the recipient leaves the amount to the payer: give an amount")
        to.check_amount(amount_msat)
        node = await self._parts.node.recent_state()
        key = payee.key if isinstance(payee, NodeKey) else payee.payee
        if key == node.key:
            # lnd would find a circular route.
            raise InvalidRequest("the payee is your own node")
        if isinstance(payee, NodeKey) or not payee.route_hints:
            delta = KEYSEND_FINAL_CLTV_DELTA if isinstance(payee, NodeKey) else payee.min_final_cltv_expiry_delta
            return await estimate_by_graph(self._parts.rest, key, amount_msat, delta, node.height)
        if invoice_amount is None:
            raise InvalidRequest(
                "an invoice with route hints and without an amount cannot be estimated",
                remedy="ask the payee for an invoice with an amount",
            )
        # Half of the call's time, because lnd ends a probe later than requested.
        seconds = max(1, int(self._settings.default_timeout / 2))
        return await estimate_by_probe(self._parts.rest, payee, node.height, seconds)

    async def _pay(
        self, digest: str, make: Callable[[], Awaitable[Payment]], idempotency_key: str | None, deadline: Deadline
    ) -> LightningStatus:
        """Pay once per key.

        Args:
            digest: identifies the request.
            make: makes the payment; called only if no payment is recorded under the key.
            idempotency_key: None makes a new payment, unless its hash is under way or paid.
            deadline: gets the payment's id before anything is sent.
        """
        payment, is_new = await self._recorded(digest, make, idempotency_key)
        deadline.tx_id = payment.payment_id
        async with self._payments.one_at_a_time(payment.payment_hash):
            if not is_new:
                known = await self._payments.find(payment.payment_hash)
                if known is not None:
                    return payment_status(joined(known, payment))
            return payment_status(await self._send(payment))

    def _payment_for(self, request: PaymentRequest | KeysendRequest) -> Payment:
        """The payment for a request. For a node's key it draws a preimage, so each call makes another payment."""
        match request:
            case PaymentRequest():
                return request.resolved(decode_invoice(request.invoice), self._settings)
            case KeysendRequest():
                return request.resolved(Preimage(secrets.token_bytes(32)), self._settings)
            case _:
                assert_never(request)

    async def _request_for(self, payee: Payee, amount_msat: int) -> PaymentRequest | KeysendRequest:
        """The request that pays this payee this amount. An LNURL service is asked for an invoice."""
        match payee:
            case Bolt11Invoice():
                return PaymentRequest(payee.text, amount_msat)
            case NodeKey():
                return KeysendRequest(payee.key, amount_msat)
            case Lnurl() | LightningAddress():
                await self._liquidity.check_sendable(amount_msat)
                invoice = await self._parts.services.invoice(payee, amount_msat)
                await self._check_unpaid(invoice)
                return PaymentRequest(invoice.text, amount_msat)
            case _:
                assert_never(payee)

    async def _check_unpaid(self, invoice: Bolt11Invoice) -> None:
        """Refuse an invoice that a service gave before: the payment of then would count for this transfer."""
        known = await self._payments.find(invoice.payment_hash)
        if known is not None and known.state is not PaymentState.FAILED:
            raise BadAnswer(
                "the LNURL service gave an invoice that is already paid or being paid",
                # A concurrent call with the same key may be paying it.
                outcome=Outcome.UNKNOWN,
                tx_id=invoice.payment_hash.hex(),
                remedy="ask for the payment's status by tx_id before anything else",
            )

    async def _recorded(
        self, digest: str, make: Callable[[], Awaitable[Payment]], idempotency_key: str | None
    ) -> tuple[Payment, bool]:
        """Return the payment for the key, recorded by now, and whether no other call can have sent it."""
        if idempotency_key is None:
            return await make(), True
        stored = await self._sends.find_send(LIGHTNING, idempotency_key)
        if stored is None:
            made = await make()
            record = SendRecord(LIGHTNING, idempotency_key, digest, made.payment_id, write_act(made))
            stored = await self._sends.add_send(record)
            if stored is record:
                return made, True
        if stored.request != digest:
            raise IdempotencyConflict(
                "the idempotency key was used with another request; nothing was sent", tx_id=stored.tx_id
            )
        act = read_act(stored.act)
        if not isinstance(act, Pay | Keysend):
            raise FormatError("the record of this key is not a payment")
        return act, False

    async def _send(self, payment: Payment) -> PaymentRecord:
        try:
            await self._check_sendable(payment)
        except (FundsRulesError, InsufficientFunds):
            # It may have been paid earlier, when that was possible. If so, this call returns that payment.
            known = await self._payments.find(payment.payment_hash)
            if known is None or known.state is PaymentState.FAILED:
                raise
            return joined(known, payment)
        self._liquidity.sent(payment.amount_msat)
        return await self._payments.send(payment)

    async def _check_sendable(self, payment: Payment) -> None:
        state = await self._parts.node.recent_state()
        match payment:
            case Pay():
                invoice, prefix = decode_invoice(payment.invoice), self._settings.invoice_prefix
                check_payable(payment, invoice, prefix=prefix, own_key=state.key, now=state.date)
                self._parts.holds.check_not_paid_under(payment.payment_hash)
                max_parts = payment.max_parts
            case Keysend():
                check_keysend(payment, own_key=state.key)
                max_parts = 1
            case _:
                assert_never(payment)
        await self._liquidity.check_sendable(payment.amount_msat, max_parts=max_parts)
