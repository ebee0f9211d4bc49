"""The node's own payments: send once, and track by hash.

Only a payment message that says SUCCEEDED or FAILED decides what became of a payment. An error, a broken connection
or "not found" never does.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never
from weakref import WeakValueDictionary

from layer2.errors import BadAnswer, FundsRulesError, NodeError, NodeRefused, NodeUnreachable, Outcome, TransactionError
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA, Keysend, Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.lnd.failures import ALREADY_EXISTS, NOT_FOUND
from layer2.protocols.lightning.lnd.rest import LndRest, Use
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState, read_payment
from layer2.protocols.lightning.payments.request import decode_invoice
from layer2.protocols.lightning.payments.sends import SendStreams

__all__ = ["Payments", "SendListener", "joined"]

LOG: Final = logging.getLogger("layer2.lightning")
_REMEMBERED: Final = 1024
"""Newest words that are kept."""
SEND: Final = "POST /v2/router/send"
_KEYSEND_RECORD: Final = "5482373484"
"""The onion's record that carries the preimage to the payee (bLIP 3)."""


@dataclass(frozen=True, slots=True)
class SendListener:
    """Who listens to the streams of payments that were sent."""

    heard: Callable[[PaymentRecord], None]
    """Hears each record, in their order."""
    ended: Callable[[bytes], None] | None = None
    """Hears the hash of each payment that is not followed any more, whether or not its end was heard."""


class Payments:
    """The payments of one node.

    Args:
        rest: the way to it.
        most_streams: of payments under way, how many are read at a time.
    """

    def __init__(self, rest: LndRest, most_streams: int) -> None:
        self._rest = rest
        self._streams = SendStreams(most_streams, self._ended)
        self._heard: dict[bytes, PaymentRecord] = {}
        self._listeners: list[SendListener] = []
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @property
    def open_streams(self) -> int:
        """How many payments that were sent here are followed each by its own stream."""
        return len(self._streams)

    def listen(self, listener: SendListener) -> None:
        """Add a permanent listener to the payments that are sent here, after those that are there already."""
        self._listeners.append(listener)

    def is_followed(self, payment_hash: bytes) -> bool:
        """Whether whoever listens is told what becomes of it by the stream on which it was sent."""
        return payment_hash in self._streams

    def heard(self, payment_hash: bytes) -> PaymentRecord | None:
        """The newest word on a payment that is followed, or that was and has succeeded not long ago.

        The node said it, and has said nothing since, unless the connection died: who relies on it looks again later.
        """
        return self._heard.get(payment_hash)

    def one_at_a_time(self, payment_hash: bytes) -> asyncio.Lock:
        """Held by who looks for a payment and then sends it, so that a second one finds what the first has sent."""
        return self._locks.setdefault(payment_hash, asyncio.Lock())

    async def find(self, payment_hash: bytes) -> PaymentRecord | None:
        """The payment with that hash, or None where the node knows of none."""
        try:
            message = await self._rest.state(_track_path(payment_hash), is_final=_is_final)
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
            FundsRulesError: the hash is one of another payment, over another amount or to someone else.
            TransactionError: lnd refused it and knows of no such payment under way; outcome REJECTED.
            NodeUnreachable, BadAnswer: it may have been taken; outcome UNKNOWN, ``tx_id`` is the payment hash.
        """
        try:
            return await self._sent(pay)
        except NodeRefused as refused:
            return joined(await self._after_refusal(pay, refused), pay)
        except NodeError as error:
            error.tx_id = pay.payment_id
            raise

    async def _sent(self, pay: Pay | Keysend) -> PaymentRecord:
        message, stream = await self._rest.begin_stream("POST", "/v2/router/send", _send_body(pay), use=Use.PAYMENTS)

        def read(message: LndObject) -> PaymentRecord:
            record = _record(message, pay.payment_hash)
            _tell_excess(record, pay)
            return record

        try:
            first = read(message)
        except BaseException:
            stream.close()
            raise
        self._streams.follow(pay.payment_hash, stream, lambda message: self._hear(read(message)))
        self._hear(first)
        return first

    def _hear(self, record: PaymentRecord) -> None:
        self._heard.pop(record.payment_hash, None)
        self._heard[record.payment_hash] = record
        if len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        for listener in self._listeners:
            listener.heard(record)

    def _ended(self, payment_hash: bytes) -> None:
        newest = self._heard.get(payment_hash)
        if newest is not None and newest.state is not PaymentState.SUCCEEDED:
            del self._heard[payment_hash]
        for listener in self._listeners:
            if listener.ended is not None:
                listener.ended(payment_hash)

    async def _after_refusal(self, pay: Pay | Keysend, refused: NodeRefused) -> PaymentRecord:
        # lnd refuses a hash that is under way, and its error may also be one of its shutting down after it took it.
        try:
            known = await self.find(pay.payment_hash)
        except NodeError as error:
            raise NodeUnreachable(
                f"lnd gave an error to the payment and then could not be asked for it: {refused.node_message}",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.UNKNOWN,
                tx_id=pay.payment_id,
                remedy="ask for the payment's status before anything else",
            ) from error
        was_taken = refused.node_code == ALREADY_EXISTS
        if known is None and was_taken:
            raise BadAnswer(
                "lnd refused the payment as one that it has, and has none: its record may have been deleted",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.UNKNOWN,
                tx_id=pay.payment_id,
                remedy="find out with the payee whether it was paid before it is paid again",
            ) from refused
        # One that was under way when it was refused, and has FAILED since, is this caller's too.
        if known is None or (known.state is PaymentState.FAILED and not was_taken):
            raise TransactionError(
                f"lnd refused the payment: {refused.node_message}",
                protocol=LIGHTNING,
                operation=SEND,
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            ) from refused
        return known

    async def aclose(self) -> None:
        """Read no stream any more. Payments that are under way go on in the node."""
        await self._streams.aclose()


def joined(known: PaymentRecord, pay: Pay | Keysend) -> PaymentRecord:
    """The node's payment with that hash, which stands for the one that was asked for.

    Raises:
        FundsRulesError: it is not what was asked for: the hash was used twice.
    """
    invoice = pay.invoice if isinstance(pay, Pay) else ""
    if (known.invoice.lower(), known.amount_msat) == (invoice, pay.amount_msat):
        return known
    raise FundsRulesError(
        f"the node has another payment with this hash, over {known.amount_msat} msat; a hash is paid once",
        protocol=LIGHTNING,
        outcome=Outcome.REJECTED,
        tx_id=pay.payment_id,
        remedy="ask the payee for a fresh invoice",
    )


def _tell_excess(record: PaymentRecord, pay: Pay | Keysend) -> None:
    """Say it aloud where lnd spent something else than it was told. What has succeeded stays so."""
    if record.state is not PaymentState.SUCCEEDED:
        return
    if record.paid_msat != pay.amount_msat or record.fee_msat > pay.fee_limit_msat:
        LOG.critical(
            "payment %s: lnd paid %d msat and a fee of %d msat; it was told to pay %d msat and %d msat at most",
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
            # lnd refuses an amount besides the invoice's own, also the same.
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
    return fields.word("status", PaymentState).is_final


def _record(fields: LndObject, payment_hash: bytes) -> PaymentRecord:
    record = read_payment(fields)
    if record.payment_hash != payment_hash:
        raise fields.wrong("it is another payment than was asked for")
    return record
