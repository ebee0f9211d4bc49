"""JSON-RPC 2.0 over HTTP to one EVM node: what is asked in the same tick of the loop travels together.

A read that the node refused as part of a batch is asked again in smaller batches, and one that it is too busy for, or
that found it away, is asked again a little later. A send is repeated only where it is certain that it did not arrive;
where its answer is missing its outcome is UNKNOWN, and the account looks it up by the transaction's hash.

Sends leave in their order, 32 at most in a batch, and a batch waits until all but the one before it have ended: a node
takes those of one batch one after the other, and two batches side by side. Its pool keeps few transactions whose
predecessors it has not seen (op-geth: 64 of an account), and drops the rest without a word, so no more may overtake.

Sources: JSON-RPC 2.0, sections 4 to 6; EIP-1474 (error codes).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_before_delay, wait_random_exponential

from layer2.errors import (
    AsyncRuntimeError,
    BadAnswer,
    FormatError,
    Layer2Error,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.net.pool import ConnectionPoolConfig
from layer2.protocols.evm.rpc.answers import Answer, BatchRefused, Malformed, Refused, Result, read_answers
from layer2.protocols.evm.rpc.http_exchange import ExchangeFailed, HttpExchange

__all__ = ["SEND", "Dated", "JsonRpc"]

SEND = "eth_sendRawTransaction"
"""The one method that is a write."""
_SENDS_TOGETHER = 32
_SEND_BATCHES = 2
_RECEIPT = "eth_getTransactionReceipt"
"""Each is read by itself. All else of a tick may be compared with one another, and should be of one node: a balancer
may send each request to another one."""
_RECEIPT_PARTS = 4
"""Many receipts are divided among so many requests: the node works on one while the answer of another is read here."""
_FEWEST_RECEIPTS = 25
"""Not divided any further: below that a request costs more than what it carries."""
_PATIENCE_SECONDS = 0.003
"""For which a few reads wait for more to go along, while the node has several requests of ours already."""
_RESPONSE_TOO_LARGE = -32003
_JITTER = wait_random_exponential(multiplier=0.1, max=5)


@dataclass(frozen=True, slots=True)
class Dated:
    """A result, and what the node's machine said of the time in the same answer."""

    value: Any
    date: float | None
    """Unix seconds of the HTTP ``Date`` header; None where it had none that is readable."""


class _Call:
    __slots__ = ("batch", "body", "dated", "excuse", "future", "identifier", "method")

    def __init__(self, identifier: int, method: str, body: bytes, dated: bool, future: asyncio.Future[Any]) -> None:
        self.identifier = identifier
        self.method = method
        self.body = body
        self.dated = dated
        self.future = future
        self.batch: _Batch | None = None
        self.excuse: ExchangeFailed | Refused | None = None
        """Why it had no answer the last time, where asking later may help."""


class _Batch:
    """Calls that travel together; when nobody waits for a read any more, its request is given up."""

    __slots__ = ("task", "waiting")

    def __init__(self, calls: Sequence[_Call], task: asyncio.Task[None]) -> None:
        self.waiting = len(calls)
        self.task = task
        for call in calls:
            call.batch = self

    def leave(self) -> None:
        self.waiting -= 1
        if self.waiting == 0:
            self.task.cancel()


