"""One stream of lnd: a JSON object on each line, with a result or with the error that ends the stream."""

from __future__ import annotations

from collections import deque
from typing import Self

import aiohttp
import orjson

from layer2.errors import Outcome
from layer2.protocols.lightning.lnd.answers import Call, LndObject
from layer2.protocols.lightning.lnd.connections import abort
from layer2.protocols.lightning.lnd.failures import Failures

__all__ = ["LndStream", "read_json"]


class LndStream:
    """The messages of one stream, as they arrive. Iterating raises the errors of ``LndRest.get`` and ``post``.

    Args:
        response: carries the messages.
        call: the call that it answers.
        failures: makes the errors.
        max_bytes: a longer message is refused.
    """

    def __init__(self, response: aiohttp.ClientResponse, call: Call, failures: Failures, max_bytes: int) -> None:
        self._response = response
        self._call = call
        self._failures = failures
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._unfinished = bytearray()
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LndObject:
        while not self._lines:
            if self._is_over:
                raise StopAsyncIteration
            with self._failures.typed(self._call):
                part = await self._response.content.readany()
            self._unfinished += part
            self._is_over = not part
            lines = self._unfinished.split(b"\n")
            self._unfinished = bytearray() if self._is_over else lines.pop()
            self._lines.extend(bytes(line) for line in lines if line.strip())
            if len(self._unfinished) > self._max_bytes:
                self.close()
                raise self._failures.too_long(self._call, self._max_bytes)
        return self._result(self._lines.popleft())

    def close(self) -> None:
        """Drop what was not read, and the connection. Does nothing if the stream was read to its end."""
        abort(self._response)

    def _result(self, line: bytes) -> LndObject:
        message = read_json(line, self._call, self._failures)
        if isinstance(message, dict) and "error" in message:
            refusal = self._failures.refusal(self._call, 200, line)
            if self._call.method == "POST":
                # lnd has sent a message before, so it has accepted the request.
                refusal.outcome = Outcome.UNKNOWN
            raise refusal
        return LndObject(message, self._call).inner("result")


def read_json(content: bytes, call: Call, failures: Failures) -> object:
    """Decode an answer.

    Raises:
        BadAnswer: it is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise failures.bad(call, "the answer is not JSON") from None
