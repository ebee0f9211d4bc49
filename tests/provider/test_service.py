from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import (
    BadAnswer,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidRequest,
    JournalError,
    Layer2Error,
    NodeUnreachable,
    QuoteExpired,
    QuoteRefused,
    UnknownTransfer,
)
from layer2.formats.evm_address import to_checksum
from layer2.formats.signed_terms import check_quote_signature, read_signed_terms
from layer2.interfaces import Role
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, ETH, Balance
from layer2.provider.service import swap_tag
from layer2.swap_rules.agreement import check_terms
from layer2.swap_rules.legs import Side
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderHeld,
    ProviderReleased,
    ProviderReleasing,
    TakerPlanned,
    write_state,
)
from layer2.swap_rules.timelocks import REGTEST
from layer2.terms import EvmLeg
from layer2.transactions import SwapId
from provider.made_providers import World, world
from swap_rules.made_agreements import AMOUNT, BOB, LIGHTNING, NOW, PROVIDER_NODE, STRANGERS_NODE, invoice

DIRECTIONS = pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])
OTHER_TAKERS = [bytes([number]) * 20 for number in range(0x70, 0x80)]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


async def refusal(made: World, request: object) -> str:
    with pytest.raises(Layer2Error) as refused:
        await made.provider.open_swap(request)  # type: ignore[arg-type]  # always a SwapRequest
    return refused.value.code


async def test_a_quote_is_signed_and_says_what_it_costs(made: World) -> None:
    signed = await made.provider.quote("BTC", AMOUNT, BOB, LIGHTNING)
    check_quote_signature(signed)
    assert signed.quote.provider == made.identity.public_key
    assert (signed.quote.source_amount, signed.quote.valid_until) == (AMOUNT + 420 + 50, NOW + 60)


@DIRECTIONS
async def test_accepted_terms_are_those_that_the_taker_checks(made: World, source: Layer2ProtocolType) -> None:
    signed_quote = await made.provider.quote("BTC", AMOUNT, source, LIGHTNING if source is BOB else BOB)
    request = replace(await made.request(1, source), quote_id=signed_quote.quote.quote_id)
    terms = read_signed_terms(await made.provider.open_swap(request))
    check_terms(terms, signed_quote.quote, request, NOW + 1, REGTEST)


@DIRECTIONS
async def test_an_accepted_swap_is_in_the_journal_and_is_driven(made: World, source: Layer2ProtocolType) -> None:
    request = await made.request(1, source)
    terms = await made.provider.open_swap(request)
    [record] = await made.records()
    assert (record.swap_id, record.role, record.terms) == (request.swap_id, Role.PROVIDER, terms)
    assert record.state == write_state(ProviderAgreed())
    assert made.runner.driven == [request.swap_id]


@DIRECTIONS
async def test_both_nodes_say_first_that_the_swap_could_be_finished(made: World, source: Layer2ProtocolType) -> None:
    await made.provider.open_swap(await made.request(1, source))
    payee, payer = (made.bob, made.lightning) if source is BOB else (made.lightning, made.bob)
    assert [side for _, side in payee.checked] == [Side.PAYEE]
    assert [side for _, side in payer.checked] == [Side.PAYER]


@DIRECTIONS
async def test_the_same_request_gets_the_same_terms_even_after_the_quote_and_the_nodes_are_gone(
    made: World, source: Layer2ProtocolType
) -> None:
    request = await made.request(1, source)
    first = await made.provider.open_swap(request)
    made.clock.time += 1_000
    made.bob.error = made.lightning.error = NodeUnreachable("down")
    assert await made.provider.open_swap(request) == first
    assert len(await made.records()) == 1


