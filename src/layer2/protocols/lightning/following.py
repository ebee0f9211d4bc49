"""What becomes of payments and invoices: looked at, waited for, and followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from layer2.aio.blocking import iterator_twin, twin
from layer2.errors import AsyncRuntimeError, InvalidRequest
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning.invoices.feed import InvoiceCursor, InvoiceUpdate
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.feed import PaymentCursor, PaymentUpdate
from layer2.protocols.lightning.statuses import LightningStatus, has_reached, read_payment_id, status_of

__all__ = ["LightningFollowing"]


class LightningFollowing(LightningParts):
    """Statuses and updates of the party's own lnd."""

    @property
    def open_streams(self) -> int:
        """How many streams of the node are open or being opened, each with a socket of its own.

        One for all payments and one for all invoices while anyone follows them, one for each followed invoice that may
        be held, up to ``max_hold_streams``, and one for each payment under way that this client sent, up to
        ``max_payment_streams``. Connections for calls are not counted.
        """
        return self._rest.open_streams + self._payments.open_streams

    async def get_transaction_status_async(
        self, tx_id: LightningPaymentId, *, timeout: float | None = None
    ) -> LightningStatus:
        """The status of a payment or of an own invoice with that payment hash, as the node knows it now.

        An invoice is PENDING until it is settled (FINAL) or cancelled, also by its expiry (FAILED). ``fee`` is in
        millisatoshi, for payments only.
        """
        payment_hash = read_payment_id(tx_id)
        async with self._within(timeout, "get_transaction_status_async"):
            return await self._status(payment_hash)

    async def wait_for_status_async(
        self,
        tx_id: LightningPaymentId,
        *,
        until: TxState = TxState.FINAL,
        timeout: float | None = None,
    ) -> LightningStatus:
        """Wait until the payment, or own invoice, is at least in that state, or has FAILED.

        An id that the node does not know is waited for too, and so is a node that is away. Omitted, ``timeout`` means
        no limit. Any number of waits share few streams and look-ups.

        Raises:
            AsyncTimeout: not in time; the payment goes on.
            NodeError: the node refuses, in a way that does not pass, or the client was closed.
        """
        payment_hash = read_payment_id(tx_id)
        if until in (TxState.FAILED, TxState.DROPPED):
            raise InvalidRequest(f"a payment cannot be waited for to be {until.value}; failing ends every wait")
        async with (
            self._within(timeout, "wait_for_status_async", tx_id, limitless=True),
            aclosing(self._watches.words(payment_hash)) as words,
        ):
            async for word in words:
                status = status_of(tx_id, word.payment, word.invoice)
                if has_reached(status, until):
                    return status
        raise AsyncRuntimeError("the watch ended before the payment did", protocol=LIGHTNING)

    async def watch_transaction_async(self, tx_id: LightningPaymentId) -> AsyncGenerator[LightningStatus, None]:
        """Hand out the status now, and each later one that is another; who is slow gets the newest only.

        Ends after FINAL and FAILED. A payment that FAILED and is sent again is watched again.

        Raises:
            FormatError: it is no payment's id.
            NodeError: the node refuses, in a way that does not pass, or the client was closed.
        """
        payment_hash = read_payment_id(tx_id)
        last: LightningStatus | None = None
        async with aclosing(self._watches.words(payment_hash)) as words:
            async for word in words:
                status = status_of(tx_id, word.payment, word.invoice)
                if status != last:
                    last = status
                    yield status
                if status.state in (TxState.FINAL, TxState.FAILED):
                    return

    async def watch_payments_async(self, after: PaymentCursor | None = None) -> AsyncGenerator[PaymentUpdate, None]:
        """Hand out every payment of the node when it is under way and when it is decided, each once and in order.

        One that is decided quickly may be handed out once only, as decided; one that FAILED and is sent again is a
        payment of its own. Connections that break, and restarts, leave neither gap nor repeat.

        Args:
            after: the cursor of the last update that was worked off, also before this process began. None begins now:
                with what is under way and what comes.

        Raises:
            NodeError: the node refuses, in a way that does not pass, or the client was closed.
            AsyncRuntimeError: more updates were left than are kept; none is missing before it.
        """
        async with aclosing(self._payment_feed.updates(after)) as updates:
            async for update in updates:
                yield update

    async def watch_invoices_async(self, after: InvoiceCursor | None = None) -> AsyncGenerator[InvoiceUpdate, None]:
        """Hand out every invoice of the node when it is made and when it is settled, each once.

        Held and cancelled ones are not told of (lnd's own stream leaves them out): watch their hashes for that.
        Connections that break, and restarts, leave neither gap nor repeat.

        Args:
            after: the cursor of the last update that was worked off, also before this process began. None begins now.

        Raises:
            NodeError: the node refuses, in a way that does not pass, or the client was closed.
            AsyncRuntimeError: more updates were left than are kept; none is missing before it.
        """
        async with aclosing(self._invoice_feed.updates(after)) as updates:
            async for update in updates:
                yield update

    # The default of ``until`` is another than the base's, and the twin must show it; mypy takes the base's self.
    wait_for_status_sync = twin(wait_for_status_async)  # type: ignore[arg-type]
    watch_transaction_sync = iterator_twin(watch_transaction_async)
    watch_payments_sync = iterator_twin(watch_payments_async)
    watch_invoices_sync = iterator_twin(watch_invoices_async)

    async def _status(self, payment_hash: bytes) -> LightningStatus:
        invoice = await self._invoices.find(payment_hash)
        is_paid = invoice is not None and invoice.is_own
        payment = None if is_paid else await self._payments.find(payment_hash)
        return status_of(LightningPaymentId(payment_hash.hex()), payment, invoice)
