"""Being paid: the public calls around own invoices."""

from __future__ import annotations

from layer2.blocking import twin
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.money import BTC, MSAT_DECIMALS, checked_amount, rescaled
from layer2.protocols.lightning.invoices.invoices import NewInvoice
from layer2.protocols.lightning.parts import LightningParts

__all__ = ["LightningInvoicing"]


class LightningInvoicing(LightningParts):
    """Invoices at the party's own lnd."""

    async def create_invoice_async(
        self, amount: int, *, memo: str = "", expiry_seconds: int = 3600, timeout: float | None = None
    ) -> Bolt11Invoice:
        """Make an invoice over an amount of satoshi; the node keeps its preimage until it is paid.

        Returns:
            The invoice as it was signed, checked against what was asked for; ``text`` is for the payer, and its payment
            hash in hex is the id to ask for.

        Raises:
            InvalidAmount, NodeError, AsyncTimeout: no invoice was made, or nobody has seen it.
        """
        amount_msat = rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS)
        async with self._within(timeout, "create_invoice_async"):
            return await self._invoices.add(NewInvoice(amount_msat, memo, expiry_seconds))

    create_invoice_sync = twin(create_invoice_async)
