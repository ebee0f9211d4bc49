"""Layers that are away at the start, and how they join."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import structlog

from layer2.assembly import Layers
from layer2.errors import NodeUnreachable
from layer2.model.layers import Layer2ProtocolType
from layer2.provider.nodes import Nodes
from provider.made_providers import BOB, LIGHTNING, SetClock, SetLayer, until


def set_layers(clock: SetClock) -> dict[Layer2ProtocolType, SetLayer]:
    return {layer: SetLayer(layer, clock) for layer in (BOB, LIGHTNING)}


def layers_of(layers: dict[Layer2ProtocolType, SetLayer]) -> Layers:
    clients: Any = layers
    return Layers(clients, layers)


async def test_a_layer_that_is_away_does_not_hold_up_the_other_and_joins_when_it_is_back() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    layers[LIGHTNING].away = NodeUnreachable("https://10.0.0.7:8080 refused the connection")
    nodes = Nodes(layers_of(layers), clock, first_retry_seconds=0.001)
    with structlog.testing.capture_logs() as logs:
        joining = asyncio.create_task(nodes.join())
        await nodes.tried()
        assert await nodes.problem(layers) == "the provider's LIGHTNING node is not ready"
        assert await nodes.problem([BOB]) is None
        assert set(nodes.offers) == {BOB}
        assert set(nodes.failures) == {LIGHTNING}
        layers[LIGHTNING].away = None
        await asyncio.wait_for(joining, 10)
    assert await nodes.problem(layers) is None
    assert (set(nodes.offers), set(nodes.failures)) == ({BOB, LIGHTNING}, set())
    assert layers[LIGHTNING].joins > 1
    assert [line["event"] for line in logs if line["layer"] == "LIGHTNING"][-1] == "node_joined"


async def test_a_layer_whose_client_breaks_is_tried_again() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    layers[BOB].away = RuntimeError("a fault")
    nodes = Nodes(layers_of(layers), clock, first_retry_seconds=0.001)
    joining = asyncio.create_task(nodes.join())
    await nodes.tried()
    layers[BOB].away = None
    await asyncio.wait_for(joining, 10)


async def test_all_layers_that_are_away_are_named() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    nodes = Nodes(layers_of(layers), clock)
    assert await nodes.problem(layers) == "the provider's BOB and LIGHTNING nodes are not ready"


async def test_every_layer_is_read_again_and_again_also_after_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.provider.nodes._READ_SECONDS", 0.001)
    clock = SetClock()
    layers = set_layers(clock)
    nodes = Nodes(layers_of(layers), clock, first_retry_seconds=0.001)
    await nodes.join()
    reading = asyncio.create_task(nodes.keep_reading())

    def has_read(layer: Layer2ProtocolType, *, is_ready: bool) -> bool:
        known = nodes.reading(layer)
        return known is not None and (known.balances is not None) == is_ready

    def has_asked(enough: int) -> bool:
        return layers[LIGHTNING].clock_reads >= enough

    try:
        for layer in layers:
            await until(partial(has_read, layer, is_ready=True))
        for failure in (NodeUnreachable("down"), RuntimeError("a fault")):
            layers[LIGHTNING].away = failure
            if isinstance(failure, NodeUnreachable):
                await until(partial(has_read, LIGHTNING, is_ready=False))
            enough = layers[LIGHTNING].clock_reads + 2
            await until(partial(has_asked, enough))
            assert await nodes.problem([BOB]) is None
            layers[LIGHTNING].away = None
            await until(partial(has_read, LIGHTNING, is_ready=True))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_reading_is_made_once_for_all_who_wait_for_it() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    nodes = Nodes(layers_of(layers), clock)
    await nodes.join()
    await asyncio.gather(*(nodes.problem([BOB]) for _ in range(20)))
    assert layers[BOB].clock_reads == 1
    nodes.doubt(BOB)
    assert nodes.reading(BOB) is None
    await asyncio.gather(*(nodes.problem([BOB]) for _ in range(20)))
    assert layers[BOB].clock_reads == 2


async def test_a_node_that_does_not_answer_in_time_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.provider.nodes._LONGEST_READ_SECONDS", 0.02)
    clock = SetClock()
    layers = set_layers(clock)
    nodes = Nodes(layers_of(layers), clock)
    await nodes.join()

    async def silent() -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(layers[BOB], "balances_async", silent)
    assert await nodes.problem(layers) == "the provider's BOB node is not ready"
