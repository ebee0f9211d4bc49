"""What a transfer may cost: the limit always holds, amounts from either side, and offers before any quote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import (
    ConfigurationError,
    InvalidRequest,
    NodeUnreachable,
    ProtocolNotConfigured,
    QuoteRefused,
    TermsRefused,
)
from layer2.model.layers import Layer2ProtocolType
from layer2.terms.transfers import TransferState
from manager.fakes import AMOUNT, BOB, REQUEST, ROOTSTOCK, World, world


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as each:
        yield each


async def test_without_a_limit_the_fee_may_be_one_percent_and_twice_the_estimated_network_costs(made: World) -> None:
    quote = await made.taker.quoter.quote(made.asked_for(max_fee=None))
    assert quote.max_fee == AMOUNT // 100 + 2 * (25 + 25)
    made.provider.base_fee = quote.max_fee + 1
    with pytest.raises(QuoteRefused) as refused:
        await made.taker.quoter.quote(made.asked_for(max_fee=None))
    assert refused.value.code == "max_fee"


async def test_without_an_estimate_a_limit_is_required_and_no_provider_is_asked(made: World) -> None:
    made.legs[ROOTSTOCK].cost = None
    with pytest.raises(InvalidRequest) as refused:
        await made.taker.quoter.quote(made.asked_for(max_fee=None))
    assert refused.value.code == "max_fee_required"
    assert made.provider.quoted == []
    assert (await made.taker.quoter.quote(REQUEST)).max_fee == REQUEST.max_fee


async def test_a_quote_states_what_both_networks_cost_or_that_it_is_not_known(made: World) -> None:
    assert (await made.taker.quoter.quote(REQUEST)).network_cost == 25 + 25
    made.legs[ROOTSTOCK].cost = None
    assert (await made.taker.quoter.quote(REQUEST)).network_cost is None


async def test_a_quote_keeps_the_limit_that_it_was_checked_against(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    dearer = replace(quote, max_fee=quote.fee - 1)
    with pytest.raises(QuoteRefused):
        await made.taker.start(dearer, None, made.ends_in())
    assert made.provider.requests == []


async def test_the_amount_that_leaves_can_be_given_instead(made: World) -> None:
    request = made.asked_for(amount=None, send_amount=AMOUNT)
    quote = await made.taker.quoter.quote(request)
    assert (quote.send_amount, quote.receive_amount) == (AMOUNT, AMOUNT - 420)
    assert (await made.taker.begin(request, "sweep", made.ends_in())).state is TransferState.AGREED
    assert (await made.taker.begin(request, "sweep", made.ends_in())).request == request


@pytest.mark.parametrize("amounts", [(None, None), (AMOUNT, AMOUNT)])
async def test_exactly_one_amount_is_given(made: World, amounts: tuple[int | None, int | None]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await made.taker.quoter.quote(made.asked_for(amount=amounts[0], send_amount=amounts[1]))
    assert refused.value.code == "amount"


async def test_the_cheapest_of_several_offers_is_taken_from_either_side(tmp_path: Path) -> None:
    async with world(tmp_path, fees=(420, 300, 999)) as made:
        assert (await made.taker.quoter.quote(REQUEST)).provider_name == "provider-1"
        by_sent = await made.taker.quoter.quote(made.asked_for(amount=None, send_amount=AMOUNT))
        assert (by_sent.provider_name, by_sent.receive_amount) == ("provider-1", AMOUNT - 300)


async def test_one_provider_that_is_away_does_not_hide_the_others(tmp_path: Path) -> None:
    async with world(tmp_path, fees=(420, 300)) as made:
        made.providers[1].failures["quote"] = [NodeUnreachable("away")]
        made.providers[1].failures["info"] = [NodeUnreachable("away")]
        assert (await made.taker.quoter.quote(REQUEST)).provider_name == "provider-0"
        assert [pair.provider_name for pair in await made.taker.quoter.pairs()] == ["provider-0"]


async def test_one_provider_that_is_silent_does_not_use_up_the_time_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.manager.quoting._LONGEST_ANSWER_SECONDS", 0.02)
    async with world(tmp_path, fees=(420, 300)) as made:
        made.providers[1].silent = True
        assert (await made.taker.quoter.quote(REQUEST)).provider_name == "provider-0"
        assert [pair.provider_name for pair in await made.taker.quoter.pairs()] == ["provider-0"]
        made.providers[0].silent = True
        with pytest.raises(QuoteRefused, match="'provider-1' did not answer within"):
            await made.taker.quoter.quote(REQUEST)


def refusal(code: str, seconds: float) -> QuoteRefused:
    refused = QuoteRefused(f"the provider refused ({code})", code=code, retryable=True)
    refused.retry_after = seconds
    return refused


async def test_a_busy_provider_is_asked_again_after_the_pause_that_it_names(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    made.provider.failures["quote"] = [refusal("busy", 0.05), refusal("busy", 0.05)]
    await made.taker.quoter.quote(REQUEST)
    assert len(made.provider.quoted) == 3
    made.provider.failures["quote"] = [refusal("busy", 10)]
    with pytest.raises(QuoteRefused) as refused:
        await made.taker.quoter.quote(REQUEST)
    assert refused.value.code == "busy"


async def test_a_provider_that_is_not_ready_does_not_delay_the_answer(made: World) -> None:
    made.provider.failures["quote"] = [refusal("not_ready", 0.05)]
    with pytest.raises(QuoteRefused):
        await made.taker.quoter.quote(REQUEST)
    assert len(made.provider.quoted) == 1


async def test_refusals_of_all_are_listed_and_retryable_where_one_is(tmp_path: Path) -> None:
    async with world(tmp_path, fees=(420, 300)) as made:
        made.providers[0].failures["quote"] = [TermsRefused("forged")]
        made.providers[1].failures["quote"] = [NodeUnreachable("away")]
        with pytest.raises(QuoteRefused) as refused:
            await made.taker.quoter.quote(REQUEST)
    assert "forged" in refused.value.message
    assert "away" in refused.value.message
    assert refused.value.retryable


async def test_limits_fees_and_durations_are_known_before_a_quote(made: World) -> None:
    (pair,) = await made.taker.quoter.pairs()
    assert (pair.source, pair.destination) == (BOB, ROOTSTOCK)
    assert (pair.min_amount, pair.max_amount, pair.fee(100_000)) == (10_000, 4_000_000, 120 + 300 + 50)
    assert (pair.collect_by, pair.known, pair.source_deadline, pair.worst) == (900, 1_000, 1_100, 1_200)


async def test_a_provider_that_is_not_configured_starts_nothing(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    with pytest.raises(ConfigurationError):
        await made.taker.start(replace(quote, provider_name="gone"), None, made.ends_in())


async def test_a_layer_that_is_not_configured_is_named(made: World) -> None:
    with pytest.raises(ProtocolNotConfigured, match=r"\[lightning\]"):
        await made.taker.quoter.quote(made.asked_for(destination=Layer2ProtocolType.LIGHTNING))
