"""Choosing between several nodes of one layer.

The first node is preferred. A node that is unreachable, on another chain, or far behind the others is skipped until a
later check finds it healthy again. A read that fails goes to the next node at once. A send goes to another node only if
it certainly did not arrive. If its answer is lost, the caller gets the outcome UNKNOWN and looks the transaction up by
its hash, on the next node.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay, wait_random_exponential

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, FormatError, NodeError, NodeRefused, NodeUnreachable, Outcome, WrongNetwork
from layer2.formats.evm_hex import parse_quantity
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["Endpoints", "NodeRpc", "open_rpc"]

_CHECK_SECONDS = 5.0
"""How often each node is checked."""
_CHECK_TIMEOUT = 5.0
"""How long a check may take."""
_MOST_LAG = 15
"""Blocks that a node may be behind another one: half a minute at 2 s per block."""


class _Node:
    """One node and the result of its last check."""

    def __init__(self, rpc: JsonRpc, chain_id: int, protocol: str, check_seconds: float) -> None:
        self.rpc = rpc
        self._chain_id = chain_id
        self._protocol = protocol
        self.was_checked = False
        self.head = 0
        self.fault: NodeError | None = None
        """Why the node is skipped."""
        # A check before the first use also serves the round of checks that starts with that use.
        self.check = SharedCall(self._check, life=check_seconds / 2)

    async def _check(self) -> None:
        """Ask the node for its chain id and its newest block."""
        fault: NodeError | None = None
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
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
            # The node refused the check, not the call that caused it.
            fault = BadAnswer(error.message, protocol=self._protocol, retryable=True)
        except NodeError as error:
            fault = error
        except (FormatError, TimeoutError) as error:
            problem = error.message if isinstance(error, FormatError) else f"no answer within {_CHECK_TIMEOUT:g} s"
            fault = NodeUnreachable(f"the node at {self.rpc.endpoint}: {problem}", protocol=self._protocol)
        self.fault = fault
        self.was_checked = True


class Endpoints:
    """Asks the first healthy one of several nodes. It has the methods of a ``JsonRpc``.

    Args:
        rpcs: the nodes, the preferred one first. This object closes them.
        chain_id: the chain that each node must serve.
        protocol: the layer's name, for errors.
        retry_seconds: how long a read is repeated if all nodes are busy or unreachable.
        check_seconds: how often each node is checked.

    Two consecutive calls may reach different nodes and see different chains: compare hashes.
    """

    def __init__(
        self,
        rpcs: Sequence[JsonRpc],
        *,
        chain_id: int,
        protocol: str,
        retry_seconds: float,
        check_seconds: float = _CHECK_SECONDS,
    ) -> None:
        self._nodes = [_Node(rpc, chain_id, protocol, check_seconds) for rpc in rpcs]
        self._retry_seconds = retry_seconds
        self._check_seconds = check_seconds
        self._checking: asyncio.Task[None] | None = None
        self._checked_at: float | None = None

    @property
    def endpoint(self) -> str:
        """The address of the node that would be asked now, without credentials."""
        return next(self._in_order()).rpc.endpoint

    async def call(self, method: str, *params: object) -> object:
        """As ``call_dated``, without the date."""
        return (await self.call_dated(method, *params))[0]

    async def call_dated(self, method: str, *params: object) -> tuple[object, float | None]:
        """Ask a healthy node; see ``JsonRpc.call_dated``.

        Raises:
            WrongNetwork: no node that answers is on the configured chain.
        """
        try:
            return await self._ask(method, params)
        except NodeError as error:
            if method == SEND or not error.retryable or self._retry_seconds == 0:
                raise
        # All nodes failed. The next attempts have pauses between them.
        repeating = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, NodeError) and error.retryable),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_before_delay(self._retry_seconds),
            reraise=True,
        )
        return await repeating(self._ask, method, params)

    async def aclose(self) -> None:
        """End all requests and close the connections. Sent transactions are not recalled."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        for node in self._nodes:
            await node.check.aclose()
            await node.rpc.aclose()

    async def _ask(self, method: str, params: Sequence[object]) -> tuple[object, float | None]:
        """Ask one node after the other until one answers."""
        first: NodeError | None = None
        for node in self._in_order():
            try:
                await self._expect_right(node)
                return await node.rpc.call_dated(method, *params)
            except NodeError as error:
                if isinstance(error, NodeRefused) and not error.retryable:
                    raise
                node.fault = copy.copy(error)
                # This node may have the transaction: the caller looks it up before another node gets it.
                if error.outcome is Outcome.UNKNOWN:
                    raise
                first = error if first is None else first
        assert first is not None
        raise first

    async def _expect_right(self, node: _Node) -> None:
        """Raise if the node serves another chain, or if its chain is unknown."""
        loop = asyncio.get_running_loop()
        is_due = self._checked_at is None or loop.time() - self._checked_at > self._check_seconds
        if is_due and self._checking is None:
            self._checked_at = loop.time()
            self._checking = loop.create_task(self._check_all())
            self._checking.add_done_callback(self._was_checked)
        is_new = not node.was_checked
        if is_new:
            await node.check.get()
        if node.fault is not None and (is_new or isinstance(node.fault, WrongNetwork)):
            # A copy, because callers add to the errors that they get.
            raise copy.copy(node.fault)

    async def _check_all(self) -> None:
        await asyncio.gather(*[node.check.get() for node in self._nodes])

    def _was_checked(self, task: asyncio.Task[None]) -> None:
        self._checking = None
        if not task.cancelled():
            # The result of each check is in its node. Any other error occurs again when the node is asked.
            task.exception()

    def _in_order(self) -> Iterator[_Node]:
        """The healthy nodes in their order, then the others as a last resort."""
        newest = max([node.head for node in self._nodes if node.fault is None], default=0)
        healthy = [
            node
            for node in self._nodes
            if node.fault is None and (not node.was_checked or newest - node.head <= _MOST_LAG)
        ]
        yield from healthy
        yield from [node for node in self._nodes if node not in healthy]


NodeRpc: TypeAlias = JsonRpc | Endpoints
"""The connection of an ``EvmNode``: one node, or the best of several."""


def open_rpc(settings: EvmSettings, *, protocol: str) -> NodeRpc:
    """Create the connection to the layer's node or nodes. Nothing is sent.

    Raises:
        ConfigurationError: a URL is invalid.
    """
    pool, seconds = settings.connection_pool, settings.default_timeout
    if not settings.fallback_rpc_urls:
        return JsonRpc(settings.rpc_url, protocol=protocol, pool=pool, timeout=seconds)
    # With several nodes, the next one is asked at once instead of repeating the call.
    once = replace(pool, retry_seconds=0.0)
    urls = (settings.rpc_url, *settings.fallback_rpc_urls)
    return Endpoints(
        [JsonRpc(url, protocol=protocol, pool=once, timeout=seconds) for url in urls],
        chain_id=settings.chain_id,
        protocol=protocol,
        retry_seconds=pool.retry_seconds,
    )