async def test_many_equal_requests_at_once_are_one_swap(made: World) -> None:
    request = await made.request(1)
    answers = await asyncio.gather(*(made.provider.open_swap(request) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await made.records()) == 1


@pytest.mark.parametrize("field", ["quote_id", "payment_hash", "offer", "taker_address"])
async def test_another_request_under_a_known_id_is_a_conflict(made: World, field: str) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    other = replace(await made.request(2), swap_id=request.swap_id, taker_address=OTHER_TAKERS[0])
    changed = replace(request, **{field: getattr(other, field)})
    assert await refusal(made, changed) == "swap_conflict"


async def test_an_id_that_the_journal_has_in_another_role_is_a_conflict(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    [record] = await made.records()
    mine = replace(record, swap_id=SwapId("cd" * 16), role=Role.TAKER, state=write_state(TakerPlanned()), terms=None)
    await made.journal.create(replace(mine, idempotency_key=None))
    assert await refusal(made, replace(request, swap_id=SwapId("cd" * 16))) == "swap_conflict"
    with pytest.raises(UnknownTransfer):
        await made.provider.status(SwapId("cd" * 16))


@DIRECTIONS
async def test_an_open_hash_cannot_be_used_by_another_swap(made: World, source: Layer2ProtocolType) -> None:
    first = await made.request(1, source)
    await made.provider.open_swap(first)
    second = replace(await made.request(1, source), swap_id=SwapId("cd" * 16))
    assert await refusal(made, second) == "payment_hash_used"


async def test_two_requests_for_one_hash_at_once_are_one_swap(made: World) -> None:
    first = await made.request(1)
    second = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    answers = await asyncio.gather(
        made.provider.open_swap(first), made.provider.open_swap(second), return_exceptions=True
    )
    assert [isinstance(answer, IdempotencyConflict) for answer in answers] == [False, True]


async def test_an_unfunded_swap_stops_binding_its_hash_after_its_time_to_begin(made: World) -> None:
    first = await made.request(1)
    await made.provider.open_swap(first)
    made.clock.time = NOW + REGTEST.funding_window
    again = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    assert await refusal(made, again) == "payment_hash_used"
    made.clock.time += 1
    await made.provider.open_swap(again)


async def test_a_funded_swap_binds_its_hash_until_it_ends(made: World) -> None:
    first = await made.request(1)
    await made.provider.open_swap(first)
    await made.runner.move(first.swap_id, ProviderCounterFunding("0x01"), "counter-funding")
    made.clock.time += 2 * REGTEST.funding_window
    again = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    assert await refusal(made, again) == "payment_hash_used"
    await made.runner.move(first.swap_id, ProviderReleased("0x01", None, "failed"), "released")
    await made.provider.open_swap(again)


async def test_a_hash_that_the_lightning_node_has_seen_before_is_a_conflict(made: World) -> None:
    request = await made.request(1, LIGHTNING)
    made.lightning.offer_error = IdempotencyConflict("this payment hash was used before", code="payment_hash_used")
    assert await refusal(made, request) == "payment_hash_used"


async def test_a_quote_that_ended_or_never_was_gives_no_terms(made: World) -> None:
    request = await made.request(1)
    made.clock.time = NOW + 61
    with pytest.raises(QuoteExpired):
        await made.provider.open_swap(request)
    with pytest.raises(QuoteExpired):
        await made.provider.open_swap(replace(request, quote_id="cd" * 16))


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        ("lnbcrt1", "invoice_format"),
        (invoice(prefix="bc"), "invoice_network"),
        (invoice(amount_msat=None), "invoice_amount"),
        (invoice(amount_msat=AMOUNT * 1000 - 1), "invoice_amount"),
        (invoice(), "invoice_hash"),
        (to_checksum(b"\x66" * 20), "invoice_format"),
    ],
)
async def test_a_wrong_invoice_is_refused_by_what_is_wrong_with_it(made: World, offer: str, code: str) -> None:
    assert await refusal(made, replace(await made.request(1), offer=offer)) == code


