"""The payment calls of a simulated Lightning node, with lnd's refusals and error messages.

Pure except for the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from layer2.errors import FormatError
from layer2.formats import bolt11
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.answers import payment_answer, payment_request_answer
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.invoices import DEFAULT_CLTV_DELTA, INVOICE_PREFIX
from layer2.local.simnet.lightning.ledger import BLOCK_PADDING, Ledger
from layer2.local.simnet.lightning.messages import Message, RestError, Status, dates, page
from layer2.local.simnet.lightning.records import (
    KEYSEND_RECORD,
    FailureReason,
    Payment,
    PaymentConflict,
    PaymentNotFound,
    PaymentState,
)
from layer2.local.simnet.lightning.streams import Subscription, all_payments, one_payment

__all__ = ["MAX_CLTV_DELTA", "NETWORK", "PaymentCalls"]

NETWORK = "regtest"
MAX_CLTV_DELTA = 2016
_DEFAULT_LIST = 100
_DEFAULT_MAX_PARTS = 16
_MAX_PARTS_OF_SHARDS = 1000
_FIRST_CUSTOM_RECORD = 65_536


class PaymentCalls:
    """One node's payment calls, named as in lnd's services.

    Args:
        identity: its keys.
        ledger: shared with its peer.
        clock: for the times of payments and the expiry of the paid invoices.
    """

    def __init__(self, identity: LightningIdentity, ledger: Ledger, clock: SimClock) -> None:
        self._identity = identity
        self._side = identity.side
        self._ledger = ledger
        self._books = ledger.books[identity.side]
        self._clock = clock
        self._probes = 0
        self.failing: FailureReason | None = None
        """The reason with which every new payment of this node fails, or None."""
        self.parts = 1
        """The number of HTLCs for each payment; a payment that allows fewer has fewer."""

    def decode_payment_request(self, request: Message) -> dict[str, object]:
        """``lnrpc.PayReq``."""
        return payment_request_answer(self._decode(request.text("pay_req")))

    def send_payment(self, request: Message) -> Subscription:
        """Start a payment and return its stream's subscription."""
        cltv_limit = request.number("cltv_limit") or MAX_CLTV_DELTA
        if not 0 <= cltv_limit <= MAX_CLTV_DELTA:
            raise RestError(f"total time lock of {cltv_limit % (1 << 32)} exceeds max allowed {MAX_CLTV_DELTA}")
        if request.number("timeout_seconds") < 0:
            raise RestError("timeout_seconds cannot be negative")
        max_parts = request.number("max_parts") or _DEFAULT_MAX_PARTS
        shard_msat = request.number("max_shard_size_msat")
        if shard_msat and max_parts > _MAX_PARTS_OF_SHARDS:
            raise RestError(
                f"requested max_parts ({max_parts}) exceeds the allowed upper limit of {_MAX_PARTS_OF_SHARDS}; cannot "
                f"send payment amount with max_shard_size_msat={shard_msat} mSAT"
            )
        request.amount_msat("fee_limit_sat", "fee_limit_msat")  # The only hop charges no fee, so any limit is enough.
        payment = self._new(request)
        if shard_msat and payment.amount_msat > shard_msat * max_parts:
            raise RestError(
                f"payment amount {payment.amount_msat} mSAT exceeds maximum possible amount {shard_msat * max_parts} "
                f"mSAT with max_parts={max_parts} and max_shard_size_msat={shard_msat} mSAT"
            )
        least = payment.final_cltv_delta + BLOCK_PADDING
        if cltv_limit <= least:
            raise RestError(f"cltv limit {cltv_limit} should be greater than {least}")
        if payment.payee == self._identity.public_key and not request.flag("allow_self_payment"):
            raise RestError("self-payments not allowed")
        parts = min(self.parts, max_parts, payment.amount_msat) if payment.payment_address else 1
        self._send(payment, _shards(payment.amount_msat, shard_msat or -(-payment.amount_msat // parts)))
        in_flight = not request.flag("no_inflight_updates")
        return one_payment(self._books, payment.payment_hash, from_start=True, in_flight=in_flight)

    def _send(self, payment: Payment, parts_msat: list[int]) -> Payment:
        try:
            payment = self._ledger.start_payment(payment)
        except PaymentConflict as error:
            raise RestError(str(error), Status.ALREADY_EXISTS) from None
        now = payment.created_at
        if self.failing is not None:
            self._ledger.fail_payment(payment, self.failing, now)
        elif payment.payee != self._identity.peer_key:
            # A payment to this node itself also fails here: the simulated node finds no circular route.
            self._ledger.fail_payment(payment, FailureReason.NO_ROUTE, now)
        else:
            self._ledger.attempt(payment, now, parts_msat)
        return self._books.payment(payment.payment_hash)

    def _new(self, request: Message) -> Payment:
        records = _custom_records(request)
        if KEYSEND_RECORD in records and request.number("max_shard_size_msat"):
            raise RestError(
                "keysend payments cannot specify a max shard amount - MPP not supported with keysend payments"
            )
        amount_msat = request.amount_msat("amt", "amt_msat")
        dest, payment_hash = request.data("dest"), request.data("payment_hash")
        delta = request.number("final_cltv_delta")
        if not request.text("payment_request"):
            return self._new_without_invoice(dest, payment_hash, amount_msat, delta, records)
        for name, given in (("dest", dest), ("payment_hash", payment_hash), ("final_cltv_delta", delta)):
            if given:
                raise RestError(f"{name} and payment_request cannot appear together")
        invoice = self._decode(request.text("payment_request"))
        if self._clock.now() > invoice.expires_at:
            until = datetime.fromtimestamp(invoice.expires_at, UTC)
            raise RestError(f"invoice expired. Valid until {until:%Y-%m-%d %H:%M:%S} +0000 UTC")
        if not invoice.payment_secret:
            raise RestError("payment request must contain either a payment address or blinded paths")
        if invoice.amount_msat is None and not amount_msat:
            raise RestError("amount must be specified when paying a zero amount invoice")
        if invoice.amount_msat is not None and amount_msat:
            raise RestError("amount must not be specified when paying a non-zero amount invoice")
        return self._of_invoice(invoice, invoice.amount_msat or amount_msat, records)

    def _of_invoice(
        self, invoice: bolt11.Bolt11Invoice, amount_msat: int, records: Mapping[int, bytes] = MappingProxyType({})
    ) -> Payment:
        return Payment(
            owner=self._side,
            payment_hash=invoice.payment_hash,
            payee=invoice.payee,
            amount_msat=amount_msat,
            final_cltv_delta=invoice.min_final_cltv_expiry_delta,
            payment_address=invoice.payment_secret or b"",
            payment_request=invoice.text,
            created_at=self._clock.now(),
            custom_records=records,
        )

    def _new_without_invoice(
        self, dest: bytes, payment_hash: bytes, amount_msat: int, delta: int, records: dict[int, bytes]
    ) -> Payment:
        if len(dest) != 33:
            raise RestError(f"invalid vertex length of {len(dest)}, want 33")
        if not amount_msat:
            raise RestError("amount must be specified")
        if len(payment_hash) != 32:
            raise RestError(f"invalid hash length of {len(payment_hash)}, want 32")
        return Payment(
            owner=self._side,
            payment_hash=payment_hash,
            payee=dest,
            amount_msat=amount_msat,
            final_cltv_delta=delta or DEFAULT_CLTV_DELTA,
            created_at=self._clock.now(),
            custom_records=records,
        )

    def _decode(self, text: str) -> bolt11.Bolt11Invoice:
        try:
            invoice = bolt11.decode(text)
        except FormatError as error:
            raise RestError(f"invalid payment request: {error.message}") from None
        if invoice.prefix != INVOICE_PREFIX:
            raise RestError(f"invoice not for current active network '{NETWORK}'")
        if invoice.is_amp or invoice.has_blinded_paths or invoice.fallback_addresses:
            raise RestError(
                "the simulated node reads no invoices with AMP, blinded paths or fallback addresses",
                Status.UNIMPLEMENTED,
            )
        return invoice

    def estimate_route_fee(self, request: Message) -> dict[str, object]:
        """``routerrpc.RouteFeeResponse``: from the graph for a key, by a payment that must fail for an invoice."""
        dest, text = request.data("dest"), request.text("payment_request")
        if bool(dest) == bool(text):
            raise RestError("specify either a destination or an invoice")
        if text:
            return self._probe(self._decode(text))
        amount_sat = request.number("amt_sat")
        if len(dest) != 33:
            raise RestError("invalid length destination key")
        if amount_sat <= 0:
            raise RestError("amount must be greater than 0")
        if self._ledger.channels.placed(self._side, [amount_sat * 1000]) is None:
            raise RestError("insufficient local balance")
        if dest != self._identity.peer_key:
            raise RestError("unable to find a path to destination")
        return _route_fee(self._ledger.height + DEFAULT_CLTV_DELTA + BLOCK_PADDING, FailureReason.NONE)

    def _probe(self, invoice: bolt11.Bolt11Invoice) -> dict[str, object]:
        if not invoice.amount_msat:
            raise RestError("payment request amount must be greater than 0")
        if invoice.payee == self._identity.public_key:
            raise RestError("self-payments not allowed")
        self._probes += 1
        probe = replace(
            self._of_invoice(invoice, invoice.amount_msat),
            payment_hash=self._identity.secret(f"probe {self._probes}"),
            payment_request="",
        )
        payment = self._send(probe, [probe.amount_msat])
        if payment.state is PaymentState.IN_FLIGHT:
            raise RestError("the simulated node probes no route while its payments are held", Status.UNIMPLEMENTED)
        if payment.reason is not FailureReason.INCORRECT_PAYMENT_DETAILS:
            return _route_fee(0, payment.reason)
        # Only the payee can refuse the payment details, so the probe has reached it.
        return _route_fee(payment.attempts[-1].htlc.expiry_height, FailureReason.NONE)

    def track_payment(self, request: Message) -> Subscription:
        """Stream one payment's states."""
        payment_hash = request.bytes32("payment_hash", "hash")
        in_flight = not request.flag("no_inflight_updates")
        try:
            return one_payment(self._books, payment_hash, in_flight=in_flight)
        except PaymentNotFound as error:
            raise RestError(str(error), Status.NOT_FOUND) from None

    def track_payments(self, request: Message) -> Subscription:
        """Stream the states of all payments, first of those in flight."""
        return all_payments(self._books, in_flight=not request.flag("no_inflight_updates"))

    def list_payments(self, request: Message) -> dict[str, object]:
        """``lnrpc.ListPaymentsResponse``; payments that did not succeed only with ``include_incomplete``."""
        start, end = dates(request)
        incomplete = request.flag("include_incomplete")
        found = page(
            self._books.payment_at,
            len(self._books.sent),
            request,
            request.number("max_payments") or _DEFAULT_LIST,
            lambda payment: (
                (incomplete or payment.state is PaymentState.SUCCEEDED) and start <= payment.created_at <= end
            ),
        )
        return {
            "payments": [payment_answer(payment, self._identity.channel_ids) for payment in found],
            "first_index_offset": str(found[0].index if found else 0),
            "last_index_offset": str(found[-1].index if found else 0),
            "total_num_payments": str(len(self._books.payments) if request.flag("count_total_payments") else 0),
        }


def _custom_records(request: Message) -> dict[int, bytes]:
    records = request.records("dest_custom_records")
    if any(number < _FIRST_CUSTOM_RECORD for number in records):
        raise RestError(f"no custom records with types below {_FIRST_CUSTOM_RECORD} allowed")
    return records


def _shards(amount_msat: int, most_msat: int) -> list[int]:
    """Split the amount into parts of at most that size, the smallest last."""
    whole, rest = divmod(amount_msat, most_msat)
    return [most_msat] * whole + ([rest] if rest else [])


def _route_fee(time_lock: int, reason: FailureReason) -> dict[str, object]:
    return {"routing_fee_msat": "0", "time_lock_delay": str(time_lock), "failure_reason": reason.value}
