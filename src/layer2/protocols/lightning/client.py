"""The Lightning client: pay, be paid, and take part in swaps (``legs``), through the party's own lnd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar

from layer2.aio.blocking import Portal, iterator_twin, twin
from layer2.aio.deadline import Deadline
from layer2.errors import AsyncRuntimeError, InvalidRequest, ProofUndecided, UnknownAsset
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecords
from layer2.protocols.lightning.invoices.feed import InvoiceCursor, InvoiceUpdate
from layer2.protocols.lightning.invoices.holds import Hold
from layer2.protocols.lightning.invoices.invoices import NewInvoice, checked_hash
from layer2.protocols.lightning.legs import LightningLegs
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.paying import Payer
from layer2.protocols.lightning.payments.estimates import RouteEstimate
from layer2.protocols.lightning.payments.feed import PaymentCursor, PaymentUpdate
from layer2.protocols.lightning.payments.request import LightningTransaction, PaymentRequest, msat
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.statuses import LightningStatus, has_reached, read_payment_id

__all__ = ["LightningNetwork"]


class LightningNetwork(Layer2ProtocolAsync[LightningTransaction, LightningPaymentId, str, LightningPaymentEvidence]):
    """Lightning through one lnd. Amounts are in satoshi.

    Example: ``async with LightningNetwork(settings, sends, SystemClock()) as lightning: ...``

    A transaction is an invoice (its text, or a ``PaymentRequest`` with limits) or a node's key (``KeysendRequest``).
    Its id is the payment hash, which payer and payee share. ``transfer_asset_async`` lists the kinds of recipients.

    Args:
        settings: the node's address, and the payer's limits.
        sends: the durable record of payments with an idempotency key.
        clock: this machine's clock.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    def __init__(self, settings: LightningSettings, sends: SendRecords, clock: Clock) -> None:
        self._settings = settings
        self._parts = LightningParts(settings, clock)
        self._payer = Payer(self._parts, sends)
        self.legs = LightningLegs(self._parts)

    def __repr__(self) -> str:
        return f"LightningNetwork({self._settings.network}, {self._settings.rest_url})"

    def bind(self, portal: Portal, limit: asyncio.Semaphore | None = None) -> None:
        """See ``Layer2ProtocolAsync``. A client that was closed can be entered again, also in another loop."""
        super().bind(portal, limit)
        self._parts.rest.reopen()

    async def aclose(self) -> None:
        """Close all connections. Waits and iterators raise an error; payments under way continue at the node."""
        await self._parts.aclose()

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``. Checks network, version, sync, clock, and the node's settings for held payments.

        Raises ``NodeRefused`` (locked, starting) and ``ConfigurationError`` (too old, or unsafe for held payments).
        """
        async with self._within(timeout, "initialize_async"):
            await self._parts.node.check()

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """Return the balance of the channels, without the node's wallet on the chain.

        ``spendable`` and ``receivable`` are upper limits over all active channels. ``reserved`` is what is in flight,
        what channels must keep back, and what is in inactive channels.
        """
        async with self._within(timeout, "balances_async"):
            return {BTC: await self._parts.liquidity.balance()}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """Return the node's public key, 66 hexadecimal digits.

        Others can pay the key without an invoice (keysend) if the node accepts it (lnd: ``accept-keysend``). Such a
        payment states no purpose; use an invoice for each payment instead.
        """
        async with self._within(timeout, "receive_address_async"):
            return (await self._parts.node.key()).hex()

    async def sign_message_async(self, message: str | bytes, *, timeout: float | None = None) -> str:
        """Sign a message with the node's key. ``layer2.formats.signed_message.verify_message`` verifies it.

        The signature does not show when or for whom it was made, and it cannot move money.

        Args:
            message: not empty; text is signed as UTF-8.

        Returns:
            104 characters of zbase32, as in lnd and Core Lightning, verified with the node's key.
        """
        async with self._within(timeout, "sign_message_async"):
            return await self._parts.node.sign(message)

    async def submit_transaction_async(
        self, transaction: LightningTransaction, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> LightningStatus:
        """Pay an invoice or a node's key; return once the node has accepted the payment, which is not success yet.

        There is one payment per payment hash: if one is under way or has succeeded, its status is returned. A payment
        that FAILED is sent again only for another key, or without a key.

        Args:
            transaction: an invoice's text, or a request. Without a key, a ``KeysendRequest`` always is a new payment.
            idempotency_key: recorded before anything is sent; the same key never pays a second time.

        Raises:
            FormatError, InvalidRequest, FundsRulesError, InsufficientFunds: nothing was sent.
            TransactionError: lnd refused it (outcome REJECTED).
            NodeUnreachable, BadAnswer, AsyncTimeout: if the outcome is UNKNOWN, ask for the status of ``tx_id``.
            IdempotencyConflict: the key was used for another request.
        """
        request = PaymentRequest(transaction) if isinstance(transaction, str) else transaction
        async with self._within(timeout, "submit_transaction_async") as deadline:
            return await self._payer.pay_request(request, idempotency_key, deadline)

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> LightningPaymentId:
        """Pay exactly this amount to a recipient; return the id once the node has accepted the payment.

        An LNURL service or Lightning address is asked for an invoice first, and learns only the amount. With an
        idempotency key that invoice is recorded before it is paid, and a repeated call pays the same invoice. Without a
        key each call is a new payment, unless the invoice is under way or paid. A node's key is paid by keysend, which
        does not prove that the payee delivered anything.

        Args:
            asset_id: BTC.
            amount: satoshi; equal to the amount in the invoice or URI, if that has one.
            recipient: an invoice (BOLT 11), a Lightning address (LUD-16), an LNURL (LUD-01), a node's public key in
                hexadecimal digits, or a ``lightning:`` or ``bitcoin:`` URI (BIP 21) with one of these.

        Raises:
            FormatError, ProtocolNotImplemented: the recipient is none of these.
            InvalidAmount: the invoice, the URI or the service asks for another amount.
            NodeError: of lnd or of an LNURL service; nothing was sent unless the outcome is UNKNOWN.
            TransactionError: it failed at once, with the node's reason.
            InsufficientFunds, FundsRulesError, IdempotencyConflict, AsyncTimeout: as ``submit_transaction_async``.
        """
        if asset_id != BTC:
            raise UnknownAsset(f"Lightning carries layer2.BTC, not {asset_id!r}", protocol=LIGHTNING)
        async with self._within(timeout, "transfer_asset_async") as deadline:
            return await self._payer.transfer(recipient, msat(amount), idempotency_key, deadline)

    async def estimate_fee_async(
        self, recipient: str, amount: int | None = None, *, timeout: float | None = None
    ) -> RouteEstimate:
        """Estimate the routing fee of a payment, from the node's graph or by a probe.

        An invoice with route hints is probed, because the graph lacks its channels: the node sends payments with an
        unknown preimage, which fail. They lock money for a moment, and forwarding nodes and the payee can notice them.
        An estimate is not a limit; set the fee limit of the payment for that.

        Args:
            recipient: an invoice or a node's public key, as for ``transfer_asset_async``.
            amount: satoshi; may be omitted for an invoice with an amount.

        Raises:
            InvalidAmount: there is no amount, or another one than the invoice's.
            InvalidRequest: an LNURL or Lightning address, or an invoice with route hints and without an amount.
            InsufficientFunds: no channel can send the amount.
            TransactionError: there is no route (code ``no_route``).
        """
        async with self._within(timeout, "estimate_fee_async"):
            return await self._payer.estimate(recipient, None if amount is None else msat(amount))

    async def create_invoice_async(
        self,
        amount: int | None,
        *,
        memo: str = "",
        description_hash: bytes | None = None,
        expiry_seconds: int = 3600,
        private: bool = False,
        timeout: float | None = None,
    ) -> Bolt11Invoice:
        """Make an invoice; the node keeps its preimage until it is paid.

        Args:
            amount: satoshi; None leaves it to the payer, who may then pay less than you expect.
            memo: description for the payer.
            description_hash: 32 bytes: SHA-256 of a description published elsewhere. Only the node keeps the memo then.
            expiry_seconds: time for which it can be paid.
            private: whether it lists the node's private channels, which the payer then learns.

        Returns:
            The signed invoice, checked against the request. ``text`` is for the payer; the payment hash in hexadecimal
            digits is the transaction id.

        Raises:
            InvalidAmount, InvalidRequest, NodeError, AsyncTimeout: no invoice was made, or it was not given to anyone.
        """
        amount_msat = None if amount is None else msat(amount)
        new = NewInvoice(amount_msat, memo, expiry_seconds, private=private, description_hash=description_hash)
        async with self._within(timeout, "create_invoice_async"):
            return await self._parts.invoices.add(new)

    async def create_hold_invoice_async(
        self,
        payment_hash: bytes,
        amount: int | None,
        *,
        memo: str = "",
        description_hash: bytes | None = None,
        expiry_seconds: int = 3600,
        final_cltv_delta: int | None = None,
        private: bool = False,
        timeout: float | None = None,
    ) -> Bolt11Invoice:
        """Make an invoice whose payment is held until ``settle_invoice_async`` or ``cancel_invoice_async``.

        A payment that is held too long returns to its payer; ``holds_async`` shows the blocks that are left.

        Args:
            payment_hash: 32 bytes: SHA-256 of a preimage that the node need not know yet.
            amount: satoshi; None leaves it to the payer: check what is held before settling.
            memo, description_hash, expiry_seconds, private: as for ``create_invoice_async``.
            final_cltv_delta: blocks for which an arriving payment must be valid, at least 24; None is lnd's default.

        Returns:
            The signed invoice. If an earlier call with the same request made one that is unpaid, that one.

        Raises:
            IdempotencyConflict: ``payment_hash_used``. Others as ``create_invoice_async``.
        """
        amount_msat, expected = None if amount is None else msat(amount), checked_hash(payment_hash)
        new = NewInvoice(amount_msat, memo, expiry_seconds, final_cltv_delta, expected, private, description_hash)
        async with self._within(timeout, "create_hold_invoice_async"):
            return await self._parts.holds.make(new, payment_hash)

    async def settle_invoice_async(self, preimage: Preimage, *, timeout: float | None = None) -> None:
        """Settle the invoice with the preimage's hash; has no effect if it is settled.

        The payer gets the preimage. The result is read back, but the channel's peer may not have committed to it yet.

        Raises:
            TransactionError: nothing is held, or it was returned to the payer (outcome REJECTED).
            NodeError, AsyncTimeout: outcome UNKNOWN; settle again, or ask for the status.
        """
        async with self._within(timeout, "settle_invoice_async", preimage.payment_hash.hex()):
            await self._parts.invoices.settle(preimage)

    async def cancel_invoice_async(self, payment_hash: bytes, *, timeout: float | None = None) -> None:
        """Cancel the invoice with this hash, and return what is held for it; has no effect if it is cancelled.

        Raises:
            TransactionError: it is settled, or there is no such invoice (outcome REJECTED).
            NodeError, AsyncTimeout: outcome UNKNOWN; cancel again, or ask for the status.
        """
        async with self._within(timeout, "cancel_invoice_async", checked_hash(payment_hash).hex()):
            await self._parts.invoices.cancel(payment_hash)

    async def holds_async(self, *, timeout: float | None = None) -> tuple[Hold, ...]:
        """Return all payments that are held for invoices, those first that must be settled first.

        A hold near its expiry is also logged, once. ``BadAnswer`` is raised if the node is not synced, because the
        height is not known then.
        """
        async with self._within(timeout, "holds_async"):
            return await self._parts.holds.list()

    @property
    def open_streams(self) -> int:
        """Number of streams of the node that are open or being opened, each with its own socket.

        One for all payments and one for all invoices while they are followed, one for each followed invoice that may be
        held (up to ``max_hold_streams``), and one for each payment under way (up to ``max_payment_streams``).
        """
        return self._parts.rest.open_streams + self._parts.payment_feed.open_sends

    async def get_transaction_status_async(
        self, tx_id: LightningPaymentId, *, timeout: float | None = None
    ) -> LightningStatus:
        """Return the status of the node's payment or invoice with that payment hash.

        An invoice is PENDING until it is settled (FINAL), or cancelled or expired (FAILED). ``fee`` is in millisatoshi,
        for payments only.
        """
        payment_hash = read_payment_id(tx_id)
        async with self._within(timeout, "get_transaction_status_async"):
            return (await self._parts.tracker.read(payment_hash)).for_id(tx_id)

    async def wait_for_status_async(
        self, tx_id: LightningPaymentId, *, until: TxState = TxState.FINAL, timeout: float | None = None
    ) -> LightningStatus:
        """Wait until the payment or invoice is at least in that state, or has FAILED.

        It also waits for an id that the node does not know yet, and while the node is unreachable. Without ``timeout``
        there is no time limit. After ``AsyncTimeout`` the payment continues. ``NodeError`` is raised for an error that
        a retry cannot cure, or if the client was closed.
        """
        if until in (TxState.FAILED, TxState.DROPPED):
            raise InvalidRequest(f"a wait until {until.value} is not possible: every wait ends when the payment fails")
        async with (
            Deadline("wait_for_status_async", timeout, LIGHTNING, tx_id=tx_id),
            aclosing(self.watch_transaction_async(tx_id)) as statuses,
        ):
            async for status in statuses:
                if has_reached(status, until):
                    return status
        raise AsyncRuntimeError("the updates ended before the payment did", protocol=LIGHTNING)

    async def watch_transaction_async(self, tx_id: LightningPaymentId) -> AsyncGenerator[LightningStatus, None]:
        """Yield the status now and after each change; a slow reader gets only the newest.

        Ends after FINAL or FAILED. If a FAILED payment is sent again, call this again. Iterating raises ``FormatError``
        for a wrong id, and ``NodeError`` for an error that a retry cannot cure, or if the client was closed.
        """
        last: LightningStatus | None = None
        async with aclosing(self._parts.tracker.follow(read_payment_id(tx_id))) as statuses:
            async for known in statuses:
                status = known.for_id(tx_id)
                if status != last:
                    last = status
                    yield status
                if status.state in (TxState.FINAL, TxState.FAILED):
                    return

    async def watch_payments_async(self, after: PaymentCursor | None = None) -> AsyncGenerator[PaymentUpdate, None]:
        """Yield every payment of the node when it is under way and when it is decided, each once and in order.

        A payment that is decided quickly may be yielded only as decided. If a payment FAILED and is sent again, that is
        another payment. Broken connections and restarts cause neither gaps nor repeats.

        Args:
            after: the cursor of the last update that was processed, also by an earlier process. None starts now.

        Raises:
            NodeError: an error that a retry cannot cure, or the client was closed.
            AsyncRuntimeError: too many updates were waiting; none is missing before the error.
        """
        async with aclosing(self._parts.payment_feed.updates(after)) as updates:
            async for update in updates:
                yield update

    async def watch_invoices_async(self, after: InvoiceCursor | None = None) -> AsyncGenerator[InvoiceUpdate, None]:
        """Yield every invoice of the node when it is made and when it is settled, each once.

        lnd's stream does not report that an invoice is held or cancelled; use ``watch_transaction_async`` for that.
        Broken connections and restarts cause neither gaps nor repeats. Arguments and errors as
        ``watch_payments_async``; None starts now.
        """
        async with aclosing(self._parts.invoice_feed.updates(after)) as updates:
            async for update in updates:
                yield update

    async def verify_proof_async(self, proof: LightningPaymentEvidence, *, timeout: float | None = None) -> bool:
        """Return whether this client's node paid, or was paid, with this preimage.

        False: the node has no such payment, or the payment was returned. The result proves nothing to others.
        ``ProofUndecided`` is raised while a payment with this hash is under way or the invoice can still be paid.
        """
        payment_hash = proof.preimage.payment_hash
        async with self._within(timeout, "verify_proof_async"):
            status = (await self._parts.tracker.read(payment_hash)).for_id(LightningPaymentId(payment_hash.hex()))
        if status.state is TxState.PENDING:
            raise ProofUndecided("a payment with this hash is not decided yet at this client's node")
        return status.state is TxState.FINAL

    estimate_fee_sync = twin(estimate_fee_async)
    create_invoice_sync = twin(create_invoice_async)
    create_hold_invoice_sync = twin(create_hold_invoice_async)
    settle_invoice_sync = twin(settle_invoice_async)
    cancel_invoice_sync = twin(cancel_invoice_async)
    holds_sync = twin(holds_async)
    sign_message_sync = twin(sign_message_async)
    wait_for_status_sync = twin(wait_for_status_async)  # type: ignore[arg-type]  # its default differs from the base's
    watch_transaction_sync = iterator_twin(watch_transaction_async)
    watch_payments_sync = iterator_twin(watch_payments_async)
    watch_invoices_sync = iterator_twin(watch_invoices_async)

    def _within(self, timeout: float | None, operation: str, tx_id: str | None = None) -> Deadline:
        seconds = self._settings.default_timeout if timeout is None else timeout
        return Deadline(operation, seconds, LIGHTNING, self._limit, tx_id=tx_id)
