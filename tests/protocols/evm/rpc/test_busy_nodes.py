"""JSON-RPC to a node that is busy, briefly unreachable, rate-limited, or needs smaller batches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from layer2.errors import BadAnswer, ConfigurationError, NodeError, NodeRefused, NodeUnreachable, Outcome
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from protocols.evm.scripted_node import Calls, echoes, scripted_node

Script = Callable[[Calls], Any]


def status_first(times: int, status: int, **headers: str) -> Script:
    """Answer some requests with this HTTP status, and the later ones normally."""
    left = times

    def script(calls: Calls) -> web.StreamResponse | bytes:
        nonlocal left
        left -= 1
        return echoes(calls) if left < 0 else web.Response(status=status, headers=headers, text="<html>busy</html>")

    return script


def error_first(times: int, error: dict[str, Any]) -> Script:
    """Answer the first call of some requests with this error, and the later requests normally."""
    left = times

    def script(calls: Calls) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            return echoes(calls)
        answers = [{"jsonrpc": "2.0", "id": call["id"], "result": call["params"][0]} for call in calls]
        answers[0] = {"jsonrpc": "2.0", "id": calls[0]["id"], "error": error}
        return orjson.dumps(answers if len(answers) > 1 else answers[0])

    return script


async def asked(client: JsonRpc, count: int, method: str = "m") -> list[Any]:
    return await asyncio.gather(*[client.call(method, number) for number in range(count)], return_exceptions=True)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_read_is_asked_again_while_the_node_is_busy(status: int) -> None:
    async with scripted_node(status_first(2, status)) as node:
        assert await asked(node.client(retry_seconds=10), 3) == [0, 1, 2]
        assert node.sizes == [3, 3, 3]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_an_http_status_that_waiting_does_not_change_is_an_error_at_once(status: int) -> None:
    async with scripted_node(status_first(2, status)) as node:
        with pytest.raises(NodeError):
            await node.client(retry_seconds=10).call("m", 1)
        assert node.sizes == [1]


async def test_a_send_is_asked_again_where_it_certainly_did_not_arrive_and_nowhere_else() -> None:
    async with scripted_node(status_first(1, 429)) as node:
        assert await node.client(retry_seconds=10).call(SEND, 7) == 7
        assert node.sizes == [1, 1]
    async with scripted_node(status_first(1, 503)) as node:
        with pytest.raises(NodeUnreachable) as lost:
            await node.client(retry_seconds=10).call(SEND, 7)
        assert lost.value.outcome is Outcome.UNKNOWN
        assert node.sizes == [1]


async def test_retry_after_in_seconds_is_waited_for() -> None:
    async with scripted_node(status_first(1, 429, **{"Retry-After": "1"})) as node:
        began = asyncio.get_running_loop().time()
        assert await node.client(retry_seconds=10).call("m", 1) == 1
        assert asyncio.get_running_loop().time() - began >= 1.0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_node_that_wants_more_time_than_the_caller_has_gets_no_requests(status: int) -> None:
    async with scripted_node(status_first(1, status, **{"Retry-After": "30"})) as node:
        client = node.client(retry_seconds=2)
        for _ in range(2):
            with pytest.raises(NodeUnreachable, match=r"asked for a pause|too many|HTTP 503"):
                await client.call("m", 1)
        with pytest.raises(NodeUnreachable, match="asked for a pause") as unsent:
            await client.call(SEND, 1)
        assert unsent.value.outcome is Outcome.NOT_SENT
        assert node.sizes == [1]


async def test_retry_after_as_a_date_is_compared_with_the_servers_own_clock() -> None:
    long = {"Date": "Thu, 01 Jan 2032 00:00:00 GMT", "Retry-After": "Thu, 01 Jan 2032 00:01:00 GMT"}
    async with scripted_node(status_first(1, 429, **long)) as node:
        client = node.client()
        with pytest.raises(NodeUnreachable):
            await client.call("m", 1)
        with pytest.raises(NodeUnreachable, match=r"pause, of which (59|60)\.\d s are left"):
            await client.call("m", 1)


@pytest.mark.parametrize("value", ["soon", "", "-5", "9" * 400, "Thu, 99 Jan 2032 00:00:00 GMT"])
async def test_an_invalid_retry_after_stops_calls_only_briefly(value: str) -> None:
    async with scripted_node(status_first(1, 429, **{"Retry-After": value})) as node:
        client = node.client()
        with pytest.raises(NodeUnreachable):
            await client.call("m", 1)
        assert client._http.pause_left() <= 300


BUSY = [
    {"code": -32005, "message": "daily request count exceeded, request rate limited"},
    {"code": 429, "message": "Your app has exceeded its compute units"},
    {"code": -32000, "message": "too many requests"},
    {"code": -32000, "message": "transaction indexing is in progress"},
]


@pytest.mark.parametrize("error", BUSY, ids=["rate", "compute", "requests", "indexing"])
async def test_a_postponed_call_is_asked_again_without_the_rest_of_its_batch(error: dict[str, Any]) -> None:
    async with scripted_node(error_first(2, error)) as node:
        assert await asked(node.client(retry_seconds=10), 3) == [0, 1, 2]
        assert node.sizes == [3, 1, 1]


@pytest.mark.parametrize("error", BUSY, ids=["rate", "compute", "requests", "indexing"])
async def test_a_call_that_the_node_postpones_for_too_long_is_a_retryable_refusal(
    error: dict[str, Any],
) -> None:
    async with scripted_node(error_first(100, error)) as node:
        with pytest.raises(NodeRefused) as refused:
            await node.client().call("eth_getTransactionReceipt", "0x00")
        assert refused.value.retryable
        assert refused.value.node_message == error["message"]


async def test_seconds_that_a_provider_names_in_its_error_stop_the_endpoint() -> None:
    error = {"code": -32005, "message": "rate limited", "data": {"rate": {"backoff_seconds": 30}}}
    async with scripted_node(error_first(1, error)) as node:
        client = node.client()
        with pytest.raises(NodeRefused):
            await client.call("m", 1)
        with pytest.raises(NodeUnreachable, match="asked for a pause"):
            await client.call("m", 1)
        assert node.sizes == [1]


async def test_a_contract_cannot_have_its_callers_wait_by_the_message_of_its_revert() -> None:
    error = {"code": 3, "message": "execution reverted: too many requests", "data": "0x"}
    async with scripted_node(error_first(1, error)) as node:
        with pytest.raises(NodeRefused) as refused:
            await node.client(retry_seconds=10).call("eth_call", 1)
        assert not refused.value.retryable
        assert node.sizes == [1]


async def test_a_whole_batch_that_is_put_off_is_asked_again_whole() -> None:
    calls_seen: list[int] = []

    def script(calls: Calls) -> bytes:
        calls_seen.append(len(calls))
        if len(calls_seen) > 1:
            return echoes(calls)
        return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "rate limit"}})

    async with scripted_node(script) as node:
        assert await asked(node.client(retry_seconds=10), 3) == [0, 1, 2]
        assert calls_seen == [3, 3]


async def test_an_unreachable_node_is_asked_again_until_the_retry_time_is_over() -> None:
    async with scripted_node() as node:
        pass
    client = node.client(retry_seconds=0.3)
    for method in ("m", SEND):
        began = asyncio.get_running_loop().time()
        with pytest.raises(NodeUnreachable, match="no connection") as error:
            await client.call(method, 1)
        assert error.value.outcome is Outcome.NOT_SENT
        assert asyncio.get_running_loop().time() - began < 1.5
    await client.aclose()


async def test_a_call_that_gives_up_while_the_node_is_left_alone_leaves_nothing() -> None:
    async with scripted_node(status_first(1, 429, **{"Retry-After": "20"})) as node:
        client = node.client(retry_seconds=60)
        task = asyncio.create_task(client.call("m", 1))
        await node.arrival()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await task
        await settled(client)
        assert not client._under_way


async def settled(client: JsonRpc) -> None:
    """Wait until the requests without callers have ended."""
    while client._under_way:
        await asyncio.wait(client._under_way)
        await asyncio.sleep(0)


async def test_a_rate_limit_counts_each_call_of_a_batch() -> None:
    async with scripted_node() as node:
        client = node.client(max_calls_per_second=50)
        began = asyncio.get_running_loop().time()
        assert await asked(client, 75) == list(range(75))
        # The limiter allows the first 50 at once; the other 25 take half a second.
        assert asyncio.get_running_loop().time() - began >= 0.45
        assert sorted(node.sizes) == [25, 50]


async def test_at_most_so_many_requests_are_in_flight_and_one_place_is_kept_for_sends() -> None:
    release = asyncio.Event()

    async def script(calls: Calls) -> web.Response:
        if calls[0]["method"] != SEND:
            await release.wait()
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client(connections=3, max_batch_calls=10)
        reads = [asyncio.create_task(client.call("m", number)) for number in range(100)]
        await node.arrival()
        assert await client.call(SEND, 1) == 1
        assert node.sizes == [10, 10, 1]
        release.set()
        assert await asyncio.gather(*reads) == list(range(100))


def answers_batches_of(most: int, status: int) -> Script:
    def script(calls: Calls) -> web.StreamResponse | bytes:
        return echoes(calls) if len(calls) <= most else web.Response(status=status)

    return script


@pytest.mark.parametrize("status", [400, 405, 413, 422])
@pytest.mark.parametrize("most", [1, 8])
async def test_a_node_that_refuses_batches_by_http_status_is_given_smaller_ones_from_then_on(
    most: int, status: int
) -> None:
    async with scripted_node(answers_batches_of(most, status)) as node:
        client = node.client()
        assert await asked(client, 20) == list(range(20))
        node.requests.clear()
        assert await asked(client, 20) == list(range(20))
        assert max(node.sizes) <= most


async def test_one_call_that_spoils_its_batch_does_not_end_batches_for_good() -> None:
    def script(calls: Calls) -> web.StreamResponse | bytes:
        return web.Response(status=400) if any(call["method"] == "bad" for call in calls) else echoes(calls)

    async with scripted_node(script) as node:
        client = node.client()
        results = await asyncio.gather(
            *[client.call("bad" if number == 0 else "m", number) for number in range(8)], return_exceptions=True
        )
        assert isinstance(results[0], BadAnswer)
        assert results[1:] == list(range(1, 8))


async def test_sends_that_a_node_refuses_as_a_batch_get_through_when_they_are_handed_in_again() -> None:
    async with scripted_node(answers_batches_of(1, 400)) as node:
        client = node.client()
        for _ in range(3):
            results = await asked(client, 4, SEND)
        assert results == [0, 1, 2, 3]


async def test_an_invalid_certificate_file_is_a_configuration_error_for_every_caller(tmp_path: Any) -> None:
    pool = ConnectionPoolConfig(ca_file=str(tmp_path / "none.pem"))
    client = JsonRpc("https://127.0.0.1:1", protocol="BOB", pool=pool, timeout=1)
    with pytest.raises(NodeError, match="cannot be read") as error:
        await client.call(SEND, 1)
    assert isinstance(error.value.__cause__, ConfigurationError)
    assert error.value.outcome is Outcome.NOT_SENT
    await client.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_calls_cancelled_at_random_moments_leave_nothing_and_stall_no_other(seed: int) -> None:
    choice = random.Random(seed)
    before = asyncio.all_tasks()

    async def script(calls: Calls) -> web.StreamResponse:
        for _ in range(choice.randrange(4)):
            await asyncio.sleep(0)
        if choice.random() < 0.1:
            return web.Response(status=503)
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client(connections=3, retry_seconds=5, max_batch_calls=7)
        kept: list[tuple[int, asyncio.Task[Any]]] = []
        sends: list[tuple[int, asyncio.Task[Any]]] = []
        gone: list[asyncio.Task[Any]] = []
        for number in range(400):
            method = SEND if choice.random() < 0.2 else "m"
            task = asyncio.create_task(client.call(method, number))
            if choice.random() < 0.5:
                gone.append(task)
            elif method == "m":
                kept.append((number, task))
            else:
                sends.append((number, task))
            for _ in range(choice.randrange(3)):
                await asyncio.sleep(0)
            if gone and choice.random() < 0.6:
                gone[choice.randrange(len(gone))].cancel()
        for task in gone:
            task.cancel()
        async with asyncio.timeout(20):
            assert await asyncio.gather(*[task for _, task in kept]) == [number for number, _ in kept]
            await asyncio.gather(*gone, return_exceptions=True)
            for (number, _), result in zip(
                sends, await asyncio.gather(*[task for _, task in sends], return_exceptions=True), strict=True
            ):
                assert result == number or (isinstance(result, NodeUnreachable) and result.outcome is Outcome.UNKNOWN)
            assert await client.call("m", "next") == "next"
            await settled(client)
        assert (client._reading, len(client._sending), client._reads, client._sends) == (0, 0, [], [])
        session = client._http._session
        assert session is not None
        assert session.connector is not None
        assert not session.connector._acquired
        assert not session.connector._waiters
        await client.aclose()
        assert session.closed
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not {task for task in left if "layer2" in repr(task.get_coro())}