async def test_an_invoice_of_the_providers_own_node_is_not_paid(made: World) -> None:
    request = await made.request(1)
    own = invoice(PROVIDER_NODE, payment_hash=request.payment_hash)
    assert await refusal(made, replace(request, offer=own)) == "invoice_payee"


async def test_somebody_elses_invoice_is_paid(made: World) -> None:
    request = await made.request(1)
    theirs = invoice(STRANGERS_NODE, payment_hash=request.payment_hash)
    await made.provider.open_swap(replace(request, offer=theirs))


@pytest.mark.parametrize("offer", ["", "0x12", to_checksum(b"\x66" * 20), invoice()])
async def test_no_hold_invoice_is_made_for_a_wrong_claim_address(made: World, offer: str) -> None:
    assert await refusal(made, replace(await made.request(1, LIGHTNING), offer=offer)) == "offer_address"
    assert made.lightning.offered == {}


async def test_a_wrong_invoice_of_the_own_node_is_not_the_takers_fault(made: World) -> None:
    made.lightning.invoice_changes = {"amount_msat": 1}
    with pytest.raises(BadAnswer):
        await made.provider.open_swap(await made.request(1, LIGHTNING))
    assert await made.records() == []


async def test_an_invoice_that_leaves_too_little_time_is_refused(made: World) -> None:
    request = await made.request(1)
    short = invoice(payment_hash=request.payment_hash, expiry=100)
    with pytest.raises(FundsRulesError):
        await made.provider.open_swap(replace(request, offer=short))


async def test_an_account_has_no_more_open_swaps_than_allowed(made: World) -> None:
    for number in (1, 2):
        await made.provider.open_swap(await made.request(number))
    assert await refusal(made, await made.request(3)) == "too_many_swaps"
    await made.provider.open_swap(await made.request(4, taker=OTHER_TAKERS[0]))


@DIRECTIONS
async def test_all_accounts_together_have_no_more_open_swaps_than_allowed(
    made: World, source: Layer2ProtocolType
) -> None:
    for number in (1, 2, 3):
        await made.provider.open_swap(await made.request(number, source, taker=OTHER_TAKERS[number]))
    assert await refusal(made, await made.request(4, source, taker=OTHER_TAKERS[4])) == "too_many_swaps"


async def test_swaps_that_ended_or_were_never_begun_take_no_place(made: World) -> None:
    requests = [await made.request(number, taker=OTHER_TAKERS[number]) for number in (1, 2, 3)]
    for request in requests:
        await made.provider.open_swap(request)
    await made.runner.move(requests[0].swap_id, ProviderCompleted("0x01", "02"), "completed")
    await made.provider.open_swap(await made.request(4, taker=OTHER_TAKERS[4]))
    made.clock.time += REGTEST.funding_window + 1
    for number in (5, 6, 7):
        await made.provider.open_swap(await made.request(number, taker=OTHER_TAKERS[number]))


async def test_a_lock_that_waits_for_its_finality_keeps_its_place_its_hash_and_the_money(made: World) -> None:
    made.lightning.balances = {BTC: Balance(2 * (AMOUNT + 50) - 1, receivable=0)}
    request = await made.request(1)
    await made.provider.open_swap(request)
    await made.runner.move(request.swap_id, ProviderAgreed("0x01"), "the lock is seen")
    made.clock.time += REGTEST.funding_window + 1
    same_hash = replace(await made.request(2), payment_hash=request.payment_hash)
    same_hash = replace(same_hash, offer=invoice(payment_hash=request.payment_hash, timestamp=int(made.clock.now())))
    with pytest.raises(IdempotencyConflict):
        await made.provider.open_swap(same_hash)
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.provider.open_swap(await made.request(3))


