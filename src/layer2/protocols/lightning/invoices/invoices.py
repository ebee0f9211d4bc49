"""The node's invoices: make, find, settle, cancel."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from layer2.errors import (
    AsyncRuntimeError,
    BadAnswer,
    IdempotencyConflict,
    InvalidRequest,
    NodeError,
    NodeRefused,
    Outcome,
    TransactionError,
)
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.invoices import decoded
from layer2.model.transactions import Preimage
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState, read_invoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.lnd.failures import NOT_FOUND
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.state import LndNode

__all__ = ["Invoices", "NewInvoice", "checked_hash"]

_PAGE: Final = 500
"""Invoices per request, well within the limit on the length of an answer."""
_HASH_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """The contents of a new invoice.

    Args:
        amount_msat: None leaves the amount to the payer.
        memo: description for the payer.
        expiry_seconds: time for which it can be paid.
        final_cltv_delta: blocks, at least lnd's 24; None is lnd's default.
        payment_hash: 32 bytes, for a hold invoice. If None, the node draws a preimage.
        private: whether it lists the node's private channels, so that it can be paid over them.
        description_hash: 32 bytes that the invoice carries instead of ``memo``, which only the node keeps then.
        keeps_expiry: whether an earlier invoice that differs only in its expiry may be returned instead.

    Raises:
        InvalidRequest: ``description_hash`` is not 32 bytes.
    """

    amount_msat: int | None
    memo: str
    expiry_seconds: int
    final_cltv_delta: int | None = None
    payment_hash: bytes | None = None
    private: bool = False
    description_hash: bytes | None = None
    keeps_expiry: bool = False

    def __post_init__(self) -> None:
        if self.description_hash is not None:
            checked_hash(self.description_hash, "description_hash")


class Invoices:
    """The invoices of one node.

    Args:
        rest: the node's REST interface.
        node: supplies the node's key.
        prefix: the network in invoices (BOLT 11).
    """

    def __init__(self, rest: LndRest, node: LndNode, prefix: str) -> None:
        self._rest = rest
        self._node = node
        self._prefix = prefix

    async def add(self, new: NewInvoice) -> Bolt11Invoice:
        """Make an invoice, and check its contents.

        If the node already has an open hold invoice with the same hash and contents, that one is returned.

        Raises:
            IdempotencyConflict: ``payment_hash_used``: the node has or had another invoice with the hash.
            NodeRefused: lnd refused it, with lnd's message.
            BadAnswer: the invoice has other contents than requested.
        """
        body: dict[str, object] = {
            "value_msat": str(new.amount_msat or 0),
            "memo": new.memo,
            "expiry": str(new.expiry_seconds),
        }
        if new.final_cltv_delta is not None:
            body["cltv_expiry"] = str(new.final_cltv_delta)
        if new.private:
            body["private"] = True
        if new.description_hash is not None:
            body["description_hash"] = b64encode(new.description_hash).decode()
        path = "/v1/invoices"
        if new.payment_hash is not None:
            path, body["hash"] = "/v2/invoices/hodl", b64encode(new.payment_hash).decode()
        own_key = await self._node.key()
        try:
            text = (await self._rest.post(path, body)).fields.text("payment_request")
        except NodeRefused as refused:
            return await self._made_before(new, own_key, refused)
        invoice = decoded(text)
        if not _is_as_requested(invoice, new, self._prefix, own_key):
            raise BadAnswer("lnd made another invoice than requested", protocol=LIGHTNING, operation=path)
        return invoice

    async def _made_before(self, new: NewInvoice, own_key: bytes, refused: NodeRefused) -> Bolt11Invoice:
        """Return the unpaid invoice with the same contents, if an earlier call made it and its answer was lost."""
        known = None if new.payment_hash is None else await self.find(new.payment_hash)
        if known is None:
            raise refused
        # An invoice whose preimage the node knows would settle by itself.
        if known.state is InvoiceState.OPEN and known.is_hold:
            invoice = decoded(known.text)
            asked = replace(new, expiry_seconds=invoice.expiry) if new.keeps_expiry else new
            if _is_as_requested(invoice, asked, self._prefix, own_key):
                return invoice
        raise IdempotencyConflict(
            "this payment hash was used before: the node accepts a hash once",
            code="payment_hash_used",
            protocol=LIGHTNING,
            outcome=Outcome.REJECTED,
            tx_id=known.payment_hash.hex(),
            remedy="draw another preimage",
        ) from refused

    async def find(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Return the node's invoice with that hash, or None if it has none."""
        try:
            answer = await self._rest.get(f"/v1/invoice/{payment_hash.hex()}")
        except NodeRefused as refused:
            if refused.node_code == NOT_FOUND:
                return None
            raise
        return read_invoice(answer.fields, payment_hash)

    async def held(self) -> list[InvoiceRecord]:
        """Return the invoices that are paid and neither settled nor cancelled, oldest first."""
        held: list[InvoiceRecord] = []
        offset = 0
        while True:
            path = f"/v1/invoices?pending_only=true&index_offset={offset}&num_max_invoices={_PAGE}"
            fields = (await self._rest.get(path)).fields
            page = fields.objects("invoices")
            held += [record for record in map(read_invoice, page) if record.state is InvoiceState.ACCEPTED]
            if len(page) < _PAGE:
                return held
            offset = fields.integer("last_index_offset")

    async def settle(self, preimage: Preimage) -> InvoiceRecord:
        """Settle a held invoice, and return it as it is read back. Has no effect if it is settled.

        Raises:
            TransactionError: it cannot be settled, with lnd's message. The outcome is UNKNOWN if lnd accepted the call
                and then does not show the invoice as settled.
        """
        body = {"preimage": b64encode(preimage.secret).decode()}
        settled = await self._end("/v2/invoices/settle", body, preimage.payment_hash, InvoiceState.SETTLED)
        assert settled is not None
        return settled

    async def cancel(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Cancel an open or held invoice, and return it as it is read back. Has no effect if it is cancelled.

        Returns:
            None if the node has deleted it.

        Raises:
            TransactionError: it cannot be cancelled, with lnd's message.
        """
        body = {"payment_hash": b64encode(payment_hash).decode()}
        return await self._end("/v2/invoices/cancel", body, payment_hash, InvoiceState.CANCELED)

    async def _end(
        self, path: str, body: Mapping[str, object], payment_hash: bytes, wanted: InvoiceState
    ) -> InvoiceRecord | None:
        refused: NodeRefused | None = None
        try:
            await self._rest.post(path, body)
        except NodeRefused as error:
            refused = error
        # Read back even if lnd accepted the call: it accepts to settle a payment that was returned to its payer.
        known = await self._find_after(path, payment_hash)
        if known is not None and known.state is wanted:
            return known
        if known is None and refused is None and wanted is InvoiceState.CANCELED:
            # lnd may be configured to delete cancelled invoices (gc-canceled-invoices-on-the-fly).
            return None
        if refused is not None:
            problem = f"lnd refused {path}: {refused.node_message}"
        else:
            state = "unknown" if known is None else known.state.value
            problem = f"lnd accepted {path}, but the invoice is {state}"
        raise TransactionError(
            problem,
            protocol=LIGHTNING,
            operation=path,
            outcome=Outcome.UNKNOWN if refused is None else Outcome.REJECTED,
            tx_id=payment_hash.hex(),
        ) from refused

    async def _find_after(self, path: str, payment_hash: bytes) -> InvoiceRecord | None:
        try:
            return await self.find(payment_hash)
        except (NodeError, AsyncRuntimeError) as error:
            error.outcome, error.tx_id = Outcome.UNKNOWN, payment_hash.hex()
            error.remedy = f"{path} was sent: ask for the status of tx_id"
            raise


def checked_hash(value: bytes, what: str = "a payment hash") -> bytes:
    """Return the hash.

    Raises:
        InvalidRequest: it is not 32 bytes.
    """
    if not isinstance(value, bytes) or len(value) != _HASH_LENGTH:
        raise InvalidRequest(f"{what} is 32 bytes", protocol=LIGHTNING)
    return value


def _is_as_requested(invoice: Bolt11Invoice, new: NewInvoice, prefix: str, own_key: bytes) -> bool:
    return (
        invoice.prefix == prefix
        and invoice.payee == own_key
        and invoice.amount_msat == new.amount_msat
        and (new.payment_hash is None or invoice.payment_hash == new.payment_hash)
        and invoice.expiry == new.expiry_seconds
        and (new.final_cltv_delta is None or invoice.min_final_cltv_expiry_delta == new.final_cltv_delta)
        and invoice.description == (new.memo if new.description_hash is None else None)
        and invoice.description_hash == new.description_hash
        and not invoice.is_amp
    )
