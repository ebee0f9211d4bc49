"""The three heads of a chain, waiting for them to change, and reads that many callers share."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from layer2.aio.shared_call import SharedCall
from layer2.errors import AuthenticationFailed, BadAnswer, Layer2Error, NodeError, NodeUnreachable, WrongNetwork
from layer2.model.transactions import Finality
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["HeadWatcher", "Heads"]

T = TypeVar("T")

_MOST_FAILURES = 3
_ATTEMPTS = 4
_LONGEST_PAUSE = 10.0
_REMEMBERED_CALLS = 1_000


@dataclass(frozen=True, slots=True)
class Heads:
    """The newest block, the newest safe block and the newest finalized block, from one batch to one node."""

    latest: NodeBlock
    safe: NodeBlock
    finalized: NodeBlock

    def at(self, finality: Finality) -> NodeBlock:
        """The head with this finality."""
        match finality:
            case Finality.LATEST:
                return self.latest
            case Finality.SAFE:
                return self.safe
            case Finality.FINALIZED:
                return self.finalized

    def finality_of(self, number: int) -> Finality:
        """The finality of a block of this chain, by its height."""
        if number <= self.finalized.header.number:
            return Finality.FINALIZED
        return Finality.SAFE if number <= self.safe.header.number else Finality.LATEST


class HeadWatcher:
    """Reads the heads, once for all callers in the same tick, and polls them while a caller waits.

    Args:
        node: the party's own node.
        chain_id: of the chain that the node serves. Each read checks it: on another chain a lock would seem to be
            missing, and nothing to be owed.
        interval: seconds between two reads while polling.
        notices: the node's websocket, which triggers a read earlier; None if no websocket is configured.
    """

    def __init__(self, node: EvmNode, chain_id: int, interval: float, notices: HeadNotices | None = None) -> None:
        self._node = node
        self._chain_id = chain_id
        self.interval = interval
        self._notices = notices
        self._asking = SharedCall(self._ask)
        self._seen: Heads | None = None
        self._seen_at = 0.0
        self._begun: asyncio.Task[Heads] | None = None
        self._begun_at = 0.0
        self._waiters: set[asyncio.Future[Heads]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._noticed = asyncio.Event()
        """Set when the node announces a head, which is then read at once instead of after the interval."""
        self._closed = asyncio.Event()
        self._blocks: BoundedDict[int, SharedCall[NodeBlock | None]] = BoundedDict(_REMEMBERED_CALLS)

    async def read(self, begun: asyncio.Task[Heads] | None = None) -> Heads:
        """Read the heads now.

        Args:
            begun: what ``begin`` returned: wait for this read instead.

        Raises:
            WrongNetwork: the node serves another chain.
            BadAnswer: the heads contradict each other, or the newest block is below an already finalized one. That
                happens if several nodes share one address and one of them lags.
        """
        return await self._asking.get(begun)

    def begin(self, life: float) -> asyncio.Task[Heads]:
        """Begin to read the heads, or join a read that was begun here within the last ``life`` seconds."""
        now = asyncio.get_running_loop().time()
        if self._begun is None or self._begun.done() or now - self._begun_at > life:
            self._begun, self._begun_at = self._asking.begin(), now
        return self._begun

    def recent(self, life: float) -> Heads | None:
        """The heads, if they were read within the last ``life`` seconds; else None."""
        if self._seen is None or asyncio.get_running_loop().time() - self._seen_at > life:
            return None
        return self._seen

    async def block(self, height: int) -> NodeBlock | None:
        """The block at a height, read once for all callers in the same tick; None if the chain is shorter."""
        if height not in self._blocks:
            self._blocks[height] = SharedCall(partial(self._node.block, height))
        return await self._blocks[height].get()

    async def retrying(self, read: Callable[[], Awaitable[T]]) -> T:
        """Call ``read``, with more attempts after temporary failures. The pauses are equal for all callers.

        Raises:
            NodeError: the last attempt failed, or the client was closed. Every caller gets its own error object.
        """
        for attempt in range(_ATTEMPTS):
            if self._closed.is_set():
                break
            try:
                return await read()
            except NodeError as error:
                if not self._closed.is_set() and (attempt == _ATTEMPTS - 1 or not _is_temporary(error)):
                    raise copy.copy(error) from error
            try:
                async with asyncio.timeout(min(self.interval * (1 << attempt), _LONGEST_PAUSE)):
                    await self._closed.wait()
            except TimeoutError:
                continue
        raise NodeUnreachable("the client was closed", retryable=False)

    async def moved_from(self, heads: Heads) -> Heads:
        """Wait until the heads differ from these, and return them.

        Raises:
            NodeError: the node did not answer several times in a row.
        """
        if self._seen is not None and self._seen != heads:
            return self._seen
        waiter: asyncio.Future[Heads] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        if self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        if self._notices is not None:
            self._notices.want(self._noticed.set)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)

    async def aclose(self) -> None:
        """End the polling. Waiting callers get the error that the client was closed."""
        self._closed.set()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(NodeUnreachable("the client was closed", retryable=False))
        if self._notices is not None:
            await self._notices.aclose()
        await self._asking.aclose()

    async def _ask(self) -> Heads:
        asked_at = asyncio.get_running_loop().time()
        ((latest, safe, finalized), _), _ = await asyncio.gather(
            self._node.heads.heads(list(Finality)), self._node.expect_chain(self._chain_id)
        )
        if not finalized.number <= safe.number <= latest.number:
            raise BadAnswer(
                f"the node's heads contradict each other: finalized {finalized.number}, safe {safe.number}, "
                f"latest {latest.number}",
                retryable=True,
            )
        heads = Heads(latest, safe, finalized)
        if self._seen is not None and latest.number < self._seen.finalized.number:
            # No reorganisation is expected below a finalized block, so this node lags.
            raise BadAnswer(
                f"the node lags behind: its newest block is {latest.number}, and block "
                f"{self._seen.finalized.number} was finalized before",
                retryable=True,
            )
        if self._seen is not None and self._seen != heads:
            self._wake(heads)
        self._seen, self._seen_at = heads, asked_at
        return heads

    async def _poll(self) -> None:
        failures = 0
        try:
            while self._waiters:
                await self._pause(self.interval * (1 << failures))
                try:
                    await self.read()
                    failures = 0
                except Layer2Error as error:
                    failures += 1
                    if failures == _MOST_FAILURES:
                        self._wake(error)
                        failures = 0
        finally:
            self._poller = None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._noticed.wait()
        except TimeoutError:
            return
        finally:
            self._noticed.clear()

    def _wake(self, news: Heads | Layer2Error) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if isinstance(news, Heads):
                waiter.set_result(news)
            else:
                # Each waiter gets its own error, because raising adds a traceback to it.
                waiter.set_exception(
                    NodeUnreachable(f"the heads cannot be read: {news.message}", operation=news.operation)
                )


def _is_temporary(error: NodeError) -> bool:
    """Whether another attempt may succeed: not with wrong credentials, nor on another chain."""
    if isinstance(error, (AuthenticationFailed, WrongNetwork)):
        return False
    return error.retryable or error.code != "chain"