async def test_swaps_that_are_only_watched_for_a_late_lock_are_no_more_than_allowed(tmp_path: Path) -> None:
    async with world(tmp_path, watched_swaps=4) as made:
        for number in (1, 2, 3, 4):
            await made.provider.open_swap(await made.request(number, taker=OTHER_TAKERS[number]))
            made.clock.time += REGTEST.funding_window + 1
        request = await made.request(5, taker=OTHER_TAKERS[5])
        assert await refusal(made, request) == "too_many_swaps"
        await made.runner.move(SwapId("01" * 16), ProviderReleased(None, None, "over"), "released")
        await made.provider.open_swap(request)


async def test_no_more_quotes_are_remembered_than_allowed(made: World) -> None:
    for _ in range(5):
        await made.quote_id()
    with pytest.raises(QuoteRefused) as refused:
        await made.quote_id()
    assert refused.value.code == "too_many_quotes"
    made.clock.time += 61
    await made.quote_id()


async def test_money_is_promised_once(made: World) -> None:
    made.lightning.balances = {BTC: Balance(2 * (AMOUNT + 50) - 1, receivable=0)}
    await made.provider.open_swap(await made.request(1))
    with pytest.raises(InsufficientFunds, match="to spend"):
        await made.provider.open_swap(await made.request(2))


async def test_money_that_was_paid_is_not_counted_twice(made: World) -> None:
    made.lightning.balances = {BTC: Balance(AMOUNT + 50, receivable=0)}
    request = await made.request(1)
    await made.provider.open_swap(request)
    await made.runner.move(request.swap_id, ProviderCollecting("0x01", "02"), "collecting")
    await made.provider.open_swap(await made.request(2))


async def test_room_to_receive_is_promised_once(made: World) -> None:
    room = AMOUNT + 470
    made.lightning.balances = {BTC: Balance(0, receivable=2 * room - 1)}
    first = await made.request(1, LIGHTNING)
    await made.provider.open_swap(first)
    with pytest.raises(InsufficientFunds, match="to receive"):
        await made.provider.open_swap(await made.request(2, LIGHTNING))
    await made.runner.move(first.swap_id, ProviderHeld("01"), "held")
    await made.provider.open_swap(await made.request(3, LIGHTNING))


async def test_gas_is_kept_back_for_every_open_swap(made: World) -> None:
    made.bob.balances = {BTC: Balance(10**9), ETH: Balance(19)}
    await made.provider.open_swap(await made.request(1))
    with pytest.raises(InsufficientFunds, match="for gas"):
        await made.provider.open_swap(await made.request(2))


@DIRECTIONS
async def test_nothing_is_promised_that_a_node_says_cannot_be_finished(made: World, source: Layer2ProtocolType) -> None:
    made.bob.cannot_finish = InsufficientFunds("no gas")
    with pytest.raises(InsufficientFunds):
        await made.provider.open_swap(await made.request(1, source))
    assert (await made.records(), made.runner.driven) == ([], [])


async def test_a_node_that_is_not_ready_stops_quotes_and_new_swaps(made: World) -> None:
    request = await made.request(1)
    made.lightning.error = NodeUnreachable("https://10.0.0.7:8080 refused the connection")
    made.clock.time += 10
    assert await made.provider.problem() == "the provider's LIGHTNING node is not ready"
    with pytest.raises(QuoteRefused) as refused:
        await made.quote_id()
    assert (refused.value.code, refused.value.retryable) == ("not_ready", True)
    assert await refusal(made, request) == "not_ready"


async def test_however_often_strangers_ask_the_nodes_are_asked_now_and_then(made: World) -> None:
    for _ in range(50):
        await made.provider.info()
    assert made.bob.clock_reads == 1
    made.clock.time += 5
    await made.provider.info()
    assert made.bob.clock_reads == 2


