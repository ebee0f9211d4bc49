"""The journal's record of held coins, alone and together with the send that spends them."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import FundsRulesError, IdempotencyConflict
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import SendRecord

COINS = ["aa" * 32 + ":0", "bb" * 32 + ":1"]


def a_send(key: str = "rent", request: str = "digest") -> SendRecord:
    return SendRecord("BITCOIN", key, request, "cc" * 32, {"raw": "00"})


async def test_coins_are_held_all_or_none_for_one_holder(journal: SqlJournal) -> None:
    assert await journal.hold_coins("BITCOIN", "swap:1", COINS)
    assert await journal.hold_coins("BITCOIN", "swap:1", [*COINS, "dd" * 32 + ":2"])
    assert not await journal.hold_coins("BITCOIN", "swap:2", ["ee" * 32 + ":0", COINS[0]])
    assert await journal.held_coins("BITCOIN") == dict.fromkeys([*COINS, "dd" * 32 + ":2"], "swap:1")
    assert await journal.hold_coins("ROOTSTOCK", "swap:2", COINS)
    assert await journal.hold_coins("BITCOIN", "swap:2", [])


async def test_released_coins_can_be_held_by_others(journal: SqlJournal) -> None:
    await journal.hold_coins("BITCOIN", "swap:1", COINS[:1])
    await journal.hold_coins("BITCOIN", "swap:2", COINS[1:])
    for _ in range(2):
        await journal.release_coins("BITCOIN", "swap:1")
    assert await journal.held_coins("BITCOIN") == {COINS[1]: "swap:2"}
    assert await journal.hold_coins("BITCOIN", "swap:2", COINS)


async def test_of_concurrent_holders_one_gets_a_coin(journal: SqlJournal) -> None:
    found = await asyncio.gather(*(journal.hold_coins("BITCOIN", f"swap:{at}", COINS) for at in range(8)))
    assert sum(found) == 1


async def test_held_coins_survive_a_restart(place: str) -> None:
    journal = await SqlJournal.open(place)
    await journal.hold_coins("BITCOIN", "swap:1", COINS)
    await journal.aclose()
    again = await SqlJournal.open(place)
    assert await again.held_coins("BITCOIN") == dict.fromkeys(COINS, "swap:1")
    await again.aclose()


async def test_a_send_and_its_coins_are_recorded_together_or_not_at_all(journal: SqlJournal) -> None:
    await journal.hold_coins("BITCOIN", "swap:1", COINS[1:])
    with pytest.raises(FundsRulesError) as caught:
        await journal.add_send_of_coins(a_send(), "send:rent", COINS)
    assert caught.value.code == "coins_held"
    assert await journal.find_send("BITCOIN", "rent") is None
    assert await journal.held_coins("BITCOIN") == {COINS[1]: "swap:1"}
    await journal.release_coins("BITCOIN", "swap:1")
    record = a_send()
    assert await journal.add_send_of_coins(record, "send:rent", COINS) is record
    assert await journal.held_coins("BITCOIN") == dict.fromkeys(COINS, "send:rent")


async def test_a_repeated_send_keeps_its_record_and_its_coins(journal: SqlJournal) -> None:
    await journal.add_send_of_coins(a_send(), "send:rent", COINS[:1])
    known = await journal.add_send_of_coins(a_send(), "send:rent", COINS)
    assert known == a_send()
    assert known is not a_send()
    with pytest.raises(IdempotencyConflict):
        await journal.add_send_of_coins(a_send(request="other"), "send:rent", COINS)
    assert await journal.held_coins("BITCOIN") == {COINS[0]: "send:rent"}


async def test_of_concurrent_sends_with_the_same_coin_one_is_recorded(journal: SqlJournal) -> None:
    calls = [journal.add_send_of_coins(a_send(f"{at}"), f"send:{at}", COINS) for at in range(6)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    (winner,) = [each for each in found if isinstance(each, SendRecord)]
    assert set((await journal.held_coins("BITCOIN")).values()) == {f"send:{winner.idempotency_key}"}
    assert [await journal.find_send("BITCOIN", f"{at}") for at in range(6)].count(None) == 5
