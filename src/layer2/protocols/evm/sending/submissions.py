"""Single transactions outside of swaps: recorded before they are sent, and sent once for each idempotency key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from layer2.errors import (
    FormatError,
    IdempotencyConflict,
    InvalidRequest,
    NodeUnreachable,
    NonceTaken,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import EvmTxId
from layer2.ports.journal import SendRecord
from layer2.protocols.evm.fees.estimates import Estimates
from layer2.protocols.evm.requests import EvmTransaction
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import REPLACES, SendHistory
from layer2.protocols.evm.sending.nonce_ledger import nonce_used
from layer2.protocols.evm.sending.replacements import Replacements
from layer2.protocols.evm.sending.signing import Message, tx_id_of

__all__ = ["Submission", "Submissions"]

_SIGNED_IN_TURN = 32
"""Transactions that are decoded or signed in one turn of the event loop: one batch, and about three milliseconds."""


@dataclass(slots=True)
class Submission:
    """One request that is being sent."""

    request: EvmTransaction
    digest: str
    idempotency_key: str | None
    measure: Callable[[], Awaitable[int]] | None = None
    """Returns the gas limit, or raises if the transaction would not do what is intended; None asks the node for an
    estimate. It is not called for a request that is already recorded."""
    tx_id: EvmTxId | None = None
    """Set when the transaction is signed. It stays when the caller stops waiting."""


class Submissions:
    """Signs, records and sends.

    Args:
        account: signs and sends.
        estimates: prices and gas limits, and whether the account can pay.
        history: the durable record of sends.
        replacements: sends recorded transactions, which may have been replaced.
        chain_id: transactions that are signed for another chain are refused.
    """

    def __init__(
        self,
        account: EvmAccount,
        estimates: Estimates,
        history: SendHistory,
        replacements: Replacements,
        *,
        chain_id: int,
    ) -> None:
        self._account = account
        self._estimates = estimates
        self._history = history
        self._replacements = replacements
        self._chain_id = chain_id
        self._turns = asyncio.Semaphore(_SIGNED_IN_TURN)
        self._by_key: dict[str, tuple[Submission, asyncio.Task[EvmTxId]]] = {}
        self._tasks: set[asyncio.Task[EvmTxId]] = set()
        self._is_closed = False

    async def submit(self, submission: Submission) -> EvmTxId:
        """Send the request; return its id once the node accepted it.

        Cancelling before the transaction is signed withdraws a request without a key. Later the request continues, and
        ``submission.tx_id`` identifies it.

        Raises:
            As ``Layer2ProtocolAsync.submit_transaction_async``.
        """
        leader, task = self._begin(submission)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            submission.tx_id = leader.tx_id
            if self._is_closed and task.cancelled():
                # The client was closed; the caller was not cancelled.
                raise NodeUnreachable(
                    "the client was closed",
                    outcome=Outcome.NOT_SENT if leader.tx_id is None else Outcome.UNKNOWN,
                    tx_id=leader.tx_id,
                ) from None
            if submission.tx_id is None and submission.idempotency_key is None:
                task.cancel()
            raise

    async def aclose(self) -> None:
        """End all requests. Sent transactions are not recalled; recorded ones can be sent again by their keys."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, submission: Submission) -> tuple[Submission, asyncio.Task[EvmTxId]]:
        """Start the request, or join the request that is under way with the same key."""
        key = submission.idempotency_key
        if key is not None:
            _check_key(key)
            if key in self._by_key:
                leader, task = self._by_key[key]
                _check_same(key, leader.digest, submission.digest)
                return leader, task
        task = asyncio.get_running_loop().create_task(self._run(submission))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if key is not None:
            self._by_key[key] = (submission, task)
            task.add_done_callback(lambda _: self._by_key.pop(key))
        # If the caller has left, the error has no reader; the transaction can be looked up by its id.
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return submission, task

    async def _run(self, submission: Submission) -> EvmTxId:
        key = submission.idempotency_key
        record = None if key is None else await self._history.find(key)
        if record is None:
            record = await self._send_new(submission)
            if record.tx_id == submission.tx_id:
                return EvmTxId(record.tx_id)
            # Another process recorded the same key first, so its transaction is the one to send.
        elif key is not None:
            _check_same(key, record.request, submission.digest)
        submission.tx_id = EvmTxId(record.tx_id)
        submission.tx_id = await self._replacements.send_newest(record)
        return submission.tx_id

    async def _send_new(self, submission: Submission) -> SendRecord:
        """Sign, record and send a new transaction; return its record, or the one that another process made first."""
        signed, record = await self._recorded(submission)
        if record.tx_id == submission.tx_id:
            await self._account.send(signed)
        else:
            self._account.give_back([signed])
        return record

    async def _recorded(self, submission: Submission) -> tuple[SignedTransaction, SendRecord]:
        """Sign and record. If another worker records a transaction with the nonce first, sign with another one."""
        is_given = isinstance(submission.request, bytes)
        while True:
            signed = await self._signed(submission)
            submission.tx_id = tx_id_of(signed)
            claim = self._account.claim(signed, is_out=True, is_journaled=is_given)
            try:
                return signed, await self._history.add(
                    signed, key=submission.idempotency_key, request=submission.digest, claim=claim
                )
            except BaseException as error:
                self._account.give_back([signed])
                if not isinstance(error, NonceTaken):
                    raise
                if is_given:
                    raise nonce_used(signed) from error
                submission.tx_id = None

    async def _signed(self, submission: Submission) -> SignedTransaction:
        """Sign the request, or decode it if it is already signed."""
        request = submission.request
        if isinstance(request, bytes):
            await self._turn()
            signed = self._estimates.decode(request)
            if (signed_for := signed.transaction.chain_id) != self._chain_id:
                raise InvalidRequest(
                    f"the transaction is signed for chain {signed_for}, this layer is chain {self._chain_id}"
                )
            return signed
        gas_limit, price = await self._estimates.affordable(request, submission.measure)
        message = Message(request.recipient, request.data, request.value, gas_limit)
        await self._turn()
        try:
            (signed,) = await self._account.sign([message], price)
        except FormatError as error:
            raise TransactionError(error.message) from error
        return signed

    async def _turn(self) -> None:
        """Wait for a turn of the event loop in which few others sign.

        So of a thousand concurrent requests, the first reach the disk and the node while the others still compute.
        """
        async with self._turns:
            await asyncio.sleep(0)


def _check_key(key: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in key):
        raise InvalidRequest("an idempotency key must be text that UTF-8 can encode")
    if key.startswith(REPLACES):
        raise InvalidRequest(f"an idempotency key must not begin with {REPLACES!r}")


def _check_same(key: str, earlier: str, digest: str) -> None:
    if earlier != digest:
        raise IdempotencyConflict(
            f"the idempotency key {key!r} was used before with another request; nothing was sent for this one",
            remedy="to find that payment, repeat its request; for another payment use another key",
        )
