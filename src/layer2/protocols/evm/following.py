"""Following an EVM layer: statuses, new blocks, and logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from layer2.aio.blocking import iterator_twin, twin
from layer2.errors import AsyncRuntimeError, InvalidRequest
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.model.transactions import EvmTxId, TxState, TxStatus
from layer2.ports.client import Layer2ProtocolAsync
from layer2.protocols.evm.chain.follower import ChainStep
from layer2.protocols.evm.chain.logs import LogEvent, LogFilter, LogStreams
from layer2.protocols.evm.chain.read_tasks import ReadTasks
from layer2.protocols.evm.chain.stream import ChainStream
from layer2.protocols.evm.deadline import Deadline
from layer2.protocols.evm.parts import EvmParts
from layer2.protocols.evm.requests import EvmTransaction
from layer2.protocols.evm.sending.statuses import Statuses
from layer2.protocols.evm.sending.watches import TransactionWatches

__all__ = ["EvmFollowing"]

_PROGRESS = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}


class EvmFollowing(Layer2ProtocolAsync[EvmTransaction, EvmTxId, str, EvmReceiptEvidence]):
    """The reading side of an EVM layer's client.

    Args:
        parts: of the client.
    """

    def __init__(self, parts: EvmParts) -> None:
        settings = self.settings = parts.settings
        self._name = parts.layer.value
        self._seconds = settings.default_timeout_ms / 1000
        self._node = parts.node
        self._is_closed = False
        self._statuses = Statuses(parts.node, parts.watcher, parts.history, settings)
        self._watches = TransactionWatches(
            parts.node, parts.watcher, self._statuses, parts.history, parts.account, settings
        )
        self._reading = ReadTasks(settings.poll_interval_seconds)
        self._chain = ChainStream(parts.node, parts.watcher, self._reading)
        self._logs = LogStreams(parts.node, self._chain, self._reading, self._name)

    async def _end_following(self) -> None:
        """Mark the client as closed, and end every wait and stream with an error."""
        self._is_closed = True
        await self._watches.aclose()
        await self._reading.aclose()

    async def get_transaction_status_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. DROPPED is known only of transactions that this object sent."""
        async with self._deadline("get_transaction_status_async", timeout):
            return await self._statuses.read(tx_id)

    async def get_transaction_statuses_async(
        self, tx_ids: Sequence[EvmTxId], *, timeout: float | None = None
    ) -> list[TxStatus[EvmTxId]]:
        """Ask the node now for many transactions; those of one block share one request for its receipts.

        Args:
            tx_ids: in any order; the statuses come in the same.

        Nothing in the answers is older than the call.
        """
        async with self._deadline("get_transaction_statuses_async", timeout):
            return await self._statuses.read_many(tx_ids)

    async def watch_transaction_async(self, tx_id: EvmTxId) -> AsyncGenerator[TxStatus[EvmTxId], None]:
        """Hand out the status now, and each later one that differs in more than depth, reorganisations included.

        Ends after FINAL, and after FAILED and DROPPED once they are as final as the configuration asks for. A block
        costs one request, however many transactions are watched.

        Raises:
            NodeError: the node did not answer several times in a row; the transaction goes on.
        """
        self._check_open()
        async with aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                yield status

    async def watch_heads_async(self) -> AsyncGenerator[ChainStep, None]:
        """Hand out the chain as it goes on: which blocks went, which came, and where the three heads are.

        Begins, when it is first awaited, with the newest block. No block is left out and none comes twice, whatever the
        connection does. Any number of iterators share one client's requests.

        Raises:
            NodeError: the node did not answer several times in a row, or the client was closed.
        """
        self._check_open()
        async with aclosing(self._chain.steps()) as steps:
            async for step in steps:
                yield step

    async def watch_logs_async(
        self,
        address: str | Sequence[str] | None = None,
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        *,
        from_block: int | None = None,
    ) -> AsyncGenerator[LogEvent, None]:
        """Hand out each log once as its block comes, and with ``removed`` once more if its block goes again.

        Args:
            address: the contract, or several; None is any.
            topics: for each position a topic (32 bytes), several to choose from, or None for any.
            from_block: the height to begin at. None begins after the newest block, when it is first awaited: a log
                that was made before that is not handed out.

        Every log was found in the receipts that its block's header commits to, so none can be kept back by an empty
        answer. That the block is final is for the reader to know: compare its height with a head's.

        Raises:
            InvalidRequest: an address or topics that no log has.
            NodeError: the node did not answer several times in a row, or the client was closed. Begin a new one, from
                the height of the last log, to go on.
        """
        self._check_open()
        async with aclosing(self._logs.logs(LogFilter.read(address, topics), from_block)) as events:
            async for event in events:
                yield event

    async def wait_for_status_async(
        self, tx_id: EvmTxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. All waiters of a client share one look at the heads."""
        if until not in _PROGRESS:
            raise InvalidRequest(f"cannot wait for {until.name}; wait for PENDING, INCLUDED or FINAL")
        self._check_open()
        deadline = Deadline("wait_for_status_async", timeout, self._name)
        deadline.tx_id = tx_id
        async with deadline, aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                # FAILED and DROPPED are no progress and end the wait too.
                if _PROGRESS.get(status.state, _PROGRESS[TxState.FINAL]) >= _PROGRESS[until]:
                    return status
        raise AsyncRuntimeError("the watch ended before the transaction did", protocol=self._name)

    def _deadline(self, operation: str, timeout: float | None) -> Deadline:
        self._check_open()
        return Deadline(operation, self._seconds if timeout is None else timeout, self._name, self._limit)

    def _check_open(self) -> None:
        if self._is_closed:
            raise AsyncRuntimeError(f"this {type(self).__name__} was closed; make a new one", protocol=self._name)

    get_transaction_statuses_sync = twin(get_transaction_statuses_async)
    watch_transaction_sync = iterator_twin(watch_transaction_async)
    watch_heads_sync = iterator_twin(watch_heads_async)
    watch_logs_sync = iterator_twin(watch_logs_async)
