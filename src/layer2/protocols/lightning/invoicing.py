"""Being paid: the public calls around own invoices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from layer2.aio.blocking import twin
from layer2.errors import InvalidRequest
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.model.money import BTC, MSAT_DECIMALS, checked_amount, rescaled
from layer2.model.transactions import LightningPaymentId, Preimage
from layer2.ports.clock import Clock
from layer2.protocols.lightning.invoices.holds import Hold, hold_of
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LightningInvoicing"]

LOG: Final = logging.getLogger("layer2.lightning")
_HASH_LENGTH: Final = 32


class LightningInvoicing(LightningParts):
    """Invoices at the party's own lnd."""

    def __init__(self, settings: LightningSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._near_holds = _NearHolds()

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
        """Make an invoice over an amount of satoshi; the node keeps its preimage until it is paid.

        Args:
            amount: satoshi; None leaves it to the payer, who must then be trusted to pay enough.
            memo: what it is for, as the payer reads it.
            description_hash: 32 bytes: SHA-256 of a description that is told elsewhere, as an LNURL service does; the
                memo is then kept at the node and not told.
            expiry_seconds: for which it can be paid.
            private: whether it names the node's channels that are in no graph, which the payer then knows.

        Returns:
            The invoice as it was signed, checked against what was asked for; ``text`` is for the payer, and its payment
            hash in hex is the id to ask for.

        Raises:
            InvalidAmount, InvalidRequest, NodeError, AsyncTimeout: no invoice was made, or nobody has seen it.
        """
        new = _new_invoice(amount, memo, expiry_seconds, description_hash=description_hash, private=private)
        async with self._within(timeout, "create_invoice_async"):
            return await self._invoices.add(new)

    create_invoice_sync = twin(create_invoice_async)

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

        A payment that is held too long comes back to its payer: ``holds_async`` says how long it still is.

        Args:
            payment_hash: 32 bytes: SHA-256 of a preimage that the node need not know yet.
            amount: satoshi; None leaves it to the payer: look at what is held before settling.
            final_cltv_delta: blocks for which the payment must be valid when it arrives, at least 24; None is lnd's
                default.
            memo, description_hash, expiry_seconds, private: as ``create_invoice_async``.

        Returns:
            The invoice as it was signed; one that was made before from the same request, and that nobody has paid, too.

        Raises:
            IdempotencyConflict: ``payment_hash_used``.
            InvalidAmount, InvalidRequest, NodeError, AsyncTimeout: nobody has seen an invoice.
        """
        new = _new_invoice(
            amount,
            memo,
            expiry_seconds,
            description_hash=description_hash,
            private=private,
            final_cltv_delta=final_cltv_delta,
            payment_hash=_checked_hash(payment_hash),
        )
        async with self._within(timeout, "create_hold_invoice_async"):
            return await self._given_hashes.make(new, payment_hash)

    create_hold_invoice_sync = twin(create_hold_invoice_async)

    async def settle_invoice_async(self, preimage: Preimage, *, timeout: float | None = None) -> None:
        """Take what is held under the preimage's hash; what is settled already stays so.

        The preimage goes to the payer with that. Success is read back from the node, which does not show yet that the
        payer's side has committed to it.

        Raises:
            TransactionError: nothing is held, or it has come back (outcome REJECTED).
            NodeError, AsyncTimeout: outcome UNKNOWN; settle again, or ask for the status.
        """
        tx_id = LightningPaymentId(preimage.payment_hash.hex())
        async with self._within(timeout, "settle_invoice_async", tx_id):
            await self._invoices.settle(preimage)

    settle_invoice_sync = twin(settle_invoice_async)

    async def cancel_invoice_async(self, payment_hash: bytes, *, timeout: float | None = None) -> None:
        """Take an own invoice back, and give back what is held for it; what is cancelled already stays so.

        Args:
            payment_hash: 32 bytes.

        Raises:
            TransactionError: it is settled, or there is no such invoice (outcome REJECTED).
            NodeError, AsyncTimeout: outcome UNKNOWN; cancel again, or ask for the status.
        """
        tx_id = LightningPaymentId(_checked_hash(payment_hash).hex())
        async with self._within(timeout, "cancel_invoice_async", tx_id):
            await self._invoices.cancel(payment_hash)

    cancel_invoice_sync = twin(cancel_invoice_async)

    async def holds_async(self, *, timeout: float | None = None) -> tuple[Hold, ...]:
        """All payments that are held for own invoices, those first that have to be settled first.

        One that is near its expiry is also logged, once.

        Raises:
            BadAnswer: the node is not synced, so that nobody can say how long there is.
            NodeError, AsyncTimeout: the node does not say.
        """
        async with self._within(timeout, "holds_async"):
            # The height is read last: what is left is never more than it says.
            delta = await self._node.hold_expiry_delta()
            invoices = await self._invoices.held()
            height = (await self._node.current_state()).height
        holds = sorted((hold_of(each, height, delta) for each in invoices), key=lambda hold: hold.given_up_height)
        self._near_holds.tell(holds)
        return tuple(holds)

    holds_sync = twin(holds_async)


class _NearHolds:
    """Logs each hold that is near its expiry once."""

    def __init__(self) -> None:
        self._told: frozenset[bytes] = frozenset()

    def tell(self, holds: Sequence[Hold]) -> None:
        near = {hold.payment_hash: hold for hold in holds if hold.is_near_expiry}
        for payment_hash in near.keys() - self._told:
            LOG.warning(
                "%s: %d msat held under %s come back to the payer in %d blocks, at height %d: settle or cancel",
                LIGHTNING,
                near[payment_hash].amount_msat,
                payment_hash.hex(),
                near[payment_hash].blocks_left,
                near[payment_hash].given_up_height,
            )
        self._told = frozenset(near)


def _new_invoice(
    amount: int | None,
    memo: str,
    expiry_seconds: int,
    *,
    description_hash: bytes | None,
    private: bool,
    final_cltv_delta: int | None = None,
    payment_hash: bytes | None = None,
) -> NewInvoice:
    if description_hash is not None and len(description_hash) != _HASH_LENGTH:
        raise InvalidRequest(f"description_hash has 32 bytes, not {len(description_hash)}", protocol=LIGHTNING)
    return NewInvoice(
        None if amount is None else rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS),
        memo,
        expiry_seconds,
        final_cltv_delta=final_cltv_delta,
        payment_hash=payment_hash,
        private=private,
        description_hash=description_hash,
    )


def _checked_hash(payment_hash: bytes) -> bytes:
    if not isinstance(payment_hash, bytes) or len(payment_hash) != _HASH_LENGTH:
        raise InvalidRequest("a payment hash is 32 bytes", protocol=LIGHTNING)
    return payment_hash
