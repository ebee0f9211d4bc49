"""Requests for payments, and the rules that are checked before a payment is sent. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from coincurve import PublicKey

from layer2.errors import FormatError, FundsRulesError, InvalidAmount, InvalidRequest
from layer2.formats import canonical_json
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.invoices import decoded
from layer2.legs.lightning import LND_CLTV_PADDING, cltv_limit_for
from layer2.model.money import BTC, MSAT_DECIMALS, checked_amount, rescaled
from layer2.model.transactions import Preimage
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.settings import LightningSettings

__all__ = [
    "KeysendRequest",
    "LightningTransaction",
    "PaymentRequest",
    "check_keysend",
    "check_payable",
    "decode_invoice",
    "msat",
]

_MILLION: Final = 1_000_000
MAX_CLTV_BLOCKS: Final = 2016
"""The longest lock that lnd allows a payment, in blocks."""


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """An invoice to pay, and the payer's limits. A limit that is None is taken from the settings.

    Args:
        invoice: BOLT 11 text.
        amount_msat: millisatoshi; required if the invoice has no amount, otherwise None or the invoice's amount.
        fee_limit_msat: maximum routing fee; 0 allows only routes without fees.
        cltv_limit: maximum blocks for which the money is locked; more than the invoice's final delta + 3.
        timeout_seconds: seconds for which the node looks for routes. A payment that is under way then continues.
        max_parts: maximum number of HTLCs at a time.
    """

    invoice: str
    amount_msat: int | None = None
    fee_limit_msat: int | None = None
    cltv_limit: int | None = None
    timeout_seconds: int | None = None
    max_parts: int | None = None

    def __post_init__(self) -> None:
        _check_minimums(self, amount_msat=1, fee_limit_msat=0, cltv_limit=1, timeout_seconds=1, max_parts=1)

    def digest(self) -> str:
        """Identify the request, in 64 hexadecimal digits; equal only for equal requests."""
        numbers = (self.amount_msat, self.fee_limit_msat, self.cltv_limit, self.timeout_seconds, self.max_parts)
        return _digest("pay", self.invoice.lower(), numbers)

    def resolved(self, invoice: Bolt11Invoice, settings: LightningSettings) -> Pay:
        """Return the payment with every limit set.

        Args:
            invoice: ``self.invoice``, decoded.
            settings: supplies the limits that are None.

        Raises:
            InvalidAmount: neither the request nor the invoice has an amount, or the two differ.
            FundsRulesError: the invoice's final delta is above the network's limit.
        """
        amount_msat = self._amount_msat(invoice)
        return Pay(
            payment_hash=invoice.payment_hash,
            invoice=invoice.text,
            amount_msat=amount_msat,
            fee_limit_msat=_fee_limit(self.fee_limit_msat, amount_msat, settings),
            cltv_limit=_cltv_limit(self.cltv_limit, invoice.min_final_cltv_expiry_delta, settings),
            timeout_seconds=settings.payment_timeout_seconds if self.timeout_seconds is None else self.timeout_seconds,
            max_parts=settings.timelocks.max_parts if self.max_parts is None else self.max_parts,
        )

    def _amount_msat(self, invoice: Bolt11Invoice) -> int:
        if invoice.amount_msat is None:
            if self.amount_msat is None:
                raise InvalidAmount(
                    "the invoice leaves the amount to the payer",
                    protocol=LIGHTNING,
                    remedy="give an amount, or ask the payee for an invoice with an amount",
                )
            return self.amount_msat
        if self.amount_msat not in (None, invoice.amount_msat):
            raise InvalidAmount(
                f"the invoice asks for {invoice.amount_msat} msat; the payment is over {self.amount_msat} msat",
                protocol=LIGHTNING,
            )
        return invoice.amount_msat


@dataclass(frozen=True, slots=True)
class KeysendRequest:
    """A node to pay without an invoice, and the payer's limits. A limit that is None is taken from the settings.

    The payer draws the preimage, so the preimage does not prove that the payee delivered anything.

    Args:
        payee: the node's public key, 33 bytes.
        amount_msat: millisatoshi.
        fee_limit_msat: maximum routing fee; 0 allows only routes without fees.
        cltv_limit: maximum blocks for which the money is locked; more than the 80 + 3 of the last hop.
        timeout_seconds: seconds for which the node looks for routes. A payment that is under way then continues.
    """

    payee: bytes
    amount_msat: int
    fee_limit_msat: int | None = None
    cltv_limit: int | None = None
    timeout_seconds: int | None = None

    def __post_init__(self) -> None:
        _check_minimums(self, fee_limit_msat=0, cltv_limit=1, timeout_seconds=1)
        checked_amount(self.amount_msat, what="amount_msat")
        try:
            key = PublicKey(self.payee)
        except ValueError:
            raise FormatError("the payee is not the public key of a node", protocol=LIGHTNING) from None
        if key.format() != self.payee:
            raise FormatError("a node's public key has 33 bytes", protocol=LIGHTNING)

    def digest(self) -> str:
        """Identify the request, in 64 hexadecimal digits; equal only for equal requests."""
        numbers = (self.amount_msat, self.fee_limit_msat, self.cltv_limit, self.timeout_seconds)
        return _digest("keysend", self.payee.hex(), numbers)

    def resolved(self, preimage: Preimage, settings: LightningSettings) -> Keysend:
        """Return the payment with every limit set.

        Args:
            preimage: a new secret.
            settings: supplies the limits that are None.
        """
        return Keysend(
            payee=self.payee,
            amount_msat=self.amount_msat,
            preimage=preimage,
            fee_limit_msat=_fee_limit(self.fee_limit_msat, self.amount_msat, settings),
            cltv_limit=_cltv_limit(self.cltv_limit, KEYSEND_FINAL_CLTV_DELTA, settings),
            timeout_seconds=settings.payment_timeout_seconds if self.timeout_seconds is None else self.timeout_seconds,
        )


LightningTransaction: TypeAlias = PaymentRequest | KeysendRequest | str
"""What ``submit_transaction_async`` takes. A text is an invoice."""


def msat(amount: int) -> int:
    """Convert an amount of satoshi to millisatoshi.

    Raises:
        InvalidAmount: it is not a positive ``int``.
    """
    return rescaled(checked_amount(amount), BTC.decimals, MSAT_DECIMALS)


def decode_invoice(text: str) -> Bolt11Invoice:
    """Decode an invoice given by a caller.

    Raises:
        FormatError: it is not an invoice.
    """
    if len(text) == 66 and text[:2] in {"02", "03"}:
        raise FormatError(
            "this is a node's public key, not an invoice",
            protocol=LIGHTNING,
            remedy="submit a KeysendRequest, or use transfer_asset with the key",
        )
    return decoded(text)


def check_payable(pay: Pay, invoice: Bolt11Invoice, *, prefix: str, own_key: bytes, now: float) -> None:
    """Check the rules for a payment to an invoice.

    Args:
        pay: the payment.
        invoice: ``pay.invoice``, decoded.
        prefix: of the payer's network, as in invoices.
        own_key: key of the payer's node, 33 bytes.
        now: unix seconds by the clock of the payer's node.

    Raises:
        FundsRulesError: a rule is broken; the payment must not be sent.
    """
    _refuse(pay, _problem(pay, invoice, prefix, own_key, now))


def check_keysend(keysend: Keysend, *, own_key: bytes) -> None:
    """Check the rules for a payment to a node's key.

    Raises:
        FundsRulesError: a rule is broken; the payment must not be sent.
    """
    own = "the payee is your own node" if keysend.payee == own_key else None
    _refuse(keysend, own or _cltv_problem(keysend.cltv_limit, KEYSEND_FINAL_CLTV_DELTA))


def _refuse(payment: Pay | Keysend, problem: str | None) -> None:
    if problem is not None:
        raise FundsRulesError(problem, protocol=LIGHTNING, tx_id=payment.payment_id)


def _problem(pay: Pay, invoice: Bolt11Invoice, prefix: str, own_key: bytes, now: float) -> str | None:
    if invoice.prefix != prefix:
        return f"the invoice is for the network {invoice.prefix!r}, the node is on {prefix!r}"
    if invoice.is_ambiguous:
        return "the invoice repeats a field that must not be repeated, and readers differ in which one they use"
    if invoice.payment_hash != pay.payment_hash:
        return "the invoice has another payment hash"
    if invoice.amount_msat not in (None, pay.amount_msat):
        return f"the invoice asks for {invoice.amount_msat} msat, not {pay.amount_msat}"
    if invoice.payee == own_key:
        return "the invoice is from your own node"
    if invoice.has_blinded_paths:
        # lnd uses the delta of the path regardless of the CLTV limit, and no signature covers that delta.
        return "the invoice has blinded paths, so the time for which its payment is locked has no limit"
    if invoice.is_amp:
        return "the invoice is for atomic multi-path payments, whose preimage the payer chooses"
    if now + pay.timeout_seconds > invoice.expires_at:
        return "the invoice expires too soon: it could expire while the payment is under way"
    return _cltv_problem(pay.cltv_limit, invoice.min_final_cltv_expiry_delta)


def _cltv_problem(cltv_limit: int, final_cltv_delta: int) -> str | None:
    least = final_cltv_delta + LND_CLTV_PADDING
    if least < cltv_limit <= MAX_CLTV_BLOCKS:
        return None
    return f"the CLTV limit of {cltv_limit} blocks is not between {least + 1} and {MAX_CLTV_BLOCKS}"


def _fee_limit(given: int | None, amount_msat: int, settings: LightningSettings) -> int:
    # Rounded up: a limit of 0 would allow only routes without fees.
    return -(-amount_msat * settings.fee_limit_ppm // _MILLION) if given is None else given


def _cltv_limit(given: int | None, final_cltv_delta: int, settings: LightningSettings) -> int:
    return cltv_limit_for(final_cltv_delta, settings.timelocks) if given is None else given


def _check_minimums(request: PaymentRequest | KeysendRequest, **minimums: int) -> None:
    for name, minimum in minimums.items():
        value = getattr(request, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < minimum):
            raise InvalidRequest(f"{name} must be an int of at least {minimum}", protocol=LIGHTNING)


def _digest(kind: str, payee: str, numbers: Sequence[int | None]) -> str:
    asked = [payee, *(None if number is None else str(number) for number in numbers)]
    return hashlib.sha256(canonical_json.encode({kind: asked})).hexdigest()
