"""The Lightning client: pay and be paid, and hold legs of swaps (``legs``), through the party's own lnd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, assert_never

from layer2.aio.blocking import twin
from layer2.errors import (
    BadAnswer,
    Outcome,
    ProofUndecided,
    TransactionError,
    UnknownAsset,
)
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.lnurl import LightningAddress
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, MSAT_DECIMALS, AssetId, Balance, checked_amount, rescaled
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning.acts import Keysend, Pay
from layer2.protocols.lightning.following import LightningFollowing
from layer2.protocols.lightning.invoicing import LightningInvoicing
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.paying import LightningPaying
from layer2.protocols.lightning.payments.records import PaymentState
from layer2.protocols.lightning.payments.request import KeysendRequest, PaymentRequest
from layer2.protocols.lightning.recipients.recipient import Lnurl, NodeKey, Payee, read_recipient, transfer_digest

__all__ = ["LightningNetwork"]


class LightningNetwork(LightningPaying, LightningInvoicing, LightningFollowing):
    """Lightning through one lnd.

    Example: ``async with LightningNetwork(settings, sends, SystemClock()) as lightning: ...``

    A transaction is an invoice to be paid (its text, or a ``PaymentRequest`` with limits) or a node's key
    (``KeysendRequest``). Its id is the payment hash, which payer and payee share. A recipient is whatever
    ``transfer_asset_async`` takes. Amounts are in satoshi.

    Args:
        settings: where the node is, and the payer's limits.
        sends: where payments with an idempotency key are recorded before they are sent.
        clock: this machine's.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    def __repr__(self) -> str:
        return f"LightningNetwork({self._settings.network}, {self._settings.rest_url})"

    async def aclose(self) -> None:
        """Close all connections; who waits or follows is told so. Payments that are under way go on in the node."""
        await self._watches.aclose()
        await self._invoice_feed.aclose()
        await self._payment_feed.aclose()
        await self._payments.aclose()
        await self._recent_node.aclose()
        await self._liquidity.aclose()
        await self._services.aclose()
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

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> LightningPaymentId:
        """Pay exactly this amount to the payee that a text names; return the id once the node has taken the payment.

        An LNURL service or Lightning address is asked for an invoice first, and learns only the amount. With an
        idempotency key that invoice is durable before it is paid: the same call again pays it or finds it paid. Without
        a key each call is a payment of its own, except that an invoice which is under way or paid is joined. A node's
        key is paid by keysend, which does not prove that the payee delivered anything.

        Args:
            asset_id: BTC.
            amount: satoshi; what the invoice or the URI says where it says anything.
            recipient: an invoice (BOLT 11), a Lightning address (LUD-16), an LNURL (LUD-01), a node's public key in
                hexadecimal digits, or a ``lightning:`` or ``bitcoin:`` URI (BIP 21) with one of these.

        Raises:
            FormatError: the recipient is none of these.
            ProtocolNotImplemented: it is of BOLT 12, an address on the chain, or an onion service.
            InvalidAmount: the invoice, the URI or the service asks for another amount.
            InsufficientFunds: the channels cannot send it.
            NodeError: also of an LNURL service; nothing was sent then, unless the outcome is UNKNOWN.
            TransactionError: it failed at once, for the node's reason.
            As ``submit_transaction_async``.
        """
        if asset_id != BTC:
            raise UnknownAsset(f"Lightning carries layer2.BTC, not {asset_id!r}", protocol=LIGHTNING)
        amount_msat = rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS)
        to = read_recipient(recipient)
        to.check_amount(amount_msat)

        async def make_act() -> Pay | Keysend:
            act = self._act_of(await self._request_for(to.payee, amount_msat))
            if isinstance(to.payee, Lnurl | LightningAddress):
                # An invoice that cannot be paid is not what the key shall stand for: the next may be better.
                await self._check_sendable(act)
            return act

        status = await self._pay(
            transfer_digest(recipient, amount_msat),
            make_act,
            idempotency_key,
            operation="transfer_asset_async",
            timeout=timeout,
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
        """Whether this client's node paid or was paid with this preimage.

        False says that the node has no such payment, or that it came back; a node that took no part in it knows
        nothing of it. It does not show to anyone else that a payment was made.

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
            return {BTC: await self._liquidity.balance()}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """The node's public key, 66 hexadecimal digits: whom others pay, and who signs the invoices.

        It can be paid without an invoice (keysend) where the node accepts that, which lnd does with ``accept-keysend``
        only; such a payment names no purpose. Otherwise make an invoice for each payment with ``create_invoice_async``.
        """
        async with self._within(timeout, "receive_address_async"):
            return (await self._node.key()).hex()

    async def sign_message_async(self, message: str | bytes, *, timeout: float | None = None) -> str:
        """Sign a message with the node's key, as ``layer2.formats.signed_message.verify_message`` checks it.

        Whoever has the node's key and this text knows that the node's owner signed exactly that: not when, not for
        whom. Nothing that moves money can be made of such a signature.

        Args:
            message: not empty; text is signed as its UTF-8.

        Returns:
            104 characters of zbase32, as lnd and Core Lightning write it; checked against the node's own key.

        Raises:
            FormatError, NodeError, AsyncTimeout: there is no signature.
        """
        async with self._within(timeout, "sign_message_async"):
            return await self._node.sign(message)

    sign_message_sync = twin(sign_message_async)

    async def _request_for(self, payee: Payee, amount_msat: int) -> PaymentRequest | KeysendRequest:
        """What to pay so that this payee gets this amount."""
        match payee:
            case Bolt11Invoice():
                return PaymentRequest(payee.text, amount_msat)
            case NodeKey():
                return KeysendRequest(payee.key, amount_msat)
            case Lnurl() | LightningAddress():
                await self._liquidity.check_sendable(amount_msat)
                invoice = await self._services.invoice(payee, amount_msat)
                await self._check_unpaid(invoice)
                return PaymentRequest(invoice.text, amount_msat)
            case _:
                assert_never(payee)

    async def _check_unpaid(self, invoice: Bolt11Invoice) -> None:
        """Refuse an invoice that a service gave before: joining its payment would pass for another one."""
        known = await self._payments.find(invoice.payment_hash)
        if known is not None and known.state is not PaymentState.FAILED:
            raise BadAnswer(
                "the LNURL service gave an invoice that is paid already, or is being paid",
                protocol=LIGHTNING,
                # Another call with the same key may be what pays it.
                outcome=Outcome.UNKNOWN,
                tx_id=invoice.payment_hash.hex(),
                remedy="ask for the payment's status by tx_id before anything else",
            )
