"""Cancelled calls: a call that was sent is answered, and one that was not is never sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from layer2.errors import NodeUnreachable, Outcome
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.lightning.lnd.rest import LndRest
from protocols.lightning.scripted_lnd import ScriptedLnd, answer, messages
from protocols.lightning.waiting import until
from protocols.lightning.world import settings_of

ONE = ConnectionPoolConfig(max_connections=1)


@asynccontextmanager
async def calling(lnd: ScriptedLnd) -> AsyncIterator[LndRest]:
    """A client with one connection for calls."""
    rest = LndRest(settings_of(lnd.node, connection_pool=ONE))
    try:
        yield rest
    finally:
        await rest.aclose()


async def test_a_cancelled_call_that_was_sent_keeps_its_connection_for_the_next(lnd: ScriptedLnd) -> None:
    let_go = asyncio.Event()
    lnd.say("GET /v1/slow", replace(answer({}), after=let_go))
    async with calling(lnd) as rest:
        call = asyncio.ensure_future(rest.get("/v1/slow"))
        await until(lambda: lnd.calls() == ["GET /v1/slow"])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        let_go.set()
        await rest.get("/v1/getinfo")
    assert len(lnd.connections) == 1


async def test_a_cancelled_look_at_a_final_payment_keeps_its_connection_too(lnd: ScriptedLnd) -> None:
    let_go = asyncio.Event()
    lnd.say("GET /v2/router/track/x", replace(messages({"status": "SUCCEEDED"}), after=let_go))
    async with calling(lnd) as rest:
        look = asyncio.ensure_future(rest.state("/v2/router/track/x", is_final=lambda _: True))
        await until(lambda: lnd.calls() == ["GET /v2/router/track/x"])
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
        let_go.set()
        await rest.get("/v1/getinfo")
    assert len(lnd.connections) == 1


async def test_a_call_that_is_cancelled_while_it_stands_in_line_is_never_sent(lnd: ScriptedLnd) -> None:
    let_go = asyncio.Event()
    lnd.say("GET /v1/slow", replace(answer({}), after=let_go))
    lnd.say("POST /v1/act", answer({}))
    async with calling(lnd) as rest:
        first = asyncio.ensure_future(rest.get("/v1/slow"))
        await until(lambda: lnd.calls() == ["GET /v1/slow"])
        act, last = (asyncio.ensure_future(each) for each in (rest.post("/v1/act", {}), rest.get("/v1/getinfo")))
        await asyncio.sleep(0)
        act.cancel()
        let_go.set()
        await asyncio.gather(first, last)
        with pytest.raises(asyncio.CancelledError):
            await act
    assert lnd.calls() == ["GET /v1/slow", "GET /v1/getinfo"]


@pytest.mark.parametrize(("method", "outcome"), [("GET", Outcome.NOT_SENT), ("POST", Outcome.UNKNOWN)])
async def test_a_caller_that_waits_for_an_answer_gets_the_error_of_a_closed_client(
    lnd: ScriptedLnd, method: str, outcome: Outcome
) -> None:
    lnd.say(f"{method} /v1/slow", replace(answer({}), after=asyncio.Event()))
    async with calling(lnd) as rest:
        call = asyncio.ensure_future(rest.get("/v1/slow") if method == "GET" else rest.post("/v1/slow", {}))
        await until(lambda: lnd.calls() == [f"{method} /v1/slow"])
        in_line = asyncio.ensure_future(rest.post("/v1/act", {}))
        await asyncio.sleep(0)
        await rest.aclose()
        with pytest.raises(NodeUnreachable, match="closed") as sent:
            await call
        with pytest.raises(NodeUnreachable, match="closed") as not_sent:
            await in_line
    assert sent.value.outcome is outcome
    assert not_sent.value.outcome is Outcome.NOT_SENT
    assert lnd.calls() == [f"{method} /v1/slow"]


async def test_a_cancelled_call_that_is_not_answered_soon_gives_its_place_to_the_next(lnd: ScriptedLnd) -> None:
    lnd.say("GET /v1/slow", replace(answer({}), after=asyncio.Event()))
    async with calling(lnd) as rest:
        call = asyncio.ensure_future(rest.get("/v1/slow"))
        await until(lambda: lnd.calls() == ["GET /v1/slow"])
        call.cancel()
        await rest.get("/v1/getinfo")
    assert len(lnd.connections) == 2


async def test_no_more_acts_than_connections_begin_at_once_and_calls_do_not_wait_for_them(lnd: ScriptedLnd) -> None:
    let_go = asyncio.Event()
    lnd.say("POST /v1/act", replace(messages({"state": "begun"}), after=let_go))
    async with calling(lnd) as rest:
        acts = [asyncio.ensure_future(rest.begin_stream("POST", "/v1/act", {})) for _ in range(2)]
        await until(lambda: lnd.calls() == ["POST /v1/act"])
        await rest.get("/v1/getinfo")
        assert lnd.calls() == ["POST /v1/act", "GET /v1/getinfo"]
        let_go.set()
        for _, stream in await asyncio.gather(*acts):
            stream.close()
    assert lnd.calls().count("POST /v1/act") == 2
