"""A websocket announces new heads earlier, and its failures only cost time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import WSMsgType, web

from layer2.errors import AuthenticationFailed, BadAnswer, ConfigurationError, NodeError, NodeRefused, NodeUnreachable
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc import head_notices
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from protocols.evm.bob_network import BobNetwork

SUBSCRIBED = '{"jsonrpc":"2.0","id":1,"result":"0x1"}'
NOTICE = '{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"number":"0x1"}}}'
FOR_EVER_MS = 3_600_000
"""A poll interval that is longer than any test."""


@dataclass
class Websocket:
    """A server that sends ``answers`` after each message. Later messages come from the test."""

    url: str = ""
    answers: list[str] = field(default_factory=lambda: [SUBSCRIBED])
    opened: asyncio.Queue[web.WebSocketResponse] = field(default_factory=asyncio.Queue)
    asked: list[str] = field(default_factory=list)
    status: int = 101
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.status != 101:
            return web.Response(status=self.status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.asked.append(message.data)
                for answer in self.answers:
                    await socket.send_str(answer)
                self.opened.put_nowait(socket)
        self.ended.set()
        return socket

    async def next_opened(self) -> web.WebSocketResponse:
        return await asyncio.wait_for(self.opened.get(), 5)


@asynccontextmanager
async def serving(handle: Callable[[web.Request], object]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{key:.*}", handle)  # type: ignore[arg-type]  # any of the tests' own
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Websocket]:
    websocket = Websocket()
    async with serving(websocket.handle) as address:
        websocket.url = f"ws://user:secret@{address}/key-in-path?key=too"
        yield websocket
        while not websocket.opened.empty():
            await websocket.opened.get_nowait().close()


def made(url: str, *, timeout: float = 5.0) -> HeadNotices:
    return HeadNotices(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=timeout)


@pytest.fixture
async def notices(server: Websocket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HeadNotices]:
    monkeypatch.setattr(head_notices, "_BACK_OFF", lambda _: 0.0)
    one = made(server.url)
    yield one
    await one.aclose()


class Told(asyncio.Queue[None]):
    """The callback for ``want``."""

    def __call__(self) -> None:
        self.put_nowait(None)

    async def once(self) -> None:
        await asyncio.wait_for(self.get(), 5)


async def test_each_notice_wakes_and_connecting_does_too(server: Websocket, notices: HeadNotices) -> None:
    told = Told()
    notices.want(told)
    socket = await server.next_opened()
    await told.once()
    for _ in range(3):
        await socket.send_str(NOTICE)
        await told.once()
    assert server.asked == ['{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}']


async def test_however_many_want_heads_there_is_one_connection(server: Websocket, notices: HeadNotices) -> None:
    told = Told()
    for _ in range(1000):
        notices.want(told)
    await server.next_opened()
    await told.once()
    for _ in range(1000):
        notices.want(told)
    assert len(server.asked) == 1
    assert server.opened.empty()


async def test_a_connection_that_ends_is_made_again_and_logged_once(
    server: Websocket, notices: HeadNotices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "layer2")
    told = Told()
    notices.want(told)
    await told.once()
    server.status = 503
    await (await server.next_opened()).close()
    server.status = 101
    second = await server.next_opened()
    await told.once()
    await second.send_str(NOTICE)
    await told.once()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]
    assert "found by polling" in caplog.messages[0]
    assert "secret" not in caplog.text
    assert "key" not in caplog.text


@pytest.mark.parametrize("message", ["no JSON", "[1]", '{"id":7}', '{"method":"eth_other"}'])
async def test_a_message_that_is_not_a_notice_wakes_no_waiter(
    server: Websocket, notices: HeadNotices, message: str
) -> None:
    told = Told()
    notices.want(told)
    socket = await server.next_opened()
    await told.once()
    await socket.send_str(message)
    await socket.send_str(NOTICE)
    # Either the next notice arrives, or the client reconnects. Both wake the waiter once.
    await told.once()
    assert told.empty()


async def test_after_an_idle_minute_it_is_closed_and_opened_again_when_wanted(
    server: Websocket, notices: HeadNotices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_notices, "_IDLE_SECONDS", 0.0)
    told = Told()
    notices.want(told)
    first = await server.next_opened()
    await told.once()
    task = notices._task
    if task is not None:
        await asyncio.wait_for(asyncio.shield(task), 5)
    assert notices._task is None
    notices.want(told)
    await server.next_opened()
    assert first.closed


async def test_closing_leaves_no_task_and_no_connection(server: Websocket, notices: HeadNotices) -> None:
    told = Told()
    notices.want(told)
    await told.once()
    await notices.aclose()
    assert notices._task is None
    await asyncio.wait_for(server.ended.wait(), 5)
    assert [task for task in asyncio.all_tasks() if "HeadNotices" in repr(task.get_coro())] == []


BACK_OFFS = 6


async def test_the_back_off_grows_with_each_failure_and_resets_after_a_steady_connection(
    server: Websocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []
    enough = asyncio.Event()

    def back_off(state: object) -> float:
        attempts.append(state.attempt_number)  # type: ignore[attr-defined]  # tenacity's
        if len(attempts) == BACK_OFFS:
            enough.set()
        return 0.0

    monkeypatch.setattr(head_notices, "_BACK_OFF", back_off)
    server.status = 503
    one = made(server.url)
    one.want(Told())
    await asyncio.wait_for(enough.wait(), 5)
    await one.aclose()
    assert attempts[:BACK_OFFS] == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(head_notices, "_STEADY_SECONDS", 0.0)
    attempts.clear()
    enough.clear()
    server.status = 101
    one = made(server.url)
    one.want(Told())
    for _ in range(BACK_OFFS):
        await (await server.next_opened()).close()
    await asyncio.wait_for(enough.wait(), 5)
    await one.aclose()
    assert attempts[:BACK_OFFS] == [1] * BACK_OFFS


def test_the_back_off_is_random_and_bounded() -> None:
    class State:
        attempt_number = 40

    waits = {head_notices._BACK_OFF(State()) for _ in range(20)}  # type: ignore[arg-type]  # all that it looks at
    assert len(waits) > 1
    assert all(0 <= wait <= 60 for wait in waits)


REFUSALS: dict[str, tuple[dict[str, object], type[NodeError], str]] = {
    "credentials": ({"status": 401}, AuthenticationFailed, "credentials"),
    "busy": ({"status": 429}, NodeUnreachable, "HTTP 429"),
    "broken": ({"status": 502}, NodeUnreachable, "HTTP 502"),
    "no websocket": ({"status": 404}, BadAnswer, "no websocket"),
    "no subscriptions": (
        {"answers": ['{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"not\\nsupported"}}']},
        NodeRefused,
        "not supported",
    ),
    "no name": ({"answers": ['{"jsonrpc":"2.0","id":1,"result":null}']}, BadAnswer, "without a subscription"),
    "no JSON": ({"answers": ["<html>"]}, BadAnswer, "not JSON"),
    "a list": ({"answers": ["[]"]}, BadAnswer, "not an object"),
    "silence": ({"answers": []}, NodeUnreachable, "no answer to eth_subscribe"),
}


@pytest.mark.parametrize("case", list(REFUSALS))
async def test_a_websocket_that_does_not_serve_is_a_typed_error_without_credentials(
    server: Websocket, case: str
) -> None:
    changes, kind, message = REFUSALS[case]
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(kind, match=message) as refused:
        await made(server.url, timeout=0.1 if case == "silence" else 5.0).check()
    assert refused.value.__cause__ is None
    assert "ws://127.0.0.1" in refused.value.message
    for secret in ("secret", "key"):
        assert secret not in repr(refused.value) + str(refused.value)


async def test_a_websocket_that_is_not_there_is_a_typed_error() -> None:
    with pytest.raises(NodeUnreachable, match="no connection"):
        await made("ws://user:secret@127.0.0.1:9").check()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "ws://", "127.0.0.1:8546", "ws://[::1"])
def test_an_invalid_websocket_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        made(url)


# With a client and a node.


def websocket_of(bob: BobNetwork) -> str:
    return bob.url.replace("http://", "ws://")


async def test_a_client_hears_of_a_block_long_before_its_next_look(bob: BobNetwork) -> None:
    client = await bob.client("taker", websocket_url=websocket_of(bob), poll_interval_ms=FOR_EVER_MS)
    heads = await client._watcher.read()
    moved = asyncio.ensure_future(client._watcher.moved_from(heads))
    while not bob.node.watchers:  # noqa: ASYNC110 - until the node has the subscription
        await asyncio.sleep(0)
    bob.node.mine()
    await asyncio.wait_for(moved, 5)
    assert (await client._watcher.read()).latest.number == heads.latest.number + 1


async def test_a_node_that_cuts_the_websocket_off_is_heard_again(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_notices, "_BACK_OFF", lambda _: 0.0)
    client = await bob.client("taker", websocket_url=websocket_of(bob), poll_interval_ms=FOR_EVER_MS)
    bob.faults.set("drop_reply", method="eth_subscription", count=5)
    for _ in range(12):
        heads = await client._watcher.read()
        moved = asyncio.ensure_future(client._watcher.moved_from(heads))
        while not bob.node.watchers:  # noqa: ASYNC110 - until the node has the subscription
            await asyncio.sleep(0)
        bob.node.mine()
        # The notice was lost with the connection, but reconnecting also triggers a read.
        await asyncio.wait_for(moved, 5)


async def test_without_its_websocket_a_client_finds_blocks_by_polling(bob: BobNetwork) -> None:
    client = await bob.client("taker", websocket_url=websocket_of(bob))
    bob.faults.set("error", method="eth_subscribe", status=503)
    heads = await client._watcher.read()
    moved = asyncio.ensure_future(client._watcher.moved_from(heads))
    bob.node.mine()
    await asyncio.wait_for(moved, 5)


async def test_initializing_names_a_websocket_that_refuses_and_a_claim_does_not_depend_on_it(
    bob: BobNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    bob.faults.set("error", method="eth_subscribe", status=401)
    client = await bob.client("taker", websocket_url=websocket_of(bob))
    assert "is not available, so heads are polled: [authentication]" in caplog.text
    assert (await client.legs.read_clock()).height >= 0
