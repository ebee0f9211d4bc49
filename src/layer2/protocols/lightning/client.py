"""The Lightning client: pay and be paid, and hold legs of swaps, through the party's own lnd."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from layer2.blocking import twin
from layer2.errors import (
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    Outcome,
    ProofUndecided,
    TransactionError,
    UnknownAsset,
)
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, MSAT_DECIMALS, AssetId, Balance, checked_amount, rescaled
from layer2.proofs.model import LightningPaymentEvidence
from layer2.protocols.lightning.htlc import LightningHtlcs
from layer2.protocols.lightning.invoicing import LightningInvoicing
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.node.channels import balance_of
from layer2.protocols.lightning.paying import LightningPaying
from layer2.protocols.lightning.payments.request import read_invoice
from layer2.protocols.lightning.statuses import (
    LightningStatus,
    has_reached,
    invoice_status,
    payment_status,
    read_payment_id,
)
from layer2.protocols.lightning.watching import wait_for_news
from layer2.transactions import LightningPaymentId, TxState, TxStatus

__all__ = ["LightningNetwork"]


class LightningNetwork(LightningPaying, LightningInvoicing, LightningHtlcs):
    """Lightning through one lnd.

    Example: ``async with LightningNetwork(settings, sends, SystemClock()) as lightning: ...``

    A transaction is an invoice to be paid (its text, or a ``PaymentRequest`` with limits) or a node's key
    (``KeysendRequest``). Its id is the payment hash, which payer and payee share. A recipient is an invoice's text.
    Amounts are in satoshi.

    Args:
        settings: where the node is, and the payer's limits.
        sends: where payments with an idempotency key are recorded before they are sent.
        clock: this machine's.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    def __repr__(self) -> str:
        return f"LightningNetwork({self._settings.network}, {self._settings.rest_url})"

    async def aclose(self) -> None:
        """Close all connections. Payments that are under way go on in the node."""
        await self._rest.aclose()

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """Connect, and check network, version, sync, clock and the settings that held payments depend on.

        Raises:
            NodeUnreachable, WrongNetwork, AuthenticationFailed, NodeRefused, BadAnswer, ConfigurationError: what is
                wrong, and the remedy.
            AsyncTimeout: no result in time.
        """
        async with self._within(timeout, "initialize_async"):
            await self._node.check()

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

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> LightningPaymentId:
        """Pay an invoice that is over exactly this amount; return the id once the node has taken the payment.

        Args:
            asset_id: BTC.
            amount: satoshi, as the invoice says.
            recipient: the invoice's text (BOLT 11).

        Raises:
            InvalidAmount: the invoice is over another amount, or over none.
            InsufficientFunds: the channels cannot send it.
            TransactionError: it failed at once, in the node's words.
            As ``submit_transaction_async``.
        """
        if asset_id != BTC:
            raise UnknownAsset(f"Lightning carries layer2.BTC, not {asset_id!r}", protocol=LIGHTNING)
        amount_msat = rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS)
        invoice = read_invoice(recipient)
        if invoice.amount_msat != amount_msat:
            asked = "no amount" if invoice.amount_msat is None else f"{invoice.amount_msat} msat"
            raise InvalidAmount(f"the invoice asks for {asked}; the transfer is over {amount_msat} msat")
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._settings.default_timeout if timeout is None else timeout)
        async with self._within(until - loop.time(), "transfer_asset_async"):
            if (await self._status(invoice.payment_hash)).state not in (TxState.PENDING, TxState.FINAL):
                await self._check_spendable(amount)
        status = await self.submit_transaction_async(
            recipient, idempotency_key=idempotency_key, timeout=until - loop.time()
        )
        if status.state is TxState.FAILED:
            raise TransactionError(
                f"the payment failed: {status.reason}",
                protocol=LIGHTNING,
                operation="transfer_asset_async",
                outcome=Outcome.REJECTED,
                tx_id=status.tx_id,
            )
        return status.tx_id

    async def verify_proof_async(self, proof: LightningPaymentEvidence, *, timeout: float | None = None) -> bool:
        """Whether the own node paid or was paid with this preimage.

        False says that the node has no such payment, or that it came back; a node that took no part in it knows
        nothing of it. It does not show to anybody else that a payment was made.

        Raises:
            ProofUndecided: a payment with this hash is under way, or the invoice can still be paid.
        """
        payment_hash = proof.preimage.payment_hash
        async with self._within(timeout, "verify_proof_async"):
            status = await self._status(payment_hash)
        if status.state is TxState.PENDING:
            raise ProofUndecided("a payment with this hash is not decided yet at the own node")
        return status.state is TxState.FINAL

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """What the channels hold. The node's wallet on the chain is not part of this layer.

        ``spendable`` and ``receivable`` are upper limits over all active channels; ``reserved`` is what is in flight,
        what the channels' rules keep back, and what is in channels that are not active.
        """
        async with self._within(timeout, "balances_async"):
            return {BTC: balance_of(await self._node.channels())}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """The node's public key, 66 hexadecimal digits: whom others pay, and who signs the invoices.

        Lightning has no address that can simply be paid: for each payment make an invoice with
        ``create_invoice_async``. This version's own ``transfer_asset_async`` takes invoices only.
        """
        async with self._within(timeout, "receive_address_async"):
            return (await self._node.key()).hex()

    async def wait_for_status_async(
        self,
        tx_id: LightningPaymentId,
        *,
        until: TxState = TxState.FINAL,
        timeout: float | None = None,
    ) -> LightningStatus:
        """Wait until the payment, or own invoice, is at least in that state, or has FAILED.

        An id that the node does not know is waited for too. Omitted, ``timeout`` means no limit.
        """
        payment_hash = read_payment_id(tx_id)
        if until in (TxState.FAILED, TxState.DROPPED):
            raise InvalidRequest(f"a payment cannot be waited for to be {until.value}; failing ends every wait")
        async with self._within(timeout, "wait_for_status_async", tx_id, limitless=True):
            while True:
                status = await self._status(payment_hash)
                if has_reached(status, until):
                    return status
                await self._wait_for_news(payment_hash, status)

    # The default of ``until`` is another than the base's, and the twin must show it; mypy takes the base's self.
    wait_for_status_sync = twin(wait_for_status_async)  # type: ignore[arg-type]

    async def _status(self, payment_hash: bytes) -> LightningStatus:
        payment = await self._payments.find(payment_hash)
        if payment is not None:
            return payment_status(payment)
        invoice = await self._invoices.find(payment_hash)
        tx_id = LightningPaymentId(payment_hash.hex())
        if invoice is None:
            return TxStatus(tx_id, TxState.UNKNOWN)
        return invoice_status(tx_id, invoice)

    async def _check_spendable(self, amount: int) -> None:
        spendable = balance_of(await self._node.channels()).spendable
        if spendable < amount:
            raise InsufficientFunds(
                f"{amount} sat cannot be sent: the channels allow {spendable} sat at most",
                protocol=LIGHTNING,
                remedy="open a channel, or receive something over one",
            )

    async def _wait_for_news(self, payment_hash: bytes, status: LightningStatus) -> None:
        """Return when the node says something new, or after the poll interval."""
        tx_id, seconds = status.tx_id, self._settings.poll_interval_seconds
        if await self._payments.find(payment_hash) is not None:
            await wait_for_news(
                self._payments.watch(payment_hash),
                lambda payment: payment_status(payment).state is not status.state,
                seconds,
            )
        else:
            # Where nothing is known yet, an invoice can be waited for and a payment cannot.
            await wait_for_news(
                self._invoices.watch(payment_hash),
                lambda invoice: invoice_status(tx_id, invoice).state is not status.state,
                seconds,
            )
