"""Fundings that come after their swap has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import pytest

from layer2.errors import JournalError, NodeUnreachable
from layer2.legs.timelock_settings import REGTEST
from layer2.ports.journal import SwapRecord
from layer2.provider.late_fundings import LateFundings
from layer2.swap_rules.states import ProviderCompleted, ProviderReleased
from provider.made_providers import World, world

UNFUNDED = ProviderReleased(None, None, "the taker did not fund in time")


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, max_open_swaps=100, max_open_swaps_per_taker=100) as built:
        yield built


def looking(made: World) -> LateFundings:
    return LateFundings(made.layers, made.journal, made.engine, REGTEST, made.clock)


async def test_a_late_funding_has_its_ended_swap_looked_at_again(made: World) -> None:
    request = await made.accept(1)
    await made.accept(2)
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    made.bob.late = [frozenset({request.payment_hash, b"\x55" * 32})]
    late = looking(made)
    await late.look()
    assert made.engine.revisited == [request.swap_id]
    await late.look()
    assert made.engine.revisited == [request.swap_id]


async def test_a_swap_that_ended_well_is_not_looked_at_again(made: World) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
    made.bob.late = [frozenset({request.payment_hash})]
    await looking(made).look()
    assert made.engine.revisited == []


async def test_a_funding_that_is_reported_again_is_looked_at_again_until_it_is_settled(made: World) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    made.bob.late = [frozenset({request.payment_hash})] * 3
    late = looking(made)
    for _ in range(4):
        await late.look()
    assert made.engine.revisited == [request.swap_id] * 3


async def test_one_request_to_each_layer_serves_all_swaps(made: World) -> None:
    for number in range(20):
        request = await made.accept(number)
        await made.engine.move(request.swap_id, UNFUNDED, "released")
    late = looking(made)
    for _ in range(3):
        await late.look()
    assert made.bob.asked_since == made.lightning.asked_since == [0, 1, 2]
    assert made.engine.revisited == []


async def test_one_read_of_the_journal_serves_all_fundings(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    open_swaps = [await made.accept(number) for number in range(20)]
    await made.engine.move(open_swaps[7].swap_id, UNFUNDED, "released")
    made.bob.late = [frozenset(request.payment_hash for request in open_swaps)]
    read: list[int] = []
    released_under = made.journal.released_under

    async def counted(payment_hashes: Collection[bytes]) -> Sequence[SwapRecord]:
        read.append(len(payment_hashes))
        return await released_under(payment_hashes)

    monkeypatch.setattr(made.journal, "released_under", counted)
    late = looking(made)
    await late.look()
    await late.look()
    assert read == [20, 19]
    assert made.engine.revisited == [open_swaps[7].swap_id]


async def test_a_journal_that_cannot_be_read_is_read_again(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    made.bob.late = [frozenset({request.payment_hash})]
    late, released_under = looking(made), made.journal.released_under

    async def broken(_: Collection[bytes]) -> Sequence[SwapRecord]:
        raise JournalError("the disk is full")

    monkeypatch.setattr(made.journal, "released_under", broken)
    await late.look()
    assert made.engine.revisited == []
    monkeypatch.setattr(made.journal, "released_under", released_under)
    await late.look()
    assert made.engine.revisited == [request.swap_id]


async def test_a_funding_that_is_seen_before_its_swap_ends_without_it_is_not_forgotten(made: World) -> None:
    request = await made.accept(1)
    made.bob.late = [frozenset({request.payment_hash})]
    late = looking(made)
    await late.look()
    assert made.engine.revisited == []
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    await late.look()
    assert made.engine.revisited == [request.swap_id]


async def test_a_layer_that_is_away_does_not_hold_up_the_others_and_misses_nothing(made: World) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    made.bob.late, made.bob.away = [frozenset({request.payment_hash})], NodeUnreachable("down")
    late = looking(made)
    await late.look()
    assert (made.lightning.asked_since, made.engine.revisited) == ([0], [])
    made.bob.away = None
    await late.look()
    assert (made.bob.asked_since, made.engine.revisited) == ([0], [request.swap_id])


async def test_a_look_that_fails_is_made_again(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await made.accept(1)
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    made.bob.late = [frozenset({request.payment_hash})]
    late, revisit = looking(made), made.engine.revisit

    async def broken(record: SwapRecord) -> SwapRecord:
        raise JournalError("the disk is full")

    monkeypatch.setattr(made.engine, "revisit", broken)
    await late.look()
    monkeypatch.setattr(made.engine, "revisit", revisit)
    await late.look()
    assert made.engine.revisited == [request.swap_id]


async def test_fundings_that_no_swap_has_ended_for_are_forgotten_in_time(made: World) -> None:
    request = await made.accept(1)
    made.bob.late = [frozenset({request.payment_hash})]
    late = looking(made)
    await late.look()
    made.clock.time += REGTEST.funding_window + REGTEST.counter_funding_window + 1
    await late.look()
    await made.engine.move(request.swap_id, UNFUNDED, "released")
    await late.look()
    assert made.engine.revisited == []
