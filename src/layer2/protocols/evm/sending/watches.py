"""Watching many transactions with one request per block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from functools import partial

from layer2.errors import Layer2Error, NodeUnreachable
from layer2.formats.evm_hex import format_data, parse_data
from layer2.model.transactions import EvmTxId, TxState, TxStatus
from layer2.protocols.evm.chain.follower import ChainFollower, ChainStep
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, MinedReceipt, NodeBlock
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import SendHistory
from layer2.protocols.evm.sending.statuses import Statuses
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["TransactionWatches"]

Status = TxStatus[EvmTxId]

_STEPS_BETWEEN_LOOKS = 30
"""How often transactions without a receipt are read individually: once a minute at 2 s per block."""
_ENDS = frozenset({TxState.FINAL, TxState.FAILED, TxState.DROPPED})


@dataclass(slots=True)
class _Watched:
    """One transaction and its watchers."""

    tx_id: EvmTxId
    receipt: MinedReceipt | None = None
    is_unread: bool = True
    """It has to be read, because it is new, or its block or nonce has changed."""
    status: Status | None = None
    watchers: set[asyncio.Queue[Status | Layer2Error]] = field(default_factory=set)

    def report(self, status: Status) -> None:
        """Send the status to all watchers, unless only depth or fee have changed."""
        if self.status is None or _reported_fields(status) != _reported_fields(self.status):
            for watcher in self.watchers:
                watcher.put_nowait(status)
        self.status = status


class TransactionWatches:
    """Follows the chain while there are watchers, and reports each change to each watcher once.

    A block costs one request for its receipts, regardless of the number of transactions, and none while all of them are
    in blocks. A transaction is read individually when its watch starts, when a reorganisation removes its block, when
    its nonce was used, and once a minute while it is not in a block.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        statuses: computes statuses.
        history: sent transactions.
        account: once a minute, or at each block, it sends transactions again that the node's pool lost.
        settings: which head makes a transaction final.
    """

    def __init__(
        self,
        node: EvmNode,
        watcher: HeadWatcher,
        statuses: Statuses,
        history: SendHistory,
        account: EvmAccount,
        settings: EvmSettings,
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._statuses = statuses
        self._history = history
        self._account = account
        self._settings = settings
        self._watched: dict[EvmTxId, _Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._steps = 0

    async def watch(self, tx_id: EvmTxId) -> AsyncGenerator[Status, None]:
        """Yield the current status, and each later one that differs in more than depth and fee.

        It ends after FINAL, and after FAILED and DROPPED once they have the finality of the settings. It takes up to a
        minute to notice that the node's pool dropped a transaction whose nonce is free.

        Raises:
            FormatError: the id is invalid.
            NodeError: the node did not answer several times in a row. The transaction is not affected.
        """
        # All watched ids share requests, so an invalid one is refused here. Nodes write ids in lower case.
        tx_id = EvmTxId(format_data(parse_data(tx_id, "transaction id", size=32)))
        watched = self._watched.setdefault(tx_id, _Watched(tx_id))
        news: asyncio.Queue[Status | Layer2Error] = asyncio.Queue()
        watched.watchers.add(news)
        if watched.status is not None:
            news.put_nowait(watched.status)
        self._begun.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            while True:
                status = await news.get()
                if isinstance(status, Layer2Error):
                    raise status
                yield status
                if self._is_over(status):
                    return
        finally:
            watched.watchers.discard(news)
            if not watched.watchers and self._watched.get(tx_id) is watched:
                del self._watched[tx_id]
                # The last watcher ends the following at once, without waiting for the next block.
                self._begun.set()

    async def aclose(self) -> None:
        """End the following. Watchers get the error that the client was closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail(NodeUnreachable("the client was closed"))

    async def _run(self) -> None:
        follower = ChainFollower(self._node, self._watcher)
        stepping: asyncio.Task[ChainStep] | None = None
        beginning = asyncio.get_running_loop().create_task(self._begun.wait())
        try:
            while self._watched:
                stepping = stepping or asyncio.get_running_loop().create_task(follower.next())
                await asyncio.wait({stepping, beginning}, return_when=asyncio.FIRST_COMPLETED)
                if beginning.done():
                    self._begun.clear()
                    beginning = asyncio.get_running_loop().create_task(self._begun.wait())
                try:
                    if stepping.done():
                        done, stepping = stepping, None
                        await self._watcher.retrying(partial(self._take, done.result()))
                    await self._watcher.retrying(self._read_unread)
                except Layer2Error as error:
                    if error.code != "chain":
                        self._fail(error)
                    else:
                        # The node's chain has changed completely, so everything is read again.
                        follower = ChainFollower(self._node, self._watcher)
                        self._forget(self._watched.values())
        finally:
            self._task = None
            tasks = [beginning] if stepping is None else [beginning, stepping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, step: ChainStep) -> None:
        """Update the transactions that a step of the chain added or removed."""
        self._steps += 1
        gone = {point.hash for point in step.removed}
        heights = {block.number: block.hash for block in step.added}
        self._forget(
            watched
            for watched in self._watched.values()
            if (receipt := watched.receipt) is not None
            and (
                receipt.block_hash in gone
                or heights.get(receipt.block_number, receipt.block_hash) != receipt.block_hash
            )
        )
        for block in step.added:
            missing = {watched.tx_id for watched in self._watched.values() if watched.receipt is None}
            if missing:
                # If the block was removed meanwhile, the next step contains that.
                for tx_id, receipt in (await self._node.receipts_of(block.hash, missing) or {}).items():
                    if (watched := self._watched.get(tx_id)) is not None:
                        watched.receipt, watched.is_unread = receipt, False
        await self._statuses.check_final(self._receipts(), step.heads)
        for watched in self._watched.values():
            if watched.receipt is not None:
                watched.report(self._statuses.included(watched.tx_id, watched.receipt, step.heads))
            elif watched.status is not None and watched.status.state is TxState.DROPPED:
                watched.is_unread = True
        if step.added:
            await self._look_for_replaced(step.added[-1])

    async def _look_for_replaced(self, block: NodeBlock) -> None:
        """Mark for reading: transactions whose nonce was used, and sometimes all transactions without a receipt."""
        waiting = [watched for watched in self._watched.values() if watched.receipt is None]
        own = {watched.tx_id: sent for watched in waiting if (sent := self._history.sent(watched.tx_id)) is not None}
        senders = list({sent.sender for sent in own.values()})
        counts = await asyncio.gather(*[self._node.transaction_count(sender, block.hash) for sender in senders])
        used = dict(zip(senders, counts, strict=True))
        # A pool that forgets forgets after ten blocks.
        is_turn = self._account.pool_forgets or self._steps % _STEPS_BETWEEN_LOOKS == 0
        if is_turn and own:
            self._account.check_for_lost()
        for watched in waiting:
            sent = own.get(watched.tx_id)
            if is_turn or (sent is not None and used[sent.sender] > sent.transaction.nonce):
                watched.is_unread = True

    async def _read_unread(self) -> None:
        unread = [watched for watched in self._watched.values() if watched.is_unread]
        if not unread:
            return
        heads, receipts = await asyncio.gather(
            self._watcher.read(),
            asyncio.gather(*[self._node.receipt(parse_data(watched.tx_id, "id", size=32)) for watched in unread]),
        )
        await self._statuses.check_final([receipt for receipt in receipts if receipt is not None], heads)
        for watched, receipt in zip(unread, receipts, strict=True):
            watched.receipt = receipt
            if receipt is not None:
                watched.report(self._statuses.included(watched.tx_id, receipt, heads))
                watched.is_unread = False
        waiting = [watched for watched in unread if watched.receipt is None]
        statuses = await asyncio.gather(*[self._statuses.not_included(watched.tx_id) for watched in waiting])
        for watched, status in zip(waiting, statuses, strict=True):
            watched.report(status)
            watched.is_unread = False

    def _receipts(self) -> list[MinedReceipt]:
        return [watched.receipt for watched in self._watched.values() if watched.receipt is not None]

    def _is_over(self, status: Status) -> bool:
        if status.state not in _ENDS:
            return False
        return status.finality is not None and status.finality.includes(self._settings.finality)

    @staticmethod
    def _forget(what: Iterable[_Watched]) -> None:
        for watched in what:
            watched.receipt, watched.is_unread = None, True

    def _fail(self, error: Layer2Error) -> None:
        watched, self._watched = self._watched, {}
        for one in watched.values():
            for watcher in one.watchers:
                # Each watcher gets its own error, because raising adds a traceback to it.
                watcher.put_nowait(
                    NodeUnreachable(f"the chain cannot be followed: {error.message}", operation=error.operation)
                )


def _reported_fields(status: Status) -> tuple[object, ...]:
    return status.state, status.block_number, status.block_hash, status.finality, status.reason, status.replaced_by
