"""Paying: the public calls around own payments. One payment for a key, and one for a payment hash."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import assert_never

from layer2.errors import FormatError, FundsRulesError, IdempotencyConflict
from layer2.interfaces import Clock, SendRecord, SendRecords
from layer2.protocols.lightning.acts import Keysend, Pay, read_act, write_act
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.payments import joined
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import (
    KeysendRequest,
    LightningTransaction,
    PaymentRequest,
    check_keysend,
    check_payable,
    read_invoice,
)
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.statuses import LightningStatus, payment_status
from layer2.transactions import Preimage

__all__ = ["LightningPaying"]


class LightningPaying(LightningParts):
    """Payments of the party's own lnd.

    Args:
        settings: where the node is, and the payer's limits.
        sends: where payments with an idempotency key are recorded before they are sent.
        clock: this machine's.
    """

    def __init__(self, settings: LightningSettings, sends: SendRecords, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._sends = sends

    async def submit_transaction_async(
        self,
        transaction: LightningTransaction,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> LightningStatus:
        """Pay an invoice, or a node's key; return once the node has taken the payment, which is not success yet.

        One payment per payment hash: one that is under way or has succeeded is joined, and its status returned. A
        payment that FAILED is sent again only for another key, or when it is asked for without one.

        Args:
            transaction: an invoice's text, or a request with limits. For a ``KeysendRequest`` without a key each call
                is a payment of its own.
            idempotency_key: written down before anything is sent; the same key never pays a second time.

        Raises:
            FormatError, InvalidRequest, FundsRulesError: nothing was sent.
            TransactionError: lnd refused it (outcome REJECTED).
            NodeUnreachable, BadAnswer, AsyncTimeout: where the outcome is UNKNOWN, ask for the status of ``tx_id``.
            IdempotencyConflict: the key was used for another request.
        """
        request = PaymentRequest(transaction) if isinstance(transaction, str) else transaction

        async def make_act() -> Pay | Keysend:
            return self._act_of(request)

        return await self._pay(
            request.digest(),
            make_act,
            idempotency_key,
            operation="submit_transaction_async",
            timeout=timeout,
        )

    async def _pay(
        self,
        digest: str,
        make_act: Callable[[], Awaitable[Pay | Keysend]],
        idempotency_key: str | None,
        *,
        operation: str,
        timeout: float | None,
    ) -> LightningStatus:
        """Pay once for a key.

        Args:
            digest: of what was asked for.
            make_act: says what to send; called only where nothing is recorded under the key.
            idempotency_key: None pays whatever was paid before, except that a hash under way or paid is joined.
            operation: the public call's name.
            timeout: seconds for all of it.
        """
        async with self._within(timeout, operation) as call:
            act, is_first = await self._recorded(digest, make_act, idempotency_key)
            call.tx_id = act.payment_id
            async with self._payments.one_at_a_time(act.payment_hash):
                if not is_first:
                    known = await self._payments.find(act.payment_hash)
                    if known is not None:
                        return payment_status(joined(known, act))
                return payment_status(await self._send(act))

    def _act_of(self, request: PaymentRequest | KeysendRequest) -> Pay | Keysend:
        """What to send for a request. Another one each time for a node's key, because its preimage is drawn here."""
        match request:
            case PaymentRequest():
                return request.resolved(read_invoice(request.invoice), self._settings)
            case KeysendRequest():
                return request.resolved(Preimage(secrets.token_bytes(32)), self._settings)
            case _:
                assert_never(request)

    async def _recorded(
        self, digest: str, make_act: Callable[[], Awaitable[Pay | Keysend]], idempotency_key: str | None
    ) -> tuple[Pay | Keysend, bool]:
        """What to send for the key, written down by now, and whether nobody can have sent it for that key yet."""
        if idempotency_key is None:
            return await make_act(), True
        stored = await self._sends.find_send(LIGHTNING, idempotency_key)
        if stored is None:
            made = await make_act()
            record = SendRecord(LIGHTNING, idempotency_key, digest, made.payment_id, write_act(made))
            stored = await self._sends.add_send(record)
            if stored is record:
                return made, True
        if stored.request != digest:
            raise IdempotencyConflict(
                "the idempotency key was used with another request; nothing was sent",
                protocol=LIGHTNING,
                tx_id=stored.tx_id,
            )
        act = read_act(stored.act)
        if not isinstance(act, Pay | Keysend):
            raise FormatError("the record of this key is not one of a payment", protocol=LIGHTNING)
        return act, False

    async def _send(self, act: Pay | Keysend) -> PaymentRecord:
        try:
            await self._check_sendable(act)
        except FundsRulesError:
            # It may have been paid when it still could: then this caller joins, as after a refusal of lnd's.
            known = await self._payments.find(act.payment_hash)
            if known is None or known.state is PaymentState.FAILED:
                raise
            return joined(known, act)
        return await self._payments.send(act)

    async def _check_sendable(self, act: Pay | Keysend) -> None:
        state = await self._recent_node.get()
        match act:
            case Pay():
                invoice, prefix = read_invoice(act.invoice), self._settings.invoice_prefix
                check_payable(act, invoice, prefix=prefix, own_key=state.key, now=state.date)
            case Keysend():
                check_keysend(act, own_key=state.key)
            case _:
                assert_never(act)
