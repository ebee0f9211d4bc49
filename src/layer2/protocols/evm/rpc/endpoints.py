"""Several nodes of one layer: which of them is asked.

The first one is preferred. One that is away, on another chain, or far behind the others is passed over until a later
check finds it well again. A read that fails goes to the next node at once. A write goes to another node only where it
is certain that it did not arrive; where its answer is lost that is said, and whoever sent it looks it up by its hash,
which by then is asked of the next node.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay, wait_random_exponential

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, FormatError, NodeError, NodeRefused, NodeUnreachable, Outcome, WrongNetwork
from layer2.formats.evm_hex import parse_quantity
from layer2.protocols.evm.rpc.json_rpc import SEND, Dated, JsonRpc
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["Endpoints", "NodeRpc", "open_rpc"]

T = TypeVar("T")

_CHECK_SECONDS = 5.0
"""How old what is known of a node may be before it is looked at again."""
_LOOK_SECONDS = 5.0
"""How long a look may take."""
_MOST_LAG = 15
"""Blocks that a node may be behind another one; at 2 s a block half a minute."""


class _Node:
    """One node, and what the last look at it found."""

    def __init__(self, rpc: JsonRpc, chain_id: int, protocol: str, check_seconds: float) -> None:
        self.rpc = rpc
        self._chain_id = chain_id
        self._protocol = protocol
        self.looked_at: float | None = None
        self.head = 0
        self.fault: NodeError | None = None
        """Why it is passed over."""
        # A node that is looked at before its first use is not looked at again by the round that begins with it.
        self.look = SharedCall(self._look, life=check_seconds / 2)

    async def _look(self) -> None:
        """Ask for its chain and its newest block."""
        fault: NodeError | None = None
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                chain_id, head = await asyncio.gather(self.rpc.call("eth_chainId"), self.rpc.call("eth_blockNumber"))
            on = parse_quantity(chain_id, "eth_chainId")
            self.head = parse_quantity(head, "eth_blockNumber")
            if on != self._chain_id:
                fault = WrongNetwork(
                    f"the node at {self.rpc.endpoint} is on chain {on}, the configuration says {self._chain_id}",
                    code="chain_id",
                    protocol=self._protocol,
                    remedy="correct chain_id, or the address of the node",
                )
        except NodeRefused as error:
            # It is no answer to what the caller asked, who must not take it for one.
            fault = BadAnswer(error.message, protocol=self._protocol, retryable=True)
        except NodeError as error:
            fault = error
        except (FormatError, TimeoutError) as error:
            problem = error.message if isinstance(error, FormatError) else f"no answer within {_LOOK_SECONDS:g} s"
            fault = NodeUnreachable(f"the node at {self.rpc.endpoint}: {problem}", protocol=self._protocol)
        self.fault = fault
        self.looked_at = asyncio.get_running_loop().time()


class Endpoints:
    """Asks the first of several nodes that is well. Used as a ``JsonRpc`` is.

    Args:
        rpcs: the nodes, the preferred one first. They belong to this object from now on.
        chain_id: what each must serve.
        protocol: the layer's name, for errors.
        retry_seconds: for which a read that every node is too busy for, or away, is repeated.
        check_seconds: how old what is known of a node may be.
        most_lag: blocks that a node may be behind the most advanced one.

    It does not promise that two calls, one after the other, see the same chain: compare hashes.
    """

    def __init__(
        self,
        rpcs: Sequence[JsonRpc],
        *,
        chain_id: int,
        protocol: str,
        retry_seconds: float,
        check_seconds: float = _CHECK_SECONDS,
        most_lag: int = _MOST_LAG,
    ) -> None:
        self._nodes = [_Node(rpc, chain_id, protocol, check_seconds) for rpc in rpcs]
        self._retry_seconds = retry_seconds
        self._check_seconds = check_seconds
        self._most_lag = most_lag
        self._checking: asyncio.Task[None] | None = None
        self._checked_at: float | None = None

    @property
    def endpoint(self) -> str:
        """Where the node is that would be asked now, as it may be shown."""
        return next(self._in_order()).rpc.endpoint

    async def call(self, method: str, *params: Any) -> Any:
        """Ask a node that is well; see ``JsonRpc.call_dated``.

        Raises:
            WrongNetwork: none of the nodes that answer is on the configured chain.
        """
        if method == SEND:
            return await self._send(params)
        return await self._read(lambda rpc: rpc.call(method, *params))

    async def call_dated(self, method: str, *params: Any) -> Dated:
        """As ``call``, with the date of the answer. For reads alone."""
        return await self._read(lambda rpc: rpc.call_dated(method, *params))

    async def aclose(self) -> None:
        """End every request and close the connections. What was sent is not called back."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        for node in self._nodes:
            await node.look.aclose()
            await node.rpc.aclose()

    async def _read(self, ask: Callable[[JsonRpc], Awaitable[T]]) -> T:
        try:
            return await self._read_once(ask)
        except NodeError as error:
            if not error.retryable or self._retry_seconds == 0:
                raise
        # All of them failed; from here on with pauses between.
        repeating = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, NodeError) and error.retryable),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_before_delay(self._retry_seconds),
            reraise=True,
        )
        return await repeating(self._read_once, ask)

    async def _read_once(self, ask: Callable[[JsonRpc], Awaitable[T]]) -> T:
        first: NodeError | None = None
        for node in self._in_order():
            try:
                await self._expect_right(node)
                return await ask(node.rpc)
            except NodeError as error:
                if isinstance(error, NodeRefused) and not error.retryable:
                    raise
                node.fault = copy.copy(error)
                first = error if first is None else first
        assert first is not None
        raise first

    async def _send(self, params: Sequence[Any]) -> Any:
        first: NodeError | None = None
        for node in self._in_order():
            try:
                await self._expect_right(node)
                return await node.rpc.call(SEND, *params)
            except NodeError as error:
                if isinstance(error, NodeRefused) and not error.retryable:
                    raise
                node.fault = copy.copy(error)
                # It may be on its way from here: before another node gets it, its hash has to be looked up.
                if error.outcome is Outcome.UNKNOWN:
                    raise
                first = error if first is None else first
        assert first is not None
        raise first

    async def _expect_right(self, node: _Node) -> None:
        """Let nothing reach a node whose chain was never seen, or is another one."""
        loop = asyncio.get_running_loop()
        is_due = self._checked_at is None or loop.time() - self._checked_at > self._check_seconds
        if is_due and self._checking is None:
            self._checked_at = loop.time()
            self._checking = loop.create_task(self._check_all())
            self._checking.add_done_callback(self._was_checked)
        is_new = node.looked_at is None
        if is_new:
            await node.look.get()
        if node.fault is not None and (is_new or isinstance(node.fault, WrongNetwork)):
            # A copy, because whoever gets an error adds to it.
            raise copy.copy(node.fault)

    async def _check_all(self) -> None:
        await asyncio.gather(*[node.look.get() for node in self._nodes])

    def _was_checked(self, task: asyncio.Task[None]) -> None:
        self._checking = None
        if not task.cancelled():
            # What a look found is in its node; anything else shows again where the node is asked.
            task.exception()

    def _in_order(self) -> Iterator[_Node]:
        """The nodes that are well, in their order; after them the others, which may still do better than nothing."""
        newest = max([node.head for node in self._nodes if node.fault is None], default=0)
        well = [node for node in self._nodes if node.fault is None and self._is_near(node, newest)]
        yield from well
        yield from [node for node in self._nodes if node not in well]

    def _is_near(self, node: _Node, newest: int) -> bool:
        return node.looked_at is None or newest - node.head <= self._most_lag


NodeRpc: TypeAlias = JsonRpc | Endpoints
"""What an ``EvmNode`` asks: one node, or the best of several."""


def open_rpc(settings: EvmSettings, *, protocol: str) -> NodeRpc:
    """The layer's node, or its nodes where the settings name several. Nothing is asked yet.

    Raises:
        ConfigurationError: a URL is none.
    """
    pool, seconds = settings.connection_pool, settings.default_timeout_ms / 1000
    if not settings.fallback_rpc_urls:
        return JsonRpc(settings.rpc_url, protocol=protocol, pool=pool, timeout=seconds)
    # With others to ask, a node that does not answer is left at once.
    once = replace(pool, retry_seconds=0.0)
    urls = (settings.rpc_url, *settings.fallback_rpc_urls)
    return Endpoints(
        [JsonRpc(url, protocol=protocol, pool=once, timeout=seconds) for url in urls],
        chain_id=settings.chain_id,
        protocol=protocol,
        retry_seconds=pool.retry_seconds,
    )
