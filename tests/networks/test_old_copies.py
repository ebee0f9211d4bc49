"""A party whose journal is replaced by an old copy, or lost: nothing is funded twice, and every transfer ends well."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

import pytest

from layer2 import BTC, TransferState
from layer2.errors import JournalError, TransferRefunded, UnknownTransfer
from layer2.journal.copying import back_up
from layer2.journal.place import JournalPlace
from layer2.journal.registration import restore_journal
from layer2.journal.sql_journal import SqlJournal
from layer2.model.transactions import SwapId
from layer2.ports.journal import SwapRecord
from networks.money import NOTHING
from networks.swaps import AMOUNT, DIRECTIONS, Swaps, completed, until_state
from networks.waiting import until
from postgres_server import Server, server

__all__ = ["server"]

EACH_KIND: Final = pytest.mark.parametrize("direction", ["bob_to_lightning", "lightning_to_bitcoin", "bitcoin_to_bob"])
"""Each kind of leg as a source and as a destination."""
ON_SIMNET: Final = pytest.mark.only_on("simnet", reason="on real nodes nothing differs that the journal depends on")
URL: Final = "LAYER2_JOURNAL__URL"
REGISTER: Final = "LAYER2_JOURNAL__REGISTER_FILE"

pytestmark = ON_SIMNET


def journal_of(swaps: Swaps, party: str) -> Path:
    if party == "taker":
        return swaps.directory / "layer2-journal.sqlite"
    return swaps.provider.directory / "provider-journal.sqlite"


def register_of(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.register")


def lose(journal: Path) -> None:
    """Delete the journal, and not its register."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        journal.with_name(journal.name + suffix).unlink(missing_ok=True)


async def lose_and_restore(swaps: Swaps, party: str) -> None:
    """Delete the journal of a party that has ended, and restore it as ``layer2 restore`` does."""
    journal = journal_of(swaps, party)
    lose(journal)
    assert await restore_journal(JournalPlace(path=journal), JournalPlace(path=register_of(journal))) == 1


async def copy_of(journal: Path, directory: Path) -> Path:
    """A backup of a journal, which may be in use."""
    backup = directory / "backup.sqlite"
    await back_up(JournalPlace(path=journal), JournalPlace(path=backup))
    return backup


def put_back(backup: Path, journal: Path) -> None:
    lose(journal)
    shutil.copy(backup, journal)


async def record_of(place: str | Path, transfer_id: str) -> SwapRecord:
    journal = await SqlJournal.open(place)
    try:
        record = await journal.load(SwapId(transfer_id))
        assert record is not None
        return record
    finally:
        await journal.aclose()


async def completes(swaps: Swaps, transfer_id: str, **changes: object) -> None:
    """Continue with both parties until the transfer is completed for both."""
    swaps.provider.start()
    async with swaps.manager(**changes) as layers, swaps.quick_finality():
        await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert (await layers.get_transfer_async(transfer_id)).state is TransferState.COMPLETED
        await swaps.until_provider_has(transfer_id, "completed")


# Lost, and restored from the register


@EACH_KIND
async def test_a_taker_whose_journal_is_lost_after_it_funded_restores_it_and_the_transfer_completes(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        swaps.provider.kill()
        await until_state(layers, transfer_id, TransferState.FUNDED)
    await lose_and_restore(swaps, "taker")
    await completes(swaps, transfer_id)
    assert (await record_of(journal_of(swaps, "taker"), transfer_id)).from_old_copy
    await swaps.until_moved(before, completed(direction))


@pytest.mark.parametrize("direction", ["lightning_to_bitcoin", "bitcoin_to_bob"])
async def test_a_taker_whose_journal_is_lost_while_it_collects_restores_it_and_the_transfer_completes(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.COLLECTING, TransferState.ARRIVED)
    await lose_and_restore(swaps, "taker")
    await completes(swaps, transfer_id)
    await swaps.until_moved(before, completed(direction))


@EACH_KIND
async def test_a_provider_whose_journal_is_lost_after_it_paid_restores_it_and_collects(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.FUNDED)
    # The taker has ended, so the provider waits for the preimage.
    await swaps.until_provider_has(transfer_id, "counter_funded")
    swaps.provider.kill()
    await lose_and_restore(swaps, "provider")
    await completes(swaps, transfer_id)
    assert (await record_of(journal_of(swaps, "provider"), transfer_id)).from_old_copy
    await swaps.until_moved(before, completed(direction))


@pytest.mark.parametrize("direction", ["bob_to_lightning", "bitcoin_to_bob"])
async def test_a_provider_whose_journal_is_lost_while_it_collects_restores_it_and_collects(
    swaps: Swaps, direction: str
) -> None:
    before = await swaps.money()
    await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await swaps.until_provider_has(transfer_id, "collecting")
    swaps.provider.kill()
    await lose_and_restore(swaps, "provider")
    await completes(swaps, transfer_id)
    await swaps.until_moved(before, completed(direction))


@pytest.mark.parametrize("direction", ["bob_to_lightning", "lightning_to_bob"])
async def test_a_provider_whose_journal_is_lost_before_it_paid_pays_nothing_and_the_taker_is_refunded(
    own_swaps: Swaps, direction: str
) -> None:
    swaps, before = own_swaps, await own_swaps.money()
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        swaps.provider.kill()
        await until_state(layers, transfer_id, TransferState.FUNDED)
        await lose_and_restore(swaps, "provider")
        swaps.provider.start()
        await swaps.until_provider_has(transfer_id, "counter_funding")
        await swaps.let_deadlines_pass(transfer_id)
        async with swaps.quick_finality():
            with pytest.raises(TransferRefunded):
                await layers.wait_for_transfer_async(transfer_id, timeout=60)
            await swaps.until_provider_has(transfer_id, "released")
    await swaps.until_moved(before, NOTHING)


# Replaced by an old copy


@EACH_KIND
async def test_a_taker_with_a_backup_from_before_its_transfer_pays_once_and_the_key_finds_the_transfer(
    swaps: Swaps, direction: str, tmp_path: Path
) -> None:
    before, journal = await swaps.money(), journal_of(swaps, "taker")
    async with swaps.manager():
        backup = await copy_of(journal, tmp_path)

    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, AMOUNT, *DIRECTIONS[direction])
        transfer_id = (await layers.start_transfer_async(quote, idempotency_key="rent")).transfer_id
        swaps.provider.kill()
        await until_state(layers, transfer_id, TransferState.FUNDED)
    put_back(backup, journal)
    swaps.provider.start()
    async with swaps.manager() as layers, swaps.quick_finality():
        await layers.cross_layer_transfer_async(BTC, AMOUNT, *DIRECTIONS[direction], idempotency_key="rent", timeout=60)
        (transfer,) = await layers.list_transfers_async()
        assert (transfer.transfer_id, transfer.state) == (transfer_id, TransferState.COMPLETED)
        await swaps.until_provider_has(transfer_id, "completed")
    # The transfer has ended. Its proof is lost with the journal, and its key is not.
    put_back(backup, journal)
    async with swaps.manager() as layers:
        with pytest.raises(UnknownTransfer, match="has no proof") as found:
            await layers.cross_layer_transfer_async(
                BTC, AMOUNT, *DIRECTIONS[direction], idempotency_key="rent", timeout=60
            )
        assert found.value.transfer_id == transfer_id
    await swaps.until_moved(before, completed(direction))


