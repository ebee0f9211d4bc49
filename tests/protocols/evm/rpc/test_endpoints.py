"""Several nodes of one layer: the choice of the node, and sends whose node fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from layer2.errors import NodeError, NodeRefused, NodeUnreachable, Outcome, WrongNetwork
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from layer2.model.money import ETH
from layer2.model.transactions import TxState
from layer2.protocols.bob import BobSettings
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.endpoints import Endpoints, open_rpc
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, ScriptedNode, scripted_node

CHAIN = 808813


class Chain:
    """The answers of one scripted node, which a test may change."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chain_id = CHAIN
        self.head = 1_000
        self.status = 200
        self.failures_left = 0
        self.drop_sends = False
        self.refusal: dict[str, Any] | None = None
        self.asked: list[str] = []

    def script(self, calls: Calls) -> bytes | web.StreamResponse:
        methods = [call["method"] for call in calls]
        self.asked += methods
        if self.failures_left:
            self.failures_left -= 1
            return web.Response(status=503)
        if self.status != 200 or (self.drop_sends and SEND in methods):
            return web.Response(status=self.status if self.status != 200 else 500)
        answers = [{"jsonrpc": "2.0", "id": call["id"], **self.answer(call["method"])} for call in calls]
        return orjson.dumps(answers if len(answers) > 1 else answers[0])

    def answer(self, method: str) -> dict[str, Any]:
        match method:
            case "eth_chainId":
                return {"result": hex(self.chain_id)}
            case "eth_blockNumber":
                return {"result": hex(self.head)}
            case _:
                return {"result": self.name} if self.refusal is None else {"error": self.refusal}


@asynccontextmanager
async def several(*chains: Chain, check_seconds: float = 60.0, retry: float = 0.0) -> AsyncIterator[Endpoints]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(scripted_node(chain.script)) for chain in chains]
        yield await endpoints_of(stack, nodes, check_seconds, retry)


async def endpoints_of(
    stack: AsyncExitStack, nodes: list[ScriptedNode], check_seconds: float, retry: float
) -> Endpoints:
    rpcs = [node.client(timeout=2.0) for node in nodes]
    endpoints = Endpoints(rpcs, chain_id=CHAIN, protocol="BOB", retry_seconds=retry, check_seconds=check_seconds)
    stack.push_async_callback(endpoints.aclose)
    return endpoints


async def checked(endpoints: Endpoints) -> None:
    """Wait for the end of the checks that the last call started."""
    if endpoints._checking is not None:
        await asyncio.wait([endpoints._checking])


async def test_the_first_of_several_nodes_is_asked() -> None:
    first, second = Chain("first"), Chain("second")
    async with several(first, second) as endpoints:
        assert await asyncio.gather(*[endpoints.call("m") for _ in range(5)]) == ["first"] * 5
        await checked(endpoints)
        assert "m" not in second.asked
        assert first.asked.count("eth_chainId") == 1


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_read_that_the_first_node_cannot_serve_is_answered_by_the_next(status: int) -> None:
    first, second = Chain("first"), Chain("second")
    async with several(first, second) as endpoints:
        assert await endpoints.call("m") == "first"
        first.status = status
        assert await asyncio.gather(*[endpoints.call("m") for _ in range(5)]) == ["second"] * 5
        before = len(first.asked)
        assert (await endpoints.call_dated("m"))[0] == "second"
        assert len(first.asked) == before, "a node that failed is not asked again before it was looked at"


async def test_the_first_node_is_asked_again_once_a_look_finds_it_well() -> None:
    first, second = Chain("first"), Chain("second")
    async with several(first, second, check_seconds=0.0) as endpoints:
        assert await endpoints.call("m") == "first"
        await checked(endpoints)
        first.status = 503
        assert await endpoints.call("m") == "second"
        await checked(endpoints)
        first.status = 200
        assert await endpoints.call("m") == "second", "not checked yet"
        await checked(endpoints)
        assert await endpoints.call("m") == "first"
        await checked(endpoints)


async def test_a_node_on_another_chain_gets_neither_reads_nor_writes() -> None:
    first, second = Chain("first"), Chain("second")
    first.chain_id = 1
    async with several(first, second) as endpoints:
        assert await endpoints.call("m") == "second"
        assert await endpoints.call(SEND, "0x00") == "second"
        assert set(first.asked) == {"eth_chainId", "eth_blockNumber"}


async def test_where_every_node_is_on_another_chain_that_is_the_error_each_time() -> None:
    first, second = Chain("first"), Chain("second")
    first.chain_id = second.chain_id = 1
    async with several(first, second) as endpoints:
        errors = await asyncio.gather(*[endpoints.call("m") for _ in range(3)], return_exceptions=True)
        assert all(isinstance(error, WrongNetwork) and "chain 1" in str(error) for error in errors)
        assert len({id(error) for error in errors}) == 3, "what one caller adds to its error is not another's"
        with pytest.raises(WrongNetwork):
            await endpoints.call(SEND, "0x00")
        assert SEND not in first.asked + second.asked


@pytest.mark.parametrize(("behind", "answered_by"), [(15, "first"), (16, "second")])
async def test_a_node_that_lags_too_far_behind_another_is_passed_over(behind: int, answered_by: str) -> None:
    first, second = Chain("first"), Chain("second")
    first.head = second.head - behind
    async with several(first, second) as endpoints:
        assert await endpoints.call("m") == "first", "the others' heads are not known yet"
        await checked(endpoints)
        assert await endpoints.call("m") == answered_by


