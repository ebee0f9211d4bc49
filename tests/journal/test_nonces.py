"""The nonces of an account: each has one transaction, also if several workers write one journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from journal.test_journal import a_record, advance, to_fund
from layer2.errors import NonceTaken
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import Delivery, SendRecord, SwapRecord
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

ACCOUNT = "0x" + "11" * 20
NEXT = {"state": {"state": "next"}, "is_final": False, "event": "it went on", "now": 20}


@pytest_asyncio.fixture
async def other(place: str, journal: SqlJournal) -> AsyncIterator[SqlJournal]:
    """Another worker's object for the same journal."""
    opened = await SqlJournal.open(place)
    yield opened
    await opened.aclose()


def use(nonce: int, worker: str = "one", tx_id: str | None = None, *, is_out: bool = True) -> NonceUse:
    tx_id = tx_id or f"0x{nonce}{worker}"
    return NonceUse("BOB", ACCOUNT, nonce, tx_id, tx_id.encode(), worker, is_out)


def send(of: NonceUse) -> SendRecord:
    return SendRecord("BOB", of.tx_id, "request", of.tx_id, {"raw": "00"})


async def add(journal: SqlJournal, given: NonceUse) -> bool:
    """Whether the send was recorded with its nonce."""
    try:
        await journal.add_send_with_nonce(send(given), NonceClaim(given))
    except NonceTaken:
        return False
    return True


async def rows(journal: SqlJournal) -> list[NonceUse]:
    return list((await journal.nonces("BOB", ACCOUNT)).uses)


async def an_intent(journal: SqlJournal, given: NonceUse, number: int = 1) -> SwapRecord:
    created = await journal.create(a_record(number, payment_hash=bytes([number]) * 32))
    claim = NonceClaim(replace(given, is_out=False))
    return await journal.advance(created, **NEXT, intents=[to_fund()], nonces=[claim])  # type: ignore[arg-type]


async def test_of_two_workers_that_record_a_send_with_one_nonce_one_gets_it(
    journal: SqlJournal, other: SqlJournal
) -> None:
    workers = {"one": journal, "two": other}
    uses = [use(nonce, worker) for nonce in range(100) for worker in workers]
    made = await asyncio.gather(*[add(workers[each.worker], each) for each in uses])
    assert sum(made) == 100
    held = await rows(journal)
    assert [row.nonce for row in held] == list(range(100))
    assert set(held) == {each for each, is_made in zip(uses, made, strict=True) if is_made}
    for each, is_made in zip(uses, made, strict=True):
        assert (await other.find_send("BOB", each.tx_id) is not None) is is_made


async def test_the_same_bytes_of_another_worker_are_another_request(journal: SqlJournal, other: SqlJournal) -> None:
    assert await add(journal, use(0, "one", "0xaa"))
    same = use(0, "two", "0xaa")
    for key in (same.tx_id, "rent"):
        with pytest.raises(NonceTaken):
            await other.add_send_with_nonce(replace(send(same), idempotency_key=key), NonceClaim(same))


async def test_a_send_that_is_known_by_its_key_takes_no_other_nonce(journal: SqlJournal) -> None:
    first = replace(send(use(0)), idempotency_key="rent")
    assert await journal.add_send_with_nonce(first, NonceClaim(use(0))) is first
    again = replace(send(use(1)), idempotency_key="rent")
    assert (await journal.add_send_with_nonce(again, NonceClaim(use(1)))) == first
    assert await rows(journal) == [use(0)]


async def test_an_intent_whose_nonce_is_taken_is_not_written_nor_its_state(
    journal: SqlJournal, other: SqlJournal
) -> None:
    assert await add(other, use(1, "two"))
    created = await journal.create(a_record())
    claims = [NonceClaim(use(nonce, is_out=False)) for nonce in (0, 1)]
    with pytest.raises(NonceTaken):
        await journal.advance(created, **NEXT, intents=[to_fund()], nonces=claims)  # type: ignore[arg-type]
    assert await journal.load(created.swap_id) == created
    assert (list(await journal.intents(created.swap_id)), await rows(journal)) == ([], [use(1, "two")])
    # Neither does it hold its hash.
    assert (await advance(other, await other.create(a_record(2)), to_fund())).version == 2


async def test_of_intents_in_one_transaction_those_with_free_nonces_are_written(
    journal: SqlJournal, other: SqlJournal
) -> None:
    assert await add(other, use(2, "two"))
    results = await asyncio.gather(
        *[an_intent(journal, use(number, is_out=False), number) for number in (1, 2, 3)], return_exceptions=True
    )
    assert [type(each) for each in results] == [SwapRecord, NonceTaken, SwapRecord]
    assert [row.nonce for row in await rows(journal)] == [1, 2, 3]