@pytest.mark.parametrize("direction", ["bob_to_lightning", "bitcoin_to_bob"])
async def test_a_provider_with_a_copy_from_before_it_paid_does_not_pay_again(
    swaps: Swaps, direction: str, tmp_path: Path
) -> None:
    before, journal = await swaps.money(), journal_of(swaps, "provider")
    source = DIRECTIONS[direction][0].value
    await swaps.set_automatic(False, chain=source)
    async with swaps.manager() as layers:
        transfer_id = await swaps.begin(layers, direction)
        await swaps.until_provider_has(transfer_id, "agreed")
        backup = await copy_of(journal, tmp_path)
        await swaps.set_automatic(True, chain=source)
        await until_state(layers, transfer_id, TransferState.FUNDED)
    await swaps.until_provider_has(transfer_id, "counter_funded")
    swaps.provider.kill()
    put_back(backup, journal)
    await completes(swaps, transfer_id)
    await swaps.until_moved(before, completed(direction))


# A fail-over to a copy that lags


async def test_a_taker_whose_server_fails_over_to_a_copy_that_lags_pays_once(
    swaps: Swaps, server: Server, tmp_path: Path
) -> None:
    direction, url = "bob_to_lightning", await server.journal()
    changes = {"journal": {"url": url, "register_file": str(tmp_path / "register.sqlite")}}
    before = await swaps.money()
    async with swaps.manager(**changes) as layers:
        copy = server.snapshot(url)
        transfer_id = await swaps.begin(layers, direction)
        swaps.provider.kill()
        await until_state(layers, transfer_id, TransferState.FUNDED)
        waiting = asyncio.create_task(layers.wait_for_transfer_async(transfer_id))
        await asyncio.sleep(0)
        server.fail_over(url, copy)
        with pytest.raises(JournalError) as ended:
            async with asyncio.timeout(30):
                await waiting
        assert (ended.value.code, ended.value.transfer_id) == ("old_copy", transfer_id)
    await completes(swaps, transfer_id, **changes)
    assert (await record_of(url, transfer_id)).from_old_copy
    await swaps.until_moved(before, completed(direction))


async def test_a_provider_whose_server_fails_over_to_a_copy_that_lags_ends_and_does_not_pay_again(
    own_swaps: Swaps, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps, url, direction = own_swaps, await server.journal(), "bob_to_lightning"
    taker = {"journal": {"url": await server.journal(), "register_file": str(tmp_path / "taker-register")}}
    monkeypatch.setenv(URL, url)
    monkeypatch.setenv(REGISTER, str(tmp_path / "provider-register"))
    swaps.provider.kill()
    swaps.provider.start()
    before = await swaps.money()
    source = DIRECTIONS[direction][0].value
    await swaps.set_automatic(False, chain=source)
    async with swaps.manager(**taker) as layers:
        transfer_id = await swaps.begin(layers, direction)
        await swaps.until_provider_has(transfer_id, "agreed")
        copy = server.snapshot(url)
        await swaps.set_automatic(True, chain=source)
        await until_state(layers, transfer_id, TransferState.FUNDED)
    await swaps.until_provider_has(transfer_id, "counter_funded")
    server.fail_over(url, copy)
    process = swaps.provider._process
    assert process is not None

    async def has_ended() -> bool:
        await asyncio.sleep(0)
        return process.poll() is not None

    await until(has_ended, "the provider ends")
    assert "[old_copy]" in swaps.provider.log()
    await completes(swaps, transfer_id, **taker)
    assert (await record_of(url, transfer_id)).from_old_copy
    await swaps.until_moved(before, completed(direction))