async def test_a_node_on_another_chain_with_a_high_head_does_not_make_others_lag() -> None:
    first, second, third = Chain("first"), Chain("second"), Chain("third")
    third.chain_id, third.head = 1, 20_000_000
    async with several(first, second, third) as endpoints:
        await endpoints.call("m")
        await checked(endpoints)
        assert await endpoints.call("m") == "first"


async def test_a_nodes_own_refusal_is_an_answer_and_goes_nowhere_else() -> None:
    first, second = Chain("first"), Chain("second")
    first.refusal = {"code": 3, "message": "execution reverted"}
    async with several(first, second) as endpoints:
        for method in ("eth_call", SEND):
            with pytest.raises(NodeRefused, match="execution reverted"):
                await endpoints.call(method, "0x00")
        await checked(endpoints)
        assert "eth_call" not in second.asked
        assert SEND not in second.asked


async def test_a_node_that_is_busy_is_replaced_for_reads_and_writes() -> None:
    first, second = Chain("first"), Chain("second")
    first.refusal = {"code": -32005, "message": "daily request count exceeded, request rate limited"}
    for method in ("eth_call", SEND):
        async with several(first, second) as endpoints:
            assert await endpoints.call(method, "0x00") == "second"


async def test_a_write_without_an_answer_is_unknown_and_goes_to_no_other_node_by_itself() -> None:
    first, second = Chain("first"), Chain("second")
    first.drop_sends = True
    async with several(first, second) as endpoints:
        with pytest.raises(NodeUnreachable) as lost:
            await endpoints.call(SEND, "0x00")
        assert lost.value.outcome is Outcome.UNKNOWN
        await checked(endpoints)
        assert SEND not in second.asked


async def test_a_write_without_an_answer_is_looked_up_where_it_would_be_sent_next() -> None:
    first, second = Chain("first"), Chain("second")
    first.drop_sends = True
    async with several(first, second) as endpoints:
        await endpoints.call("m")
        await checked(endpoints)
        with pytest.raises(NodeUnreachable):
            await endpoints.call(SEND, "0x00")
        assert await endpoints.call("eth_getTransactionByHash", "0x00") == "second"
        assert await endpoints.call(SEND, "0x00") == "second"


async def test_a_write_that_certainly_did_not_arrive_goes_to_the_next_node() -> None:
    second = Chain("second")
    async with AsyncExitStack() as stack:
        async with scripted_node() as gone:
            pass
        alive = await stack.enter_async_context(scripted_node(second.script))
        endpoints = await endpoints_of(stack, [gone, alive], 60.0, 0.0)
        assert await endpoints.call(SEND, "0x00") == "second"


async def test_where_all_nodes_are_away_the_first_ones_error_is_shown() -> None:
    first, second = Chain("first"), Chain("second")
    async with several(first, second) as endpoints:
        await endpoints.call("m")
        await checked(endpoints)
        first.status, second.status = 503, 500
        with pytest.raises(NodeError, match="HTTP 503"):
            await endpoints.call("m")


async def test_a_read_is_repeated_until_one_of_the_nodes_is_back() -> None:
    first, second = Chain("first"), Chain("second")
    async with several(first, second, retry=5.0) as endpoints:
        await endpoints.call("m")
        await checked(endpoints)
        first.status, second.failures_left = 503, 3
        assert await endpoints.call("m") == "second"


async def test_one_url_is_one_node_and_several_are_endpoints() -> None:
    fields: dict[str, Any] = {
        "chain_id": CHAIN,
        "network": "regtest",
        "token_address": "0x" + "11" * 20,
        "token_decimals": 8,
    }
    one = open_rpc(BobSettings(rpc_url="http://127.0.0.1:1", **fields), protocol="BOB")
    both = open_rpc(
        BobSettings(rpc_url="http://127.0.0.1:1", fallback_rpc_urls=("http://user:pw@127.0.0.1:2/key",), **fields),
        protocol="BOB",
    )
    assert isinstance(one, JsonRpc)
    assert isinstance(both, Endpoints)
    assert both.endpoint == "http://127.0.0.1:1"
    with pytest.raises(NodeUnreachable) as error:
        await both.call(SEND, "0x00")
    assert "pw" not in str(error.value)
    assert "key" not in str(error.value)
    await one.aclose()
    await both.aclose()


@pytest.mark.parametrize("fault", ["drop_reply", "error", "down"])
async def test_a_transfer_whose_node_fails_in_the_middle_is_made_once_through_the_other(
    bob: BobNetwork, fault: str
) -> None:
    faults = FaultSwitch()
    first = EvmRpcServer(bob.node, EvmMethods(bob.node, bob.maker.on_transaction), faults, bob.clock)
    url = await first.start()
    try:
        taker = await bob.client("taker", rpc_url=url, fallback_rpc_urls=(bob.url,))
        before = len(bob.sent())
        match fault:
            case "drop_reply":
                faults.set(fault, method=SEND, count=1)
            case "error":
                faults.set(fault, method=SEND, count=1, status=502)
            case _:
                faults.set(fault)
        tx_id = await taker.transfer_asset_async(ETH, 1, "0x" + "77" * 20)
        assert (await taker.wait_for_status_async(tx_id)).state is TxState.INCLUDED
        assert len(bob.sent()) == before + 1
    finally:
        await bob.clients[-1].aclose()
        await first.stop()
