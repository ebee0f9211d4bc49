"""Requests of strangers, failing nodes and moving clocks must not stop a provider, nor bind more than they may."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import IdempotencyConflict, JournalError, Layer2Error, NodeUnreachable, QuoteExpired, QuoteRefused
from layer2.model.money import BTC, Balance
from layer2.model.transactions import SwapId
from layer2.provider import acceptance, nodes
from layer2.provider.admission import Admission
from layer2.provider.pricing import PriceList
from provider.made_providers import BOB, LIGHTNING, PRICE, ROOTSTOCK, world

MANY = PriceList(default=PRICE, safe_from=10**12, finalized_from=10**13)


async def hang() -> object:
    await asyncio.sleep(3_600)
    raise AssertionError("unreachable")


async def test_a_node_that_does_not_answer_holds_up_no_quote_of_another_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_LONGEST_READ_SECONDS", 0.3)
    async with world(tmp_path, layers=(BOB, LIGHTNING, ROOTSTOCK), max_acceptances=2) as made:
        monkeypatch.setattr(made.layers[ROOTSTOCK], "balances_async", hang)
        made.nodes.doubt(ROOTSTOCK)
        strangers = [asyncio.create_task(made.quote(ROOTSTOCK, BOB)) for _ in range(8)]
        await asyncio.sleep(0.05)
        for _ in range(5):
            await made.quote(BOB, LIGHTNING)
        refused = await asyncio.gather(*strangers, return_exceptions=True)
        assert {each.code for each in refused if isinstance(each, QuoteRefused)} == {"not_ready"}
        # From now on, and also when that reading is old, the refusal is immediate.
        made.clock.time += 60
        await made.nodes.problem((BOB, LIGHTNING))
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(QuoteRefused):
                await made.quote(ROOTSTOCK, BOB)
        assert time.monotonic() - began < 0.3


async def test_an_internal_error_of_one_client_makes_only_its_layer_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> object:
        raise ValueError("a fault")

    async with world(tmp_path, layers=(BOB, LIGHTNING, ROOTSTOCK)) as made:
        monkeypatch.setattr(made.layers[ROOTSTOCK], "balances_async", broken)
        made.nodes.doubt(ROOTSTOCK)
        assert (await made.provider.info())["health"] == {
            "ready": True,
            "reason": "the provider's ROOTSTOCK node is not ready",
        }


async def test_one_quote_makes_the_nodes_work_for_one_swap(tmp_path: Path) -> None:
    async with world(tmp_path, prices=MANY, max_open_swaps_per_taker=100) as made:
        made.lightning.balances = {BTC: Balance(10**9, receivable=10**9)}
        made.bob.balances[BTC] = Balance(10**9)
        first = await made.request(1, LIGHTNING)
        requests = [
            replace(first, swap_id=SwapId(f"{number:032x}"), payment_hash=hashlib.sha256(b"%d" % number).digest())
            for number in range(30)
        ]
        ended = await asyncio.gather(*(made.open_swap(each) for each in requests), return_exceptions=True)
        assert sum(not isinstance(each, BaseException) for each in ended) == 1
        codes = {each.code for each in ended if isinstance(each, Layer2Error)}
        assert codes <= {"swap_conflict", "quote_expired"}
        assert len(made.lightning.offered) == 1
        assert len(await made.records()) == 1


async def test_a_quote_whose_swap_failed_can_be_used_by_another_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as made:
        request = await made.request(1)

        async def refuses(*_: object) -> None:
            raise NodeUnreachable("away")

        with monkeypatch.context() as patch:
            patch.setattr(made.lightning, "check_can_finish", refuses)
            with pytest.raises(NodeUnreachable):
                await made.open_swap(request)
        await made.look()
        await made.open_swap(replace(request, swap_id=SwapId("f" * 32)))


async def test_a_quote_that_expires_while_a_node_is_read_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as made:
        request = await made.request(1)
        made.clock.time = made.quotes[request.quote_id].quote.valid_until
        made.nodes.doubt(BOB, LIGHTNING)
        read = made.bob.balances_async

        async def slow() -> object:
            made.clock.time += 3
            return await read()

        monkeypatch.setattr(made.bob, "balances_async", slow)
        with pytest.raises(QuoteExpired):
            await made.open_swap(request)


async def test_a_quote_of_the_future_is_refused_once_the_clock_was_set_back(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        ahead = await made.request(1)
        made.clock.time -= 3_600
        await made.look()
        with pytest.raises(QuoteExpired):
            await made.open_swap(ahead)
        await made.accept(2)


async def test_refused_requests_do_not_lengthen_the_pause_without_end() -> None:
    admission = Admission(64)
    refusals = [admission._busy() for _ in range(60_000)]
    assert max(each.retry_after or 0 for each in refusals) <= 30
    await asyncio.sleep(0)
    assert admission._next_free_at - asyncio.get_running_loop().time() <= 30


async def test_a_check_that_was_cancelled_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> None:
        raise asyncio.CancelledError

    async with world(tmp_path) as made:
        request = await made.request(1)
        monkeypatch.setattr(made.lightning, "check_can_finish", gone)
        with pytest.raises(NodeUnreachable, match="cancelled"):
            await made.open_swap(request)
        assert not await made.records()


async def test_an_acceptance_that_is_cancelled_ends_though_the_journal_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "_LOOK_AGAIN_SECONDS", 0.01)
    async with world(tmp_path) as made:
        request, reached = await made.request(1), asyncio.Event()
        quote = made.quotes[request.quote_id].quote

        async def stalled(*_: object) -> object:
            reached.set()
            return await hang()

        async def closed(_: object) -> object:
            raise JournalError("the journal is closed")

        monkeypatch.setattr(made.journal, "accept", stalled)
        accepting = asyncio.create_task(made.provider._acceptance.accept(quote, request))
        await reached.wait()
        with monkeypatch.context() as patch:
            patch.setattr(made.journal, "load", closed)
            accepting.cancel()
            async with asyncio.timeout(5):
                with pytest.raises(asyncio.CancelledError):
                    await accepting
        # Its outcome is unknown, so it stays reserved.
        assert request.swap_id in made.book
        with pytest.raises(IdempotencyConflict):
            await made.provider._acceptance.accept(quote, replace(request, swap_id=SwapId("e" * 32)))
