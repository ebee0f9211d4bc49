"""Quotes, readiness, status and events of a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import InvalidRequest, NodeUnreachable, QuoteRefused, UnknownTransfer
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.provider.bounds import bounds as bounds_of
from layer2.provider.service import AccessRefused
from layer2.swap_rules.outlook import must_be_back_by
from layer2.swap_rules.states import (
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderReleased,
    ProviderReleasing,
)
from layer2.terms.signing import check_quote_signature, read_signed_terms
from provider.made_providers import BOB, LIGHTNING, ROOTSTOCK, World, token_of, world
from swap_rules.example_terms import AMOUNT, NOW, offer_of

DIRECTIONS = pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


# Quotes


async def test_a_quote_is_signed_and_has_the_price_and_both_accounts(made: World) -> None:
    signed = await made.quote()
    check_quote_signature(signed)
    assert signed.quote.provider == made.identity.public_key
    assert (signed.quote.source_amount, signed.quote.valid_until) == (AMOUNT + 420 + 50, NOW + 60)
    assert signed.quote.source == offer_of(BOB).with_finality(Finality.LATEST)
    assert signed.quote.destination == offer_of(LIGHTNING)


async def test_a_quote_by_what_leaves_takes_exactly_that_from_the_source(made: World) -> None:
    for send_amount in range(100_000, 100_400):
        made.clock.time += 20
        quote = (await made.quote(amount=None, send_amount=send_amount)).quote
        assert quote.source_amount == send_amount
        assert quote.provider_fee - (-quote.amount * 3000 // -1_000_000) - 120 in (0, 1, 2)


@pytest.mark.parametrize(("amount", "send_amount"), [(None, None), (1, 1)])
async def test_a_quote_needs_exactly_one_amount(made: World, amount: int | None, send_amount: int | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await made.quote(amount=amount, send_amount=send_amount)
    assert refused.value.code == "amount"


async def test_any_two_layers_that_are_configured_make_a_pair_with_their_own_price(tmp_path: Path) -> None:
    async with world(tmp_path, (BOB, LIGHTNING, ROOTSTOCK)) as made:
        quote = (await made.quote(ROOTSTOCK, BOB)).quote
        assert quote.pair == (ROOTSTOCK, BOB)
        info: Any = await made.provider.info()
        pairs = {(pair["source"], pair["destination"]) for pair in info["pairs"]}
        names = ("BOB", "LIGHTNING", "ROOTSTOCK")
        assert pairs == {(source, destination) for source in names for destination in names if source != destination}


@pytest.mark.parametrize(
    ("asset", "source", "destination", "code"),
    [
        ("ETH", BOB, LIGHTNING, "unknown_asset"),
        ("BTC", BOB, BOB, "pair"),
        ("BTC", LIGHTNING, ROOTSTOCK, "pair"),
    ],
)
async def test_what_this_provider_does_not_swap_is_refused(
    made: World, asset: str, source: Layer2ProtocolType, destination: Layer2ProtocolType, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await made.quote(source, destination, asset=asset)
    assert refused.value.code == code


async def test_info_has_every_layer_and_the_price_and_durations_of_every_pair(made: World) -> None:
    info: Any = await made.provider.info()
    assert info["layers"]["BOB"]["kind"] == "evm"
    assert info["layers"]["LIGHTNING"]["kind"] == "lightning"
    pair = next(pair for pair in info["pairs"] if pair["source"] == "BOB")
    assert (pair["min_amount"], pair["max_amount"], pair["base_fee"]) == ("10000", "4000000", "120")
    assert 0 < pair["collect_by"] < pair["known"] < pair["source_deadline"] < pair["worst"]


# Nodes that are away


async def test_a_node_that_is_not_ready_stops_quotes_and_new_swaps(made: World) -> None:
    request = await made.request(1)
    made.lightning.away = NodeUnreachable("https://10.0.0.7:8080 refused the connection")
    made.clock.time += 10
    assert await made.provider.problem() == "the provider's LIGHTNING node is not ready"
    with pytest.raises(QuoteRefused) as refused:
        await made.quote()
    assert (refused.value.code, refused.value.retryable) == ("not_ready", True)
    with pytest.raises(QuoteRefused, match="LIGHTNING"):
        await made.open_swap(request)


async def test_a_node_that_is_away_stops_only_the_pairs_of_its_layer(tmp_path: Path) -> None:
    async with world(tmp_path, (BOB, LIGHTNING, ROOTSTOCK)) as made:
        made.clock.time += 10
        made.lightning.away = NodeUnreachable("down")
        assert (await made.quote(BOB, ROOTSTOCK)).quote.pair == (BOB, ROOTSTOCK)
        with pytest.raises(QuoteRefused, match="LIGHTNING"):
            await made.quote(BOB, LIGHTNING)
        health = (await made.provider.info())["health"]
        assert health == {"ready": True, "reason": "the provider's LIGHTNING node is not ready"}


async def test_however_often_strangers_ask_the_nodes_are_asked_now_and_then(made: World) -> None:
    for _ in range(50):
        await made.provider.info()
    assert made.bob.clock_reads == 1
    made.clock.time += 5
    await made.provider.info()
    assert made.bob.clock_reads == 2


# Status and events


async def test_a_status_names_the_next_actor_and_the_deadline(made: World) -> None:
    request = await made.accept(1)
    status = await made.provider.status(request.swap_id, token_of(1))
    assert (status["state"], status["next_actor"], status["is_final"]) == ("agreed", "taker", False)
    assert status["deadline"] == NOW + REGTEST.funding_window
    await made.engine.move(request.swap_id, ProviderReleased("0x01", None, "it came too late"), "released")
    status = await made.provider.status(request.swap_id, token_of(1))
    assert (status["state"], status["next_actor"], status["is_final"]) == ("released", "nobody", True)
    assert (status["reason"], status["source_tx_id"], status["version"]) == ("it came too late", "0x01", 2)


@pytest.mark.parametrize("token", [b"", bytes(32), token_of(2), token_of(1)[:31]])
async def test_only_the_token_of_a_swap_opens_its_status(made: World, token: bytes) -> None:
    request = await made.accept(1)
    await made.accept(2)
    with pytest.raises(AccessRefused) as refused:
        await made.provider.status(request.swap_id, token)
    assert refused.value.code == "access"


async def test_a_missing_swap_is_unknown_for_every_token(made: World) -> None:
    with pytest.raises(UnknownTransfer):
        await made.provider.status(SwapId("cd" * 16), token_of(1))


async def test_events_begin_after_the_last_one_seen_and_end_with_the_swap(made: World) -> None:
    request = await made.accept(1)
    collecting = ProviderCollecting("0x01", "02", has_arrived=False)
    await made.engine.move(request.swap_id, collecting, "the preimage is public")
    stream = made.provider.events(request.swap_id, 1)
    second = await anext(stream)
    assert (second["version"], second["state"], second["event"]) == (2, "collecting", "the preimage is public")
    await made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed", now=NOW + 9)
    assert (await anext(stream))["at"] == NOW + 9
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert [event["version"] async for event in made.provider.events(request.swap_id, 0)] == [1, 2, 3]


async def test_versions_that_a_watch_skipped_are_sent_all_the_same(made: World) -> None:
    request = await made.accept(1)
    stream = made.provider.events(request.swap_id, 0)
    await anext(stream)
    watchers, made.engine.watchers = made.engine.watchers, {}
    collecting = ProviderCollecting("0x01", "02", has_arrived=False)
    await made.engine.move(request.swap_id, collecting, "the preimage is public")
    made.engine.watchers = watchers
    await made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
    assert [event["version"] async for event in stream] == [2, 3]


# The end of the process


async def test_a_draining_provider_takes_nothing_new_and_still_answers_for_what_it_has(made: World) -> None:
    request, other = await made.request(1), await made.request(2)
    terms = await made.open_swap(request)
    assert await made.provider.drain() is None
    with pytest.raises(QuoteRefused) as refused:
        await made.open_swap(other)
    assert refused.value.code == "not_ready"
    assert await made.open_swap(request) == terms
    assert (await made.provider.info())["health"] == {"ready": False, "reason": "the provider is stopping"}


@DIRECTIONS
async def test_a_draining_provider_names_the_time_by_which_it_must_be_back(
    made: World, source: Layer2ProtocolType
) -> None:
    request = await made.request(1, source)
    terms = read_signed_terms(await made.open_swap(request)).terms
    state = ProviderCounterFunded("01", "02")
    await made.engine.move(request.swap_id, state, "counter-funded")
    until = must_be_back_by(state, terms, REGTEST)
    assert until is not None
    assert await made.provider.drain() == until


async def test_a_swap_that_is_only_released_needs_no_restart(made: World) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, ProviderReleasing(None, None, "too late"), "releasing")
    assert await made.provider.drain() is None


async def test_the_places_that_strangers_can_take_for_nothing_are_bounded_in_number_and_time(made: World) -> None:
    bounds = {
        (each.source, each.destination): each for each in bounds_of(made.provider.limits, made.nodes.offers, REGTEST)
    }
    assert set(bounds) == {(BOB, LIGHTNING), (LIGHTNING, BOB)}
    assert (bounds[BOB, LIGHTNING].places, bounds[BOB, LIGHTNING].places_per_taker) == (3, 2)
    landing = REGTEST.margins(BOB).landing_time
    assert bounds[BOB, LIGHTNING].minutes == -(-(REGTEST.funding_window + landing) // 60)
    assert bounds[LIGHTNING, BOB].minutes == -(-(REGTEST.funding_window + REGTEST.payment_timeout) // 60)
