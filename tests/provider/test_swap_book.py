"""The sums of a provider's book are those of its swaps, whatever happened to them, and no money is reserved twice."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pytest

from layer2.legs.timelock_settings import REGTEST
from layer2.model.transactions import Finality, SwapId
from layer2.provider.open_swaps import OpenSwap
from layer2.provider.pricing import Exposure
from layer2.provider.swap_book import Promised, SwapBook
from provider.made_providers import BOB, LIGHTNING, LIMITS

SWAP = OpenSwap(
    version=0,
    payment_hash=bytes(32),
    taker="taker",
    source=BOB,
    destination=LIGHTNING,
    binds_hash=True,
    place_until=math.inf,
    pays=1_000,
    receives=1_100,
    finality=Finality.LATEST,
    at_stake=1_000,
)


def an_id(number: int) -> SwapId:
    return SwapId(f"{number:032x}")


@pytest.mark.parametrize("seed", range(5))
def test_after_any_changes_the_sums_are_those_of_the_swaps(seed: int) -> None:
    chance, book, swaps, now = random.Random(seed), SwapBook(REGTEST), dict[SwapId, OpenSwap](), 100.0
    for step in range(2_000):
        now += chance.random()
        swap_id = an_id(chance.randrange(50))
        new: OpenSwap | None = None
        if chance.random() < 0.8:
            new = replace(
                SWAP,
                version=step + 1,
                payment_hash=bytes([chance.randrange(20)]) * 32,
                taker=chance.choice("abc"),
                source=chance.choice((BOB, LIGHTNING)),
                destination=chance.choice((BOB, LIGHTNING)),
                place_until=chance.choice((0.0, math.inf, now + 10 * chance.random())),
                finality=chance.choice(list(Finality)),
            )
            if not new.has_place:
                new = new.without_place()
        book._put(swap_id, new)
        swaps.pop(swap_id, None)
        if new is not None:
            swaps[swap_id] = new
        open_now = [each for each in swaps.values() if each.place_until >= now]
        for layer in (BOB, LIGHTNING):
            pays = sum(each.pays for each in open_now if each.destination is layer)
            receives = sum(each.receives for each in open_now if each.source is layer)
            uses = sum((each.source is layer) + (each.destination is layer) for each in open_now)
            assert book.promised_on(layer, now, math.inf) == Promised(pays, receives, uses)
            exposure = Exposure()
            for each in swaps.values():
                if each.source is layer:
                    exposure = exposure.plus(each.finality, each.at_stake)
            assert book.exposure_on(layer) == exposure
        assert book._places == len(open_now)
        assert dict(book._takers) == {
            name: count for name in "abc" if (count := sum(each.taker == name for each in open_now))
        }
        under = {each.payment_hash for each in swaps.values()}
        assert {payment_hash for payment_hash in under if book.under(payment_hash)} == under


def test_what_a_swap_no_longer_reserves_counts_until_a_reading_that_began_later() -> None:
    book = SwapBook(REGTEST)
    book.add(an_id(1), SWAP)
    read_before = time.monotonic()
    book._put(an_id(1), replace(SWAP, version=1, pays=0))
    assert book.promised_on(LIGHTNING, 0, read_before) == Promised(1_000, 0, 1)
    assert book.promised_on(LIGHTNING, 0, time.monotonic()) == Promised(0, 0, 1)
    read_before = time.monotonic()
    book._put(an_id(1), None)
    assert book.promised_on(BOB, 0, read_before) == Promised(0, 1_100, 1)
    assert book.promised_on(LIGHTNING, 0, read_before) == Promised(0, 0, 1)
    assert book.promised_on(BOB, 0, time.monotonic()) == Promised()


def test_a_change_that_releases_nothing_counts_once() -> None:
    book = SwapBook(REGTEST)
    book.add(an_id(1), SWAP)
    book._put(an_id(1), replace(SWAP, version=1, place_until=50.0))
    assert book.promised_on(LIGHTNING, 0, 0.0) == Promised(1_000, 0, 1)


def test_a_pending_swap_that_is_withdrawn_releases_everything_at_once() -> None:
    book = SwapBook(REGTEST)
    book.add(an_id(1), SWAP)
    book.withdraw(an_id(1))
    assert an_id(1) not in book
    assert book.promised_on(LIGHTNING, 0, 0.0) == Promised()
    book.check_places(LIMITS, SWAP, 0)


def test_an_open_swap_is_never_withdrawn() -> None:
    book = SwapBook(REGTEST)
    book._put(an_id(1), replace(SWAP, version=1))
    book.withdraw(an_id(1))
    assert an_id(1) in book


def test_a_quote_and_an_acceptance_cost_the_same_with_many_open_swaps() -> None:
    def seconds(count: int) -> float:
        book = SwapBook(REGTEST)
        for number in range(count):
            book.add(an_id(number), replace(SWAP, payment_hash=number.to_bytes(32), place_until=1e9 + number))
        limits = LIMITS.model_copy(update={"max_open_swaps": 10**6, "max_open_swaps_per_taker": 10**6})
        limits = limits.model_copy(update={"max_unfinished_swaps": 10**6})
        times = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(100):
                book.check_places(limits, replace(SWAP, payment_hash=b"\xff" * 32), 0)
                book.exposure_on(BOB)
                book.promised_on(BOB, 0, math.inf)
            times.append(time.perf_counter() - began)
        return min(times)

    assert seconds(20_000) < 20 * seconds(20)


def test_a_place_does_not_end_by_a_version_that_can_be_out_of_date() -> None:
    book = SwapBook(REGTEST)
    book.note_read(99.0)
    book._put(an_id(1), replace(SWAP, version=1, place_until=100.0))
    # Another process may have seen the funding at 99.5.
    assert book.promised_on(LIGHTNING, 101.0, 0.0) == Promised(1_000, 0, 1)
    book.note_read(101.0)
    assert book.promised_on(LIGHTNING, 101.0, 0.0) == Promised()
