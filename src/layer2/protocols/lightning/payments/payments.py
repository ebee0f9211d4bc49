"""The node's own payments: send once, and track by hash.

Only a payment message that says SUCCEEDED or FAILED decides what became of a payment. An error, a broken connection
or "not found" never does.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, assert_never
from weakref import WeakValueDictionary

from layer2.errors import NodeError, NodeRefused, NodeUnreachable, Outcome, TransactionError
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.lnd.rest import NOT_FOUND, LndRest
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState, read_payment
from layer2.protocols.lightning.payments.request import read_invoice

__all__ = ["Payments"]

_KEYSEND_RECORD: Final = "5482373484"
"""The onion's record that carries the preimage to the payee (bLIP 3)."""


class Payments:
    """The payments of one node.

    Args:
        rest: the way to it.
        told: hears every record that comes on the stream of a payment that was sent here, in their order.
    """

    def __init__(self, rest: LndRest, told: Callable[[PaymentRecord], None]) -> None:
        self._rest = rest
        self._told = told
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def one_at_a_time(self, payment_hash: bytes) -> asyncio.Lock:
        """Held by who looks for a payment and then sends it, so that a second one finds what the first has sent."""
        return self._locks.setdefault(payment_hash, asyncio.Lock())

    async def find(self, payment_hash: bytes) -> PaymentRecord | None:
        """The payment with that hash, or None where the node knows of none."""
        try:
            message = await self._rest.first("GET", _track_path(payment_hash))
        except NodeRefused as refused:
            if refused.node_code == NOT_FOUND:
                return None
            raise
        return _record(message, payment_hash)

    async def send(self, pay: Pay | Keysend) -> PaymentRecord:
        """Send a payment, and return the first state that the node tells; it goes on by itself.

        A hash that is under way or has succeeded is joined: lnd takes one of all who send it, and refuses the others.
        One that FAILED is sent again.

        Raises:
            TransactionError: lnd refused it and knows of no such payment under way; outcome REJECTED.
            NodeUnreachable, BadAnswer: it may have been taken; outcome UNKNOWN, ``tx_id`` is the payment hash.
        """
        try:
            message = await self._rest.first("POST", "/v2/router/send", _send_body(pay))
            record = _record(message, pay.payment_hash)
            self._told(record)
            return record
        except NodeRefused as refused:
            return await self._after_refusal(pay, refused)
        except NodeError as error:
            error.tx_id = pay.payment_id
            raise

    async def _after_refusal(self, pay: Pay | Keysend, refused: NodeRefused) -> PaymentRecord:
        # lnd refuses a hash that is under way, and its error may also be one of its shutting down after it took it.
        try:
            known = await self.find(pay.payment_hash)
        except NodeError as error:
            raise NodeUnreachable(
                f"lnd gave an error to the payment and then could not be asked for it: {refused.node_message}",
                protocol=LIGHTNING,
                operation="POST /v2/router/send",
                outcome=Outcome.UNKNOWN,
                tx_id=pay.payment_id,
                remedy="ask for the payment's status before anything else",
            ) from error
        if known is None or known.state is PaymentState.FAILED:
            raise TransactionError(
                f"lnd refused the payment: {refused.node_message}",
                protocol=LIGHTNING,
                operation="POST /v2/router/send",
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            ) from refused
        return known

    @asynccontextmanager
    async def watch(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentRecord]]:
        """The payment's state now and whenever it changes, until it has succeeded or failed.

        Raises:
            NodeRefused: with ``NOT_FOUND`` where the node knows of no such payment.
        """
        async with (
            self._rest.stream("GET", _track_path(payment_hash), watch=True) as messages,
            aclosing(_records(messages, payment_hash)) as records,
        ):
            yield records


async def _records(messages: AsyncIterator[LndObject], payment_hash: bytes) -> AsyncGenerator[PaymentRecord, None]:
    async for message in messages:
        yield _record(message, payment_hash)


def _send_body(pay: Pay | Keysend) -> dict[str, object]:
    limits: dict[str, object] = {
        "fee_limit_msat": str(pay.fee_limit_msat),
        "cltv_limit": pay.cltv_limit,
        "timeout_seconds": pay.timeout_seconds,
    }
    match pay:
        case Pay():
            body = limits | {"payment_request": pay.invoice, "max_parts": pay.max_parts}
            # lnd refuses an amount besides the invoice's own, also the same.
            return body if read_invoice(pay.invoice).amount_msat else body | {"amt_msat": str(pay.amount_msat)}
        case Keysend():
            return limits | {
                "dest": b64encode(pay.payee).decode(),
                "payment_hash": b64encode(pay.payment_hash).decode(),
                "dest_custom_records": {_KEYSEND_RECORD: b64encode(pay.preimage.secret).decode()},
                "amt_msat": str(pay.amount_msat),
                "final_cltv_delta": KEYSEND_FINAL_CLTV_DELTA,
                "max_parts": 1,
            }
        case _:
            assert_never(pay)


def _track_path(payment_hash: bytes) -> str:
    return f"/v2/router/track/{urlsafe_b64encode(payment_hash).decode()}"


def _record(fields: LndObject, payment_hash: bytes) -> PaymentRecord:
    record = read_payment(fields)
    if record.payment_hash != payment_hash:
        raise fields.wrong("it is another payment than was asked for")
    return record