async def test_an_intent_that_lost_its_nonce_is_not_marked_as_leaving(journal: SqlJournal, other: SqlJournal) -> None:
    prepared = use(0, is_out=False)
    record = await an_intent(journal, prepared)
    await other.claim_nonces([NonceClaim(use(0, "two"), instead_of=prepared)])
    [intent] = await journal.intents(record.swap_id)
    with pytest.raises(NonceTaken):
        await journal.begin_delivery(record, intent, "one", nonces=[NonceClaim(use(0), takes_over=True)])
    assert [intent.delivery for intent in await journal.intents(record.swap_id)] == [Delivery.INTENDED]
    assert await rows(journal) == [use(0, "two")]


async def test_an_intent_that_may_have_been_sent_keeps_its_nonce(journal: SqlJournal, other: SqlJournal) -> None:
    prepared = use(0, is_out=False)
    record = await an_intent(journal, prepared)
    # Any worker may perform the swap's act.
    leaving = NonceClaim(use(0, "two", prepared.tx_id), takes_over=True)
    [intent] = await other.intents(record.swap_id)
    await other.begin_delivery(record, intent, "one", nonces=[leaving])
    with pytest.raises(NonceTaken):
        await journal.claim_nonces([NonceClaim(use(0, "three"), instead_of=prepared)])
    assert await rows(journal) == [leaving.use]


async def leaving(journal: SqlJournal, prepared: NonceUse) -> tuple[SwapRecord, NonceClaim]:
    """An intent whose first attempt has begun, and the claim with which it began."""
    record = await an_intent(journal, prepared)
    claim = NonceClaim(use(0), takes_over=True)
    [intent] = await journal.intents(record.swap_id)
    assert await journal.begin_delivery(record, intent, "attempt", nonces=[claim]) is Delivery.LEAVING
    return record, claim


@pytest.mark.parametrize("attempt", [None, "attempt"], ids=["begun", "without an answer"])
async def test_an_intent_that_was_certainly_not_sent_is_not_sent_by_a_worker_that_finds_its_nonce(
    journal: SqlJournal, other: SqlJournal, attempt: str | None
) -> None:
    record, claim = await leaving(journal, use(0, is_out=False))
    [seen] = await rows(other)
    unsent = Delivery.UNSENT
    assert await journal.record_delivery(record, 1, unsent, attempt=attempt, nonces=[claim]) is unsent
    assert await rows(journal) == [use(0, is_out=False)]
    # It saw the row before.
    with pytest.raises(NonceTaken):
        await other.claim_nonces([NonceClaim(use(0, "two", seen.tx_id), instead_of=seen)])


async def test_an_intent_that_another_worker_sends_counts_as_sent_although_an_attempt_did_not_leave(
    journal: SqlJournal, other: SqlJournal
) -> None:
    record, claim = await leaving(journal, use(0, is_out=False))
    [seen] = await rows(other)
    taken = use(0, "two", seen.tx_id)
    await other.claim_nonces([NonceClaim(taken, instead_of=seen)])
    assert await journal.record_delivery(record, 1, Delivery.UNSENT, nonces=[claim]) is Delivery.UNKNOWN
    assert await rows(journal) == [taken]


async def test_an_attempt_that_never_began_changes_no_nonce(journal: SqlJournal) -> None:
    record = await an_intent(journal, use(0, is_out=False))
    claims = [NonceClaim(use(0), takes_over=True)]
    ended = await journal.record_delivery(record, 1, Delivery.UNSENT, attempt="never begun", nonces=claims)
    assert (ended, await rows(journal)) == (Delivery.INTENDED, [use(0, is_out=False)])


async def test_a_nonce_is_released_only_by_the_worker_that_sent_its_transaction_last(
    journal: SqlJournal, other: SqlJournal
) -> None:
    for nonce in (0, 1):
        assert await add(journal, use(nonce))
    await other.claim_nonces([NonceClaim(use(0, "two", use(0).tx_id), takes_over=True)])
    assert [await journal.release_nonce(use(nonce)) for nonce in (0, 1)] == [False, True]
    assert await rows(journal) == [use(0, "two", use(0).tx_id)]
    assert await add(other, use(1, "two"))


async def test_final_nonces_are_forgotten_and_others_of_the_account_are_read(journal: SqlJournal) -> None:
    for nonce in range(4):
        assert await add(journal, use(nonce))
    await journal.forget_nonces("BOB", ACCOUNT, 2)
    assert [row.nonce for row in await rows(journal)] == [2, 3]
    assert (await journal.nonces("BOB", ACCOUNT)).final_count == 2
    assert await journal.nonces("BOB", "0x" + "22" * 20) == AccountNonces(0, ())


async def test_no_new_transaction_takes_a_final_nonce_and_a_journaled_one_is_left_to_the_node(
    journal: SqlJournal, other: SqlJournal
) -> None:
    assert await add(journal, use(0))
    await journal.forget_nonces("BOB", ACCOUNT, 1)
    # An older count changes nothing.
    await journal.forget_nonces("BOB", ACCOUNT, 0)
    assert not await add(other, use(0, "two"))
    await other.claim_nonces([NonceClaim(use(0, "two"), takes_over=True)])
    assert await rows(journal) == []
