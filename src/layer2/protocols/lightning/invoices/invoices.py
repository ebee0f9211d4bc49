"""The node's own invoices: make, look up, settle, cancel, follow."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from layer2.errors import BadAnswer, NodeRefused, Outcome, TransactionError
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState, read_invoice
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.lnd.rest import NOT_FOUND, LndRest
from layer2.protocols.lightning.node.state import LndNode
from layer2.transactions import Preimage

__all__ = ["Invoices", "NewInvoice"]


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """What an invoice shall say. With neither hash nor preimage the node draws a preimage.

    Args:
        payment_hash: 32 bytes, for a hold invoice.
        preimage: for a plain invoice that settles by itself.
        final_cltv_delta: blocks, at least lnd's 24; None is lnd's default.
    """

    amount_msat: int
    memo: str
    expiry_seconds: int
    final_cltv_delta: int | None = None
    payment_hash: bytes | None = None
    preimage: Preimage | None = field(default=None, repr=False)


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
            NodeRefused: lnd's words.
            BadAnswer: the invoice says something else than was asked for.
        """
        body: dict[str, object] = {
            "value_msat": str(new.amount_msat),
            "memo": new.memo,
            "expiry": str(new.expiry_seconds),
        }
        if new.final_cltv_delta is not None:
            body["cltv_expiry"] = str(new.final_cltv_delta)
        path = "/v1/invoices"
        if new.preimage is not None:
            body["r_preimage"] = b64encode(new.preimage.secret).decode()
        elif new.payment_hash is not None:
            path, body["hash"] = "/v2/invoices/hodl", b64encode(new.payment_hash).decode()
        own_key = await self._node.key()
        try:
            text = (await self._rest.post(path, body)).fields.text("payment_request")
        except NodeRefused:
            asked_before = await self._open_invoice(new)
            if asked_before is None or not _is_as_asked(asked_before, new, self._prefix, own_key):
                raise
            return asked_before
        invoice = bolt11.decode(text)
        if not _is_as_asked(invoice, new, self._prefix, own_key):
            raise BadAnswer("lnd made another invoice than it was asked for", protocol=LIGHTNING, operation=path)
        return invoice

    async def _open_invoice(self, new: NewInvoice) -> Bolt11Invoice | None:
        """An invoice under the hash that nobody has paid: it was asked for before, and the answer was lost."""
        payment_hash = new.payment_hash if new.preimage is None else new.preimage.payment_hash
        known = None if payment_hash is None else await self.find(payment_hash)
        return bolt11.decode(known.text) if known is not None and known.state is InvoiceState.OPEN else None

    async def find(self, payment_hash: bytes) -> InvoiceRecord | None:
        """The node's own invoice with that hash, or None where it has none."""
        try:
            answer = await self._rest.get(f"/v1/invoice/{payment_hash.hex()}")
        except NodeRefused as refused:
            if refused.node_code == NOT_FOUND:
                return None
            raise
        return _record(answer.fields, payment_hash)

    async def settle(self, preimage: Preimage) -> None:
        """Settle a held invoice; a settled one stays as it is.

        Raises:
            TransactionError: it cannot be settled; lnd's words.
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
        try:
            await self._rest.post(path, body)
        except NodeRefused as refused:
            known = await self.find(payment_hash)
            if known is not None and known.state is wanted:
                return
            raise TransactionError(
                f"lnd refused {path}: {refused.node_message}",
                protocol=LIGHTNING,
                operation=path,
                outcome=Outcome.REJECTED,
                tx_id=payment_hash.hex(),
            ) from refused

    @asynccontextmanager
    async def watch(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[InvoiceRecord]]:
        """The invoice's state now and whenever it changes, until it is settled or cancelled."""
        path = f"/v2/invoices/subscribe/{urlsafe_b64encode(payment_hash).decode()}"
        async with (
            self._rest.stream("GET", path, watch=True) as messages,
            aclosing(_records(messages, payment_hash)) as records,
        ):
            yield records


async def _records(messages: AsyncIterator[LndObject], payment_hash: bytes) -> AsyncGenerator[InvoiceRecord, None]:
    async for message in messages:
        yield _record(message, payment_hash)


def _record(fields: LndObject, payment_hash: bytes) -> InvoiceRecord:
    record = read_invoice(fields)
    if record.payment_hash != payment_hash:
        raise fields.wrong("it is another invoice than was asked for")
    return record


def _is_as_asked(invoice: Bolt11Invoice, new: NewInvoice, prefix: str, own_key: bytes) -> bool:
    payment_hash = new.payment_hash if new.preimage is None else new.preimage.payment_hash
    return (
        invoice.prefix == prefix
        and invoice.payee == own_key
        and invoice.amount_msat == new.amount_msat
        and (payment_hash is None or invoice.payment_hash == payment_hash)
        and invoice.expiry == new.expiry_seconds
        and (new.final_cltv_delta is None or invoice.min_final_cltv_expiry_delta == new.final_cltv_delta)
        and invoice.description == new.memo
        and not invoice.is_amp
    )