async def test_a_status_says_who_has_to_act_and_until_when(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    status = await made.provider.status(request.swap_id)
    assert (status["state"], status["next_actor"], status["is_final"]) == ("agreed", "taker", False)
    assert status["deadline"] == NOW + REGTEST.funding_window
    await made.runner.move(request.swap_id, ProviderReleased("0x01", None, "it came too late"), "released")
    status = await made.provider.status(request.swap_id)
    assert (status["state"], status["next_actor"], status["is_final"]) == ("released", "nobody", True)
    assert (status["reason"], status["source_tx_id"], status["version"]) == ("it came too late", "0x01", 2)


async def test_events_begin_after_the_last_one_seen_and_end_with_the_swap(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    await made.runner.move(request.swap_id, ProviderCollecting("0x01", "02"), "the preimage is out")
    stream = made.provider.events(request.swap_id, 1)
    second = await anext(stream)
    assert (second["version"], second["state"], second["event"]) == (2, "collecting", "the preimage is out")
    await made.runner.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed", now=NOW + 9)
    assert (await anext(stream))["at"] == NOW + 9
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert [event["version"] async for event in made.provider.events(request.swap_id, 0)] == [1, 2, 3]


async def test_versions_that_a_watch_skipped_are_told_all_the_same(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    stream = made.provider.events(request.swap_id, 0)
    await anext(stream)
    watchers, made.runner.watchers = made.runner.watchers, {}
    await made.runner.move(request.swap_id, ProviderCollecting("0x01", "02"), "the preimage is out")
    made.runner.watchers = watchers
    await made.runner.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
    assert [event["version"] async for event in stream] == [2, 3]


async def test_a_draining_provider_takes_nothing_new_and_still_answers_for_what_it_has(made: World) -> None:
    request, other = await made.request(1), await made.request(2)
    terms = await made.provider.open_swap(request)
    assert await made.provider.drain() is None
    assert await refusal(made, other) == "not_ready"
    assert await made.provider.open_swap(request) == terms
    assert (await made.provider.info())["health"] == {"ready": False, "reason": "the provider is stopping"}


@DIRECTIONS
async def test_a_draining_provider_says_by_when_it_must_be_back(made: World, source: Layer2ProtocolType) -> None:
    request = await made.request(1, source)
    terms = read_signed_terms(await made.provider.open_swap(request)).terms
    await made.runner.move(request.swap_id, ProviderCounterFunded("01", "02"), "counter-funded")
    lock = terms.source if isinstance(terms.source, EvmLeg) else terms.destination
    assert isinstance(lock, EvmLeg)
    spare = REGTEST.claim_margin + REGTEST.rollup_clock_early if source is BOB else 0
    assert await made.provider.drain() == lock.deadline - spare


async def test_a_swap_that_only_waits_for_a_late_lock_calls_nobody_back(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    await made.runner.move(request.swap_id, ProviderReleasing(None, None, "too late"), "releasing")
    assert await made.provider.drain() is None


async def test_a_journal_that_cannot_be_read_stops_new_swaps(made: World) -> None:
    request = await made.request(1)
    await made.provider.open_swap(request)
    [record] = await made.records()
    await made.journal.advance(record, state={"version": 99}, is_final=False, event="unknown", now=NOW)
    with pytest.raises(JournalError):
        await made.provider.open_swap(await made.request(2))


@pytest.mark.parametrize(
    ("asset", "source", "destination", "code"),
    [
        ("ETH", BOB, LIGHTNING, "unknown_asset"),
        ("BTC", BOB, BOB, "pair"),
        ("BTC", LIGHTNING, Layer2ProtocolType.ROOTSTOCK, "pair"),
    ],
)
async def test_what_this_provider_does_not_swap_is_refused(
    made: World, asset: str, source: Layer2ProtocolType, destination: Layer2ProtocolType, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await made.provider.quote(asset, AMOUNT, source, destination)
    assert refused.value.code == code


def test_the_tag_of_a_swap_in_a_log_is_stable_and_does_not_hold_its_id() -> None:
    swap_id = SwapId("ab" * 16)
    assert swap_tag(swap_id) == swap_tag(swap_id) != swap_tag(SwapId("cd" * 16))
    assert len(swap_tag(swap_id)) == 12
    assert "abab" not in swap_tag(swap_id)
