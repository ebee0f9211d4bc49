"""Reading from an EVM layer: statuses, new blocks, and logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from layer2.aio.blocking import iterator_twin, twin
from layer2.aio.deadline import Deadline
from layer2.errors import AsyncRuntimeError, InvalidRequest
from layer2.legs.evidence import EvmEvidence
from layer2.model.transactions import EvmTxId, TxState, TxStatus
from layer2.ports.client import Layer2ProtocolAsync
from layer2.protocols.evm.chain.follower import ChainFollower, ChainStep
from layer2.protocols.evm.chain.logs import LogEvent, LogFilter, LogStreams
from layer2.protocols.evm.parts import EvmParts
from layer2.protocols.evm.requests import EvmTransaction
from layer2.protocols.evm.sending.statuses import Statuses
from layer2.protocols.evm.sending.watches import TransactionWatches

__all__ = ["EvmFollowing"]

_PROGRESS = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}


class EvmFollowing(Layer2ProtocolAsync[EvmTransaction, EvmTxId, str, EvmEvidence]):
    """The reading methods of an EVM layer's client.

    Args:
        parts: the client's parts.
    """

    def __init__(self, parts: EvmParts) -> None:
        settings = self.settings = parts.settings
        self._name = parts.layer.value
        self._seconds = settings.default_timeout
        self._node = parts.node
        self._is_closed = False
        self._statuses = Statuses(parts.node, parts.watcher, parts.history, settings)
        self._watches = TransactionWatches(
            parts.node, parts.watcher, self._statuses, parts.history, parts.account, settings
        )
        self._locks = parts.locks
        self._watcher = parts.watcher
        self._logs = LogStreams(parts.node, parts.watcher)

    async def _end_following(self) -> None:
        """Mark the client as closed, and end every wait and stream with an error."""
        self._is_closed = True
        await self._watches.aclose()
        await self._locks.aclose()
        await self._watcher.aclose()

    async def get_transaction_status_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. DROPPED is only reported for transactions that this object sent."""
        async with self._deadline("get_transaction_status_async", timeout):
            return await self._statuses.read(tx_id)

    async def get_transaction_statuses_async(
        self, tx_ids: Sequence[EvmTxId], *, timeout: float | None = None
    ) -> list[TxStatus[EvmTxId]]:
        """Read the statuses of many transactions. Those in the same block share one request for its receipts.

        Args:
            tx_ids: in any order.

        Returns:
            The statuses in the same order. None of them is older than the call.
        """
        async with self._deadline("get_transaction_statuses_async", timeout):
            return await self._statuses.read_many(tx_ids)

    async def watch_transaction_async(self, tx_id: EvmTxId) -> AsyncGenerator[TxStatus[EvmTxId], None]:
        """Yield the current status, and each later one that differs in more than depth, including reorganisations.

        It ends after FINAL, and after FAILED and DROPPED once they have the configured finality. A block costs one
        request, regardless of the number of watched transactions.

        Raises:
            NodeError: the node did not answer several times in a row. The transaction is not affected.
        """
        self._check_open()
        async with aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                yield status

    async def watch_heads_async(self) -> AsyncGenerator[ChainStep, None]:
        """Yield the changes of the chain: removed blocks, added blocks, and the three heads.

        It starts with the newest block when it is first awaited. No block is missing or repeated, even if the
        connection fails in between. All iterators of a client share its requests.

        Raises:
            NodeError: the node did not answer several times in a row, or the client was closed.
        """
        self._check_open()
        follower = ChainFollower(self._node, self._watcher)
        while True:
            yield await follower.next()

    async def watch_logs_async(
        self,
        address: str | Sequence[str] | None = None,
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        *,
        from_block: int | None = None,
    ) -> AsyncGenerator[LogEvent, None]:
        """Yield each log when its block is added, and again with ``removed`` if a reorganisation removes the block.

        Args:
            address: one contract or several; None is any.
            topics: for each position a topic (32 bytes), a list of alternatives, or None for any.
            from_block: the first height. None starts after the block that is the newest when the iterator is first
                awaited.

        The logs come from receipts that match the block's header, so the node cannot omit any. They are not necessarily
        final: compare their heights with the finalized head.

        Raises:
            InvalidRequest: no log can match the address or the topics.
            NodeError: the node did not answer several times in a row, or the client was closed. To continue, start a
                new iterator at the height of the last log.
        """
        self._check_open()
        wanted = LogFilter.read(address, topics, self.settings.chain_id)
        async with aclosing(self._logs.logs(wanted, from_block)) as events:
            async for event in events:
                yield event

    async def wait_for_status_async(
        self, tx_id: EvmTxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. All waiters of a client share the reads of the heads."""
        if until not in _PROGRESS:
            raise InvalidRequest(f"cannot wait for {until.name}; wait for PENDING, INCLUDED or FINAL")
        self._check_open()
        deadline = Deadline("wait_for_status_async", timeout, self._name)
        deadline.tx_id = tx_id
        async with deadline, aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                # FAILED and DROPPED end the wait too.
                if _PROGRESS.get(status.state, _PROGRESS[TxState.FINAL]) >= _PROGRESS[until]:
                    return status
        raise AsyncRuntimeError("the watch ended before the transaction reached the status", protocol=self._name)

    def _deadline(self, operation: str, timeout: float | None) -> Deadline:
        self._check_open()
        return Deadline(operation, self._seconds if timeout is None else timeout, self._name, self._limit)

    def _check_open(self) -> None:
        if self._is_closed:
            raise AsyncRuntimeError(f"this {type(self).__name__} was closed; create a new one", protocol=self._name)

    get_transaction_statuses_sync = twin(get_transaction_statuses_async)
    watch_transaction_sync = iterator_twin(watch_transaction_async)
    watch_heads_sync = iterator_twin(watch_heads_async)
    watch_logs_sync = iterator_twin(watch_logs_async)
