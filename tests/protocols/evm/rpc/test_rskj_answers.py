"""Errors and limits of rskj's HTTP server: status 400 for some errors of a single call, and at most 50 calls a batch.

Source: rskj d987a4c, ``Web3HttpStatusCodeProvider``, ``JsonRpcRequestValidatorInterceptor``,
``JsonRpcWeb3ServerHandler``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from layer2.errors import BadAnswer, NodeRefused, Outcome
from layer2.protocols.evm.rpc.batches import SEND
from protocols.evm.scripted_node import Calls, Script, echoes, scripted_node

MOST = 50


def answers_400(**changes: Any) -> Script:
    """Refuse each single call as rskj does if the block is not found."""

    def script(calls: Calls) -> web.StreamResponse:
        answer = {"jsonrpc": "2.0", "id": calls[0]["id"], "error": {"code": -32600, "message": "block not found"}}
        return web.Response(status=400, body=orjson.dumps(answer | changes), content_type="application/json")

    return script


def at_most_50(calls: Calls) -> web.StreamResponse | bytes:
    if len(calls) <= MOST:
        return echoes(calls)
    message = f"Cannot dispatch batch requests. {MOST} is the max number of supported batch requests"
    body = orjson.dumps({"error": {"code": -32600, "message": message}})
    return web.Response(status=400, body=body, content_type="application/json")


@pytest.mark.parametrize("method", ["eth_getBalance", SEND])
async def test_an_error_of_a_single_call_is_read_despite_the_http_status(method: str) -> None:
    async with scripted_node(answers_400()) as node:
        with pytest.raises(NodeRefused) as refused:
            await node.client().call(method, 1)
        assert (refused.value.node_code, refused.value.node_message) == (-32600, "block not found")
        assert refused.value.outcome is Outcome.REJECTED


@pytest.mark.parametrize("changes", [{"id": 10**9}, {"id": None}, {"error": "bad request"}, {"error": None}])
async def test_a_proxys_400_shows_nothing_about_a_send(changes: dict[str, Any]) -> None:
    async with scripted_node(answers_400(**changes)) as node:
        with pytest.raises(BadAnswer) as lost:
            await node.client().call(SEND, 1)
        assert lost.value.outcome is Outcome.UNKNOWN


async def test_batches_are_divided_until_they_have_50_calls_and_stay_so() -> None:
    async with scripted_node(at_most_50) as node:
        client = node.client()
        for _ in range(2):
            node.requests.clear()
            assert await asyncio.gather(*[client.call("m", number) for number in range(100)]) == list(range(100))
        assert max(node.sizes) <= MOST


async def test_sends_always_fit_into_a_batch() -> None:
    async with scripted_node(at_most_50) as node:
        client = node.client()
        assert await asyncio.gather(*[client.call(SEND, number) for number in range(120)]) == list(range(120))
        assert max(node.sizes) <= MOST
