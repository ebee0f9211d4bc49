"""The node's own invoices: make, look up, settle, cancel, follow."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from layer2.errors import BadAnswer, IdempotencyConflict, NodeError, NodeRefused, Outcome, TransactionError
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.model.transactions import Preimage
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState, read_invoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.lnd.failures import NOT_FOUND
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.state import LndNode

__all__ = ["Invoices", "NewInvoice"]

_PAGE: Final = 500
"""Invoices asked for at once: well within the longest answer that is read."""


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """What an invoice shall say. Without a hash the node draws a preimage.

    Args:
        amount_msat: None leaves it to the payer.
        payment_hash: 32 bytes, for a hold invoice.
        keeps_expiry: whether an invoice that was made before may have another expiry, where only that differs.
        final_cltv_delta: blocks, at least lnd's 24; None is lnd's default.
        private: whether it names channels that are in no graph, so that it can be paid over them.
        description_hash: 32 bytes that the invoice carries instead of ``memo``, which the node alone then keeps.
    """

    amount_msat: int | None
    memo: str
    expiry_seconds: int
    final_cltv_delta: int | None = None
    payment_hash: bytes | None = None
    private: bool = False
    description_hash: bytes | None = None
    keeps_expiry: bool = False


class Invoices:
    """The invoices of one node.

    Args:
        rest: the way to it.
        node: for its key.
        prefix: of its network, as invoices name it.
    """

    def __init__(self, rest: LndRest, node: LndNode, prefix: str) -> None:
        self._rest = rest
        self._node = node
        self._prefix = prefix

    async def add(self, new: NewInvoice) -> Bolt11Invoice:
        """Have an invoice made, and check that the node made what was asked for.

        An invoice that the node has already under the same hash, open and with the same contents, is returned as it is.

        Raises:
            IdempotencyConflict: ``payment_hash_used``: the node has or had another invoice under the hash, which it
                takes once only.
            NodeRefused: lnd's words.
            BadAnswer: the invoice says something else than was asked for.
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
            return await self._asked_before(new, own_key, refused)
        invoice = bolt11.decode(text)
        if not _is_as_asked(invoice, new, self._prefix, own_key):
            raise BadAnswer("lnd made another invoice than it was asked for", protocol=LIGHTNING, operation=path)
        return invoice

    async def _asked_before(self, new: NewInvoice, own_key: bytes, refused: NodeRefused) -> Bolt11Invoice:
        """An invoice of the same contents that nobody has paid: it was asked for before, and the answer was lost."""
        known = None if new.payment_hash is None else await self.find(new.payment_hash)
        if known is None:
            raise refused
        # One that settles by itself is no hold invoice, even if it has other fields of one.
        if known.state is InvoiceState.OPEN and known.is_hold:
            invoice = bolt11.decode(known.text)
            asked = replace(new, expiry_seconds=invoice.expiry) if new.keeps_expiry else new
            if _is_as_asked(invoice, asked, self._prefix, own_key):
                return invoice
        raise IdempotencyConflict(
            "this payment hash was used before: the node takes a hash once",
            code="payment_hash_used",
            protocol=LIGHTNING,
            outcome=Outcome.REJECTED,
            tx_id=known.payment_hash.hex(),
            remedy="draw another preimage",
        ) from refused

    async def find(self, payment_hash: bytes) -> InvoiceRecord | None:
        """The node's own invoice with that hash, or None where it has none."""
        try:
            answer = await self._rest.get(f"/v1/invoice/{payment_hash.hex()}")
        except NodeRefused as refused:
            if refused.node_code == NOT_FOUND:
                return None
            raise
        return _record(answer.fields, payment_hash)

    async def held(self) -> list[InvoiceRecord]:
        """The invoices that are paid in full and wait to be settled or cancelled, oldest first."""
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

    async def settle(self, preimage: Preimage) -> None:
        """Settle a held invoice; a settled one stays as it is. What the node then has is read back.

        Raises:
            TransactionError: it cannot be settled; lnd's words. Outcome UNKNOWN where lnd agreed and then does not
                show it as settled.
        """
        body = {"preimage": b64encode(preimage.secret).decode()}
        await self._end("/v2/invoices/settle", body, preimage.payment_hash, InvoiceState.SETTLED)

    async def cancel(self, payment_hash: bytes) -> None:
        """Cancel an open or held invoice; a cancelled one stays as it is.

        Raises:
            TransactionError: it cannot be cancelled; lnd's words.
        """
        body = {"payment_hash": b64encode(payment_hash).decode()}
        await self._end("/v2/invoices/cancel", body, payment_hash, InvoiceState.CANCELED)

    async def _end(self, path: str, body: Mapping[str, object], payment_hash: bytes, wanted: InvoiceState) -> None:
        refused: NodeRefused | None = None
        try:
            await self._rest.post(path, body)
        except NodeRefused as error:
            refused = error
        # Read back also where lnd agreed: it has agreed to settle what had come back to its payer.
        known = await self._find_after(path, payment_hash)
        if known is not None and known.state is wanted:
            return
        if known is None and refused is None and wanted is InvoiceState.CANCELED:
            # lnd deletes what it cancels where it is configured so (gc-canceled-invoices-on-the-fly).
            return
        if refused is not None:
            problem = f"lnd refused {path}: {refused.node_message}"
        else:
            state = "unknown" if known is None else known.state.value
            problem = f"lnd agreed to {path}, and the invoice is {state}"
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
        except NodeError as error:
            error.outcome, error.tx_id = Outcome.UNKNOWN, payment_hash.hex()
            error.remedy = f"ask for the status of tx_id: {path} was sent"
            raise


def _record(fields: LndObject, payment_hash: bytes) -> InvoiceRecord:
    record = read_invoice(fields)
    if record.payment_hash != payment_hash:
        raise fields.wrong("it is another invoice than was asked for")
    return record


def _is_as_asked(invoice: Bolt11Invoice, new: NewInvoice, prefix: str, own_key: bytes) -> bool:
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
