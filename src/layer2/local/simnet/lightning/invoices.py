"""The invoice calls of a simulated Lightning node, with lnd's limits and error messages.

Pure except for the clock. Nothing is random: the preimages and secrets that lnd draws at random are derived from the
seed and a counter, so the same calls make the same invoices.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from layer2.errors import FormatError
from layer2.formats import bolt11
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.answers import INVOICE_FEATURES, invoice_answer
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.messages import MalformedRequest, Message, RestError, Status, dates, page, read_hex
from layer2.local.simnet.lightning.records import Invoice, InvoiceNotFound, InvoiceState, LedgerError
from layer2.local.simnet.lightning.streams import Subscription, all_invoices, one_invoice

__all__ = ["DEFAULT_CLTV_DELTA", "INVOICE_PREFIX", "InvoiceCalls"]

INVOICE_PREFIX = "bcrt"
DEFAULT_CLTV_DELTA = 80
_MIN_CLTV_DELTA = 24
_MAX_CLTV_DELTA = 65_535
_DEFAULT_EXPIRY = 86_400
_MAX_EXPIRY = 365 * 86_400
_MAX_MEMO = 1024
_MAX_FIELD_GROUPS = 1023
_MAX_INVOICE_MSAT = 100_000 * 100_000_000 * 1000
_MAX_HINTS = 20
_DEFAULT_LIST = 100


class InvoiceCalls:
    """One node's invoice calls, named as in lnd's services.

    Args:
        identity: its keys.
        ledger: shared with its peer.
        clock: for the expiry of invoices.
    """

    def __init__(self, identity: LightningIdentity, ledger: Ledger, clock: SimClock) -> None:
        self._identity = identity
        self._side = identity.side
        self._ledger = ledger
        self._books = ledger.books[identity.side]
        self._clock = clock

    def add_invoice(self, request: Message) -> dict[str, object]:
        """``lnrpc.AddInvoiceResponse``."""
        given = request.data("r_preimage")
        if given and len(given) != 32:
            raise RestError(f"invalid preimage length of {len(given)}, want 32")
        preimage = given or self._identity.secret(f"preimage {len(self._books.added) + 1}")
        invoice = self._new(request, sha256(preimage).digest(), preimage)
        return {"r_hash": b64encode(invoice.payment_hash).decode(), **_added(invoice)}

    def add_hold_invoice(self, request: Message) -> dict[str, object]:
        """``invoicesrpc.AddHoldInvoiceResp``."""
        return _added(self._new(request, request.bytes32("hash", "hash"), None))

    def _new(self, request: Message, payment_hash: bytes, preimage: bytes | None) -> Invoice:
        memo, description_hash = request.text("memo"), request.data("description_hash")
        value_msat = request.amount_msat("value", "value_msat")
        expiry, delta = request.number("expiry"), request.number("cltv_expiry")
        _check_limits(memo, description_hash, value_msat, expiry, delta)
        fields = bolt11.InvoiceFields(
            prefix=INVOICE_PREFIX,
            amount_msat=value_msat or None,
            timestamp=self._clock.now(),
            payment_hash=payment_hash,
            payment_secret=self._identity.secret(f"payment secret {len(self._books.added) + 1}"),
            description=None if description_hash else memo,
            description_hash=description_hash or None,
            expiry=expiry if expiry > 0 else _DEFAULT_EXPIRY,
            min_final_cltv_expiry_delta=delta or DEFAULT_CLTV_DELTA,
            feature_bits=INVOICE_FEATURES,
            route_hints=_route_hints(request),
        )
        try:
            payment_request = bolt11.encode(fields, self._identity.sign)
        except FormatError as error:
            raise RestError(error.message) from None
        invoice = Invoice(
            owner=self._side,
            payment_hash=payment_hash,
            payment_address=fields.payment_secret,
            payment_request=payment_request,
            memo=memo,
            description_hash=description_hash,
            value_msat=value_msat,
            created_at=fields.timestamp,
            expiry_seconds=fields.expiry,
            final_cltv_delta=fields.min_final_cltv_expiry_delta,
            preimage=preimage,
            route_hints=fields.route_hints,
        )
        with _refusals():
            return self._ledger.add_invoice(invoice)

    def lookup_invoice(self, request: Message) -> dict[str, object]:
        """``lnrpc.Invoice`` by the hexadecimal hash in the path."""
        payment_hash = read_hex(request.text("r_hash_str"))
        if len(payment_hash) != 32:
            raise RestError(f"payment hash must be exactly 32 bytes, is instead {len(payment_hash)}")
        return self._found(payment_hash)

    def lookup_invoice_v2(self, request: Message) -> dict[str, object]:
        """``lnrpc.Invoice`` by the base64 hash or payment address in the query."""
        payment_hash, address = request.data("payment_hash"), request.data("payment_addr")
        if payment_hash and address:
            raise MalformedRequest('field already set for oneof "invoice_ref"')
        if address:
            # As in lnd, a short address is filled up with zeros and a long one is cut.
            payment_hash = self._books.by_address.get(address[:32].ljust(32, b"\0"), bytes(32))
        if not payment_hash:
            raise RestError("invoice ref must be set", Status.INVALID_ARGUMENT)
        if len(payment_hash) != 32:
            raise RestError(
                f"unable to parse pay hash: invalid hash length of {len(payment_hash)}, want 32",
                Status.INVALID_ARGUMENT,
            )
        return self._found(payment_hash)

    def _found(self, payment_hash: bytes) -> dict[str, object]:
        try:
            return self._answer(self._books.invoice(payment_hash))
        except InvoiceNotFound as error:
            raise RestError(str(error), Status.NOT_FOUND) from None

    def list_invoices(self, request: Message) -> dict[str, object]:
        """``lnrpc.ListInvoiceResponse``."""
        start, end = dates(request)
        states = set(InvoiceState)
        if request.flag("pending_only"):
            states = {InvoiceState.OPEN, InvoiceState.ACCEPTED}
        found = page(
            self._books.invoice_at,
            len(self._books.added),
            request,
            request.number("num_max_invoices") or _DEFAULT_LIST,
            lambda invoice: invoice.state in states and start <= invoice.created_at <= end,
        )
        return {
            "invoices": [self._answer(invoice) for invoice in found],
            "last_index_offset": str(found[-1].add_index if found else 0),
            "first_index_offset": str(found[0].add_index if found else 0),
        }

    def settle_invoice(self, request: Message) -> dict[str, object]:
        """``invoicesrpc.SettleInvoiceResp``."""
        preimage = request.bytes32("preimage", "preimage")
        with _refusals():
            self._ledger.settle_invoice(self._side, preimage, self._clock.now())
        return {}

    def cancel_invoice(self, request: Message) -> dict[str, object]:
        """``invoicesrpc.CancelInvoiceResp``."""
        payment_hash = request.bytes32("payment_hash", "hash")
        with _refusals():
            self._ledger.cancel_invoice(self._side, payment_hash, self._clock.now())
        return {}

    def subscribe_single_invoice(self, request: Message) -> Subscription:
        """Stream one invoice's states. As in lnd, the invoice may be created later."""
        return one_invoice(self._books, request.bytes32("r_hash", "hash"))

    def subscribe_invoices(self, request: Message) -> Subscription:
        """Stream all invoices as they are added and settled, after the given indexes."""
        add_index = request.number("add_index")
        settle_index = request.number("settle_index")
        return all_invoices(self._books, add_index, settle_index)

    def _answer(self, invoice: Invoice) -> dict[str, object]:
        return invoice_answer(invoice, self._identity.channel_ids)


