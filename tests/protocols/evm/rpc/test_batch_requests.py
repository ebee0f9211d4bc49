"""How the answers to several batches reach their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.answers import Answer, read_answers
from layer2.protocols.evm.rpc.batch_requests import BatchRequests
from layer2.protocols.evm.rpc.batches import BatchPlanner, Call
from layer2.protocols.evm.rpc.http_exchange import Exchanged, Failure, HttpExchange


class OneMoment(HttpExchange):
    """Answers all requests in the same turn of the event loop."""

    def __init__(self, pool: ConnectionPoolConfig) -> None:
        super().__init__("http://127.0.0.1:1", pool=pool, timeout=1.0)
        self.answer = asyncio.Event()

    async def post(self, data: bytes, calls: int) -> Exchanged | Failure:
        await self.answer.wait()
        answers = [{"jsonrpc": "2.0", "id": call["id"], "result": call["id"]} for call in orjson.loads(data)]
        return Exchanged(bytearray(orjson.dumps(answers)), None)


async def test_the_callers_of_an_answer_use_it_before_the_next_answer_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []

    def decoded(body: bytes | bytearray, ids: Sequence[int]) -> list[Answer]:
        events.append("decoded")
        return read_answers(body, ids)

    async def caller(call: Call) -> None:
        assert await call.future == call.identifier
        events.append("used")

    monkeypatch.setattr("layer2.protocols.evm.rpc.batch_requests.read_answers", decoded)
    pool, loop = ConnectionPoolConfig(), asyncio.get_running_loop()
    http = OneMoment(pool)
    requests = BatchRequests(http, BatchPlanner(pool), protocol="BOB", retry_seconds=0.0)
    calls = [Call(number, "m", b'{"id":%d}' % number, loop.create_future()) for number in range(9)]
    waiting = [loop.create_task(caller(call)) for call in calls]
    batches = [loop.create_task(requests.settle(calls[start : start + 3])) for start in (0, 3, 6)]
    await asyncio.sleep(0)
    http.answer.set()
    await asyncio.gather(*waiting, *batches)
    assert events == ["decoded", "used", "used", "used"] * 3
