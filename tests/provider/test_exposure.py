"""How much of a provider's money may depend on what a reorganisation can undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from layer2.errors import QuoteExpired
from layer2.legs.timelock_settings import REGTEST
from layer2.model.money import Balance
from layer2.model.transactions import Finality
from layer2.ports.journal import Role
from layer2.provider.open_swaps import OpenSwap
from layer2.provider.pricing import Exposure
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderReleased,
    ProviderReleasing,
    ProviderState,
)
from provider.made_providers import BOB, LIGHTNING, ROOTSTOCK, World, world

LARGE = 499_999


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(
        tmp_path,
        (BOB, LIGHTNING, ROOTSTOCK),
        max_open_swaps=1_000,
        max_open_swaps_per_taker=1_000,
        max_unfinished_swaps=1_000,
    ) as built:
        for layer in built.layers.values():
            layer.balances = dict.fromkeys(layer.balances, Balance(10**18))
        yield built


async def exposure(made: World) -> Exposure:
    """The exposure on BOB, from the journal; the book must have the same."""
    total = Exposure()
    for record in await made.journal.list(role=Role.PROVIDER, open_only=True):
        swap = OpenSwap.read(record, REGTEST)
        if swap.source is BOB:
            total = total.plus(swap.finality, swap.at_stake)
    assert made.book.exposure_on(BOB) == total
    return total


async def finality(made: World, amount: int = LARGE) -> Finality:
    return (await made.quote(BOB, LIGHTNING, amount)).quote.source.finality


async def test_a_hundred_swaps_cannot_hang_on_one_unsafe_block(made: World) -> None:
    for number in range(100):
        await made.accept(number, BOB, amount=LARGE)
    total = await exposure(made)
    assert total.latest < 500_000
    assert total.latest + total.safe < 2_000_000
    assert await finality(made) is Finality.FINALIZED


async def test_the_second_large_swap_waits_until_its_funding_is_safe(made: World) -> None:
    assert await finality(made) is Finality.LATEST
    await made.accept(1, amount=LARGE)
    assert await finality(made) is Finality.SAFE
    assert await finality(made, 10_000) is Finality.SAFE


async def test_what_takers_wait_for_does_not_grow_with_other_swaps(made: World) -> None:
    await made.accept(1, BOB, destination=ROOTSTOCK, amount=LARGE)
    quote = (await made.quote(BOB, ROOTSTOCK, LARGE)).quote
    assert (quote.source.finality, quote.destination.finality) == (Finality.SAFE, Finality.LATEST)


async def test_one_layer_is_not_exposed_to_another_ones_reorganisation(made: World) -> None:
    await made.accept(1, BOB, amount=LARGE)
    await made.accept(2, LIGHTNING, amount=LARGE)
    assert (await made.quote(ROOTSTOCK, LIGHTNING, LARGE)).quote.source.finality is Finality.LATEST
    assert await exposure(made) == Exposure(latest=LARGE)


async def test_a_quote_from_before_is_refused_once_other_swaps_have_used_the_room_up(made: World) -> None:
    first, second = await made.request(1, amount=LARGE), await made.request(2, amount=LARGE)
    await made.open_swap(first)
    with pytest.raises(QuoteExpired, match="request a new quote"):
        await made.open_swap(second)
    assert made.lightning.checked == [made.lightning.checked[0]]
    await made.accept(3, amount=LARGE)


async def test_a_source_that_has_one_finality_only_is_never_refused_for_it(made: World) -> None:
    requests = [await made.request(number, LIGHTNING, amount=LARGE) for number in range(10)]
    for request in requests:
        await made.open_swap(request)


STATES: list[tuple[str, ProviderState, bool]] = [
    ("agreed", ProviderAgreed("0x01"), True),
    ("counter_funding", ProviderCounterFunding("0x01"), True),
    ("counter_funded", ProviderCounterFunded("0x01", "02"), True),
    ("collecting", ProviderCollecting("0x01", "02", has_arrived=False), True),
    ("arrived", ProviderCollecting("0x01", "02", has_arrived=True), True),
    ("completed", ProviderCompleted("0x01", "02"), False),
    ("releasing", ProviderReleasing("0x01", None, "late"), False),
    ("released", ProviderReleased("0x01", None, "late"), False),
]


@pytest.mark.parametrize(("state", "counts"), [one[1:] for one in STATES], ids=[one[0] for one in STATES])
async def test_a_swap_counts_from_its_agreement_until_its_source_is_collected_for_good(
    made: World, state: ProviderState, counts: bool
) -> None:
    request = await made.accept(1, amount=LARGE)
    await made.engine.move(request.swap_id, state, "moved")
    assert await exposure(made) == Exposure(latest=LARGE if counts else 0)
    assert await finality(made) is (Finality.SAFE if counts else Finality.LATEST)