def _check_limits(memo: str, description_hash: bytes, value_msat: int, expiry: int, delta: int) -> None:
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
    if delta > _MAX_CLTV_DELTA:
        raise RestError(f"CLTV delta of {delta} is too large, max accepted is: {_MAX_CLTV_DELTA}")
    if delta and delta < _MIN_CLTV_DELTA:
        raise RestError(f"CLTV delta of {delta} must be greater than minimum of {_MIN_CLTV_DELTA}")
    if memo_groups > _MAX_FIELD_GROUPS:
        raise RestError(f"data length too big to fit within 10 bits: {memo_groups}")


def _added(invoice: Invoice) -> dict[str, object]:
    return {
        "payment_request": invoice.payment_request,
        "add_index": str(invoice.add_index),
        "payment_addr": b64encode(invoice.payment_address).decode(),
    }


def _route_hints(request: Message) -> tuple[tuple[bolt11.RouteHop, ...], ...]:
    """The request's route hints. ``private`` adds none, because every channel is public."""
    hints = [hint.messages("hop_hints") for hint in request.messages("route_hints")]
    if len(hints) > _MAX_HINTS:
        raise RestError(f"number of routing hints must not exceed maximum of {_MAX_HINTS}")
    if not all(hints):
        raise RestError("number of hop hint within a route must be positive")
    return tuple(
        tuple(
            bolt11.RouteHop(
                public_key=read_hex(hop.text("node_id")),
                short_channel_id=hop.number("chan_id"),
                fee_base_msat=hop.number("fee_base_msat"),
                fee_proportional_millionths=hop.number("fee_proportional_millionths"),
                cltv_expiry_delta=hop.number("cltv_expiry_delta") % (1 << 16),
            )
            for hop in hops
        )
        for hops in hints
    )


def _go_float(number: int) -> str:
    """Format an integer of seven or more digits as Go prints a float64."""
    digits = str(number)
    fraction = digits[1:].rstrip("0")
    return f"{digits[0]}{'.' if fraction else ''}{fraction}e+{len(digits) - 1:02d}"


@contextmanager
def _refusals() -> Iterator[None]:
    """Translate refusals of lnd's invoice registry, which lnd returns without a gRPC status."""
    try:
        yield
    except LedgerError as error:
        raise RestError(str(error)) from None