class JsonRpc:
    """One node's JSON-RPC endpoint. Belongs to the event loop in which it is first used.

    Args:
        url: ``http`` or ``https``; user and password in it are sent as basic authentication and shown nowhere.
        protocol: the layer's name, for errors.
        pool: how connections are kept, how large a batch may be, and for how long a read is repeated.
        timeout: seconds within which each HTTP request has to be answered, waiting for a connection included.

    Raises:
        ConfigurationError: the URL is none.
    """

    def __init__(self, url: str, *, protocol: str, pool: ConnectionPoolConfig, timeout: float) -> None:
        self._http = HttpExchange(url, pool=pool, timeout=timeout)
        self._protocol = protocol
        self._pool = pool
        rate = pool.max_calls_per_second
        self._most_calls = pool.max_batch_calls if rate is None else min(pool.max_batch_calls, max(1, int(rate)))
        # One connection is left to sends, so that slow reads cannot hold up a claim.
        self._most_reads = max(1, pool.max_connections - 1)
        self._identifiers = itertools.count(1)
        self._reads: list[_Call] = []
        self._sends: list[_Call] = []
        self._reading = 0
        self._patience: asyncio.TimerHandle | None = None
        self._sending: deque[asyncio.Task[None]] = deque()
        self._under_way: dict[asyncio.Task[None], Sequence[_Call]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def endpoint(self) -> str:
        """Where the node is, as it may be shown: without user, password, path and query, which may hold keys."""
        return self._http.endpoint

    async def call(self, method: str, *params: Any) -> Any:
        """Ask the node; see ``call_dated``."""
        call = self._ask(method, params, dated=False)
        try:
            return await call.future
        except asyncio.CancelledError:
            if call.batch is not None:
                call.batch.leave()
            raise

    async def call_dated(self, method: str, *params: Any) -> Dated:
        """Ask the node.

        Returns:
            The result as JSON, unchecked, with the answer's date.

        Raises:
            NodeUnreachable: no connection (outcome NOT_SENT), or no answer in time (a send: UNKNOWN).
            NodeRefused: the node's own error.
            BadAnswer: an answer that cannot be right (a send: UNKNOWN).
            AuthenticationFailed: the node wants other credentials.
            AsyncRuntimeError: another event loop than at the first use.

        Cancelling it is safe at any moment. A send that is under way goes on.
        """
        call = self._ask(method, params, dated=True)
        try:
            dated: Dated = await call.future
        except asyncio.CancelledError:
            if call.batch is not None:
                call.batch.leave()
            raise
        return dated

    async def aclose(self) -> None:
        """End every request and close the connections. What was sent is not called back."""
        if self._patience is not None:
            self._patience.cancel()
        waiting = [*self._reads, *self._sends]
        self._reads, self._sends = [], []
        under_way = dict(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for calls in under_way.values():
            self._fail(calls, ExchangeFailed(NodeUnreachable, "the client was closed"))
        self._fail(waiting, ExchangeFailed(NodeUnreachable, "the client was closed", may_have_arrived=False))
        await self._http.aclose()

    def _ask(self, method: str, params: Sequence[Any], *, dated: bool) -> _Call:
        """Queue a call; the batch that it is part of leaves in the next tick."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._enter(loop)
        identifier = next(self._identifiers)
        body = orjson.dumps({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})
        call = _Call(identifier, method, body, dated, loop.create_future())
        queue = self._sends if method == SEND else self._reads
        queue.append(call)
        if len(queue) in (1, _FEWEST_RECEIPTS):
            loop.call_soon(self._start_sends if method == SEND else self._start_reads)
        return call

    def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that used it first; make another one in this loop",
                protocol=self._protocol,
            )
        self._loop = loop

    def _start_reads(self, *, hurried: bool = False) -> None:
        """Start as many batches as may be in flight; the end of each comes back here for the rest."""
        waiting = [call for call in self._reads if not call.future.done()]
        if self._reading >= _RECEIPT_PARTS and len(waiting) < _FEWEST_RECEIPTS and not hurried:
            # The node is busy with ours: what comes within a moment goes along. The end of a read comes back here too.
            self._reads = waiting
            if waiting and self._patience is None:
                self._patience = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._hurry)
            return
        left: list[_Call] = []
        for calls in self._divided(waiting):
            if self._reading == self._most_reads:
                left += calls
                continue
            self._reading += 1
            task = self._spawn(self._carry(calls), calls)
            _Batch(calls, task)
            task.add_done_callback(self._was_read)
        self._reads = left

    def _hurry(self) -> None:
        self._patience = None
        self._start_reads(hurried=True)

    def _divided(self, queue: list[_Call]) -> Iterator[Sequence[_Call]]:
        """The batches of a tick: few calls in one, as far as its limits allow; of many the receipts in several."""
        receipts = [call for call in queue if call.method == _RECEIPT]
        if len(receipts) <= _FEWEST_RECEIPTS:
            yield from self._batches(queue, self._most_calls)
            return
        yield from self._batches([call for call in queue if call.method != _RECEIPT], self._most_calls)
        yield from self._batches(receipts, max(_FEWEST_RECEIPTS, -(-len(receipts) // _RECEIPT_PARTS)))

    def _batches(self, queue: list[_Call], most: int) -> Iterator[Sequence[_Call]]:
        start = 0
        while start < len(queue):
            calls = self._next_batch(queue[: start + most], start)
            start += len(calls)
            yield calls

    def _was_read(self, _: asyncio.Task[None]) -> None:
        self._reading -= 1
        if self._reads:
            self._start_reads()

    def _start_sends(self) -> None:
        """Send the next batches; the end of each comes back here."""
        queue, start = [call for call in self._sends if not call.future.done()], 0
        while start < len(queue) and len(self._sending) < _SEND_BATCHES:
            calls = self._next_batch(queue[start : start + _SENDS_TOGETHER], 0)
            start += len(calls)
            task = self._spawn(self._carry(calls), calls)
            self._sending.append(task)
            task.add_done_callback(self._was_sent)
        self._sends = queue[start:]

    def _was_sent(self, _: asyncio.Task[None]) -> None:
        while self._sending and self._sending[0].done():
            self._sending.popleft()
        if self._sends:
            self._start_sends()

    async def _carry(self, calls: Sequence[_Call]) -> None:
        """Bring every call its answer or its error."""
        left = await self._attempt(calls)
        if left:
            await self._repeat(left)

    async def _repeat(self, left: Sequence[_Call]) -> None:
        """Ask again, later each time, what may be answered then."""
        is_first = True

        async def attempt() -> Sequence[_Call]:
            nonlocal left, is_first
            # The attempt that brought us here is the first one; only from the second on is the node asked.
            if not is_first:
                left = await self._attempt([call for call in left if not call.future.done()])
            is_first = False
            return left

        def wait(state: RetryCallState) -> float:
            return self._http.pause_left() + _JITTER(state)

        repeating = AsyncRetrying(
            retry=retry_if_result(bool),
            wait=wait,
            stop=stop_before_delay(self._pool.retry_seconds),
            retry_error_callback=lambda state: None,
        )
        await repeating(attempt)
        for call in left:
            match call.excuse:
                case ExchangeFailed() as failure:
                    self._fail([call], failure)
                case Refused() as refusal:
                    self._refuse(call, refusal)
                case None:
                    self._fail([call], ExchangeFailed(BadAnswer, "the node did not answer it"))

    async def _attempt(self, calls: Sequence[_Call], *, may_repeat: bool = True) -> list[_Call]:
        """Ask once, in as many requests as the node wants; return the calls that are worth asking again later."""
        if not calls:
            return []
        if len(calls) > self._most_calls and calls[0].method != SEND:
            return await self._attempt_parts(calls, self._most_calls, learn=False)
        try:
            alone, later = await self._exchange(calls)
        except ExchangeFailed as failure:
            is_send = calls[0].method == SEND
            if failure.broke and may_repeat and not is_send:
                return await self._attempt(calls, may_repeat=False)
            half = (len(calls) + 1) // 2
            if failure.smaller_may_do and len(calls) > 1 and not is_send:
                return await self._attempt_parts(calls, half, learn=failure.refused_as_batch)
            if failure.refused_as_batch and is_send:
                # They are not sent again here; whoever sends them again needs to get through.
                self._most_calls = min(self._most_calls, half)
            if failure.passing and not (is_send and failure.may_have_arrived):
                for call in calls:
                    call.excuse = failure
                return list(calls)
            self._fail(calls, failure)
            return []
        for call in alone:
            later += await self._attempt([call])
        return later

    async def _attempt_parts(self, calls: Sequence[_Call], size: int, *, learn: bool) -> list[_Call]:
        later: list[_Call] = []
        start = 0
        while start < len(calls):
            part = calls[start : start + min(size, self._most_calls)]
            later += await self._attempt(part)
            start += len(part)
            # Only what worked is a lesson: the refusal may have been about one call among them.
            if learn and any(_succeeded(call) for call in part):
                self._most_calls = min(self._most_calls, len(part))
        return later

    async def _exchange(self, calls: Sequence[_Call]) -> tuple[list[_Call], list[_Call]]:
        """Exchange a batch and give the calls their answers; return what to ask alone, and what to ask later."""
        data = calls[0].body if len(calls) == 1 else b"[" + b",".join([call.body for call in calls]) + b"]"
        body, date = await self._http.post(data, len(calls))
        try:
            answers = read_answers(body, [call.identifier for call in calls])
        except FormatError as error:
            raise ExchangeFailed(BadAnswer, error.message) from error
        except BatchRefused as refused:
            raise self._batch_refused(len(calls), refused.refusal) from refused
        alone: list[_Call] = []
        later: list[_Call] = []
        for call, answer in zip(calls, answers, strict=True):
            if call.future.done():
                continue
            if type(answer) is Result:
                call.future.set_result(Dated(answer.value, date) if call.dated else answer.value)
            elif isinstance(answer, Refused) and answer.passing:
                if answer.pause is not None:
                    self._http.pause(answer.pause)
                call.excuse = answer
                later.append(call)
            elif isinstance(answer, Refused) and answer.code == _RESPONSE_TOO_LARGE and _may_go_alone(call, calls):
                alone.append(call)
            else:
                self._settle(call, answer)
        return alone, later

    def _batch_refused(self, count: int, refusal: Refused) -> ExchangeFailed:
        """What one error for a whole batch means; where it is about batches, they are smaller from now on."""
        if refusal.passing:
            if refusal.pause is not None:
                self._http.pause(refusal.pause)
            return ExchangeFailed(NodeUnreachable, refusal.message, may_have_arrived=False, passing=True)
        if "batch" in refusal.message.lower():
            self._most_calls = max(1, min(self._most_calls, count // 2))
        problem = f"it refused a batch of {count} calls: {refusal.message}"
        return ExchangeFailed(BadAnswer, problem, refused_as_batch=True)

    def _next_batch(self, queue: Sequence[_Call], start: int) -> Sequence[_Call]:
        """As many calls as one request may have, in order; the first one always."""
        end, size = start, 0
        last = min(len(queue), start + self._most_calls)
        while end < last:
            size += len(queue[end].body) + 1
            if size > self._pool.max_batch_bytes and end > start:
                break
            end += 1
        return queue[start:end]

    def _spawn(self, work: Coroutine[Any, Any, None], calls: Sequence[_Call]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[task] = calls
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        calls = self._under_way.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, Layer2Error):
                # A setting that shows to be wrong at the first use, as a file with certificates.
                self._fail(calls, ExchangeFailed(NodeError, error.message, may_have_arrived=False), error)
                return
            # A fault of this module must not leave anyone waiting forever.
            self._fail(calls, ExchangeFailed(NodeError, f"unexpected {type(error).__name__}"), error)

    def _settle(self, call: _Call, answer: Answer) -> None:
        match answer:
            case Result(value):
                call.future.set_result(value)
            case Refused():
                self._refuse(call, answer)
            case Malformed(problem):
                self._fail([call], ExchangeFailed(BadAnswer, problem))
            case _:
                assert_never(answer)

    def _refuse(self, call: _Call, refusal: Refused) -> None:
        if call.future.done():
            return
        call.future.set_exception(
            NodeRefused(
                f"the node at {self.endpoint} refused {call.method}: {refusal.message}",
                node_code=refusal.code,
                node_message=refusal.message,
                protocol=self._protocol,
                operation=call.method,
                retryable=refusal.passing,
            )
        )

    def _fail(self, calls: Sequence[_Call], failure: ExchangeFailed, cause: BaseException | None = None) -> None:
        for call in calls:
            if call.future.done():
                continue
            unknown = call.method == SEND and failure.may_have_arrived
            error = failure.kind(
                f"the node at {self.endpoint}, {call.method}: {failure.problem}",
                protocol=self._protocol,
                operation=call.method,
                outcome=Outcome.UNKNOWN if unknown else Outcome.NOT_SENT,
            )
            error.__cause__ = cause
            call.future.set_exception(error)


def _succeeded(call: _Call) -> bool:
    future = call.future
    return future.done() and not future.cancelled() and future.exception() is None


def _may_go_alone(call: _Call, calls: Sequence[_Call]) -> bool:
    return len(calls) > 1 and call.method != SEND
