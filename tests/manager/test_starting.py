"""How a transfer begins: nothing that fails before money moves burns a key, and what can be retried is retried."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import (
    AsyncTimeout,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidRequest,
    JournalBusy,
    JournalError,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    QuoteExpired,
    QuoteRefused,
)
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState
from layer2.manager.quoting import asked_pause
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_engine.records import write_request
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import TakerPlanned, write_state
from layer2.terms.documents import SignedQuote, SignedTerms
from layer2.terms.transfers import TransferState
from manager.fakes import NOW, REQUEST, SEED, FakeLegs, World, eventually, world


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as each:
        yield each


def away() -> NodeUnreachable:
    return NodeUnreachable("provider 'one' cannot be reached", outcome=Outcome.UNKNOWN)


async def start(made: World, key: str | None = None, seconds: float = 5.0) -> str:
    quote = await made.taker.quoter.quote(REQUEST)
    return (await made.taker.start(quote, key, made.ends_in(seconds))).transfer_id


async def test_a_started_transfer_is_agreed_durable_and_driven(made: World) -> None:
    transfer_id = await start(made, "rent")
    transfer = made.records.described(await made.records.load(SwapId(transfer_id)))
    assert (transfer.state, transfer.idempotency_key, transfer.send_amount) == (TransferState.AGREED, "rent", 100_420)
    assert made.engine.driven == [transfer_id]
    token = SEED.access_token(SwapId(transfer_id))
    assert made.provider.requests[0].access_hash == sha256(token).digest()


async def test_a_known_key_is_looked_up_before_anything_is_quoted(made: World) -> None:
    begun = await made.taker.begin(REQUEST, "rent", made.ends_in())
    made.provider.failures["quote"] = [QuoteRefused("the price rose", code="max_fee")]
    assert (await made.taker.begin(REQUEST, "rent", made.ends_in())).transfer_id == begun.transfer_id
    assert len(made.provider.quoted) == 1


async def test_start_looks_the_key_up_before_it_checks_the_quote(made: World) -> None:
    first = await start(made, "rent")
    late = await made.taker.quoter.quote(REQUEST)
    made.clock.time += 1_000
    assert (await made.taker.start(late, "rent", made.ends_in())).transfer_id == first
    assert (await made.taker.start(replace(late, provider_name="gone"), "rent", made.ends_in())).transfer_id == first


async def test_a_key_with_another_request_is_a_conflict(made: World) -> None:
    first = await start(made, "rent")
    with pytest.raises(IdempotencyConflict) as refused:
        await made.taker.begin(made.asked_for(amount=99_999), "rent", made.ends_in())
    assert refused.value.transfer_id == first
    assert refused.value.message.endswith(f"amount was {REQUEST.amount}")
    assert "another key starts a second transfer" in (refused.value.remedy or "")


@pytest.mark.parametrize("key", ["", "a" * 201])
async def test_an_empty_or_overlong_key_is_refused_and_no_provider_is_asked(made: World, key: str) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    made.provider.quoted.clear()
    for call in (made.taker.start(quote, key, made.ends_in()), made.taker.begin(REQUEST, key, made.ends_in())):
        with pytest.raises(InvalidRequest) as refused:
            await call
        assert refused.value.code == "idempotency_key"
    assert (made.provider.quoted, made.provider.requests) == ([], [])


async def test_a_quote_starts_one_transfer(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    first = await made.taker.start(quote, None, made.ends_in())
    assert (await made.taker.start(quote, None, made.ends_in())).transfer_id == first.transfer_id
    assert len(made.provider.requests) == 1


async def test_a_quote_that_was_started_under_one_key_is_refused_under_another(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    await made.taker.start(quote, "one", made.ends_in())
    with pytest.raises(IdempotencyConflict):
        await made.taker.start(quote, "other", made.ends_in())
    assert len(made.provider.requests) == 1


async def test_a_lost_answer_is_asked_for_again_with_the_same_request(made: World) -> None:
    busy = QuoteRefused("the provider is busy", retryable=True)
    made.provider.failures["open_swap"] = [away(), busy, away()]
    await start(made)
    assert len(made.provider.requests) == 4
    assert len(set(made.provider.requests)) == 1
    assert await made.reasons() == []


async def test_an_own_node_that_is_away_for_a_moment_ends_nothing(made: World) -> None:
    for legs in made.legs.values():
        legs.failures = [away()]
    await start(made)
    assert await made.reasons() == []


async def test_a_quote_that_cannot_be_checked_for_a_moment_ends_nothing(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    legs, failures = made.legs[REQUEST.source], [away()]
    answer = legs.leg_offer

    async def leg_offer() -> LegOffer:
        if failures:
            raise failures.pop()
        return await answer()

    monkeypatch.setattr(legs, "leg_offer", leg_offer)
    assert (await made.taker.start(quote, None, made.ends_in())).state is TransferState.AGREED


async def test_a_refusal_before_money_moves_burns_no_key(made: World) -> None:
    made.provider.failures["open_swap"] = [QuoteRefused("not today")]
    with pytest.raises(QuoteRefused) as refused:
        await start(made, "order-7")
    assert (refused.value.outcome, refused.value.funds) == (Outcome.NOT_SENT, "nothing has left your account")
    abandoned = made.records.described(await made.records.load(SwapId(refused.value.transfer_id or "")))
    assert (abandoned.state, abandoned.reason) == (TransferState.ABANDONED, "not today")
    again = await start(made, "order-7")
    assert again != refused.value.transfer_id
    found = await made.records.find("order-7")
    assert found is not None
    assert found.transfer_id == again


async def test_too_little_money_burns_neither_key_nor_quote(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    made.legs[REQUEST.source].failures = [InsufficientFunds("no gas")]
    with pytest.raises(InsufficientFunds):
        await made.taker.start(quote, "rent", made.ends_in())
    assert (await made.taker.start(quote, "rent", made.ends_in())).state is TransferState.AGREED


async def test_a_taker_that_cannot_pay_is_refused_before_the_provider_is_asked(made: World) -> None:
    made.legs[REQUEST.source].lacks = InsufficientFunds("your account can spend 0 sat", protocol="BOB")
    with pytest.raises(InsufficientFunds, match="your account can spend 0 sat"):
        await start(made)
    assert made.provider.requests == []
    assert made.legs[REQUEST.source].asked == ["check_can_pay 100420"]
    assert await made.reasons() == ["your account can spend 0 sat"]


async def test_a_time_that_ends_before_agreement_abandons_with_a_true_reason_and_frees_the_key(made: World) -> None:
    made.provider.failures["open_swap"] = [away() for _ in range(100)]
    with pytest.raises(AsyncTimeout) as ended:
        await start(made, "rent", seconds=0.3)
    assert (ended.value.outcome, ended.value.funds) == (Outcome.NOT_SENT, "nothing has left your account")
    reason = "the time was over before terms were agreed: provider 'one' cannot be reached"
    assert (ended.value.message, await made.reasons()) == (reason, [reason])
    made.provider.failures["open_swap"].clear()
    await start(made, "rent")


async def test_retries_end_with_the_quote(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    made.provider.failures["open_swap"] = [away() for _ in range(100)]

    async def later() -> None:
        await asyncio.sleep(0.3)
        made.clock.time += 61

    waiting = asyncio.create_task(later())
    with pytest.raises(NodeUnreachable) as ended:
        await made.taker.start(quote, None, made.ends_in(60))
    assert ended.value.outcome is Outcome.NOT_SENT
    await waiting


async def test_an_expired_quote_is_requested_again(made: World) -> None:
    made.provider.failures["open_swap"] = [QuoteExpired("the quote was valid until then")]
    await made.taker.begin(REQUEST, "rent", made.ends_in())
    assert len(made.provider.quoted) == 2


async def test_a_provider_that_is_away_for_a_moment_is_asked_again(made: World) -> None:
    made.provider.failures["quote"] = [away(), away()]
    await made.taker.begin(REQUEST, None, made.ends_in())
    made.provider.failures["quote"] = [away() for _ in range(100)]
    with pytest.raises(Layer2Error):
        await made.taker.begin(REQUEST, None, made.ends_in(0.5))


def busy(seconds: float) -> QuoteRefused:
    refused = QuoteRefused("provider 'one' refused: the provider is busy", code="busy", retryable=True)
    refused.retry_after = seconds
    return refused


async def test_the_pause_that_a_busy_provider_asks_for_is_kept(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.25)
    made.provider.failures["open_swap"] = [busy(1), busy(0)]
    began = asyncio.get_running_loop().time()
    await start(made)
    assert 1.25 + 0.25 <= asyncio.get_running_loop().time() - began < 3
    assert len(made.provider.requests) == 3
    assert len(set(made.provider.requests)) == 1


async def test_takers_that_were_refused_together_return_at_different_times() -> None:
    assert len({asked_pause(busy(1)) for _ in range(10)}) == 10
    assert all(1 <= asked_pause(busy(1)) < 2 for _ in range(10))
    assert asked_pause(QuoteRefused("not today")) == asked_pause(None) == 0


async def test_a_quote_that_ends_during_the_pause_is_replaced(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    open_swap = made.provider.open_swap

    async def busy_for_long(request: SwapRequest, quote: SignedQuote) -> SignedTerms:
        if len(made.provider.quoted) == 1:
            made.clock.time += REGTEST.quote_validity - 0.5
            made.provider.failures["open_swap"] = [busy(1.5)]
        return await open_swap(request, quote)

    monkeypatch.setattr(made.provider, "open_swap", busy_for_long)
    began = asyncio.get_running_loop().time()
    await made.taker.begin(REQUEST, "rent", made.ends_in(30))
    assert asyncio.get_running_loop().time() - began >= 1.5
    first, second = made.provider.requests
    assert first.quote_id != second.quote_id
    assert len(made.provider.quoted) == 2


async def test_a_pause_beyond_the_time_limit_ends_the_call_at_once_with_the_cause(made: World) -> None:
    made.provider.failures["quote"] = [busy(11)]
    began = asyncio.get_running_loop().time()
    with pytest.raises(QuoteRefused) as ended:
        await made.taker.begin(REQUEST, "rent", made.ends_in(5))
    assert asyncio.get_running_loop().time() - began < 2
    assert (ended.value.code, ended.value.retryable) == ("busy", True)
    made.provider.failures["open_swap"] = [busy(11)]
    with pytest.raises(AsyncTimeout, match="the provider is busy") as late:
        await start(made, seconds=0.3)
    assert (late.value.outcome, late.value.retryable) == (Outcome.NOT_SENT, True)


async def test_a_cancelled_call_is_abandoned_and_the_key_is_free(made: World) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    made.provider.held = asyncio.Event()
    starting = asyncio.create_task(made.taker.start(quote, "rent", made.ends_in(60)))
    await eventually(lambda: made.provider.requests)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await made.reasons() == ["the call was cancelled before terms were agreed"]
    made.provider.held = None
    assert (await made.taker.start(quote, "rent", made.ends_in())).state is TransferState.AGREED


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_moment_it_is_abandoned_or_driven_and_nothing_hangs(made: World, steps: int) -> None:
    quote = await made.taker.quoter.quote(REQUEST)
    starting = asyncio.create_task(made.taker.start(quote, "rent", made.ends_in(60)))
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001 * steps)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    for record in await made.journal.list(open_only=True):
        assert record.swap_id in made.engine.driven
    assert (await made.taker.start(quote, "rent", made.ends_in())).transfer_id in made.engine.driven


async def test_an_agreed_transfer_without_a_driver_is_driven_by_a_retry(made: World) -> None:
    transfer_id = await start(made, "rent")
    made.engine.driven.clear()
    await made.taker.begin(REQUEST, "rent", made.ends_in())
    assert made.engine.driven == [transfer_id]


async def leave_a_plan(made: World, key: str) -> SwapId:
    """What a program leaves that ends before terms are agreed."""
    swap_id = SwapId("ab" * 16)
    await made.journal.create(
        SwapRecord(
            swap_id=swap_id,
            role=Role.TAKER,
            state=write_state(TakerPlanned()),
            request=write_request(REQUEST),
            provider_name="provider-0",
            quote_id="cd" * 16,
            access=SEED.access_token(swap_id),
            payment_hash=SEED.preimage(swap_id).payment_hash,
            idempotency_key=key,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    return swap_id


async def test_a_plan_of_a_program_that_ended_is_abandoned_and_its_key_starts_another_transfer(made: World) -> None:
    await made.journal.act()
    swap_id = await leave_a_plan(made, "rent")
    assert (await made.taker.begin(REQUEST, "rent", made.ends_in())).transfer_id != swap_id
    assert await made.reasons() == ["the program ended before terms were agreed"]


async def test_a_plan_that_another_program_may_be_starting_is_left_alone_until_its_quote_has_ended(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, shared=True) as made:
        await made.journal.act(shared=True)
        swap_id = await leave_a_plan(made, "rent")
        assert await made.taker.resume() == []
        found = await made.taker.begin(REQUEST, "rent", made.ends_in())
        assert (found.transfer_id, found.state) == (swap_id, TransferState.PLANNED)
        # The clock of the machine that starts it may be behind.
        made.clock.time = NOW + REGTEST.quote_validity + 61
        await made.taker.resume()
        assert await made.reasons() == ["the program ended before terms were agreed"]
        assert (await made.taker.begin(REQUEST, "rent", made.ends_in())).transfer_id != swap_id


async def test_a_start_and_a_retry_that_find_the_same_plan_abandon_it_once(made: World) -> None:
    await made.journal.act()
    swap_id = await leave_a_plan(made, "rent")
    calls = [made.taker.begin(REQUEST, "rent", made.ends_in()) for _ in range(3)]
    resumed, started = await asyncio.gather(made.taker.resume(), asyncio.gather(*calls))
    assert resumed == []
    assert {each.transfer_id for each in started} == {started[0].transfer_id}
    assert swap_id != started[0].transfer_id
    assert await made.reasons() == ["the program ended before terms were agreed"]


async def test_resuming_leaves_what_is_being_agreed_alone(made: World) -> None:
    made.provider.held = asyncio.Event()
    quote = await made.taker.quoter.quote(REQUEST)
    starting = asyncio.create_task(made.taker.start(quote, None, made.ends_in(60)))
    await eventually(lambda: made.provider.requests)
    assert await made.taker.resume() == []
    made.provider.held.set()
    assert (await starting).state is TransferState.AGREED
    assert len(await made.taker.resume()) == 1


async def test_calls_at_the_same_time_with_one_key_are_one_transfer(made: World) -> None:
    started = await asyncio.gather(*(made.taker.begin(REQUEST, "rent", made.ends_in()) for _ in range(5)))
    assert len({each.transfer_id for each in started}) == 1
    assert len(made.provider.requests) == 1


async def test_while_another_process_acts_nothing_is_begun_and_known_transfers_are_found(
    made: World, tmp_path: Path
) -> None:
    known = await start(made, "rent")
    async with world(tmp_path) as other:
        with pytest.raises(JournalBusy):
            await other.taker.begin(REQUEST, "new", other.ends_in())
        with pytest.raises(JournalBusy):
            await other.taker.resume()
        assert (await other.taker.begin(REQUEST, "rent", other.ends_in())).transfer_id == known
        assert other.engine.driven == []
        assert other.provider.quoted == []


# Someone else's invoice.


@pytest.mark.parametrize("shows", [LegState.PENDING, LegState.FUNDED, LegState.COLLECTED])
async def test_an_invoice_that_the_own_node_pays_or_has_paid_is_not_paid_over_another_layer_too(
    made: World, shows: LegState
) -> None:
    lightning = made.legs[Layer2ProtocolType.LIGHTNING] = FakeLegs(Layer2ProtocolType.LIGHTNING)
    invoice = made.provider.make_invoice(100_000, REGTEST.own_invoice_expiry)
    request = made.asked_for(destination=Layer2ProtocolType.LIGHTNING, recipient=invoice)
    lightning.shows = shows
    with pytest.raises(InvalidRequest) as refused:
        await made.taker.begin(request, "rent", made.ends_in())
    assert refused.value.code == "invoice_paid"
    assert made.engine.driven == []
    # A payment that failed is none, and the key is free.
    lightning.shows = LegState.RETURNED
    begun = await made.taker.begin(request, "rent", made.ends_in())
    assert made.engine.driven == [begun.transfer_id]


@pytest.mark.parametrize("broken", ["find", "act"])
async def test_a_journal_that_fails_under_a_known_key_leaves_the_outcome_unknown(
    made: World, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made.taker.begin(REQUEST, "rent", made.ends_in())

    async def fail(*_: object, **__: object) -> None:
        raise JournalError("disk I/O error")

    monkeypatch.setattr(type(made.journal), broken, fail)
    with pytest.raises(JournalError) as failed:
        await made.taker.begin(REQUEST, "rent", made.ends_in())
    assert failed.value.outcome is Outcome.UNKNOWN


def lose_the_answer(made: World, monkeypatch: pytest.MonkeyPatch, *, is_back: bool) -> None:
    """The journal writes the terms, but returns an error; later writes fail too unless it is back."""
    real = type(made.journal).advance
    written: list[SwapRecord] = []

    async def advance(journal: SqlJournal, record: SwapRecord, **given: Any) -> SwapRecord:
        if not written:
            written.append(await real(journal, record, **given))
            raise JournalError("the server is down")
        if not is_back:
            raise JournalError("the server is down")
        return await real(journal, record, **given)

    monkeypatch.setattr(type(made.journal), "advance", advance)


async def test_terms_that_were_journaled_in_spite_of_an_error_are_agreed(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_answer(made, monkeypatch, is_back=True)
    transfer_id = await start(made)
    transfer = made.records.described(await made.records.load(SwapId(transfer_id)))
    assert transfer.state is TransferState.AGREED
    assert made.engine.driven == [transfer_id]


async def test_terms_that_may_be_journaled_leave_the_outcome_unknown(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_answer(made, monkeypatch, is_back=False)
    with pytest.raises(JournalError) as failed:
        await start(made)
    # The next start funds it: a caller who repeats the transfer without a key would pay twice.
    assert (failed.value.outcome, failed.value.funds) == (Outcome.UNKNOWN, None)
    transfer = made.records.described(await made.records.load(SwapId(failed.value.transfer_id or "")))
    assert transfer.state is TransferState.AGREED


async def test_another_process_abandons_nothing_that_is_being_agreed(made: World, tmp_path: Path) -> None:
    made.provider.held = asyncio.Event()
    quote = await made.taker.quoter.quote(REQUEST)
    starting = asyncio.create_task(made.taker.start(quote, "rent", made.ends_in(60)))
    await eventually(lambda: made.provider.requests)
    async with world(tmp_path) as other:
        found = await other.taker.begin(REQUEST, "rent", other.ends_in())
        assert found.state is TransferState.PLANNED
        with pytest.raises(JournalBusy):
            await other.taker.resume()
    assert await made.reasons() == []
    made.provider.held.set()
    begun = await starting
    assert (begun.state, begun.transfer_id) == (TransferState.AGREED, found.transfer_id)
