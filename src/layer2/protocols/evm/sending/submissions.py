"""Single transactions outside of swaps: durable before they are sent, and sent once for each idempotency key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from layer2.errors import (
    FormatError,
    IdempotencyConflict,
    InvalidRequest,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.model.transactions import EvmTxId
from layer2.ports.journal import SendRecord
from layer2.protocols.evm.fees.estimates import Estimates
from layer2.protocols.evm.fees.quotes import FeeQuote, Fees
from layer2.protocols.evm.requests import EvmTransaction
from layer2.protocols.evm.sending.account import EvmAccount, Message, message_of, tx_id_of
from layer2.protocols.evm.sending.history import REPLACES, SendHistory, signed_in
from layer2.protocols.evm.sending.pace import Pace
from layer2.protocols.evm.sending.replacements import Replacements

__all__ = ["Submission", "Submissions"]

_AT_ONCE = 32
"""Transactions that are decoded or signed in one turn of the loop: a batch, some three milliseconds."""


@dataclass(slots=True)
class Submission:
    """One request on its way; ``tx_id`` is set as soon as it is signed, and stays when a wait for it ends."""

    request: EvmTransaction
    digest: str
    idempotency_key: str | None
    measure: Callable[[], Awaitable[int]] | None = None
    """Gives the gas limit, or refuses with an error what would not do what is meant; None asks the node to estimate.
    Called only for what was not recorded before."""
    tx_id: EvmTxId | None = None


class Submissions:
    """Signs, records and sends.

    Args:
        account: whose key signs.
        fees: where prices come from.
        estimates: gas limits, and whether the account can pay.
        history: the durable record of sends.
        replacements: know what became of a replaced transaction's nonce.
        chain_id: signed transactions for another chain are refused.
        protocol: the layer's name, in records and errors.
    """

    def __init__(
        self,
        account: EvmAccount,
        fees: Fees,
        estimates: Estimates,
        history: SendHistory,
        replacements: Replacements,
        *,
        chain_id: int,
        protocol: str,
    ) -> None:
        self._account = account
        self._fees = fees
        self._estimates = estimates
        self._history = history
        self._replacements = replacements
        self._chain_id = chain_id
        self._protocol = protocol
        self._by_key: dict[str, tuple[Submission, asyncio.Task[EvmTxId]]] = {}
        self._tasks: set[asyncio.Task[EvmTxId]] = set()
        self._is_closed = False
        self._pace = Pace(_AT_ONCE)

    async def submit(self, submission: Submission) -> EvmTxId:
        """Send the request; return its id once the node took it.

        Cancelling before it is signed takes it back; after that it goes on, and ``submission.tx_id`` names it.

        Raises:
            As ``Layer2ProtocolAsync.submit_transaction_async``.
        """
        leader, task = self._begin(submission)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            submission.tx_id = leader.tx_id
            if self._is_closed and task.cancelled():
                # Not the caller was cancelled, but the client closed under it.
                raise NodeUnreachable(
                    "the client was closed",
                    protocol=self._protocol,
                    outcome=Outcome.NOT_SENT if leader.tx_id is None else Outcome.UNKNOWN,
                    tx_id=leader.tx_id,
                ) from None
            if submission.tx_id is None and submission.idempotency_key is None:
                task.cancel()
            raise

    async def aclose(self) -> None:
        """End what is under way. What was sent is not called back; what is recorded can be sent again by its key."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, submission: Submission) -> tuple[Submission, asyncio.Task[EvmTxId]]:
        """Start the request, or join the one that is under way with the same key."""
        key = submission.idempotency_key
        if key is not None and any("\ud800" <= letter <= "\udfff" for letter in key):
            raise InvalidRequest("an idempotency key must be text that UTF-8 can write", protocol=self._protocol)
        if key is not None and key in self._by_key:
            leader, task = self._by_key[key]
            if leader.digest != submission.digest:
                raise self._conflict(key)
            return leader, task
        task = asyncio.get_running_loop().create_task(self._run(submission))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if key is not None:
            self._by_key[key] = (submission, task)
            task.add_done_callback(lambda _: self._by_key.pop(key))
        # A task whose caller has left has nobody to raise to; the transaction can be looked up by its id.
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return submission, task

    async def _run(self, submission: Submission) -> EvmTxId:
        key = submission.idempotency_key
        if key is not None:
            if key.startswith(REPLACES):
                raise InvalidRequest(f"an idempotency key must not begin with {REPLACES!r}", protocol=self._protocol)
            known = await self._history.find(key)
            if known is not None:
                if known.request != submission.digest:
                    raise self._conflict(key)
                return await self._send_recorded(submission, known)
        request = submission.request
        if isinstance(request, bytes):
            await self._pace.turn()
            return await self._send_signed(submission, self._checked(request))
        price = await self._fees.quote()
        if submission.measure is not None:
            request = replace(request, gas_limit=await submission.measure())
        message = Message(
            to=request.recipient,
            data=request.data,
            value=request.value,
            gas_limit=await self._estimates.gas_limit(request, price),
        )
        await self._pace.turn()
        signed = await self._sign(message, price)
        try:
            record = await self._record(submission, signed)
        except BaseException:
            self._account.give_back([signed])
            raise
        if record.tx_id != tx_id_of(signed):
            # Another process wrote the same key first; its transaction is the one.
            self._account.give_back([signed])
            return await self._send_recorded(submission, record)
        await self._account.send(signed)
        return tx_id_of(signed)

    async def _sign(self, message: Message, price: FeeQuote) -> SignedTransaction:
        try:
            (signed,) = await self._account.sign([message], price)
        except FormatError as error:
            raise TransactionError(error.message, protocol=self._protocol) from error
        return signed

    async def _send_signed(self, submission: Submission, signed: SignedTransaction) -> EvmTxId:
        record = await self._record(submission, signed)
        if record.tx_id != tx_id_of(signed):
            return await self._send_recorded(submission, record)
        await self._account.send(signed)
        return tx_id_of(signed)

    async def _send_recorded(self, submission: Submission, record: SendRecord) -> EvmTxId:
        submission.tx_id = EvmTxId(record.tx_id)
        signed = self._history.remember(signed_in(record))
        later = await self._history.replacements(submission.tx_id)
        if later:
            return await self._send_replaced(submission, [signed, *later])
        await self._account.send(signed)
        return submission.tx_id

    async def _send_replaced(self, submission: Submission, versions: Sequence[SignedTransaction]) -> EvmTxId:
        """The version that is in a block, or else the newest, handed in again; unless that is nothing to oneself."""
        mined = await self._replacements.mined(versions)
        if mined is None and self._does_the_same(versions):
            try:
                await self._account.send(versions[-1], is_replacement=True)
            except TransactionError as error:
                if error.code != "nonce_used" or (mined := await self._replacements.mined(versions)) is None:
                    raise
        stands = versions[-1] if mined is None else mined
        submission.tx_id = tx_id_of(stands)
        if not self._does_the_same([versions[0], stands]):
            raise TransactionError(
                f"the transaction was cancelled: {submission.tx_id} {'has' if mined else 'shall have'} its nonce",
                code="cancelled",
                protocol=self._protocol,
                outcome=Outcome.REJECTED if mined else Outcome.UNKNOWN,
                tx_id=submission.tx_id,
            )
        return submission.tx_id

    @staticmethod
    def _does_the_same(versions: Sequence[SignedTransaction]) -> bool:
        return message_of(versions[0]) == message_of(versions[-1])

    async def _record(self, submission: Submission, signed: SignedTransaction) -> SendRecord:
        submission.tx_id = tx_id_of(signed)
        return await self._history.add(signed, key=submission.idempotency_key, request=submission.digest)

    def _checked(self, raw: bytes) -> SignedTransaction:
        signed = decode_signed(raw)
        if signed.transaction.chain_id != self._chain_id:
            raise InvalidRequest(
                f"the transaction is signed for chain {signed.transaction.chain_id}, this layer is {self._chain_id}",
                protocol=self._protocol,
            )
        return signed

    def _conflict(self, key: str) -> IdempotencyConflict:
        return IdempotencyConflict(
            f"the idempotency key {key!r} was used before with another request; nothing was sent for this one",
            protocol=self._protocol,
            remedy="give each payment a key of its own",
        )
