"""JSON-RPC 2.0 over HTTP to one EVM node. Calls that start in the same tick of the event loop share a request.

Reads are repeated if the node is busy or unreachable. A send is repeated only if it certainly did not arrive. If its
answer is lost, its outcome is UNKNOWN, and the account looks the transaction up by its hash.

Sends leave in their order, in batches of at most 32, of which at most two are under way. A node processes the sends of
one batch in order, but it processes two batches in parallel, and its pool keeps few transactions whose predecessors it
has not seen: op-geth keeps 64 of each account and silently drops the rest.

Sources: JSON-RPC 2.0, sections 4 to 6; EIP-1474 (error codes).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence

import orjson

from layer2.errors import AsyncRuntimeError, Layer2Error, NodeError, NodeUnreachable
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.batch_requests import BatchRequests
from layer2.protocols.evm.rpc.batches import FEWEST_RECEIPTS, RECEIPT_REQUESTS, BatchPlanner, Call
from layer2.protocols.evm.rpc.http_exchange import Failure, HttpExchange

__all__ = ["JsonRpc"]

_SEND_BATCHES = 2
_GATHERING_SECONDS = 0.003
"""How long a few reads wait for others to share their request while the node already has several requests."""


class JsonRpc:
    """One node's JSON-RPC endpoint. It belongs to the event loop that first uses it.

    Args:
        url: ``http`` or ``https``. A user and a password in it are sent as basic authentication and never shown.
        protocol: the layer's name, for errors.
        pool: connections, batch limits, and how long a read is repeated.
        timeout: seconds for each HTTP request, including the wait for a connection.

    Raises:
        ConfigurationError: the URL is invalid.
    """

    def __init__(self, url: str, *, protocol: str, pool: ConnectionPoolConfig, timeout: float) -> None:
        self._http = HttpExchange(url, pool=pool, timeout=timeout)
        self.endpoint = self._http.endpoint
        """The node's address without user, password, path and query, which may contain keys."""
        self._protocol = protocol
        self._planner = BatchPlanner(pool)
        self._requests = BatchRequests(self._http, self._planner, protocol=protocol, retry_seconds=pool.retry_seconds)
        # One connection is left to sends, so that slow reads cannot delay a claim.
        self._most_reads = max(1, pool.max_connections - 1)
        self._identifiers = itertools.count(1)
        self._reads: list[Call] = []
        self._sends: list[Call] = []
        self._reading = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._sending: deque[asyncio.Task[None]] = deque()
        self._under_way: dict[asyncio.Task[None], Sequence[Call]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    async def call(self, method: str, *params: object) -> object:
        """Ask the node, as ``call_dated``, and return the result without the date."""
        call = self._queue(method, params)
        try:
            return await call.future
        except asyncio.CancelledError:
            self._leave(call)
            raise

    async def call_dated(self, method: str, *params: object) -> tuple[object, float | None]:
        """Ask the node.

        Returns:
            The result as JSON, unchecked, and the node's time in unix seconds from the same answer. The time is None
            if the answer has no readable ``Date`` header.

        Raises:
            NodeUnreachable: no connection (outcome NOT_SENT), or no answer in time (a send: UNKNOWN).
            NodeRefused: the node answered with an error.
            BadAnswer: the answer is invalid (a send: UNKNOWN).
            AuthenticationFailed: the node requires other credentials.
            AsyncRuntimeError: another event loop used this object first, or it was closed.

        Cancelling the call is safe at any moment. A request for reads ends when all its callers have left; a send that
        is under way continues.
        """
        call = self._queue(method, params)
        try:
            return await call.future, call.date
        except asyncio.CancelledError:
            self._leave(call)
            raise

    async def aclose(self) -> None:
        """End all requests and close the connections. Sent transactions are not recalled."""
        self._is_closed = True
        if self._gathering is not None:
            self._gathering.cancel()
        waiting = [*self._reads, *self._sends]
        self._reads, self._sends = [], []
        under_way = dict(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for calls in under_way.values():
            self._requests.fail(calls, Failure(NodeUnreachable, "the client was closed"))
        self._requests.fail(waiting, Failure(NodeUnreachable, "the client was closed", may_have_arrived=False))
        await self._http.aclose()

    def _queue(self, method: str, params: Sequence[object]) -> Call:
        """Queue a call, whose batch leaves in the next tick. Its future gets the answer."""
        if self._is_closed:
            raise AsyncRuntimeError("this client was closed; create a new one", protocol=self._protocol)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that first used it; create another client in this loop",
                protocol=self._protocol,
            )
        identifier = next(self._identifiers)
        body = orjson.dumps({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})
        call = Call(identifier, method, body, loop.create_future())
        queue = self._sends if call.is_send else self._reads
        queue.append(call)
        if len(queue) in (1, FEWEST_RECEIPTS):
            loop.call_soon(self._start_sends if call.is_send else self._start_reads)
        return call

    def _leave(self, call: Call) -> None:
        """End the request of a call whose caller was cancelled, if no other caller waits for it."""
        if call.request is not None and all(one.future.done() for one in self._under_way.get(call.request, ())):
            call.request.cancel()

    def _start_reads(self, *, hurried: bool = False) -> None:
        """Start as many batches as the connections allow. The end of each batch calls this again."""
        waiting = [call for call in self._reads if not call.future.done()]
        if self._reading >= RECEIPT_REQUESTS and len(waiting) < FEWEST_RECEIPTS and not hurried:
            # The node is busy with earlier requests, so the calls of the next moment share this one.
            self._reads = waiting
            if waiting and self._gathering is None:
                self._gathering = asyncio.get_running_loop().call_later(_GATHERING_SECONDS, self._hurry)
            return
        left: list[Call] = []
        for calls in self._planner.reads(waiting):
            if self._reading == self._most_reads:
                left += calls
                continue
            self._reading += 1
            task = self._start(calls)
            for call in calls:
                call.request = task
            task.add_done_callback(self._was_read)
        self._reads = left

    def _hurry(self) -> None:
        self._gathering = None
        self._start_reads(hurried=True)

    def _was_read(self, _: asyncio.Task[None]) -> None:
        self._reading -= 1
        if self._reads:
            self._start_reads()

    def _start_sends(self) -> None:
        """Start as many batches as may be under way. The end of each batch calls this again."""
        waiting = [call for call in self._sends if not call.future.done()]
        started = 0
        for calls in itertools.islice(self._planner.sends(waiting), _SEND_BATCHES - len(self._sending)):
            started += len(calls)
            task = self._start(calls)
            self._sending.append(task)
            task.add_done_callback(self._was_sent)
        self._sends = waiting[started:]

    def _was_sent(self, _: asyncio.Task[None]) -> None:
        while self._sending and self._sending[0].done():
            self._sending.popleft()
        if self._sends:
            self._start_sends()

    def _start(self, calls: Sequence[Call]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._requests.settle(calls))
        self._under_way[task] = calls
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        calls = self._under_way.pop(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, Layer2Error):
            # The first use shows that a setting is wrong, such as the file of certificates.
            self._requests.fail(calls, Failure(NodeError, error.message, may_have_arrived=False), error)
        else:
            # No caller may wait forever because of a fault in this package.
            self._requests.fail(calls, Failure(NodeError, f"unexpected {type(error).__name__}"), error)
