"""JSON-RPC 2.0 over HTTP to one EVM node: what is asked in the same tick of the loop travels together.

A read that the node refused as part of a batch is asked again in smaller batches. A send is never repeated here:
where its answer is missing its outcome is UNKNOWN, and the account looks it up by the transaction's hash.

Sends keep their order: one batch of them is under way at a time. A node's pool keeps few transactions whose
predecessors it has not seen (op-geth: 64 of an account), so a later batch that overtakes an earlier one would be
dropped in part without a word.

Sources: JSON-RPC 2.0, sections 4 to 6; EIP-1474 (error codes).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import aiohttp
import orjson
from yarl import URL

from layer2.errors import (
    AsyncRuntimeError,
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    FormatError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.foreign_text import printable
from layer2.http_client import open_session, server_time
from layer2.protocols.evm.rpc_answers import Answer, BatchRefused, Malformed, Refused, Result, read_answers
from layer2.settings import ConnectionPoolConfig

__all__ = ["Dated", "JsonRpc"]

_SEND = "eth_sendRawTransaction"
_HEADERS = {"Content-Type": "application/json"}
_BATCH_CALLS = 200
_BATCH_BYTES = 1_000_000
_RESPONSE_TOO_LARGE = -32003


@dataclass(frozen=True, slots=True)
class Dated:
    """A result, and what the node's machine said of the time in the same answer."""

    value: Any
    date: float | None
    """Unix seconds of the HTTP ``Date`` header; None where it had none that is readable."""


class _Call:
    __slots__ = ("batch", "body", "future", "identifier", "method")

    def __init__(self, identifier: int, method: str, body: bytes, future: asyncio.Future[Dated]) -> None:
        self.identifier = identifier
        self.method = method
        self.body = body
        self.future = future
        self.batch: _Batch | None = None


class _Batch:
    """Calls that travel together; when nobody waits for a read any more, its request is given up."""

    __slots__ = ("task", "waiting")

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        self.waiting -= 1
        if self.waiting == 0 and self.task is not None:
            self.task.cancel()


class _Failed(Exception):
    """One HTTP exchange gave no answers; why, and what that means for its calls."""

    def __init__(
        self,
        kind: type[NodeError],
        problem: str,
        *,
        may_have_arrived: bool = True,
        smaller_may_do: bool = False,
        broke: bool = False,
    ) -> None:
        super().__init__(problem)
        self.kind = kind
        self.problem = problem
        self.may_have_arrived = may_have_arrived
        """False where it is certain that the node did not act on the request."""
        self.smaller_may_do = smaller_may_do
        """Whether the same calls may succeed in smaller batches."""
        self.broke = broke
        """The connection ended under the request, as a kept one does when the node has closed it meanwhile."""


