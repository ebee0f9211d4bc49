"""JSON-RPC to a node with correct, wrong, late or missing answers."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from protocols.evm.scripted_node import Calls, echoes, scripted_node

SEND = "eth_sendRawTransaction"


def answered(calls: Calls, change: Any) -> bytes:
    """The correct answers after ``change``."""
    answers = [{"jsonrpc": "2.0", "id": call["id"], "result": call["params"][0]} for call in calls]
    return orjson.dumps(change(answers))


async def asked(client: JsonRpc, count: int, method: str = "m") -> list[Any]:
    return await asyncio.gather(*[client.call(method, number) for number in range(count)], return_exceptions=True)


async def test_calls_of_one_tick_travel_together_and_each_gets_its_own_answer() -> None:
    async with scripted_node() as node:
        client = node.client()
        assert await asked(client, 50) == list(range(50))
        assert await client.call("m", "alone") == "alone"
        assert node.sizes == [50, 1]


async def test_many_receipts_of_a_tick_are_divided_and_all_else_stays_together() -> None:
    async with scripted_node() as node:
        client = node.client(connections=9)
        others = [client.call("eth_getBlockByHash", number) for number in range(10)]
        receipts = [client.call("eth_getTransactionReceipt", number) for number in range(100)]
        assert await asyncio.gather(*others, *receipts) == [*range(10), *range(100)]
        assert sorted(node.sizes) == [10, 25, 25, 25, 25]
        few = [client.call("eth_getTransactionReceipt", number) for number in range(25)]
        assert await asyncio.gather(*few, client.call("eth_chainId", 7)) == [*range(25), 7]
        assert node.sizes[5:] == [26]


async def test_batches_have_a_limit_of_calls() -> None:
    async with scripted_node() as node:
        assert await asked(node.client(max_batch_calls=200), 450) == list(range(450))
        assert sorted(node.sizes) == [50, 200, 200]


async def test_batches_have_a_limit_of_bytes() -> None:
    async with scripted_node() as node:
        client = node.client(max_response_bytes=10_000_000)
        texts = [str(number) * 450_000 for number in range(3)]
        assert await asyncio.gather(*[client.call("m", text) for text in texts]) == texts
        assert sorted(node.sizes) == [1, 2]


async def test_answers_out_of_order_and_surplus_ones_are_matched_by_id() -> None:
    surplus = {"jsonrpc": "2.0", "id": 10_000, "result": "not asked for"}
    async with scripted_node(lambda calls: answered(calls, lambda list_: [surplus, *reversed(list_)])) as node:
        assert await asked(node.client(), 5) == [0, 1, 2, 3, 4]


async def test_a_missing_answer_is_an_error_of_its_call_alone() -> None:
    async with scripted_node(lambda calls: answered(calls, lambda list_: list_[:1] + list_[2:])) as node:
        first, second, third = await asked(node.client(), 3)
        assert (first, third) == (0, 2)
        assert isinstance(second, BadAnswer)
        assert "did not answer it" in second.message


async def test_a_call_that_is_answered_twice_has_no_answer() -> None:
    async with scripted_node(lambda calls: answered(calls, lambda list_: [*list_, list_[0]])) as node:
        first, second = await asked(node.client(), 2)
        assert isinstance(first, BadAnswer)
        assert second == 1


def too_large(limit: int) -> Any:
    """op-geth's answer to a batch above its limit: one error under the first call's id."""

    def script(calls: Calls) -> bytes:
        if len(calls) <= limit:
            return echoes(calls)
        error = {"code": -32600, "message": "batch too large"}
        return orjson.dumps([{"jsonrpc": "2.0", "id": calls[0]["id"], "error": error}])

    return script


async def test_a_batch_that_is_refused_as_a_whole_is_divided_and_teaches_the_limit() -> None:
    async with scripted_node(too_large(30)) as node:
        client = node.client()
        assert await asked(client, 100) == list(range(100))
        node.requests.clear()
        assert await asked(client, 100) == list(range(100))
        assert max(node.sizes) <= 30


async def test_a_node_that_refuses_batches_is_asked_singly() -> None:
    async with scripted_node(too_large(1)) as node:
        assert await asked(node.client(), 5) == [0, 1, 2, 3, 4]


async def test_a_batch_of_sends_that_is_refused_as_a_whole_is_not_sent_again() -> None:
    async with scripted_node(too_large(1)) as node:
        results = await asked(node.client(), 4, SEND)
        assert [result.outcome for result in results] == [Outcome.UNKNOWN] * 4
        assert node.sizes == [4]


async def test_sends_leave_in_their_order_in_two_batches_at_a_time() -> None:
    under_way = 0

    async def script(calls: Calls) -> web.Response:
        nonlocal under_way
        under_way += 1
        assert under_way <= 2
        await asyncio.sleep(0)
        under_way -= 1
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client()
        assert await asked(client, 500, SEND) == list(range(500))
        assert max(node.sizes) == 32
        for calls in node.requests:
            first = calls[0]["params"][0]
            assert [call["params"][0] for call in calls] == list(range(first, first + len(calls)))
        # Two requests can pass each other on their way.
        starts = [calls[0]["params"][0] for calls in node.requests]
        assert all(abs(start // 32 - place) <= 1 for place, start in enumerate(starts))


async def test_no_more_sends_than_a_pool_keeps_overtake_one_that_is_held_up() -> None:
    held = asyncio.Event()

    async def script(calls: Calls) -> web.Response:
        if calls[0]["params"][0] == 0:
            await held.wait()
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client()
        sends = [asyncio.ensure_future(client.call(SEND, number)) for number in range(200)]
        assert await asyncio.gather(*sends[32:64]) == list(range(32, 64))
        # The node would have received any earlier send before this read.
        await client.call("m", -1)
        assert sum(call["method"] == SEND for calls in node.requests for call in calls) == 64
        held.set()
        assert await asyncio.gather(*sends) == list(range(200))


async def test_a_result_that_is_too_large_for_its_batch_is_asked_for_alone() -> None:
    def script(calls: Calls) -> bytes:
        if len(calls) == 1:
            return echoes(calls)
        error = {"code": -32003, "message": "response too large"}
        return answered(calls, lambda list_: [*list_[:-1], {"jsonrpc": "2.0", "id": calls[-1]["id"], "error": error}])

    async with scripted_node(script) as node:
        assert await asked(node.client(), 3) == [0, 1, 2]
        assert node.sizes == [3, 1]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>502</html>", "not JSON"),
        (b'{"jsonrpc":"2.0","id":1,"resu', "not JSON"),
        (b"", "not JSON"),
        (b"17", "neither an object"),
        (b"[17]", "neither an object"),
        (b'{"jsonrpc":"2.0","id":1}', "neither a result nor an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1}}', "both"),
        (b'{"jsonrpc":"2.0","id":2,"result":1}', "did not answer"),
        (b'{"jsonrpc":"2.0","id":"1","result":1}', "did not answer"),
        (b'{"jsonrpc":"2.0","id":true,"result":1}', "did not answer"),
        (b"[" * 5_000 + b"]" * 5_000, "not JSON"),
    ],
    ids=["html", "cut", "empty", "number", "numbers", "neither", "both", "other-id", "text-id", "bool-id", "deep"],
)
@pytest.mark.parametrize("method", ["eth_blockNumber", SEND])
async def test_an_answer_that_cannot_be_right_is_a_bad_answer(body: bytes, problem: str, method: str) -> None:
    async with scripted_node(lambda calls: body) as node:
        with pytest.raises(BadAnswer, match=problem) as error:
            await node.client().call(method)
        assert method in error.value.message
        assert error.value.outcome is (Outcome.UNKNOWN if method == SEND else Outcome.NOT_SENT)


@pytest.mark.parametrize(
    ("status", "kind", "send_outcome"),
    [
        (401, AuthenticationFailed, Outcome.NOT_SENT),
        (403, AuthenticationFailed, Outcome.NOT_SENT),
        (413, BadAnswer, Outcome.NOT_SENT),
        (429, NodeUnreachable, Outcome.NOT_SENT),
        (500, NodeUnreachable, Outcome.UNKNOWN),
        (503, NodeUnreachable, Outcome.UNKNOWN),
        (302, BadAnswer, Outcome.UNKNOWN),
        (404, BadAnswer, Outcome.UNKNOWN),
    ],
)
async def test_http_statuses_are_typed_errors(status: int, kind: type[NodeError], send_outcome: Outcome) -> None:
    headers = {"Location": "http://127.0.0.1:1/"}
    async with scripted_node(lambda calls: web.Response(status=status, headers=headers)) as node:
        with pytest.raises(kind):
            await node.client().call("eth_blockNumber")
        with pytest.raises(kind) as error:
            await node.client().call(SEND)
        assert error.value.outcome is send_outcome


async def test_the_nodes_own_error_keeps_its_code_and_message() -> None:
    error = {"code": -32000, "message": "nonce\x1b[31m too low\n" + "x" * 1000}
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": error})
    async with scripted_node(lambda calls: body) as node:
        with pytest.raises(NodeRefused) as refused:
            await node.client().call("m")
        assert refused.value.node_code == -32000
        assert refused.value.node_message.startswith("nonce [31m too low ")
        assert len(refused.value.node_message) < 320


async def test_a_reverts_reason_is_in_the_error() -> None:
    data = (
        "0x08c379a0" + (32).to_bytes(32, "big").hex() + (8).to_bytes(32, "big").hex() + b"too late".hex().ljust(64, "0")
    )
    error = {"code": 3, "message": "execution reverted: something", "data": data}
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": error})
    async with scripted_node(lambda calls: body) as node:
        with pytest.raises(NodeRefused) as refused:
            await node.client().call("eth_call")
        assert refused.value.node_message == "execution reverted: too late"


async def test_an_answer_beyond_the_size_limit_is_refused() -> None:
    async with scripted_node(lambda calls: b'"' + b"x" * 5_000 + b'"') as node:
        with pytest.raises(BadAnswer, match="longer than 4000 bytes"):
            await node.client(max_response_bytes=4_000).call("m")


async def test_a_compressed_answer_counts_as_what_it_unpacks_to() -> None:
    def script(calls: Calls) -> web.Response:
        response = web.Response(body=b'"' + b"x" * 500_000 + b'"', content_type="application/json")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with scripted_node(script) as node:
        with pytest.raises(BadAnswer, match="longer than 4000 bytes"):
            await node.client(max_response_bytes=4_000).call("m")


async def test_several_answers_beyond_the_size_limit_together_are_asked_for_apart() -> None:
    async with scripted_node() as node:
        client = node.client(max_response_bytes=4_000)
        texts = [letter * 1_500 for letter in "abcd"]
        assert await asyncio.gather(*[client.call("m", text) for text in texts]) == texts
        assert node.sizes == [4, 2, 2]


async def silent(calls: Calls) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def test_no_answer_in_time_is_unreachable_and_a_send_is_unknown() -> None:
    async with scripted_node(silent) as node:
        client = node.client(timeout=0.05)
        with pytest.raises(NodeUnreachable, match=r"no answer within 0\.05 s"):
            await client.call("m")
        with pytest.raises(NodeUnreachable) as lost:
            await client.call(SEND)
        assert lost.value.outcome is Outcome.UNKNOWN


async def test_a_body_that_drips_slowly_ends_at_the_same_time() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.005)

    application = web.Application()
    application.router.add_post("/", drip)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=0.1)
    try:
        with pytest.raises(NodeUnreachable):
            await client.call("m")
    finally:
        await client.aclose()
        await runner.cleanup()


async def test_a_closed_port_is_unreachable_and_nothing_was_sent() -> None:
    async with scripted_node() as node:
        client = node.client()
        url = node.url
    gone = JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=1)
    with pytest.raises(NodeUnreachable, match="no connection") as error:
        await gone.call(SEND)
    assert error.value.outcome is Outcome.NOT_SENT
    await gone.aclose()
    await client.aclose()


async def test_a_connection_that_the_node_closed_meanwhile_is_replaced_for_a_read_and_unknown_for_a_send() -> None:
    broken = True

    def script(calls: Calls) -> web.StreamResponse | bytes:
        if broken:
            return CutOff()
        return echoes(calls)

    class CutOff(web.Response):
        async def prepare(self, request: web.BaseRequest) -> None:
            nonlocal broken
            broken = False
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError

    async with scripted_node(script) as node:
        client = node.client()
        assert await client.call("m", 1) == 1
        assert node.sizes == [1, 1]
        broken = True
        with pytest.raises(NodeUnreachable) as lost:
            await client.call(SEND, 2)
        assert lost.value.outcome is Outcome.UNKNOWN
        assert node.sizes == [1, 1, 1]


async def test_a_cancelled_call_leaves_its_neighbours_their_answers() -> None:
    async with scripted_node() as node:
        client = node.client()
        tasks = [asyncio.create_task(client.call("m", number)) for number in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [1, 3, 5, 7, 9]
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])


async def test_requests_without_callers_free_their_connections_at_once() -> None:
    stalled = True

    async def script(calls: Calls) -> web.Response:
        if stalled:
            await asyncio.Event().wait()
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(script) as node:
        client = node.client(timeout=60, connections=2)
        for _ in range(6):
            tasks = [asyncio.create_task(client.call("m", number)) for number in range(3)]
            await node.arrival()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        stalled = False
        assert await asyncio.wait_for(client.call("m", 5), 5) == 5


async def test_closing_ends_every_call() -> None:
    async with scripted_node(silent) as node:
        client = node.client(timeout=60)
        tasks = [asyncio.create_task(client.call(method, 1)) for method in ("m", SEND, SEND)]
        await node.arrival()
        tasks.append(asyncio.create_task(client.call("m", 2)))
        await asyncio.sleep(0)
        await client.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, NodeUnreachable) for result in results)


async def test_ten_thousand_calls_at_once_are_answered() -> None:
    async with scripted_node() as node:
        assert await asked(node.client(), 10_000) == list(range(10_000))
        assert len(node.requests) == 100


@pytest.mark.parametrize("url", ["", "127.0.0.1:8545", "ftp://127.0.0.1", "http://", "http://[::1", "ws://h"])
def test_a_url_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=1)


async def test_a_few_reads_wait_for_more_only_while_the_node_has_several_requests_and_only_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than a slow machine may pause between two lines of the test.
    monkeypatch.setattr("layer2.protocols.evm.rpc.json_rpc._GATHERING_SECONDS", 0.3)
    busy = asyncio.Event()

    async def slow_at_first(calls: Calls) -> web.Response:
        if calls[0]["params"][0] == "slow":
            await busy.wait()
        return web.Response(body=echoes(calls), content_type="application/json")

    async with scripted_node(slow_at_first) as node:
        client = node.client(connections=16)
        slow = []
        for _ in range(4):
            slow.append(asyncio.create_task(client.call("m", "slow")))
            await node.arrival()
        later = [asyncio.create_task(client.call("m", number)) for number in range(2)]
        await asyncio.sleep(0)
        later.append(asyncio.create_task(client.call("m", 2)))
        # The four are still unanswered. The waiting time has ended, and the three left together.
        assert await asyncio.wait_for(asyncio.gather(*later), 5) == [0, 1, 2]
        assert node.sizes == [1, 1, 1, 1, 3]
        busy.set()
        assert await asyncio.gather(*slow) == ["slow"] * 4


@pytest.mark.parametrize(
    ("number", "problem"), [(None, "ClientOSError"), (errno.ECONNRESET, "Connection reset by peer")]
)
async def test_the_text_of_an_aiohttp_error_is_not_shown_because_it_may_have_the_url(
    monkeypatch: pytest.MonkeyPatch, number: int | None, problem: str
) -> None:
    url = "http://127.0.0.1:1/v3/the-key"

    def broken(*_: object, **__: object) -> None:
        # aiohttp's text if the node closes a kept connection while a request is written.
        raise aiohttp.ClientOSError(number, f"Can not write request body for {url}")

    monkeypatch.setattr(aiohttp.ClientSession, "post", broken)
    client = JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    with pytest.raises(NodeUnreachable) as caught:
        await client.call(SEND, "0x00")
    await client.aclose()
    assert caught.value.message.endswith(f"the connection broke ({problem})")
    assert caught.value.outcome is Outcome.UNKNOWN
