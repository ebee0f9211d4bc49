"""Asking a node for one batch of calls: in smaller batches if it wants them, and again if it was busy.

A read that failed as part of a batch is asked in smaller batches. A read that the node was too busy for, or that found
the node unreachable, is asked again later. A send is repeated only if it certainly did not arrive.

A call whose caller has left is not asked again, and no exception holds an answer in memory while other calls are asked.
Answers are decoded one after the other, and the callers of one use it before the next is decoded. Otherwise the objects
of a thousand receipts exist at the same time, and Python's garbage collector examines them again and again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from layer2.errors import BadAnswer, FormatError, NodeRefused, NodeUnreachable, Outcome
from layer2.protocols.evm.rpc.answers import Answer, BatchRefused, Refused, Result, read_answers, read_refusal
from layer2.protocols.evm.rpc.batches import BatchPlanner, Call
from layer2.protocols.evm.rpc.http_exchange import Exchanged, Failure, HttpExchange

__all__ = ["BatchRequests"]

_RESPONSE_TOO_LARGE = -32003
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


@dataclass(frozen=True, slots=True)
class _Part:
    """Calls to ask in one request."""

    calls: Sequence[Call]
    teaches: bool = False
    """Whether a success shows how large a batch the node accepts."""


class BatchRequests:
    """Asks a node for batches of calls and gives each caller the result or the error.

    Args:
        http: the connection.
        planner: learns how large a batch the node accepts.
        protocol: the layer's name, for errors.
        retry_seconds: how long a call is repeated while the node is busy or unreachable.
    """

    def __init__(self, http: HttpExchange, planner: BatchPlanner, *, protocol: str, retry_seconds: float) -> None:
        self._http = http
        self._planner = planner
        self._protocol = protocol
        self._retry_seconds = retry_seconds
        self._delivering = asyncio.Lock()

    async def settle(self, calls: Sequence[Call]) -> None:
        """Ask for the calls until each has its result or its error."""
        left = await self._attempt(calls)
        if not left:
            return
        loop = asyncio.get_running_loop()
        end, longest = loop.time() + self._retry_seconds, _FIRST_DELAY
        while left:
            delay = self._http.pause_left() + random.uniform(0, longest)  # noqa: S311 - delays are not secret
            if loop.time() + delay >= end:
                break
            await asyncio.sleep(delay)
            left, longest = await self._attempt(list(left)), min(2 * longest, _LONGEST_DELAY)
        for call, reason in left.items():
            self._end(call, reason)

    def fail(self, calls: Sequence[Call], failure: Failure, cause: BaseException | None = None) -> None:
        """Raise a failure in every caller that still waits."""
        for call in _waiting(calls):
            unknown = call.is_send and failure.may_have_arrived
            error = failure.kind(
                f"the node at {self._http.endpoint}, {call.method}: {failure.problem}",
                protocol=self._protocol,
                operation=call.method,
                outcome=Outcome.UNKNOWN if unknown else Outcome.NOT_SENT,
            )
            error.__cause__ = cause
            call.future.set_exception(error)

    async def _attempt(self, calls: Sequence[Call]) -> Mapping[Call, Failure | Refused]:
        """Ask once, in as many requests as the node needs.

        Returns:
            The calls that a later attempt may answer, and why this one did not.
        """
        later: dict[Call, Failure | Refused] = {}
        parts = deque([_Part(calls)])
        while parts:
            parts.extendleft(reversed(await self._ask(parts.popleft(), later)))
        return later

    async def _ask(self, part: _Part, later: dict[Call, Failure | Refused]) -> list[_Part]:
        """Ask for a part in one request, add the calls to repeat to ``later``, and return the parts to ask next."""
        calls = _waiting(part.calls)
        if not calls:
            return []
        is_send = calls[0].is_send
        if len(calls) > self._planner.most_calls and not is_send:
            return _divided(calls, self._planner.most_calls, part.teaches)
        exchanged = await self._exchange(calls)
        if isinstance(exchanged, Failure) and exchanged.connection_broke and not is_send:
            # The node has probably closed a kept connection. The next request opens a new one.
            exchanged = await self._exchange(calls)
        outcome = exchanged if isinstance(exchanged, Failure) else await self._answer(part, calls, exchanged, later)
        if not isinstance(outcome, Failure):
            return outcome
        half = (len(calls) + 1) // 2
        if (outcome.too_long or outcome.refused_as_batch) and len(calls) > 1 and not is_send:
            return _divided(calls, half, outcome.refused_as_batch)
        if outcome.refused_as_batch and is_send:
            # The sends are not repeated here. The caller repeats them, and then they have to get through.
            self._planner.lower_to(half)
        if outcome.temporary and not (is_send and outcome.may_have_arrived):
            later.update(dict.fromkeys(calls, outcome))
        else:
            self.fail(calls, outcome)
        return []

    async def _exchange(self, calls: Sequence[Call]) -> Exchanged | Failure:
        """Ask once."""
        body = calls[0].body if len(calls) == 1 else b"[" + b",".join([call.body for call in calls]) + b"]"
        return await self._http.post(body, len(calls))

    async def _answer(
        self, part: _Part, calls: Sequence[Call], exchanged: Exchanged, later: dict[Call, Failure | Refused]
    ) -> list[_Part] | Failure:
        """Decode an answer and give it to the callers. Arguments and result as ``_ask``."""
        async with self._delivering:
            answers = self._read(calls, exchanged)
            if isinstance(answers, Failure):
                return answers
            if part.teaches and any(type(answer) is Result for answer in answers):
                # Only a success shows the size that the node accepts: a refusal may be about one of the calls.
                self._planner.lower_to(len(calls))
            alone = self._deliver(calls, answers, later)
            del answers
            if len(calls) > 1:
                # The callers run now, in the next turn of the loop.
                await asyncio.sleep(0)
        return [_Part([call]) for call in alone]

    def _read(self, calls: Sequence[Call], exchanged: Exchanged) -> Sequence[Answer] | Failure:
        """Decode the answers, in the order of the calls."""
        if exchanged.is_bad_request:
            refusal = read_refusal(exchanged.body, calls[0].identifier)
            return Failure(BadAnswer, "HTTP 400") if refusal is None else [refusal]
        for call in calls:
            call.date = exchanged.date
        try:
            return read_answers(exchanged.body, [call.identifier for call in calls])
        except FormatError as error:
            return Failure(BadAnswer, error.message)
        except BatchRefused as error:
            return self._batch_refused(len(calls), error.refusal)

    def _batch_refused(self, count: int, refusal: Refused) -> Failure:
        """Classify one error for a whole batch. If it is about batches, later ones are smaller."""
        if refusal.temporary:
            self._pause(refusal)
            return Failure(NodeUnreachable, refusal.message, may_have_arrived=False, temporary=True)
        if "batch" in refusal.message.lower():
            self._planner.lower_to(count // 2)
        return Failure(BadAnswer, f"it refused a batch of {count} calls: {refusal.message}", refused_as_batch=True)

    def _deliver(
        self, calls: Sequence[Call], answers: Sequence[Answer], later: dict[Call, Failure | Refused]
    ) -> list[Call]:
        """Give the callers their answers, add the calls to repeat to ``later``, and return the calls to ask alone."""
        alone: list[Call] = []
        for call, answer in zip(calls, answers, strict=True):
            if call.future.done():
                continue
            match answer:
                case Result(value):
                    call.future.set_result(value)
                case Refused(temporary=True):
                    self._pause(answer)
                    later[call] = answer
                case Refused(code=code) if code == _RESPONSE_TOO_LARGE and len(calls) > 1 and not call.is_send:
                    alone.append(call)
                case Refused() | Failure():
                    self._end(call, answer)
                case _:
                    assert_never(answer)
        return alone

    def _pause(self, refusal: Refused) -> None:
        if refusal.pause is not None:
            self._http.pause(refusal.pause)

    def _end(self, call: Call, reason: Failure | Refused) -> None:
        if isinstance(reason, Failure):
            self.fail([call], reason)
        elif not call.future.done():
            call.future.set_exception(
                NodeRefused(
                    f"the node at {self._http.endpoint} refused {call.method}: {reason.message}",
                    node_code=reason.code,
                    node_message=reason.message,
                    protocol=self._protocol,
                    operation=call.method,
                    retryable=reason.temporary,
                )
            )


def _waiting(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if not call.future.done()]


def _divided(calls: Sequence[Call], size: int, teaches: bool) -> list[_Part]:
    return [_Part(calls[start : start + size], teaches) for start in range(0, len(calls), size)]