class JsonRpc:
    """One node's JSON-RPC endpoint. Belongs to the event loop in which it is first used.

    Args:
        url: ``http`` or ``https``; user and password in it are sent as basic authentication and shown nowhere.
        protocol: the layer's name, for errors.
        pool: how connections are kept.
        timeout: seconds within which each HTTP request has to be answered, waiting for a connection included.

    Raises:
        ConfigurationError: the URL is none.
    """

    def __init__(self, url: str, *, protocol: str, pool: ConnectionPoolConfig, timeout: float) -> None:
        try:
            self._url = URL(url)
        except ValueError:
            raise ConfigurationError("the node's URL cannot be read") from None
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise ConfigurationError("the node's URL must begin with http:// or https:// and name a host")
        self._protocol = protocol
        self._pool = pool
        # On this machine compression costs both sides more than the bytes that it saves.
        is_local = self._url.host in {"127.0.0.1", "::1", "localhost"}
        self._headers = {**_HEADERS, "Accept-Encoding": "identity"} if is_local else _HEADERS
        self._timeout = timeout
        self._most_calls = _BATCH_CALLS
        self._identifiers = itertools.count(1)
        self._reads: list[_Call] = []
        self._sends: list[_Call] = []
        self._is_sending = False
        self._under_way: dict[asyncio.Task[None], Sequence[_Call]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """Where the node is, as it may be shown: without user, password, path and query, which may hold keys."""
        return str(self._url.origin())

    async def call(self, method: str, *params: Any) -> Any:
        """Ask the node; see ``call_dated``."""
        return (await self.call_dated(method, *params)).value

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
        loop = self._entered()
        identifier = next(self._identifiers)
        body = orjson.dumps({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})
        call = _Call(identifier, method, body, loop.create_future())
        queue = self._sends if method == _SEND else self._reads
        queue.append(call)
        if len(queue) == 1:
            loop.call_soon(self._start_sends if method == _SEND else self._start_reads)
        try:
            return await call.future
        except asyncio.CancelledError:
            if call.batch is not None:
                call.batch.leave()
            raise

    async def aclose(self) -> None:
        """End every request and close the connections. What was sent is not called back."""
        waiting = [*self._reads, *self._sends]
        self._reads, self._sends = [], []
        under_way = dict(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for calls in under_way.values():
            self._fail(calls, _Failed(NodeUnreachable, "the client was closed"))
        self._fail(waiting, _Failed(NodeUnreachable, "the client was closed", may_have_arrived=False))
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _entered(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise AsyncRuntimeError(
                "this client belongs to the event loop that used it first; make another one in this loop",
                protocol=self._protocol,
            )
        return loop

    def _start_reads(self) -> None:
        queue, self._reads = self._reads, []
        for calls in self._batches([call for call in queue if not call.future.done()]):
            batch = _Batch(len(calls))
            for call in calls:
                call.batch = batch
            batch.task = self._spawn(self._read(calls), calls)

    def _start_sends(self) -> None:
        """Send the next batch, unless one is under way; its end comes back here."""
        if self._is_sending:
            return
        queue = [call for call in self._sends if not call.future.done()]
        calls = next(self._batches(queue), ())
        self._sends = queue[len(calls) :]
        if calls:
            self._is_sending = True
            self._spawn(self._send(calls), calls).add_done_callback(self._sent)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._is_sending = False
        self._start_sends()

    async def _send(self, calls: Sequence[_Call]) -> None:
        try:
            await self._ask(calls)
        except _Failed as failure:
            self._fail(calls, failure)

    async def _read(self, calls: Sequence[_Call], *, may_repeat: bool = True) -> None:
        try:
            refused_as_part = await self._ask(calls)
        except _Failed as failure:
            if failure.broke and may_repeat:
                await self._read(calls, may_repeat=False)
                return
            if not failure.smaller_may_do or len(calls) == 1:
                self._fail(calls, failure)
                return
            middle = (len(calls) + 1) // 2
            await self._read(calls[:middle])
            await self._read(calls[middle:])
            return
        for call in refused_as_part:
            await self._read([call])

    async def _ask(self, calls: Sequence[_Call]) -> list[_Call]:
        """Exchange a batch and give every call its answer; return the reads that have to be asked alone."""
        if not calls:
            return []
        body, date = await self._exchange(calls)
        try:
            answers = read_answers(body, [call.identifier for call in calls])
        except FormatError as error:
            raise _Failed(BadAnswer, error.message) from error
        except BatchRefused as refused:
            if "batch" in refused.refusal.message:
                self._most_calls = max(1, len(calls) // 2)
            problem = f"it refused a batch of {len(calls)} calls: {refused.refusal.message}"
            raise _Failed(BadAnswer, problem, smaller_may_do=True) from refused
        alone: list[_Call] = []
        for call, answer in zip(calls, answers, strict=True):
            too_large = isinstance(answer, Refused) and answer.code == _RESPONSE_TOO_LARGE
            if too_large and call.method != _SEND and len(calls) > 1:
                alone.append(call)
            elif not call.future.done():
                self._settle(call, answer, date)
        return alone

    async def _exchange(self, calls: Sequence[_Call]) -> tuple[bytes, float | None]:
        """Post the calls and return the body of the answer and its date."""
        data = calls[0].body if len(calls) == 1 else b"[" + b",".join([call.body for call in calls]) + b"]"
        try:
            async with self._open_session().post(
                self._url, data=data, headers=self._headers, allow_redirects=False
            ) as response:
                _check_status(response.status)
                body = await self._read_body(response)
                return body, server_time(response)
        # An error of aiohttp may carry the URL with its keys, so it is not kept as the cause.
        except aiohttp.ClientConnectorError as error:
            problem = f"no connection ({printable(error.strerror or type(error).__name__)})"
            raise _Failed(NodeUnreachable, problem, may_have_arrived=False) from None
        except aiohttp.ConnectionTimeoutError:
            raise _Failed(NodeUnreachable, "no connection in time", may_have_arrived=False) from None
        except TimeoutError:
            raise _Failed(NodeUnreachable, f"no answer within {self._timeout:g} s") from None
        except aiohttp.ClientPayloadError:
            raise _Failed(NodeUnreachable, "the answer broke off") from None
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke ({type(error).__name__})"
            raise _Failed(NodeUnreachable, problem, broke=True) from None

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._pool.max_response_bytes
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                response.close()
                raise _Failed(BadAnswer, f"its answer is longer than {limit} bytes", smaller_may_do=True)
            parts.append(part)
        return b"".join(parts)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        return self._session

    def _batches(self, calls: Sequence[_Call]) -> Iterator[Sequence[_Call]]:
        start, size = 0, 0
        for place, call in enumerate(calls):
            if place > start and (place - start == self._most_calls or size + len(call.body) > _BATCH_BYTES):
                yield calls[start:place]
                start, size = place, 0
            size += len(call.body) + 1
        if start < len(calls):
            yield calls[start:]

    def _spawn(self, work: Coroutine[Any, Any, None], calls: Sequence[_Call]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[task] = calls
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        calls = self._under_way.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A fault of this module must not leave anybody waiting for ever.
            self._fail(calls, _Failed(NodeError, f"unexpected {type(error).__name__}"), error)

    def _settle(self, call: _Call, answer: Answer, date: float | None) -> None:
        match answer:
            case Result(value):
                call.future.set_result(Dated(value, date))
            case Refused(code, message):
                call.future.set_exception(
                    NodeRefused(
                        f"the node at {self.endpoint} refused {call.method}: {message}",
                        node_code=code,
                        node_message=message,
                        protocol=self._protocol,
                        operation=call.method,
                    )
                )
            case Malformed(problem):
                self._fail([call], _Failed(BadAnswer, problem))
            case _:
                assert_never(answer)

    def _fail(self, calls: Sequence[_Call], failure: _Failed, cause: BaseException | None = None) -> None:
        for call in calls:
            if call.future.done():
                continue
            unknown = call.method == _SEND and failure.may_have_arrived
            error = failure.kind(
                f"the node at {self.endpoint}, {call.method}: {failure.problem}",
                protocol=self._protocol,
                operation=call.method,
                outcome=Outcome.UNKNOWN if unknown else Outcome.NOT_SENT,
            )
            error.__cause__ = cause
            call.future.set_exception(error)


def _check_status(status: int) -> None:
    """Refuse HTTP answers that are no JSON-RPC."""
    if status in {401, 403}:
        raise _Failed(AuthenticationFailed, f"it refused our credentials (HTTP {status})", may_have_arrived=False)
    if status == 413:
        raise _Failed(BadAnswer, "the request was too large (HTTP 413)", may_have_arrived=False, smaller_may_do=True)
    if status == 429:
        raise _Failed(NodeUnreachable, "too many requests (HTTP 429)", may_have_arrived=False)
    if status >= 500:
        raise _Failed(NodeUnreachable, f"HTTP {status}")
    if status != 200:
        raise _Failed(BadAnswer, f"HTTP {status}")
