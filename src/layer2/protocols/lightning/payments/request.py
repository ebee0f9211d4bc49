"""A payment as it is asked for, and the rules that an invoice must obey before it is paid. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from layer2.errors import FormatError, FundsRulesError, InvalidRequest
from layer2.formats import bolt11, canonical_json
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.lightning.acts import Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.settings import LightningSettings
from layer2.swap_rules.timelocks import LND_CLTV_PADDING, MOST_CLTV_BLOCKS, cltv_limit_for

__all__ = ["PaymentRequest", "check_payable", "read_invoice"]

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """An invoice to be paid, and the payer's limits; what is None comes from the settings.

    Args:
        invoice: BOLT 11 text, with an amount.
        fee_limit_msat: most that routing may cost; 0 takes only routes without fees.
        cltv_limit: most blocks that the money may be locked; more than the invoice's final delta + 3.
        timeout_seconds: how long the node looks for routes. A payment that is under way by then goes on.
    """

    invoice: str
    fee_limit_msat: int | None = None
    cltv_limit: int | None = None
    timeout_seconds: int | None = None

    def __post_init__(self) -> None:
        limits = (("fee_limit_msat", 0), ("cltv_limit", 1), ("timeout_seconds", 1))
        for name, least in limits:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InvalidRequest(f"{name} must be an int of at least {least}", protocol=LIGHTNING)

    def digest(self) -> str:
        """What was asked for, in 64 hexadecimal digits: the same for the same request only."""
        limits = (self.fee_limit_msat, self.cltv_limit, self.timeout_seconds)
        asked = [self.invoice.lower(), *(None if limit is None else str(limit) for limit in limits)]
        return hashlib.sha256(canonical_json.encode({"pay": asked})).hexdigest()

    def resolved(self, invoice: Bolt11Invoice, settings: LightningSettings) -> Pay:
        """The payment with every limit.

        Raises:
            InvalidRequest: the invoice has no amount.
            FundsRulesError: the invoice's own final delta is above what the network's settings allow.
        """
        if invoice.amount_msat is None:
            raise InvalidRequest(
                "the invoice leaves the amount to the payer; such invoices are not paid yet",
                protocol=LIGHTNING,
                remedy="ask the payee for an invoice with an amount",
            )
        timelocks = settings.timelocks
        fee_limit, cltv_limit, timeout = self.fee_limit_msat, self.cltv_limit, self.timeout_seconds
        return Pay(
            payment_hash=invoice.payment_hash,
            invoice=invoice.text,
            amount_msat=invoice.amount_msat,
            # Rounded up: a limit of nothing would refuse every route but a direct channel.
            fee_limit_msat=-(-invoice.amount_msat * settings.fee_limit_ppm // _MILLION)
            if fee_limit is None
            else fee_limit,
            cltv_limit=cltv_limit_for(invoice.min_final_cltv_expiry_delta, timelocks)
            if cltv_limit is None
            else cltv_limit,
            timeout_seconds=settings.payment_timeout_seconds if timeout is None else timeout,
            max_parts=timelocks.max_parts,
        )


def read_invoice(text: str) -> Bolt11Invoice:
    """Decode what a caller gave as an invoice.

    Raises:
        FormatError: it is none.
    """
    if len(text) == 66 and text[:2] in {"02", "03"}:
        raise FormatError(
            "this is a node's public key; only invoices are paid in this version",
            protocol=LIGHTNING,
            remedy="ask the payee for an invoice",
        )
    return bolt11.decode(text)


def check_payable(pay: Pay, invoice: Bolt11Invoice, *, prefix: str, own_key: bytes, now: float) -> None:
    """Check what must hold whenever this invoice is about to be paid.

    Args:
        pay: what would be sent.
        invoice: ``pay.invoice``, decoded.
        prefix: of the own node's network.
        own_key: of the own node, 33 bytes.
        now: unix seconds by the own node's clock.

    Raises:
        FundsRulesError: a sentence that says what is wrong; nothing may be sent.
    """
    problem = _problem(pay, invoice, prefix, own_key, now)
    if problem is not None:
        raise FundsRulesError(problem, protocol=LIGHTNING, tx_id=pay.payment_id)


def _problem(pay: Pay, invoice: Bolt11Invoice, prefix: str, own_key: bytes, now: float) -> str | None:
    least_cltv = invoice.min_final_cltv_expiry_delta + LND_CLTV_PADDING
    if invoice.prefix != prefix:
        return f"the invoice is for the network {invoice.prefix!r}, the node is on {prefix!r}"
    if invoice.payment_hash != pay.payment_hash:
        return "the invoice has another payment hash"
    if invoice.amount_msat != pay.amount_msat:
        return f"the invoice is over {invoice.amount_msat} msat, not {pay.amount_msat}"
    if invoice.payee == own_key:
        return "the invoice is the own node's"
    if invoice.has_blinded_paths:
        # lnd builds such a payment with the path's delta, whatever the CLTV limit, and its signer says nothing.
        return "the invoice has blinded paths: how long its payment is locked could not be bounded"
    if invoice.is_amp:
        return "the invoice is for atomic multi-path payments: the payer would choose the preimage"
    if now + pay.timeout_seconds > invoice.expires_at:
        return "the invoice expires too soon: it could be over while the payment is on its way"
    if not least_cltv < pay.cltv_limit <= MOST_CLTV_BLOCKS:
        return f"the CLTV limit of {pay.cltv_limit} blocks is not between {least_cltv + 1} and {MOST_CLTV_BLOCKS}"
    return None
