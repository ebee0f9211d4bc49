"""What open swaps bind: places, money and gas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import (
    IdempotencyConflict,
    InsufficientFunds,
    Layer2Error,
)
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, Balance
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderRefunding,
    ProviderReleasing,
    ProviderState,
)
from provider.made_providers import (
    BOB,
    ETH,
    LANDING,
    LIGHTNING,
    OTHER_TAKERS,
    RBTC,
    ROOTSTOCK,
    World,
    world,
)
from swap_rules.example_terms import AMOUNT

DIRECTIONS = pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])
FUNDING_AND_LANDING = REGTEST.funding_window + LANDING

PROMISED = AMOUNT + 50
"""Satoshi that a swap takes on the destination: the amount, and the network fee of the price list."""


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


async def refusal(made: World, request: SwapRequest) -> str:
    with pytest.raises(Layer2Error) as refused:
        await made.open_swap(request)
    return refused.value.code


# Places


async def test_a_taker_has_no_more_open_swaps_than_allowed(made: World) -> None:
    for number in (1, 2):
        await made.accept(number)
    assert await refusal(made, await made.request(3)) == "too_many_swaps"
    await made.accept(4, taker=OTHER_TAKERS[0])


async def test_a_taker_is_the_same_however_its_account_is_written(made: World) -> None:
    for number in (1, 2):
        await made.accept(number)
    request = await made.request(3)
    assert await refusal(made, replace(request, source=request.source.lower())) == "too_many_swaps"


@DIRECTIONS
async def test_all_takers_together_have_no_more_open_swaps_than_allowed(
    made: World, source: Layer2ProtocolType
) -> None:
    for number in (1, 2, 3):
        await made.accept(number, source, taker=OTHER_TAKERS[number])
    assert await refusal(made, await made.request(4, source, taker=OTHER_TAKERS[4])) == "too_many_swaps"


@DIRECTIONS
async def test_a_thousand_free_requests_close_a_provider_for_minutes_and_not_for_days(
    made: World, source: Layer2ProtocolType
) -> None:
    for number in (1, 2, 3):
        await made.accept(number, source, taker=OTHER_TAKERS[number])
    made.clock.time += FUNDING_AND_LANDING + 1
    for number in (4, 5, 6):
        await made.accept(number, source, taker=OTHER_TAKERS[number])


PLACES: list[tuple[str, ProviderState, str | None, bool]] = [
    ("seen", ProviderAgreed("0x01"), None, True),
    ("counter_funding", ProviderCounterFunding("0x01"), None, True),
    ("counter_funded", ProviderCounterFunded("0x01", "02"), None, True),
    ("refunding", ProviderRefunding("0x01", "02", "late"), None, True),
    ("collecting", ProviderCollecting("0x01", "02", has_arrived=False), None, True),
    ("arrived", ProviderCollecting("0x01", "02", has_arrived=True), None, False),
    ("releasing", ProviderReleasing("0x01", None, "late"), None, False),
    ("needs_a_human", ProviderCounterFunding("0x01"), "the node shows no payment", False),
    ("completed", ProviderCompleted("0x01", "02"), None, False),
]


@pytest.mark.parametrize(("state", "attention", "takes"), [one[1:] for one in PLACES], ids=[one[0] for one in PLACES])
async def test_a_swap_takes_its_place_while_money_can_move_for_it(
    made: World, state: ProviderState, attention: str | None, takes: bool
) -> None:
    requests = [await made.accept(number, taker=OTHER_TAKERS[number]) for number in (1, 2, 3)]
    await made.engine.move(requests[0].swap_id, state, "moved", attention=attention)
    request = await made.request(4, taker=OTHER_TAKERS[4])
    if takes:
        assert await refusal(made, request) == "too_many_swaps"
    else:
        await made.open_swap(request)


async def test_swaps_that_only_wait_for_finality_are_limited_too(tmp_path: Path) -> None:
    async with world(tmp_path, max_unfinished_swaps=2) as made:
        for number in (1, 2):
            request = await made.accept(number, taker=OTHER_TAKERS[number])
            await made.engine.move(request.swap_id, ProviderCollecting("0x01", "02", has_arrived=True), "arrived")
        assert await refusal(made, await made.request(3)) == "too_many_swaps"
        await made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
        await made.accept(4)


# Money


async def test_a_funding_that_waits_for_its_finality_keeps_its_place_its_hash_and_the_money(made: World) -> None:
    made.lightning.balances = {BTC: Balance(2 * (AMOUNT + 50) - 1, receivable=0)}
    request = await made.accept(1)
    await made.engine.move(request.swap_id, ProviderAgreed("0x01"), "the funding is visible")
    made.clock.time += FUNDING_AND_LANDING + 1
    other = await made.request(2)
    same_hash = replace(other, payment_hash=request.payment_hash, destination=made.invoice(request.payment_hash))
    with pytest.raises(IdempotencyConflict):
        await made.open_swap(same_hash)
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.open_swap(await made.request(3))


async def test_money_is_promised_once(made: World) -> None:
    made.lightning.balances = {BTC: Balance(2 * (AMOUNT + 50) - 1, receivable=0)}
    await made.accept(1)
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.open_swap(await made.request(2))


async def test_money_that_was_paid_is_not_counted_twice(made: World) -> None:
    made.lightning.balances = {BTC: Balance(AMOUNT + 50, receivable=0)}
    request = await made.accept(1)
    await made.engine.move(request.swap_id, ProviderCollecting("0x01", "02", has_arrived=False), "collecting")
    await made.accept(2)


async def test_room_to_receive_is_promised_once(made: World) -> None:
    room = AMOUNT + 470
    made.lightning.balances = {BTC: Balance(0, receivable=2 * room - 1)}
    first = await made.accept(1, LIGHTNING)
    with pytest.raises(InsufficientFunds, match="to receive"):
        await made.open_swap(await made.request(2, LIGHTNING))
    await made.engine.move(first.swap_id, ProviderCounterFunding("01"), "counter-funding")
    await made.accept(3, LIGHTNING)


async def test_gas_is_kept_back_for_every_open_swap(made: World) -> None:
    made.bob.balances = {BTC: Balance(10**9), ETH: Balance(19)}
    await made.accept(1)
    with pytest.raises(InsufficientFunds, match="for gas"):
        await made.open_swap(await made.request(2))


async def test_gas_is_kept_back_on_both_layers_of_a_swap_and_on_no_other(tmp_path: Path) -> None:
    async with world(tmp_path, (BOB, LIGHTNING, ROOTSTOCK)) as made:
        made.layers[ROOTSTOCK].balances = {BTC: Balance(10**9), RBTC: Balance(PROMISED * 10**10 + 19)}
        await made.accept(1, BOB, destination=ROOTSTOCK)
        with pytest.raises(InsufficientFunds, match=r"ROOTSTOCK.*for gas"):
            await made.open_swap(await made.request(2, ROOTSTOCK, BOB))
        await made.accept(3, BOB, destination=LIGHTNING, taker=OTHER_TAKERS[0])


async def test_one_balance_pays_locks_and_gas_where_the_coin_is_bitcoin(tmp_path: Path) -> None:
    async with world(tmp_path, (BOB, ROOTSTOCK)) as made:
        satoshi = 2 * PROMISED
        for wei, is_enough in ((19, False), (20, True)):
            made.layers[ROOTSTOCK].balances = {BTC: Balance(satoshi), RBTC: Balance(satoshi * 10**10 + wei)}
            if is_enough:
                await made.accept(3, BOB, destination=ROOTSTOCK, taker=OTHER_TAKERS[0])
            else:
                await made.accept(1, BOB, destination=ROOTSTOCK)
                with pytest.raises(InsufficientFunds, match=r"ROOTSTOCK.*for gas"):
                    await made.open_swap(await made.request(2, BOB, destination=ROOTSTOCK))
