"""The three heads of a rollup's chain, and waiting for them to change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, Layer2Error, NodeUnreachable
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["HeadWatcher", "Heads"]

_MOST_FAILURES = 3


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
        interval: seconds between two reads while polling.
        notices: the node's websocket, which triggers a read earlier; None if no websocket is configured.
    """

    def __init__(self, node: EvmNode, interval: float, notices: HeadNotices | None = None) -> None:
        self._node = node
        self._interval = interval
        self._notices = notices
        self._asking = SharedCall(self._ask)
        self._seen: Heads | None = None
        self._seen_at = 0.0
        self._waiters: set[asyncio.Future[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._noticed = asyncio.Event()

    async def read(self) -> Heads:
        """Read the heads now.

        Raises:
            BadAnswer: the heads contradict each other, or the newest block is below an already finalized one. That
                happens if several nodes share one address and one of them lags.
        """
        return await self._asking.get()

    def recent(self, life: float) -> Heads | None:
        """The heads, if they were read within the last ``life`` seconds; else None."""
        if self._seen is None or asyncio.get_running_loop().time() - self._seen_at > life:
            return None
        return self._seen

    async def moved_from(self, heads: Heads) -> None:
        """Wait until the heads differ from these.

        Raises:
            NodeError: the node did not answer several times in a row.
        """
        if self._seen is not None and self._seen != heads:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        if self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        if self._notices is not None:
            self._notices.want(self.notice)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def notice(self) -> None:
        """Read the heads at once instead of after the interval, because the node announced a new one."""
        self._noticed.set()

    async def aclose(self) -> None:
        """End the polling. Waiting callers get the error that the client was closed."""
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
        latest, safe, finalized = await asyncio.gather(
            self._node.head(Finality.LATEST), self._node.head(Finality.SAFE), self._node.head(Finality.FINALIZED)
        )
        if not finalized.number <= safe.number <= latest.number:
            raise BadAnswer(
                f"the node's heads contradict each other: finalized {finalized.number}, safe {safe.number}, "
                f"latest {latest.number}",
                retryable=True,
            )
        heads = Heads(latest, safe, finalized)
        if self._seen is not None and latest.number < self._seen.finalized.number:
            # No reorganisation goes below a finalized block, so this node lags.
            raise BadAnswer(
                f"the node lags behind: its newest block is {latest.number}, and block "
                f"{self._seen.finalized.number} was finalized before",
                retryable=True,
            )
        if self._seen is not None and self._seen != heads:
            self._wake(None)
        self._seen, self._seen_at = heads, asked_at
        return heads

    async def _poll(self) -> None:
        failures = 0
        try:
            while self._waiters:
                await self._pause(self._interval * (1 << failures))
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

    def _wake(self, error: Layer2Error | None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                # Each waiter gets its own error, because raising adds a traceback to it.
                waiter.set_exception(
                    NodeUnreachable(f"the heads cannot be read: {error.message}", operation=error.operation)
                )
