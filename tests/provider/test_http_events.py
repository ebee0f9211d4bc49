"""The stream of a swap's events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.swap_rules.states import ProviderCollecting, ProviderCompleted
from provider.callers import Caller, bearer, error
from provider.made_providers import served, world


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with world(tmp_path) as made, served(made) as (url, session):
        yield Caller(made, url, session)


async def _next_event(response: aiohttp.ClientResponse) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = json.loads(value) if name == "data" else value
    return fields


async def test_events_are_streamed_with_their_versions_as_ids(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", caller.made.written(request))
    path = f"{caller.url}/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(path, headers=bearer(1)) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        first = await _next_event(response)
        assert (first["event"], first["id"], first["data"]["state"]) == ("swap", "1", "agreed")
        await caller.made.engine.move(
            request.swap_id, ProviderCollecting("0x01", "02", has_arrived=False), "the preimage is public"
        )
        second = await _next_event(response)
        assert (second["id"], second["data"]["state"]) == ("2", "collecting")
        await caller.made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
        assert (await _next_event(response))["data"]["state"] == "completed"
        assert await response.content.read() == b""


async def test_a_reader_that_returns_gets_only_what_it_has_not_seen(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", caller.made.written(request))
    await caller.made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
    path = f"{caller.url}/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(path, headers={"Last-Event-ID": "1", **bearer(1)}) as response:
        assert (await _next_event(response))["id"] == "2"
        assert await response.content.read() == b""
    wrong = {"Last-Event-ID": "x", **bearer(1)}
    assert error(await caller.get(path.removeprefix(caller.url), **wrong))[0] == 400


async def test_streams_are_limited_and_a_reader_that_leaves_makes_room(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", caller.made.written(request))
    path = f"/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(caller.url + path, headers=bearer(1)) as response:
        await _next_event(response)
        assert error(await caller.get(path, **bearer(1))) == (429, "too_many_streams", None)
    await asyncio.wait_for(caller.made.engine.left.wait(), 5)
    async with caller.session.get(caller.url + path, headers=bearer(1)) as response:
        assert response.status == 200
        assert (await _next_event(response))["id"] == "1"


async def test_streams_end_when_the_provider_stops(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", caller.made.written(request))
    path = f"{caller.url}/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(path, headers=bearer(1)) as response:
        await _next_event(response)
        caller.made.engine.close()
        assert await response.content.read() == b""
