"""The simnet's websocket behaves as op-geth's: calls, subscriptions to new heads, errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from simnet.bob_client import RunningBob


@asynccontextmanager
async def connected(bob: RunningBob) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(bob.url) as socket:
        yield socket


async def asked(socket: aiohttp.ClientWebSocketResponse, method: str, *arguments: Any) -> Any:
    await socket.send_json({"jsonrpc": "2.0", "id": 5, "method": method, "params": list(arguments)})
    answer = await socket.receive_json(timeout=5)
    assert answer.pop("id") == 5
    return answer


async def test_each_new_head_is_notified_with_its_header(bob: RunningBob) -> None:
    async with connected(bob) as socket:
        name = (await asked(socket, "eth_subscribe", "newHeads"))["result"]
        bob.node.mine(2)
        for number in (1, 2):
            notice = await socket.receive_json(timeout=5)
            assert (notice["method"], notice["params"]["subscription"]) == ("eth_subscription", name)
            block = await bob.client.call("eth_getBlockByNumber", hex(number), False)
            assert notice["params"]["result"].items() <= block.items()
            assert notice["params"]["result"]["hash"] == block["hash"]


async def test_a_subscription_that_was_cancelled_sends_nothing(bob: RunningBob) -> None:
    async with connected(bob) as socket:
        name = (await asked(socket, "eth_subscribe", "newHeads"))["result"]
        assert (await asked(socket, "eth_unsubscribe", name))["result"] is True
        bob.node.mine()
        # The next message is this answer, not a notification.
        assert (await asked(socket, "eth_blockNumber"))["result"] == "0x1"
        again = await asked(socket, "eth_unsubscribe", name)
        assert again["error"] == {"code": -32000, "message": "subscription not found"}


async def test_a_batch_may_hold_subscriptions(bob: RunningBob) -> None:
    calls = [("eth_subscribe", ["newHeads"]), ("eth_chainId", []), ("eth_subscribe", [])]
    async with connected(bob) as socket:
        await socket.send_json(
            [
                {"jsonrpc": "2.0", "id": place, "method": method, "params": params}
                for place, (method, params) in enumerate(calls)
            ]
        )
        first, second, third = await socket.receive_json(timeout=5)
        assert (second["result"], third["error"]["code"]) == (hex(60808), -32601)
        bob.node.mine()
        assert (await socket.receive_json(timeout=5))["params"]["subscription"] == first["result"]


async def test_other_calls_are_answered_as_over_http(bob: RunningBob) -> None:
    async with connected(bob) as socket:
        assert (await asked(socket, "eth_chainId"))["result"] == await bob.client.call("eth_chainId")
        refused = await asked(socket, "eth_subscribe", "syncing")
        assert refused["error"] == {"code": -32601, "message": 'no "syncing" subscription in eth namespace'}
        await socket.send_str("no JSON")
        assert (await socket.receive_json(timeout=5))["error"]["code"] == -32700


@pytest.mark.parametrize("fault", [{"kind": "down"}, {"kind": "error", "method": "eth_subscribe", "status": 401}])
async def test_a_connection_can_be_made_to_fail(bob: RunningBob, fault: dict[str, Any]) -> None:
    bob.faults.set(**fault)
    with pytest.raises(aiohttp.ClientError):
        async with connected(bob):
            pass


async def test_a_connection_can_be_reset_at_its_next_notification(bob: RunningBob) -> None:
    bob.faults.set("drop_reply", method="eth_subscription", count=1)
    async with connected(bob) as socket:
        await asked(socket, "eth_subscribe", "newHeads")
        bob.node.mine()
        message = await asyncio.wait_for(socket.receive(), 5)
        assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}


async def test_a_closed_connection_is_no_longer_notified(bob: RunningBob) -> None:
    async with connected(bob) as socket:
        await asked(socket, "eth_subscribe", "newHeads")
        assert len(bob.node.watchers) == 1
    while bob.node.watchers:  # noqa: ASYNC110 - until the server has seen the close
        await asyncio.sleep(0)
    bob.node.mine()
