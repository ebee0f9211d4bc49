"""Swaps that are being accepted at the same time: each place, hash and satoshi is reserved once, and none is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import IdempotencyConflict, InsufficientFunds, JournalError, Layer2Error, QuoteRefused
from layer2.legs.leg import Htlc
from layer2.legs.views import Side
from layer2.model.money import BTC, Balance
from layer2.model.transactions import SwapId
from layer2.ports.journal import SwapRecord
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import ProviderCollecting, ProviderCounterFunded, ProviderCounterFunding
from layer2.terms.signing import read_signed_terms
from provider.made_providers import BOB, LIGHTNING, OTHER_TAKERS, SetLayer, World, until, world
from swap_rules.example_terms import AMOUNT

PROMISED = AMOUNT + 50
OTHER_ID = SwapId("cd" * 16)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


class Held:
    """Holds a layer's last check until the test releases it."""

    def __init__(self, layer: SetLayer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.released = asyncio.Event(), asyncio.Event()
        self._check = layer.check_can_finish
        monkeypatch.setattr(layer, "check_can_finish", self._held)

    async def _held(self, htlc: Htlc, side: Side) -> None:
        self.reached.set()
        await self.released.wait()
        await self._check(htlc, side)


@pytest.fixture
def held(made: World, monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(made.bob, monkeypatch)


async def answers(made: World, *requests: SwapRequest) -> list[Any]:
    calls = (made.open_swap(request) for request in requests)
    return await asyncio.gather(*calls, return_exceptions=True)


# At the same time


async def test_the_nodes_are_asked_for_many_swaps_at_the_same_time(made: World, held: Held) -> None:
    requests = [await made.request(number, taker=OTHER_TAKERS[number]) for number in (1, 2, 3)]
    calls = [asyncio.create_task(made.open_swap(request)) for request in requests]
    # With one at a time the second would wait for the first.
    await until(lambda: len(made.lightning.checked) == 3)
    held.released.set()
    await asyncio.gather(*calls)
    assert len(await made.records()) == 3


async def test_both_nodes_are_asked_at_the_same_time(made: World, held: Held) -> None:
    call = asyncio.create_task(made.open_swap(await made.request(1)))
    await asyncio.wait_for(held.reached.wait(), 10)
    await until(lambda: made.lightning.checked)
    held.released.set()
    await call


async def test_two_swaps_that_race_for_the_last_money_are_one_swap_and_one_refusal(made: World) -> None:
    made.lightning.balances = {BTC: Balance(2 * PROMISED - 1, receivable=0)}
    requests = [await made.request(number, taker=OTHER_TAKERS[number]) for number in (1, 2)]
    first, second = await answers(made, *requests)
    assert isinstance(first, dict)
    assert isinstance(second, InsufficientFunds)
    assert len(await made.records()) == 1


async def test_two_swaps_that_race_for_the_last_place_are_one_swap_and_one_refusal(tmp_path: Path) -> None:
    async with world(tmp_path, max_open_swaps=1) as made:
        requests = [await made.request(number, taker=OTHER_TAKERS[number]) for number in (1, 2)]
        _, second = await answers(made, *requests)
        assert (second.code, second.retryable) == ("too_many_swaps", True)
        assert second.retry_after > 0


async def test_a_pending_swap_binds_its_hash_against_another_id(made: World, held: Held) -> None:
    first = asyncio.create_task(made.open_swap(await made.request(1)))
    await asyncio.wait_for(held.reached.wait(), 10)
    with pytest.raises(IdempotencyConflict) as refused:
        await made.open_swap(replace(await made.request(1), swap_id=OTHER_ID))
    assert refused.value.code == "payment_hash_used"
    held.released.set()
    await first
    assert len(await made.records()) == 1


async def test_another_request_under_the_id_of_a_pending_swap_is_a_conflict(made: World, held: Held) -> None:
    request = await made.request(1)
    other = replace(await made.request(2), swap_id=request.swap_id)
    first = asyncio.create_task(made.open_swap(request))
    await asyncio.wait_for(held.reached.wait(), 10)
    second = asyncio.create_task(made.open_swap(other))
    held.released.set()
    await first
    with pytest.raises(IdempotencyConflict) as refused:
        await second
    assert refused.value.code == "swap_conflict"


async def test_a_quote_starts_one_swap_also_at_the_same_time(made: World) -> None:
    first = await made.request(1)
    second = replace(await made.request(2, taker=OTHER_TAKERS[0]), quote_id=first.quote_id)
    results = await answers(made, first, second)
    assert sorted(isinstance(each, Layer2Error) for each in results) == [False, True]
    assert len(await made.records()) == 1
    await made.accept(3, taker=OTHER_TAKERS[1])


async def test_a_pending_swap_counts_towards_the_exposure_of_its_source(made: World, held: Held) -> None:
    before = made.book.exposure_on(BOB).latest
    call = asyncio.create_task(made.open_swap(await made.request(1)))
    await asyncio.wait_for(held.reached.wait(), 10)
    assert made.book.exposure_on(BOB).latest == before + AMOUNT
    held.released.set()
    await call
    assert made.book.exposure_on(BOB).latest == before + AMOUNT


# Cancellation and failure


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncIterator[World]:
    """A provider with room for many swaps."""
    async with world(
        tmp_path,
        max_open_swaps=1_000,
        max_open_swaps_per_taker=1_000,
        max_unfinished_swaps=1_000,
    ) as built:
        built.lightning.balances = {BTC: Balance(10**9, receivable=0)}
        yield built


async def check_nothing_is_lost(made: World, written: set[SwapId]) -> None:
    """Check that exactly these swaps are in the journal, and that exactly they are reserved and driven."""
    assert {each.swap_id for each in await made.records()} == written
    assert set(made.engine.driven) == written
    assert set(made.book._swaps) == written
    assert len(made.bob.reserved) == len(made.lightning.reserved) == len(written)
    promised = made.book.promised_on(LIGHTNING, made.clock.now(), 0.0)
    assert (promised.pays, promised.swaps) == (PROMISED * len(written), len(written))


async def test_a_caller_that_leaves_at_any_moment_leaks_no_place_and_loses_no_swap(roomy: World) -> None:
    written: set[SwapId] = set()
    for steps in range(40):
        request = await roomy.request(steps)
        call = asyncio.create_task(roomy.open_swap(request))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await until(lambda: not roomy.provider._under_way)
        # The acceptance continues without its caller, unless it had not begun.
        if steps:
            written.add(request.swap_id)
        await check_nothing_is_lost(roomy, written)


async def test_an_acceptance_that_is_cancelled_at_any_moment_is_undone_or_complete(roomy: World) -> None:
    written: set[SwapId] = set()
    undone = 0
    for steps in range(60):
        request = await roomy.request(steps)
        quote = roomy.quotes[request.quote_id].quote
        accepting = asyncio.create_task(roomy.provider._acceptance.accept(quote, request))
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps > 30:
            await asyncio.sleep((steps - 30) * 0.0001)
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        if await roomy.journal.load(request.swap_id) is not None:
            written.add(request.swap_id)
        else:
            undone += 1
        await check_nothing_is_lost(roomy, written)
    assert undone > 1
    assert len(written) > 1


async def test_a_create_that_is_cancelled_while_it_is_written_is_looked_up(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, accept = await made.request(1), made.journal.accept
    written = asyncio.Event()

    async def slow(record: SwapRecord, *decided: Any) -> SwapRecord | None:
        await accept(record, *decided)
        written.set()
        await asyncio.Event().wait()
        return record

    monkeypatch.setattr(made.journal, "accept", slow)
    quote = made.quotes[request.quote_id].quote
    accepting = asyncio.create_task(made.provider._acceptance.accept(quote, request))
    await asyncio.wait_for(written.wait(), 10)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    await check_nothing_is_lost(made, {request.swap_id})


async def test_a_commit_whose_answer_is_lost_is_looked_up_and_the_swap_is_driven(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, accept = await made.request(1), made.journal.accept

    async def lost(record: SwapRecord, *decided: Any) -> SwapRecord:
        await accept(record, *decided)
        raise JournalError("disk I/O error")

    monkeypatch.setattr(made.journal, "accept", lost)
    terms = await made.open_swap(request)
    assert made.engine.driven == [request.swap_id]
    assert await made.open_swap(request) == terms


async def test_a_swap_whose_outcome_is_unknown_stays_reserved_until_the_journal_answers(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.provider.acceptance._LOOK_AGAIN_SECONDS", 0.01)
    request, load = await made.request(1), made.journal.load
    is_broken, asked = False, asyncio.Event()

    async def broken(*_: Any) -> SwapRecord:
        nonlocal is_broken
        is_broken = True
        raise JournalError("disk I/O error")

    async def load_or_fail(swap_id: SwapId) -> SwapRecord | None:
        if is_broken:
            asked.set()
            raise JournalError("disk I/O error")
        return await load(swap_id)

    monkeypatch.setattr(made.journal, "accept", broken)
    monkeypatch.setattr(made.journal, "load", load_or_fail)
    call = asyncio.create_task(made.open_swap(request))
    await asyncio.wait_for(asked.wait(), 10)
    assert made.book.promised_on(LIGHTNING, made.clock.now(), 0.0).pays == PROMISED
    is_broken = False
    with pytest.raises(JournalError):
        await call
    assert request.swap_id not in made.book
    assert made.bob.reserved == made.lightning.reserved == set()


async def test_a_journal_that_writes_slowly_is_a_refusal_that_can_be_retried_and_the_swap_stays_reserved(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.provider.service._LONGEST_ACCEPTANCE_SECONDS", 0.1)
    request, accept, released = await made.request(1), made.journal.accept, asyncio.Event()

    async def slow(record: SwapRecord, *decided: Any) -> SwapRecord | None:
        await released.wait()
        return await accept(record, *decided)

    monkeypatch.setattr(made.journal, "accept", slow)
    for _ in range(2):
        with pytest.raises(QuoteRefused, match="answers too late") as refused:
            await made.open_swap(request)
        assert (refused.value.code, refused.value.retryable) == ("not_ready", True)
        assert made.book.promised_on(LIGHTNING, made.clock.now(), 0.0).pays == PROMISED
    released.set()
    monkeypatch.setattr("layer2.provider.service._LONGEST_ACCEPTANCE_SECONDS", 10)
    assert read_signed_terms(await made.open_swap(request)).terms.swap_id == request.swap_id
    await check_nothing_is_lost(made, {request.swap_id})


async def test_nodes_that_answer_too_late_are_a_refusal_that_can_be_retried(
    made: World, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.provider.acceptance._LONGEST_CHECKS_SECONDS", 0.05)
    request = await made.request(1)
    with pytest.raises(QuoteRefused) as refused:
        await made.open_swap(request)
    assert (refused.value.code, refused.value.retryable) == ("not_ready", True)
    assert request.swap_id not in made.book
    held.released.set()
    await made.open_swap(request)


# The end and the start


async def test_draining_waits_for_a_pending_swap_and_names_when_to_be_back(made: World, held: Held) -> None:
    request = await made.request(1)
    call = asyncio.create_task(made.open_swap(request))
    await asyncio.wait_for(held.reached.wait(), 10)
    draining = asyncio.create_task(made.provider.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    held.released.set()
    await draining
    assert read_signed_terms(await call).terms.swap_id == request.swap_id
    assert len(await made.records()) == 1


async def test_a_restart_counts_the_swaps_that_are_open(made: World, tmp_path: Path) -> None:
    first = await made.accept(1)
    await made.accept(2, taker=OTHER_TAKERS[1])
    await made.engine.move(first.swap_id, ProviderCounterFunding("0x01"), "counter-funding")
    async with world(tmp_path, name="restarted", max_open_swaps=3) as restarted:
        restarted.lightning.balances = {BTC: Balance(3 * PROMISED, receivable=0)}
        assert restarted.book.exposure_on(BOB) == made.book.exposure_on(BOB)
        with pytest.raises(IdempotencyConflict):
            await restarted.open_swap(replace(await restarted.request(1), swap_id=OTHER_ID))
        await restarted.accept(3, taker=OTHER_TAKERS[3])
        with pytest.raises(Layer2Error) as refused:
            await restarted.open_swap(await restarted.request(4, taker=OTHER_TAKERS[4]))
        assert refused.value.code == "too_many_swaps"


# Balances


async def test_money_that_left_after_the_reading_is_not_promised_a_second_time(made: World) -> None:
    made.lightning.balances = {BTC: Balance(PROMISED, receivable=0)}
    first, second = await made.request(1), await made.request(2, taker=OTHER_TAKERS[2])
    await made.open_swap(first)
    made.lightning.balances = {BTC: Balance(0, receivable=0)}
    # The swap is paid, so it reserves nothing, and the reading is from before.
    await made.engine.move(first.swap_id, ProviderCounterFunded("0x01", "02"), "counter-funded")
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.open_swap(second)
    made.lightning.balances = {BTC: Balance(PROMISED, receivable=0)}
    await made.look()
    await made.open_swap(second)


async def test_a_reading_that_began_before_the_money_left_and_ends_later_does_not_count(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.lightning.balances = {BTC: Balance(PROMISED, receivable=0)}
    first, second = await made.request(1), await made.request(2, taker=OTHER_TAKERS[2])
    await made.open_swap(first)
    reached, released = asyncio.Event(), asyncio.Event()
    read = made.lightning.balances_async

    async def slow() -> Any:
        balances = await read()
        reached.set()
        await released.wait()
        return balances

    monkeypatch.setattr(made.lightning, "balances_async", slow)
    looking = asyncio.create_task(made.look())
    await asyncio.wait_for(reached.wait(), 10)
    await made.engine.move(first.swap_id, ProviderCollecting("0x01", "02", has_arrived=False), "collecting")
    released.set()
    await looking
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.open_swap(second)


async def test_a_reading_that_is_too_old_is_read_again_before_a_swap_is_accepted(made: World) -> None:
    request = await made.request(1)
    made.lightning.balances = {BTC: Balance(0, receivable=0)}
    made.clock.time += 5
    with pytest.raises(InsufficientFunds):
        await made.open_swap(request)


async def test_a_quote_and_an_acceptance_list_no_swaps_and_read_no_balances(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await made.request(1)

    async def not_now(*_: object, **__: object) -> Any:
        raise AssertionError("this grows with the number of open swaps")

    monkeypatch.setattr(made.journal, "list", not_now)
    monkeypatch.setattr(made.bob, "balances_async", not_now)
    monkeypatch.setattr(made.lightning, "balances_async", not_now)
    await made.quote()
    await made.open_swap(request)
