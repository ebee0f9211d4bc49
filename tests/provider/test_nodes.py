"""Layers that are away at the start, and how they join."""

from __future__ import annotations

import asyncio

import structlog

from layer2.errors import NodeUnreachable
from layer2.model.layers import Layer2ProtocolType
from layer2.provider.nodes import Nodes
from provider.made_providers import BOB, LIGHTNING, SetClock, SetLayer


def set_layers(clock: SetClock) -> dict[Layer2ProtocolType, SetLayer]:
    return {layer: SetLayer(layer, clock) for layer in (BOB, LIGHTNING)}


async def test_a_layer_that_is_away_does_not_hold_up_the_other_and_joins_when_it_is_back() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    layers[LIGHTNING].away = NodeUnreachable("https://10.0.0.7:8080 refused the connection")
    nodes = Nodes(layers, clock, first_retry_seconds=0.001)
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
    nodes = Nodes(layers, clock, first_retry_seconds=0.001)
    joining = asyncio.create_task(nodes.join())
    await nodes.tried()
    layers[BOB].away = None
    await asyncio.wait_for(joining, 10)


async def test_all_layers_that_are_away_are_named() -> None:
    clock = SetClock()
    layers = set_layers(clock)
    nodes = Nodes(layers, clock)
    assert await nodes.problem(layers) == "the provider's BOB and LIGHTNING nodes are not ready"
