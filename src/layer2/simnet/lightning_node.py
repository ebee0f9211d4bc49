"""One simulated Lightning node: what each call of lnd's REST interface reads, decides and answers.

Pure besides the clock it is given: a call takes a ``Message`` and returns a JSON answer, or the payment or invoice
whose states are to be streamed, or raises ``RestError``. Nothing is random: what lnd draws is derived from the
seed and a counter, so that the same calls make the same invoices.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from layer2.errors import FormatError
from layer2.formats import bolt11
from layer2.simnet.clock import SimClock
from layer2.simnet.lightning_answers import (
    INVOICE_FEATURES,
    channel_answer,
    channel_balance_answer,
    features_answer,
    invoice_answer,
    payment_answer,
    payment_request_answer,
)
from layer2.simnet.lightning_identity import LightningIdentity
from layer2.simnet.lightning_ledger import (
    BLOCK_PADDING,
    HOLD_EXPIRY_DELTA,
    FailureReason,
    Invoice,
    InvoiceNotFound,
    InvoiceState,
    Ledger,
    LedgerError,
    Payment,
    PaymentConflict,
    PaymentNotFound,
    PaymentState,
)
from layer2.simnet.lightning_messages import Message, RestError, Status, dates, page, read_hex

__all__ = ["NETWORK", "SimulatedNode"]

NETWORK = "regtest"
_INVOICE_PREFIX = "bcrt"
_VERSION = "0.21.2-beta commit=layer2-simnet"
_NODE_FEATURES = frozenset({0, 7, 8, 12, 14, 17, 23, 25})
_DEFAULT_CLTV_DELTA = 80
_MIN_CLTV_DELTA = 24
_MAX_CLTV_DELTA = 2016
_DEFAULT_EXPIRY = 86_400
_MAX_EXPIRY = 365 * 86_400
_MAX_MEMO = 1024
_MAX_FIELD_GROUPS = 1023
_MAX_INVOICE_MSAT = 100_000 * 100_000_000 * 1000
_DEFAULT_LIST = 100


class SimulatedNode:
    """The node's calls, named as in lnd's services.

    Args:
        identity: its keys.
        ledger: shared with its peer.
        clock: for the times it shows and the invoices' lives.
    """

    def __init__(self, identity: LightningIdentity, ledger: Ledger, clock: SimClock) -> None:
        self.identity = identity
        self.side = identity.side
        self.failing: FailureReason | None = None
        """The reason with which every new payment of this node fails; None lets them go."""
        self._ledger = ledger
        self._clock = clock
        self._started_at = clock.now()

    # What the node is.

    def get_info(self, _: Message) -> dict[str, Any]:
        """``lnrpc.GetInfoResponse``."""
        height = self._ledger.height
        return {
            "version": _VERSION,
            "commit_hash": "",
            "identity_pubkey": self.identity.public_key.hex(),
            "alias": f"simnet-{self.side.value}",
            "color": "#3399ff",
            "num_pending_channels": 0,
            "num_active_channels": 1,
            "num_inactive_channels": 0,
            "num_peers": 1,
            "block_height": height,
            "block_hash": self.identity.block_hash(height),
            "best_header_timestamp": str(self._clock.now()),
            "synced_to_chain": True,
            "synced_to_graph": True,
            "testnet": False,
            "chains": [{"chain": "bitcoin", "network": NETWORK}],
            "uris": [],
            "features": features_answer(_NODE_FEATURES),
            "require_htlc_interceptor": False,
            "store_final_htlc_resolutions": False,
            "wallet_synced": True,
            "graph_cache_status": "GRAPH_CACHE_STATUS_LOADED",
        }

    def get_debug_info(self, _: Message) -> dict[str, Any]:
        """``lnrpc.GetDebugInfoResponse``, with the settings that the simulation follows."""
        return {
            "config": {
                "alias": f"simnet-{self.side.value}",
                "bitcoin.regtest": "true",
                "bitcoin.timelockdelta": str(_DEFAULT_CLTV_DELTA),
                "invoices.holdexpirydelta": str(HOLD_EXPIRY_DELTA),
                "max-cltv-expiry": str(_MAX_CLTV_DELTA),
            },
            "log": [],
        }

    def wallet_balance(self, _: Message) -> dict[str, Any]:
        """``lnrpc.WalletBalanceResponse``: all of the node's money is in its channel."""
        return {
            "total_balance": "0",
            "confirmed_balance": "0",
            "unconfirmed_balance": "0",
            "locked_balance": "0",
            "reserved_balance_anchor_chan": "0",
            "account_balance": {"default": {"confirmed_balance": "0", "unconfirmed_balance": "0"}},
        }

    def channel_balance(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ChannelBalanceResponse``."""
        return channel_balance_answer(self._ledger.channel, self.side)

    def list_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ListChannelsResponse``."""
        channel = channel_answer(
            self._ledger.channel,
            self.side,
            peer_key=self.identity.peer_key,
            channel_point=self.identity.channel_point,
            channel_id=self.identity.channel_id,
            age=self._clock.now() - self._started_at,
        )
        return {"channels": [channel]}

    def closed_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ClosedChannelsResponse``."""
        return {"channels": []}

    def pending_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.PendingChannelsResponse``: the one channel is open, and is never closed."""
        return {
            "total_limbo_balance": "0",
            "pending_open_channels": [],
            "pending_closing_channels": [],
            "pending_force_closing_channels": [],
            "waiting_close_channels": [],
        }

    # Invoices.

    def add_invoice(self, request: Message) -> dict[str, Any]:
        """``lnrpc.AddInvoiceResponse``."""
        given = request.data("r_preimage")
        if given and len(given) != 32:
            raise RestError(f"invalid preimage length of {len(given)}, want 32")
        counter = self._ledger.next_add_index(self.side)
        preimage = given or self.identity.secret(f"preimage {counter}")
        invoice = self._new_invoice(request, sha256(preimage).digest(), preimage, is_hold=False)
        return {"r_hash": b64encode(invoice.payment_hash).decode(), **_added(invoice)}

    def add_hold_invoice(self, request: Message) -> dict[str, Any]:
        """``invoicesrpc.AddHoldInvoiceResp``."""
        return _added(self._new_invoice(request, request.bytes32("hash", "hash"), None, is_hold=True))

    def _new_invoice(self, request: Message, payment_hash: bytes, preimage: bytes | None, *, is_hold: bool) -> Invoice:
        memo, description_hash = request.text("memo"), request.data("description_hash")
        value_msat = request.amount_msat("value", "value_msat")
        expiry = request.number("expiry")
        delta = request.number("cltv_expiry", signed=False)
        memo_bytes = len(memo.encode())
        memo_groups = (memo_bytes * 8 + 4) // 5
        if memo_bytes > _MAX_MEMO:
            raise RestError(f"memo too large: {memo_bytes} bytes (maxsize={_MAX_MEMO})")
        if description_hash and len(description_hash) != 32:
            raise RestError(f"description hash is {len(description_hash)} bytes, must be 32")
        if value_msat > _MAX_INVOICE_MSAT:
            raise RestError("invoice amount is too large, max is 100000 BTC")
        if expiry > _MAX_EXPIRY:
            raise RestError(
                f"expiry of {_go_float(expiry)} seconds greater than max expiry of {_go_float(_MAX_EXPIRY)} seconds"
            )
        if delta and delta < _MIN_CLTV_DELTA:
            raise RestError(f"CLTV delta of {delta} must be greater than minimum of {_MIN_CLTV_DELTA}")
        if memo_groups > _MAX_FIELD_GROUPS:
            raise RestError(f"data length too big to fit within 10 bits: {memo_groups}")
        counter = self._ledger.next_add_index(self.side)
        fields = bolt11.InvoiceFields(
            prefix=_INVOICE_PREFIX,
            amount_msat=value_msat or None,
            timestamp=self._clock.now(),
            payment_hash=payment_hash,
            payment_secret=self.identity.secret(f"payment secret {counter}"),
            description=None if description_hash else memo,
            description_hash=description_hash or None,
            expiry=expiry if expiry > 0 else _DEFAULT_EXPIRY,
            min_final_cltv_expiry_delta=delta or _DEFAULT_CLTV_DELTA,
            feature_bits=INVOICE_FEATURES,
        )
        try:
            payment_request = bolt11.encode(fields, self._sign)
        except FormatError as error:
            raise RestError(error.message) from None
        invoice = Invoice(
            owner=self.side,
            add_index=counter,
            payment_hash=payment_hash,
            payment_address=fields.payment_secret,
            payment_request=payment_request,
            memo=memo,
            description_hash=description_hash,
            value_msat=value_msat,
            created_at=fields.timestamp,
            expiry_seconds=fields.expiry,
            final_cltv_delta=fields.min_final_cltv_expiry_delta,
            is_hold=is_hold,
            preimage=preimage,
        )
        with _refusals():
            self._ledger.add_invoice(invoice)
        return invoice

    def _sign(self, digest: bytes) -> bytes:
        return self.identity.key.sign_recoverable(digest, hasher=None)

    def lookup_invoice(self, request: Message) -> dict[str, Any]:
        """``lnrpc.Invoice`` by the hexadecimal hash in the path."""
        payment_hash = read_hex(request.text("r_hash_str"))
        if len(payment_hash) != 32:
            raise RestError(f"payment hash must be exactly 32 bytes, is instead {len(payment_hash)}")
        return self._invoice(payment_hash)

    def lookup_invoice_v2(self, request: Message) -> dict[str, Any]:
        """``lnrpc.Invoice`` by the base64 hash in the query."""
        payment_hash = request.data("payment_hash")
        if not payment_hash:
            raise RestError("invoice ref must be set", Status.INVALID_ARGUMENT)
        if len(payment_hash) != 32:
            raise RestError(
                f"unable to parse pay hash: invalid hash length of {len(payment_hash)}, want 32",
                Status.INVALID_ARGUMENT,
            )
        return self._invoice(payment_hash)

    def _invoice(self, payment_hash: bytes) -> dict[str, Any]:
        try:
            return self.answer(self._ledger.invoice(self.side, payment_hash))
        except InvoiceNotFound as error:
            raise RestError(str(error), Status.NOT_FOUND) from None

    def list_invoices(self, request: Message) -> dict[str, Any]:
        """``lnrpc.ListInvoiceResponse``."""
        start, end = dates(request)
        pending_only = request.flag("pending_only")
        found = {
            invoice.add_index: invoice
            for invoice in self._ledger.invoices(self.side)
            if (not pending_only or invoice.state in (InvoiceState.OPEN, InvoiceState.ACCEPTED))
            and start <= invoice.created_at <= end
        }
        limit = request.number("num_max_invoices", signed=False) or _DEFAULT_LIST
        indexes = page(sorted(found), request, limit)
        return {
            "invoices": [self.answer(found[index]) for index in indexes],
            "last_index_offset": str(indexes[-1] if indexes else 0),
            "first_index_offset": str(indexes[0] if indexes else 0),
        }

    def settle_invoice(self, request: Message) -> dict[str, Any]:
        """``invoicesrpc.SettleInvoiceResp``."""
        preimage = request.bytes32("preimage", "preimage")
        with _refusals():
            self._ledger.settle_invoice(self.side, preimage, self._clock.now())
        return {}

    def cancel_invoice(self, request: Message) -> dict[str, Any]:
        """``invoicesrpc.CancelInvoiceResp``."""
        payment_hash = request.bytes32("payment_hash", "hash")
        with _refusals():
            self._ledger.cancel_invoice(self.side, payment_hash, self._clock.now())
        return {}

    def subscribe_invoice(self, request: Message) -> tuple[type[Invoice], bytes]:
        """Which invoice to stream. One that does not exist yet may be waited for, as in lnd."""
        return Invoice, request.bytes32("r_hash", "hash")

    # Payments.

    def decode_payment_request(self, request: Message) -> dict[str, Any]:
        """``lnrpc.PayReq``."""
        return payment_request_answer(self._decode(request.text("pay_req")))

    def send_payment(self, request: Message) -> tuple[type[Payment], bytes]:
        """Start a payment and say which one to stream."""
        invoice = self._decode(request.text("payment_request"))
        request.amount_msat("fee_limit_sat", "fee_limit_msat")  # The one hop takes no fee: any limit is enough.
        if request.number("timeout_seconds", 32) < 0 or request.number("max_parts", 32, signed=False) < 0:
            raise RestError("timeout_seconds and max_parts cannot be negative")
        amount_msat = self._amount_to_send(request, invoice)
        cltv_limit = request.number("cltv_limit", 32) or _MAX_CLTV_DELTA
        least = invoice.min_final_cltv_expiry_delta + BLOCK_PADDING
        if self._clock.now() > invoice.expires_at:
            until = datetime.fromtimestamp(invoice.expires_at, UTC)
            raise RestError(f"invoice expired. Valid until {until:%Y-%m-%d %H:%M:%S} +0000 UTC")
        if not 0 <= cltv_limit <= _MAX_CLTV_DELTA:
            raise RestError(f"total time lock of {cltv_limit} exceeds max allowed {_MAX_CLTV_DELTA}")
        if cltv_limit <= least:
            raise RestError(f"cltv limit {cltv_limit} should be greater than {least}")
        if invoice.payee == self.identity.public_key and not request.flag("allow_self_payment"):
            raise RestError("self-payments not allowed")
        now = self._clock.now()
        try:
            payment = self._ledger.start_payment(
                self.side,
                payment_hash=invoice.payment_hash,
                payment_address=invoice.payment_secret or b"",
                payment_request=invoice.text,
                amount_msat=amount_msat,
                final_cltv_delta=invoice.min_final_cltv_expiry_delta,
                now=now,
            )
        except PaymentConflict as error:
            raise RestError(str(error), Status.ALREADY_EXISTS) from None
        if self.failing is not None:
            self._ledger.fail_payment(payment, self.failing, now)
        elif invoice.payee != self.identity.peer_key:
            # A payment to this node itself ends here too: it would need a way round, and there is one channel.
            self._ledger.fail_payment(payment, FailureReason.NO_ROUTE, now)
        else:
            self._ledger.attempt(payment, now)
        return Payment, invoice.payment_hash

    @staticmethod
    def _amount_to_send(request: Message, invoice: bolt11.Bolt11Invoice) -> int:
        asked = request.amount_msat("amt", "amt_msat")
        if invoice.amount_msat is None:
            if not asked:
                raise RestError("amount must be specified when paying a zero amount invoice")
            return asked
        if asked:
            raise RestError("amount must not be specified when paying a non-zero amount invoice")
        return invoice.amount_msat

    def _decode(self, text: str) -> bolt11.Bolt11Invoice:
        try:
            invoice = bolt11.decode(text)
        except FormatError as error:
            raise RestError(f"invalid payment request: {error.message}") from None
        if invoice.prefix != _INVOICE_PREFIX:
            raise RestError(f"invoice not for current active network '{NETWORK}'")
        if invoice.is_amp or invoice.has_blinded_paths or invoice.route_hints or invoice.fallback_addresses:
            raise RestError(
                "the simulated node reads no invoices with AMP, blinded paths, route hints or fallback addresses",
                Status.UNIMPLEMENTED,
            )
        return invoice

    def track_payment(self, request: Message) -> tuple[type[Payment], bytes]:
        """Which payment to stream."""
        payment_hash = request.bytes32("payment_hash", "hash")
        try:
            self._ledger.payment(self.side, payment_hash)
        except PaymentNotFound as error:
            raise RestError(str(error), Status.NOT_FOUND) from None
        return Payment, payment_hash

    def list_payments(self, request: Message) -> dict[str, Any]:
        """``lnrpc.ListPaymentsResponse``; those that did not succeed only with ``include_incomplete``."""
        start, end = dates(request)
        incomplete = request.flag("include_incomplete")
        payments = self._ledger.payments(self.side)
        found = {
            payment.index: payment
            for payment in payments
            if (incomplete or payment.state is PaymentState.SUCCEEDED) and start <= payment.created_at <= end
        }
        indexes = page(sorted(found), request, request.number("max_payments", signed=False) or _DEFAULT_LIST)
        return {
            "payments": [self.answer(found[index]) for index in indexes],
            "first_index_offset": str(indexes[0] if indexes else 0),
            "last_index_offset": str(indexes[-1] if indexes else 0),
            "total_num_payments": str(len(payments) if request.flag("count_total_payments") else 0),
        }

    def answer(self, record: Invoice | Payment) -> dict[str, Any]:
        """``lnrpc.Invoice`` or ``lnrpc.Payment``."""
        match record:
            case Invoice():
                return invoice_answer(record, self.identity.channel_id)
            case Payment():
                return payment_answer(record, self.identity.channel_id, self.identity.peer_key)


def _added(invoice: Invoice) -> dict[str, Any]:
    return {
        "payment_request": invoice.payment_request,
        "add_index": str(invoice.add_index),
        "payment_addr": b64encode(invoice.payment_address).decode(),
    }


def _go_float(number: int) -> str:
    """How Go prints a float64 of seven digits or more that holds an integer."""
    digits = str(number)
    fraction = digits[1:].rstrip("0")
    return f"{digits[0]}{'.' if fraction else ''}{fraction}e+{len(digits) - 1:02d}"


@contextmanager
def _refusals() -> Iterator[None]:
    """What lnd's registry refuses leaves lnd without a status of its own."""
    try:
        yield
    except LedgerError as error:
        raise RestError(str(error)) from None
