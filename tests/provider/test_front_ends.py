"""Several front ends on one journal: each accepts the quotes of the others, and together they keep every limit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import (
    IdempotencyConflict,
    InsufficientFunds,
    InvalidRequest,
    Layer2Error,
    QuoteExpired,
    QuoteRefused,
)
from layer2.legs.leg import Htlc
from layer2.legs.views import Side
from layer2.model.money import BTC, Balance
from layer2.model.transactions import Finality, SwapId
from layer2.provider.pricing import PriceList
from layer2.provider.service import AccessRefused
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import ProviderCounterFunded, ProviderCounterFunding
from layer2.terms.signing import read_signed_terms
from postgres_server import Server, server
from provider.made_providers import BOB, OTHER_TAKERS, PRICE, PRICES, World, token_of, world
from swap_rules.example_terms import AMOUNT, PROVIDER_EVM, STRANGERS_NODE, signed_quote

__all__ = ["server"]

PROMISED = AMOUNT + 50
ROUNDS = 25
NO_EXPOSURE = PriceList(default=PRICE, safe_from=10**12, finalized_from=10**13)
ROOMY: dict[str, Any] = {"max_open_swaps": 1_000, "max_open_swaps_per_taker": 1_000, "max_unfinished_swaps": 1_000}


class Pair:
    """Two front ends, and what takers ask of them."""

    def __init__(self, a: World, b: World) -> None:
        self.a, self.b = a, b

    async def open_at(self, front: World, request: SwapRequest) -> Any:
        """Request terms at one front end, with a quote of either."""
        return await front.provider.open_swap(request, {**self.a.quotes, **self.b.quotes}[request.quote_id])

    async def both(self, first: SwapRequest, second: SwapRequest) -> list[Any]:
        """Request terms at both front ends at the same time."""
        calls = self.open_at(self.a, first), self.open_at(self.b, second)
        return [*await asyncio.gather(*calls, return_exceptions=True)]


@pytest.fixture(params=["postgres", "sqlite"])
async def place(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> str:
    """The place of a new journal. Acceptance is the same on both kinds, though only one is shared by processes."""
    return await server.journal() if request.param == "postgres" else str(tmp_path / "shared.sqlite")


Opening = Callable[..., Awaitable[Pair]]


@pytest.fixture
async def fronts(place: str, tmp_path: Path) -> AsyncIterator[Opening]:
    """Opens two front ends with given limits."""
    async with AsyncExitStack() as stack:

        async def opened(**changes: Any) -> Pair:
            given = {"prices": NO_EXPOSURE, **changes}
            a, b = [await stack.enter_async_context(world(tmp_path, name=name, place=place, **given)) for name in "ab"]
            return Pair(a, b)

        yield opened


def results(answers: list[Any]) -> tuple[list[Any], list[Layer2Error]]:
    """What was accepted and what was refused."""
    unexpected = [each for each in answers if isinstance(each, BaseException) and not isinstance(each, Layer2Error)]
    assert unexpected == []
    refused = [each for each in answers if isinstance(each, Layer2Error)]
    return [each for each in answers if not isinstance(each, Layer2Error)], refused


async def a_request(pair: Pair, front: World, number: int, **changes: Any) -> SwapRequest:
    """A request whose hash and id are those of no other round."""
    request = await front.request(number % 256, taker=OTHER_TAKERS[number % 16], **changes)
    payment_hash = hashlib.sha256(b"%d" % number).digest()
    return replace(
        request,
        swap_id=SwapId(payment_hash[:16].hex()),
        payment_hash=payment_hash,
        destination=front.invoice(payment_hash, changes.get("amount", AMOUNT)),
    )


# Quotes


async def test_a_quote_of_one_front_end_is_accepted_by_the_other(fronts: Opening) -> None:
    pair = await fronts()
    request = await pair.a.request(1)
    terms = read_signed_terms(await pair.open_at(pair.b, request)).terms
    assert (terms.quote_id, terms.amount) == (request.quote_id, AMOUNT)
    assert pair.b.engine.driven == [request.swap_id]


async def test_a_quote_is_accepted_by_a_front_end_whose_clock_is_a_little_behind(fronts: Opening) -> None:
    pair = await fronts()
    request = await pair.a.request(1)
    issued_at = pair.a.quotes[request.quote_id].quote.issued_at
    pair.b.clock.time -= 50
    await pair.b.look()
    assert read_signed_terms(await pair.open_at(pair.b, request)).terms.issued_at == issued_at


QUOTE_CHANGES: dict[str, dict[str, Any]] = {
    "amount": {"amount": AMOUNT * 2},
    "fee": {"provider_fee": 0},
    "expiry": {"valid_until": 2**40},
    "id": {"quote_id": "ab" * 16},
}


@pytest.mark.parametrize("changes", QUOTE_CHANGES.values(), ids=QUOTE_CHANGES.keys())
async def test_a_quote_in_which_a_taker_changed_something_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with world(tmp_path) as made:
        request = await made.request(1)
        signed = made.quotes[request.quote_id]
        forged = replace(signed, quote=replace(signed.quote, **changes))
        with pytest.raises(InvalidRequest) as refused:
            await made.provider.open_swap(replace(request, quote_id=forged.quote.quote_id), forged)
        assert refused.value.code == "quote_signature"
        assert not await made.records()
        assert made.bob.checked == made.lightning.checked == []


async def test_a_quote_of_another_key_or_network_or_account_is_refused_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        request = await made.request(1)
        quote = made.quotes[request.quote_id].quote
        theirs = signed_quote(replace(quote, provider=STRANGERS_NODE.public_key.format()[1:]), STRANGERS_NODE)
        as_ours = signed_quote(quote, STRANGERS_NODE)
        of_mainnet = signed_quote(replace(quote, network="mainnet"))
        for forged, code in ((theirs, "quote_signature"), (as_ours, "quote_signature"), (of_mainnet, "quote_network")):
            with pytest.raises(InvalidRequest) as refused:
                await made.provider.open_swap(request, forged)
            assert refused.value.code == code
        # Another deployment with the same key: its accounts differ.
        assert quote.source.protocol is BOB
        elsewhere = signed_quote(replace(quote, source=replace(quote.source, account=b"\x77" * 20)))  # type: ignore[type-var]  # a dataclass
        with pytest.raises(QuoteExpired, match="BOB"):
            await made.provider.open_swap(request, elsewhere)
        assert PROVIDER_EVM != b"\x77" * 20
        assert not await made.records()


async def test_a_request_that_names_another_quote_than_it_carries_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        first, second = await made.request(1), await made.request(2)
        with pytest.raises(InvalidRequest) as refused:
            await made.provider.open_swap(first, made.quotes[second.quote_id])
        assert refused.value.code == "quote_id"


async def test_one_request_at_both_front_ends_at_once_is_one_swap_with_the_same_terms(fronts: Opening) -> None:
    pair = await fronts(**ROOMY)
    for number in range(ROUNDS):
        request = await a_request(pair, pair.a, number)
        accepted, refused = results(await pair.both(request, request))
        assert {each.code for each in refused} <= {"busy"}
        for front in (pair.a, pair.b):
            accepted.append(await pair.open_at(front, request))
        assert all(each == accepted[0] for each in accepted)
    assert len(await pair.a.records()) == ROUNDS
    await check_books(pair)


async def test_one_quote_for_two_swaps_at_once_is_one_swap(fronts: Opening) -> None:
    pair = await fronts(**ROOMY)
    for number in range(ROUNDS):
        first = await a_request(pair, pair.a, number)
        second = replace(await a_request(pair, pair.b, number + ROUNDS), quote_id=first.quote_id)
        accepted, refused = results(await pair.both(first, second))
        assert len(accepted) == 1
        assert refused[0].code in ("swap_conflict", "quote_expired")
        for front, request in ((pair.a, first), (pair.b, second)):
            if read_signed_terms(accepted[0]).terms.swap_id != request.swap_id:
                with pytest.raises(QuoteExpired):
                    await pair.open_at(front, request)
    await check_books(pair)


# Limits


async def check_books(pair: Pair) -> None:
    """Check that both front ends count every open swap once, and that nothing is left of what was refused."""
    written = {each.swap_id for each in await pair.a.records()}
    for front in (pair.a, pair.b):
        await front.book.read_others(front.journal)
        assert set(front.book._swaps) == written
        assert not any(front.book.is_pending(each) for each in written)
        assert front.provider._quotes._bound == {}
    assert len(pair.a.bob.reserved) + len(pair.b.bob.reserved) == len(written)
    assert len(pair.a.lightning.reserved) + len(pair.b.lightning.reserved) == len(written)


async def test_the_last_place_goes_to_one_of_two_front_ends(fronts: Opening) -> None:
    pair = await fronts(**ROOMY | {"max_open_swaps": ROUNDS})
    accepted: list[Any] = []
    for number in range(ROUNDS):
        # Each round both want the last place.
        for front in (pair.a, pair.b):
            front.provider._acceptance.limits = front.provider.limits.model_copy(update={"max_open_swaps": number + 1})
        first, second = await a_request(pair, pair.a, 2 * number), await a_request(pair, pair.b, 2 * number + 1)
        made, refused = results(await pair.both(first, second))
        assert len(made) == 1
        assert refused[0].code == "too_many_swaps"
        accepted += made
        assert len(await pair.a.records()) == number + 1
    await check_books(pair)


async def test_the_last_money_goes_to_one_of_two_front_ends(fronts: Opening) -> None:
    pair = await fronts(**ROOMY)
    for number in range(ROUNDS):
        for front in (pair.a, pair.b):
            front.lightning.balances = {BTC: Balance((number + 2) * PROMISED - 1, receivable=0)}
        first, second = await a_request(pair, pair.a, 2 * number), await a_request(pair, pair.b, 2 * number + 1)
        made, refused = results(await pair.both(first, second))
        assert len(made) == 1
        assert isinstance(refused[0], InsufficientFunds)
    assert len(await pair.a.records()) == ROUNDS
    await check_books(pair)


async def test_the_last_exposure_goes_to_one_of_two_front_ends(fronts: Opening) -> None:
    large = 300_000
    pair = await fronts(**ROOMY, prices=PRICES)
    first, second = await a_request(pair, pair.a, 1, amount=large), await a_request(pair, pair.b, 2, amount=large)
    for request in (first, second):
        quotes = {**pair.a.quotes, **pair.b.quotes}
        assert quotes[request.quote_id].quote.source.finality is Finality.LATEST
    made, refused = results(await pair.both(first, second))
    assert len(made) == 1
    assert isinstance(refused[0], QuoteExpired)
    await check_books(pair)


async def test_one_payment_hash_at_both_front_ends_at_once_is_one_swap(fronts: Opening) -> None:
    pair = await fronts(**ROOMY)
    for number in range(ROUNDS):
        first = await a_request(pair, pair.a, number)
        second = await a_request(pair, pair.b, number)
        made, refused = results(await pair.both(first, replace(second, swap_id=SwapId(f"{number:032x}"))))
        assert len(made) == 1
        assert refused[0].code == "payment_hash_used"
    assert len(await pair.a.records()) == ROUNDS
    await check_books(pair)


async def test_many_swaps_at_both_front_ends_at_once_take_every_place_and_no_more(fronts: Opening) -> None:
    places = 30
    pair = await fronts(**ROOMY | {"max_open_swaps": places})
    requests = [
        await a_request(pair, front, 2 * number + at)
        for number in range(30)
        for at, front in enumerate((pair.a, pair.b))
    ]
    calls = [opened_when_free(pair, front, each) for each, front in zip(requests, (pair.a, pair.b) * 30, strict=True)]
    made, refused = results(await asyncio.gather(*calls, return_exceptions=True))
    assert {each.code for each in refused} == {"too_many_swaps"}
    assert len(await pair.a.records()) == len(made) == places
    await check_books(pair)


async def opened_when_free(pair: Pair, front: World, request: SwapRequest) -> Any:
    """Request terms, again while the front end is busy."""
    while True:
        try:
            return await pair.open_at(front, request)
        except QuoteRefused as error:
            if error.code != "busy":
                raise
            await asyncio.sleep(0.01)


async def test_a_swap_that_the_other_front_end_accepted_during_the_nodes_checks_counts(
    fronts: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await fronts(**ROOMY)
    for front in (pair.a, pair.b):
        front.lightning.balances = {BTC: Balance(2 * PROMISED - 1, receivable=0)}
    first, second = await a_request(pair, pair.a, 1), await a_request(pair, pair.b, 2)
    reached, released = asyncio.Event(), asyncio.Event()
    check = pair.a.bob.check_can_finish

    async def held(htlc: Htlc, side: Side) -> None:
        reached.set()
        await released.wait()
        await check(htlc, side)

    monkeypatch.setattr(pair.a.bob, "check_can_finish", held)
    waiting = asyncio.create_task(pair.open_at(pair.a, first))
    await asyncio.wait_for(reached.wait(), 10)
    await pair.open_at(pair.b, second)
    # As the periodic read does, so that the book has the swap before this one is written.
    await pair.a.book.read_others(pair.a.journal)
    released.set()
    with pytest.raises(InsufficientFunds):
        await waiting
    await check_books(pair)


async def test_money_that_left_for_a_swap_of_the_other_front_end_is_not_promised_again(fronts: Opening) -> None:
    pair = await fronts(**ROOMY)
    for front in (pair.a, pair.b):
        front.lightning.balances = {BTC: Balance(PROMISED, receivable=0)}
    first, second = await a_request(pair, pair.a, 1), await a_request(pair, pair.b, 2)
    await pair.open_at(pair.a, first)
    # It is paid before the other front end has read anything of it, and that one's balance is from before.
    await pair.a.engine.move(first.swap_id, ProviderCounterFunding("0x01"), "counter-funding")
    paid = await pair.a.engine.move(first.swap_id, ProviderCounterFunded("0x01", "02"), "counter-funded")
    for announced in (False, True):
        if announced:
            pair.b.book.update(paid)
        with pytest.raises(InsufficientFunds):
            await pair.open_at(pair.b, second)
    pair.b.lightning.balances = {BTC: Balance(PROMISED, receivable=0)}
    await pair.b.look()
    await pair.open_at(pair.b, second)


# What takers read


async def test_every_front_end_shows_a_swap_to_its_taker_and_to_nobody_else(fronts: Opening) -> None:
    pair = await fronts()
    request = await pair.a.request(1)
    await pair.open_at(pair.a, request)
    seen = [await front.provider.status(request.swap_id, token_of(1)) for front in (pair.a, pair.b)]
    assert seen[0] == seen[1]
    with pytest.raises(AccessRefused):
        await pair.b.provider.status(request.swap_id, token_of(2))


async def test_a_repeated_request_gets_its_terms_at_every_front_end_after_the_quote_has_expired(
    fronts: Opening,
) -> None:
    pair = await fronts()
    request = await pair.a.request(1)
    terms = await pair.open_at(pair.a, request)
    pair.b.clock.time += 1_000
    assert await pair.open_at(pair.b, request) == terms
    with pytest.raises(IdempotencyConflict):
        await pair.open_at(pair.b, replace(request, access_hash=bytes(32)))
