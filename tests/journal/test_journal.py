"""The journal in SQLite: durable, compare-and-set, in a separate thread, and private."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError, StaleSwap
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent, JournalOwner, Json, Role, SendRecord, SwapRecord, swap_holder

HASH = b"\x07" * 32


def a_record(number: int = 1, **change: object) -> SwapRecord:
    record = SwapRecord(
        swap_id=SwapId(f"{number:032x}"),
        role=Role.TAKER,
        version=0,
        state={"state": "planned"},
        is_final=False,
        payment_hash=HASH,
        terms=None,
        request={"amount": "100000"},
        provider_name="one",
        quote_id=None,
        access=b"\xac" * 32,
        idempotency_key=None,
        holds_key=True,
        attention=None,
        created_at=10,
        updated_at=10,
    )
    return replace(record, **change)  # type: ignore[arg-type]  # the tests name the fields


def to_fund(number: int = 1, act: Json | None = None) -> Intent:
    return Intent(number, "fund", "source", act or {"raw": "00"})


def to_collect(number: int = 1) -> Intent:
    return Intent(number, "collect", "destination", {"secret": "hunter2"})


async def advance(journal: SqlJournal, record: SwapRecord, *intents: Intent, final: bool = False) -> SwapRecord:
    return await journal.advance(
        record, state={"state": "next"}, is_final=final, event="it went on", now=20, intents=intents
    )


async def abandon(journal: SqlJournal, record: SwapRecord) -> SwapRecord:
    return await journal.advance(
        record, state={"state": "abandoned"}, is_final=True, event="abandoned", now=20, holds_key=False
    )


async def test_a_swap_is_read_back_as_it_was_written(journal: SqlJournal) -> None:
    created = await journal.create(a_record(terms={"big": 2**70, "text": "ü"}))
    assert created == a_record(terms={"big": 2**70, "text": "ü"}, version=1)
    assert await journal.load(created.swap_id) == created
    assert await journal.load(SwapId("ff" * 16)) is None


async def test_a_state_its_intents_and_its_event_are_one_transaction(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    await advance(journal, record, to_fund())
    with pytest.raises(JournalError, match=r"(?i)unique constraint"):
        await advance(journal, replace(record, version=2), to_fund(1, {"raw": "01"}))
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert (loaded.version, loaded.updated_at, loaded.state) == (2, 20, {"state": "next"})
    assert list(await journal.intents(record.swap_id)) == [to_fund()]
    assert [(one["version"], one["event"], one["at"]) for one in await journal.events(record.swap_id)] == [
        (1, "created", 10),
        (2, "it went on", 20),
    ]


async def test_only_the_first_of_two_writers_moves_a_swap(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    results = await asyncio.gather(*(advance(journal, record) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, SwapRecord) for one in results) == 1
    assert sum(isinstance(one, StaleSwap) for one in results) == 19


async def test_two_processes_on_one_journal_cannot_both_move_a_swap(place: str, journal: SqlJournal) -> None:
    other = await SqlJournal.open(place)
    record = await journal.create(a_record())
    seen = await other.load(record.swap_id)
    assert seen is not None
    await advance(journal, record)
    with pytest.raises(StaleSwap):
        await advance(other, seen, to_fund())
    assert await journal.intents(record.swap_id) == ()
    await other.aclose()


async def test_terms_stay_when_a_step_brings_none(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    agreed = await journal.advance(record, state={}, is_final=False, event="agreed", now=11, terms={"terms": "signed"})
    assert (await advance(journal, agreed)).terms == {"terms": "signed"}


async def test_a_key_that_is_taken_gives_the_swap_that_has_it(journal: SqlJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key", quote_id="0a" * 16))
    # The provider and the quote are not part of the request.
    again = a_record(2, idempotency_key="key", provider_name="another", quote_id="0b" * 16)
    assert await journal.create(again) == first
    assert len(await journal.list()) == 1


async def test_a_key_that_is_taken_by_another_request_is_an_error(journal: SqlJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key"))
    with pytest.raises(IdempotencyConflict) as caught:
        await journal.create(a_record(2, idempotency_key="key", request={"amount": "5"}))
    assert caught.value.transfer_id == first.swap_id
    # Each role has separate keys.
    await journal.create(a_record(3, role=Role.PROVIDER, idempotency_key="key", request={}))


async def test_a_quote_starts_one_swap(journal: SqlJournal) -> None:
    first = await journal.create(a_record(1, quote_id="0a" * 16))
    assert await journal.create(a_record(2, quote_id="0a" * 16)) == first
    with pytest.raises(IdempotencyConflict, match="quote"):
        await journal.create(a_record(3, quote_id="0a" * 16, request={"amount": "5"}))
    # The provider has a separate record of it.
    await journal.create(a_record(4, role=Role.PROVIDER, quote_id="0a" * 16))
    assert len(await journal.list()) == 2


async def test_a_swap_that_was_started_from_a_quote_without_a_key_takes_the_key_of_the_retry(
    journal: SqlJournal,
) -> None:
    first = await journal.create(a_record(1, quote_id="0a" * 16))
    keyed = await journal.create(a_record(2, quote_id="0a" * 16, idempotency_key="key"))
    assert keyed == replace(first, idempotency_key="key")
    # From then on the key alone finds it.
    assert await journal.create(a_record(3, quote_id="0b" * 16, idempotency_key="key")) == keyed
    with pytest.raises(IdempotencyConflict, match="another idempotency key"):
        await journal.create(a_record(4, quote_id="0a" * 16, idempotency_key="another"))


async def test_a_swap_that_is_abandoned_gives_its_key_and_its_quote_back(journal: SqlJournal) -> None:
    first = await journal.create(a_record(1, idempotency_key="key", quote_id="0a" * 16))
    given = await journal.advance(
        first, state={"state": "abandoned"}, is_final=True, event="abandoned", now=20, holds_key=False
    )
    assert not given.holds_key
    second = await journal.create(a_record(2, idempotency_key="key", quote_id="0a" * 16, request={"amount": "5"}))
    assert second.swap_id != first.swap_id
    # A released key is not taken again by a later change.
    later = await journal.advance(given, state={"state": "abandoned"}, is_final=True, event="looked at", now=21)
    assert not later.holds_key


async def test_a_key_finds_the_swap_that_holds_it_or_else_the_newest_that_was_abandoned(
    journal: SqlJournal,
) -> None:
    assert await journal.find(Role.TAKER, "key") is None
    for number in (1, 2):
        record = await journal.create(a_record(number, idempotency_key="key"))
        await journal.advance(
            record, state={"state": "abandoned"}, is_final=True, event="abandoned", now=20, holds_key=False
        )
    found = await journal.find(Role.TAKER, "key")
    assert found is not None
    assert int(found.swap_id, 16) == 2
    third = await journal.create(a_record(3, idempotency_key="key"))
    assert await journal.find(Role.TAKER, "key") == third
    assert await journal.find(Role.PROVIDER, "key") is None


async def test_a_late_funding_finds_the_providers_final_swaps_under_its_hash(journal: SqlJournal) -> None:
    for number, role, final in ((1, Role.PROVIDER, True), (2, Role.PROVIDER, False), (3, Role.TAKER, True)):
        record = await journal.create(a_record(number, role=role))
        await advance(journal, record, final=final)
    assert [int(one.swap_id, 16) for one in await journal.released_under([b"\x08" * 32, HASH])] == [1]
    assert await journal.released_under([b"\x08" * 32]) == await journal.released_under([]) == []


async def test_the_coins_of_a_swap_are_released_when_the_last_swap_under_its_hash_ends(journal: SqlJournal) -> None:
    coins = [f"{'aa' * 32}:{at}" for at in range(3)]
    for payment_hash, coin in ((HASH, coins[0]), (HASH, coins[1]), (b"\x08" * 32, coins[2])):
        assert await journal.hold_coins("BITCOIN", swap_holder(payment_hash), [coin])
    first, second = [await journal.create(a_record(number)) for number in (1, 2)]
    second = await advance(journal, second)
    await advance(journal, second, final=True)
    assert set(await journal.held_coins("BITCOIN")) == set(coins)
    await advance(journal, first, final=True)
    assert set(await journal.held_coins("BITCOIN")) == {coins[2]}


async def test_what_a_human_has_to_look_at_is_kept_until_it_is_over(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    looked = await journal.advance(
        record, state={}, is_final=False, event="needs attention", now=20, attention="the node is away"
    )
    assert looked.attention == "the node is away"
    assert (await advance(journal, looked)).attention is None


async def test_the_owners_of_a_journal_are_added_once(journal: SqlJournal) -> None:
    assert await journal.owners() == ()
    network, account = JournalOwner("network", "regtest"), JournalOwner("account", "BOB 0x01")
    await journal.add_owners([network])
    await journal.add_owners([network, account])
    await journal.add_owners([])
    assert await journal.owners() == (account, network)


async def test_owners_are_released_while_the_journal_holds_neither_swap_nor_send(journal: SqlJournal) -> None:
    network = JournalOwner("network", "mainnet")
    await journal.add_owners([network])
    assert await journal.release_owners()
    assert await journal.owners() == ()
    await journal.add_owners([network])
    await journal.create(a_record())
    assert not await journal.release_owners()
    assert await journal.owners() == (network,)


async def test_a_swap_id_is_used_once(journal: SqlJournal) -> None:
    await journal.create(a_record())
    with pytest.raises(JournalError, match="already has a swap with that id"):
        await journal.create(a_record())


async def test_open_swaps_are_listed_newest_first(journal: SqlJournal) -> None:
    for number in (1, 2, 3):
        await journal.create(a_record(number, role=Role.TAKER if number < 3 else Role.PROVIDER))
    done = await journal.load(SwapId(f"{1:032x}"))
    assert done is not None
    await advance(journal, done, final=True)

    def numbers(records: object) -> list[int]:
        return [int(one.swap_id, 16) for one in records]  # type: ignore[attr-defined]  # a sequence of records

    assert numbers(await journal.list()) == [3, 2, 1]
    assert numbers(await journal.list(open_only=True)) == [3, 2]
    assert numbers(await journal.list(role=Role.TAKER, open_only=True)) == [2]


async def test_one_hash_is_funded_by_one_open_swap_only(journal: SqlJournal) -> None:
    first, second = await journal.create(a_record(1)), await journal.create(a_record(2))
    funding = await advance(journal, first, to_fund())
    with pytest.raises(FundsRulesError):
        await advance(journal, second, to_fund())
    assert await journal.load(second.swap_id) == second
    # Once the first funding is over the hash is free.
    await advance(journal, funding, final=True)
    await advance(journal, second, to_fund())


@pytest.mark.parametrize("ended", ["completed", "lost"])
async def test_a_hash_that_was_paid_by_a_swap_that_has_ended_is_never_funded_again(
    journal: SqlJournal, ended: str
) -> None:
    # A third party's invoice is paid once: a second provider could collect with the public preimage.
    first, second = await journal.create(a_record(1)), await journal.create(a_record(2))
    await journal.advance(first, state={"state": ended}, is_final=True, event="ended", now=20)
    with pytest.raises(FundsRulesError, match="already paid"):
        await advance(journal, second, to_fund())
    # The rule applies to each role separately.
    other = await journal.create(a_record(3, role=Role.PROVIDER))
    await advance(journal, other, to_fund())


@pytest.mark.parametrize("seen", [Delivery.TAKEN, Delivery.UNKNOWN, Delivery.REJECTED])
async def test_what_a_node_may_have_seen_it_may_have_seen_for_ever(journal: SqlJournal, seen: Delivery) -> None:
    record = await advance(journal, await journal.create(a_record()), to_fund(1), to_collect(2))
    assert await journal.begin_delivery(record, to_fund(1), "one") is Delivery.LEAVING
    assert await journal.record_delivery(record, 1, Delivery.UNSENT) is Delivery.UNSENT
    assert await journal.begin_delivery(record, await first_intent(journal), "two") is Delivery.LEAVING
    assert await journal.record_delivery(record, 1, seen) is seen
    assert await journal.record_delivery(record, 1, Delivery.UNSENT) is seen
    assert await journal.begin_delivery(record, await first_intent(journal), "two") is seen
    assert await journal.intents(record.swap_id) == (replace(to_fund(1), delivery=seen), to_collect(2))


async def first_intent(journal: SqlJournal) -> Intent:
    return (await journal.intents(a_record().swap_id))[0]


async def test_of_tasks_that_begin_to_send_an_intent_one_succeeds(journal: SqlJournal) -> None:
    record = await advance(journal, await journal.create(a_record()), to_fund())
    results = await asyncio.gather(
        *(journal.begin_delivery(record, to_fund(), each) for each in ("one", "two", "three")), return_exceptions=True
    )
    assert [each for each in results if isinstance(each, Delivery)] == [Delivery.LEAVING]
    assert [type(each) for each in results if not isinstance(each, Delivery)] == [StaleSwap] * 2


async def test_nothing_is_sent_that_was_decided_from_a_version_that_is_gone(journal: SqlJournal) -> None:
    old = await advance(journal, await journal.create(a_record()), to_fund())
    await advance(journal, old)
    with pytest.raises(StaleSwap):
        await journal.begin_delivery(old, to_fund(), "one")
    assert await first_intent(journal) == to_fund()


async def test_an_attempt_counts_as_sent_once_another_task_has_advanced_the_swap(journal: SqlJournal) -> None:
    old = await advance(journal, await journal.create(a_record()), to_fund())
    await journal.begin_delivery(old, to_fund(), "one")
    await advance(journal, old)
    assert await journal.record_delivery(old, 1, Delivery.UNSENT) is Delivery.UNKNOWN


async def test_an_attempt_that_another_one_follows_counts_as_sent(journal: SqlJournal) -> None:
    record = await advance(journal, await journal.create(a_record()), to_fund())
    await journal.begin_delivery(record, to_fund(), "one")
    assert await journal.begin_delivery(record, await first_intent(journal), "two") is Delivery.UNKNOWN
    assert await journal.record_delivery(record, 1, Delivery.UNSENT) is Delivery.UNKNOWN
    assert await journal.record_delivery(record, 1, Delivery.TAKEN) is Delivery.TAKEN


async def test_an_attempt_that_has_not_begun_says_nothing_of_the_one_that_has(journal: SqlJournal) -> None:
    record = await advance(journal, await journal.create(a_record()), to_fund())
    assert await journal.record_delivery(record, 1, Delivery.UNSENT, attempt="one") is Delivery.INTENDED
    await journal.begin_delivery(record, to_fund(), "two")
    assert await journal.record_delivery(record, 1, Delivery.UNSENT, attempt="one") is Delivery.LEAVING
    assert await journal.record_delivery(record, 1, Delivery.UNSENT, attempt="two") is Delivery.UNSENT


async def test_the_beginning_of_an_attempt_can_be_repeated(journal: SqlJournal) -> None:
    record = await advance(journal, await journal.create(a_record()), to_fund())
    for _ in range(2):
        assert await journal.begin_delivery(record, to_fund(), "one") is Delivery.LEAVING
    with pytest.raises(StaleSwap):
        await journal.begin_delivery(record, to_fund(), "two")


async def test_the_delivery_of_an_intent_that_does_not_exist_is_not_written(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    with pytest.raises(StaleSwap):
        await journal.begin_delivery(record, to_fund(), "one")
    with pytest.raises(JournalError):
        await journal.record_delivery(record, 1, Delivery.TAKEN)


async def test_writes_that_share_a_transaction_succeed_and_fail_each_for_itself(journal: SqlJournal) -> None:
    hashes = [bytes([number]) * 32 for number in (1, 1, 2, 3)]
    records = await asyncio.gather(
        *(journal.create(a_record(number, payment_hash=each)) for number, each in enumerate(hashes, 1))
    )
    results = await asyncio.gather(
        *(advance(journal, record, to_fund()) for record in records),
        advance(journal, records[3]),
        journal.create(a_record(5, idempotency_key="key")),
        journal.create(a_record(6, idempotency_key="key")),
        journal.create(a_record(7, idempotency_key="key", request={"amount": "5"})),
        journal.create(a_record(1)),
        return_exceptions=True,
    )
    kinds = [type(each) for each in results]
    assert kinds[:5] == [SwapRecord, FundsRulesError, SwapRecord, SwapRecord, StaleSwap]
    assert kinds[5:] == [SwapRecord, SwapRecord, IdempotencyConflict, JournalError]
    assert results[5] == results[6]
    assert [each.version for each in await journal.list()] == [1, 2, 2, 1, 2]
    for record, result in zip(records, results, strict=False):
        is_made = isinstance(result, SwapRecord)
        assert await journal.load(record.swap_id) == (result if is_made else record)
        assert len(await journal.intents(record.swap_id)) == len(await journal.events(record.swap_id)) - 1 == is_made


async def test_the_last_proof_stays(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    assert await journal.load_proof(record.swap_id) is None
    await journal.save_proof(record.swap_id, b"first")
    await journal.save_proof(record.swap_id, b"second")
    assert await journal.load_proof(record.swap_id) == b"second"


async def test_a_single_send_is_recorded_once_for_each_key(journal: SqlJournal) -> None:
    send = SendRecord("BOB", "key", "digest", "0x01", {"raw": "00"})
    assert await journal.find_send("BOB", "key") is None
    assert await journal.add_send(send) == send
    assert await journal.add_send(replace(send, tx_id="0x02", act={"raw": "01"})) == send
    assert await journal.find_send("BOB", "key") == send
    assert await journal.find_send("LIGHTNING", "key") is None
    with pytest.raises(IdempotencyConflict) as caught:
        await journal.add_send(replace(send, request="another"))
    assert caught.value.tx_id == "0x01"


async def test_a_single_send_is_found_by_its_transaction_with_and_without_a_key(journal: SqlJournal) -> None:
    keyed = SendRecord("BOB", "rent", "digest", "0x01", {"raw": "00"})
    keyless = SendRecord("BOB", "0x02", "digest", "0x02", {"raw": "01"})
    # A key can be another transaction's id, such as that of a payment in return.
    answer = SendRecord("BOB", "0x01", "digest", "0x03", {"raw": "02"})
    for send in (keyed, keyless, answer):
        await journal.add_send(send)
        assert await journal.find_send_of("BOB", send.tx_id) == send
        assert await journal.find_send_of("LIGHTNING", send.tx_id) is None
    assert await journal.find_send_of("BOB", "rent") is None


async def test_closing_leaves_no_thread_and_can_be_repeated(place: str) -> None:
    before = threading.active_count()
    journal = await SqlJournal.open(place)
    assert threading.active_count() == before + 1
    await journal.aclose()
    await journal.aclose()
    assert threading.active_count() == before
    with pytest.raises(JournalError, match="is closed"):
        await journal.list()


async def test_a_cancelled_caller_breaks_nothing(journal: SqlJournal) -> None:
    record = await journal.create(a_record())
    write = asyncio.ensure_future(advance(journal, record, to_fund()))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    # Everything or nothing was written.
    loaded = await journal.load(record.swap_id)
    assert loaded is not None
    assert (loaded.version, len(await journal.intents(record.swap_id))) in {(1, 0), (2, 1)}


async def test_a_hash_that_one_swap_has_paid_stays_paid_when_another_one_that_funded_it_ends(
    journal: SqlJournal,
) -> None:
    payer, other, late = [await journal.create(a_record(number)) for number in (1, 2, 3)]
    # The payer's funding is not in this journal: an old copy of it was restored, or others fund the swap.
    other = await advance(journal, other, to_fund())
    await journal.advance(payer, state={"state": "completed"}, is_final=True, event="completed", now=20)
    await journal.advance(other, state={"state": "refunded"}, is_final=True, event="refunded", now=20)
    with pytest.raises(FundsRulesError, match="already paid"):
        await advance(journal, late, to_fund())


async def test_a_swap_that_ended_unpaid_and_is_reopened_is_sound(journal: SqlJournal) -> None:
    record = await advance(journal, await journal.create(a_record(role=Role.PROVIDER)), to_fund())
    record = await journal.advance(record, state={"state": "released"}, is_final=True, event="released", now=20)
    await journal.advance(
        record, state={"state": "releasing"}, is_final=False, event="a late funding is returned", now=20
    )
    assert await journal.problems() == []
