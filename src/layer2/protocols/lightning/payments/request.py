"""Payments as they are asked for, and the rules that must hold before one is sent. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from coincurve import PublicKey

from layer2.errors import FormatError, FundsRulesError, InvalidAmount, InvalidRequest
from layer2.formats import bolt11, canonical_json
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.lightning import LND_CLTV_PADDING, cltv_limit_for
from layer2.model.money import checked_amount
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
]

_MILLION: Final = 1_000_000
MOST_CLTV_BLOCKS: Final = 2016
"""lnd allows no payment a longer lock."""


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """An invoice to be paid, and the payer's limits; what is None comes from the settings.

    Args:
        invoice: BOLT 11 text.
        amount_msat: millisatoshi; must be given where the invoice leaves the amount to the payer, and is the
            invoice's own where it does not.
        fee_limit_msat: most that routing may cost; 0 takes only routes without fees.
        cltv_limit: most blocks that the money may be locked; more than the invoice's final delta + 3.
        timeout_seconds: how long the node looks for routes. A payment that is under way by then goes on.
        max_parts: most HTLCs that may carry it at once.
    """

    invoice: str
    amount_msat: int | None = None
    fee_limit_msat: int | None = None
    cltv_limit: int | None = None
    timeout_seconds: int | None = None
    max_parts: int | None = None

    def __post_init__(self) -> None:
        _check_least(self, amount_msat=1, fee_limit_msat=0, cltv_limit=1, timeout_seconds=1, max_parts=1)

    def digest(self) -> str:
        """What was asked for, in 64 hexadecimal digits: the same for the same request only."""
        numbers = (self.amount_msat, self.fee_limit_msat, self.cltv_limit, self.timeout_seconds, self.max_parts)
        return _digest("pay", self.invoice.lower(), numbers)

    def resolved(self, invoice: Bolt11Invoice, settings: LightningSettings) -> Pay:
        """The payment with every limit.

        Args:
            invoice: ``self.invoice``, decoded.
            settings: where limits come from that the request leaves open.

        Raises:
            InvalidAmount: no amount is given, neither here nor in the invoice, or two that differ.
            FundsRulesError: the invoice's own final delta is above what the network's settings allow.
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
                    remedy="say how much, or ask the payee for an invoice with an amount",
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
    """A node to be paid that made no invoice, and the payer's limits; what is None comes from the settings.

    The payer draws the preimage, so having it shows to nobody that the payee delivered anything for the payment.

    Args:
        payee: the node's public key, 33 bytes.
        amount_msat: millisatoshi.
        fee_limit_msat: most that routing may cost; 0 takes only routes without fees.
        cltv_limit: most blocks that the money may be locked; more than the 80 + 3 of the last hop.
        timeout_seconds: how long the node looks for routes. A payment that is under way by then goes on.
    """

    payee: bytes
    amount_msat: int
    fee_limit_msat: int | None = None
    cltv_limit: int | None = None
    timeout_seconds: int | None = None

    def __post_init__(self) -> None:
        _check_least(self, fee_limit_msat=0, cltv_limit=1, timeout_seconds=1)
        checked_amount(self.amount_msat, what="amount_msat")
        try:
            key = PublicKey(self.payee)
        except ValueError:
            raise FormatError("the payee is no public key of a node", protocol=LIGHTNING) from None
        if key.format() != self.payee:
            raise FormatError("a node's public key has 33 bytes", protocol=LIGHTNING)

    def digest(self) -> str:
        """What was asked for, in 64 hexadecimal digits: the same for the same request only."""
        numbers = (self.amount_msat, self.fee_limit_msat, self.cltv_limit, self.timeout_seconds)
        return _digest("keysend", self.payee.hex(), numbers)

    def resolved(self, preimage: Preimage, settings: LightningSettings) -> Keysend:
        """The payment with every limit.

        Args:
            preimage: one that nobody knows yet.
            settings: where limits come from that the request leaves open.
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
"""What can be submitted; a text is an invoice."""


# A payment's invoice is read several times on its way, and a signature is recovered each time.
@lru_cache(maxsize=1024)
def decode_invoice(text: str) -> Bolt11Invoice:
    """Decode what a caller gave as an invoice.

    Raises:
        FormatError: it is none.
    """
    if len(text) == 66 and text[:2] in {"02", "03"}:
        raise FormatError(
            "this is a node's public key, not an invoice",
            protocol=LIGHTNING,
            remedy="submit a KeysendRequest, or transfer an amount to the key",
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
    _refuse(pay, _problem(pay, invoice, prefix, own_key, now))


def check_keysend(keysend: Keysend, *, own_key: bytes) -> None:
    """Check what must hold whenever this node is about to be paid.

    Raises:
        FundsRulesError: a sentence that says what is wrong; nothing may be sent.
    """
    own = "the payee is the own node" if keysend.payee == own_key else None
    _refuse(keysend, own or _cltv_problem(keysend.cltv_limit, KEYSEND_FINAL_CLTV_DELTA))


def _refuse(payment: Pay | Keysend, problem: str | None) -> None:
    if problem is not None:
        raise FundsRulesError(problem, protocol=LIGHTNING, tx_id=payment.payment_id)


def _problem(pay: Pay, invoice: Bolt11Invoice, prefix: str, own_key: bytes, now: float) -> str | None:
    if invoice.prefix != prefix:
        return f"the invoice is for the network {invoice.prefix!r}, the node is on {prefix!r}"
    if invoice.is_ambiguous:
        return "the invoice has a field twice that may come once: readers differ in which of them they take"
    if invoice.payment_hash != pay.payment_hash:
        return "the invoice has another payment hash"
    if invoice.amount_msat not in (None, pay.amount_msat):
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
    return _cltv_problem(pay.cltv_limit, invoice.min_final_cltv_expiry_delta)


def _cltv_problem(cltv_limit: int, final_cltv_delta: int) -> str | None:
    least = final_cltv_delta + LND_CLTV_PADDING
    if least < cltv_limit <= MOST_CLTV_BLOCKS:
        return None
    return f"the CLTV limit of {cltv_limit} blocks is not between {least + 1} and {MOST_CLTV_BLOCKS}"


def _fee_limit(given: int | None, amount_msat: int, settings: LightningSettings) -> int:
    # Rounded up: a limit of nothing would refuse every route but a direct channel.
    return -(-amount_msat * settings.fee_limit_ppm // _MILLION) if given is None else given


def _cltv_limit(given: int | None, final_cltv_delta: int, settings: LightningSettings) -> int:
    return cltv_limit_for(final_cltv_delta, settings.timelocks) if given is None else given


def _check_least(request: PaymentRequest | KeysendRequest, **least: int) -> None:
    for name, lowest in least.items():
        value = getattr(request, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < lowest):
            raise InvalidRequest(f"{name} must be an int of at least {lowest}", protocol=LIGHTNING)


def _digest(kind: str, payee: str, numbers: Sequence[int | None]) -> str:
    asked = [payee, *(None if number is None else str(number) for number in numbers)]
    return hashlib.sha256(canonical_json.encode({kind: asked})).hexdigest()
