"""The node's own payments: send each once, and look them up by hash.

Only a payment message with SUCCEEDED or FAILED decides the outcome of a payment. An error, a broken connection or "not
found" never does.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode, urlsafe_b64encode
from typing import Final, assert_never
from weakref import WeakValueDictionary

from layer2.errors import (
    AsyncRuntimeError,
    BadAnswer,
    FundsRulesError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.lnd.failures import ALREADY_EXISTS, NOT_FOUND
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.payments.feed import PaymentFeed
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState, read_payment
from layer2.protocols.lightning.payments.request import decode_invoice

__all__ = ["Payments", "joined"]

LOG: Final = logging.getLogger("layer2.lightning")
SEND: Final = "POST /v2/router/send"
_REMEMBERED: Final = 4096
_KEYSEND_RECORD: Final = "5482373484"
"""The record of the onion that carries the preimage to the payee (bLIP 3)."""


class Payments:
    """The payments of one node.

    Args:
        rest: the node's REST interface.
        feed: reads the streams of the payments that are sent.
    """

    def __init__(self, rest: LndRest, feed: PaymentFeed) -> None:
        self._rest = rest
        self._feed = feed
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._undecided: BoundedDict[bytes, int] = BoundedDict(_REMEMBERED)
        """The index of each payment that was last found under way."""

    def one_at_a_time(self, payment_hash: bytes) -> asyncio.Lock:
        """The lock to hold while looking for a payment and then sending it, so that a second caller finds it sent."""
        return self._locks.setdefault(payment_hash, asyncio.Lock())

    async def find(self, payment_hash: bytes) -> PaymentRecord | None:
        """Return the payment with that hash, or None if the node has none.

        A payment under way has a stream that does not end, so each look-up by its hash costs a connection. From the
        second one on it is looked up in the list of payments, by its index.
        """
        index = self._undecided.get(payment_hash)
        found = None if index is None else await self._find_listed(payment_hash, index)
        if found is None:
            try:
                message = await self._rest.state(_track_path(payment_hash), is_final=_is_final)
            except NodeRefused as refused:
                if refused.node_code == NOT_FOUND:
                    self._undecided.pop(payment_hash, None)
                    return None
                raise
            found = read_payment(message, payment_hash)
        if found.state.is_final:
            self._undecided.pop(payment_hash, None)
        else:
            self._undecided[payment_hash] = found.index
        return found

    async def _find_listed(self, payment_hash: bytes, index: int) -> PaymentRecord | None:
        """The payment with this index, or None if it is another one now: a hash that is sent again has a new index."""
        try:
            answer = await self._rest.get(
                f"/v1/payments?include_incomplete=true&index_offset={index - 1}&max_payments=1"
            )
        except NodeRefused:
            return None
        for fields in answer.fields.objects("payments"):
            listed = read_payment(fields)
            if (listed.index, listed.payment_hash) == (index, payment_hash):
                return listed
        return None

    async def send(self, pay: Pay | Keysend) -> PaymentRecord:
        """Send a payment, and return its first state. The node continues it without this client.

        If a payment with the hash is under way or has succeeded, that one is returned: lnd takes only one of several
        concurrent sends of a hash. A FAILED payment is sent again.

        Raises:
            FundsRulesError: the node has another payment with this hash: another amount or payee.
            TransactionError: lnd refused it and has no such payment under way; outcome REJECTED.
            NodeUnreachable, BadAnswer: lnd may have taken it; outcome UNKNOWN, ``tx_id`` is the payment hash.
        """
        try:
            return await self._send(pay)
        except NodeRefused as refused:
            return joined(await self._find_after_refusal(pay, refused), pay)
        except NodeError as error:
            error.tx_id = pay.payment_id
            raise

    async def _send(self, pay: Pay | Keysend) -> PaymentRecord:
        self._feed.sending(pay.payment_hash)
        message, stream = await self._rest.begin_stream("POST", "/v2/router/send", _send_body(pay))

        def read(message: LndObject) -> PaymentRecord:
            record = read_payment(message, pay.payment_hash)
            _log_excess(record, pay)
            return record

        try:
            first = read(message)
        except BaseException:
            stream.close()
            raise
        self._feed.follow(first, stream, read)
        return first

    async def _find_after_refusal(self, pay: Pay | Keysend, refused: NodeRefused) -> PaymentRecord:
        # lnd refuses a hash that is under way. It may also have taken the payment and then failed while shutting down.
        try:
            known = await self.find(pay.payment_hash)
        except (NodeError, AsyncRuntimeError) as error:
            raise NodeUnreachable(
                f"lnd answered the payment with an error and could not be asked about it: {refused.node_message}",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.UNKNOWN,
                tx_id=pay.payment_id,
                remedy="ask for the payment's status before anything else",
            ) from error
        was_taken = refused.node_code == ALREADY_EXISTS
        if known is None and was_taken:
            raise BadAnswer(
                "lnd refused the payment as a duplicate but has no record of it: the record may have been deleted",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.UNKNOWN,
                tx_id=pay.payment_id,
                remedy="ask the payee whether it was paid before you pay it again",
            ) from refused
        # If the payment was under way when it was refused and has FAILED since, its failure is this caller's result.
        if known is None or (known.state is PaymentState.FAILED and not was_taken):
            raise TransactionError(
                f"lnd refused the payment: {refused.node_message}",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            ) from refused
        return known


def joined(known: PaymentRecord, pay: Pay | Keysend) -> PaymentRecord:
    """Return the node's payment with the hash, if it is the payment that was requested.

    Raises:
        FundsRulesError: it has another invoice or amount: the hash was used twice.
    """
    invoice = pay.invoice if isinstance(pay, Pay) else ""
    if (known.invoice.lower(), known.amount_msat) == (invoice, pay.amount_msat):
        return known
    raise FundsRulesError(
        f"the node has another payment with this hash, over {known.amount_msat} msat; a hash is paid once",
        protocol=LIGHTNING,
        outcome=Outcome.REJECTED,
        tx_id=pay.payment_id,
        remedy="ask the payee for a new invoice",
    )


def _log_excess(record: PaymentRecord, pay: Pay | Keysend) -> None:
    """Log it if lnd paid another amount or a higher fee than requested. The payment has succeeded all the same."""
    if record.state is not PaymentState.SUCCEEDED:
        return
    if record.paid_msat != pay.amount_msat or record.fee_msat > pay.fee_limit_msat:
        LOG.critical(
            "payment %s: lnd paid %d msat and a fee of %d msat; requested were %d msat and a fee of at most %d msat",
            pay.payment_id,
            record.paid_msat,
            record.fee_msat,
            pay.amount_msat,
            pay.fee_limit_msat,
        )


def _send_body(pay: Pay | Keysend) -> dict[str, object]:
    limits: dict[str, object] = {
        "fee_limit_msat": str(pay.fee_limit_msat),
        "cltv_limit": pay.cltv_limit,
        "timeout_seconds": pay.timeout_seconds,
    }
    match pay:
        case Pay():
            body = limits | {"payment_request": pay.invoice, "max_parts": pay.max_parts}
            # If the invoice has an amount, lnd refuses a second one, even an equal one.
            return body if decode_invoice(pay.invoice).amount_msat else body | {"amt_msat": str(pay.amount_msat)}
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


def _is_final(fields: LndObject) -> bool:
    return fields.enum("status", PaymentState).is_final
