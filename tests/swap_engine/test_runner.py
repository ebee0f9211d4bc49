"""Waiting, watching, closing and resuming do not affect a swap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import JournalError, NodeUnreachable, TaskCancelled, UnknownTransfer
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_engine.records import read_request, record_state
from layer2.swap_engine.runner import SwapRunner
from swap_engine.faults import LAYER_CALLS
from swap_engine.two_parties import OnePreimage, Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import NOW, PREIMAGE, SWAP_ID


def test_watching_gives_the_present_and_then_every_version_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        versions: list[int] = []

        async def watch() -> None:
            versions.extend([record.version async for record in scene.taker.runner.watch(SWAP_ID)])

        watching = asyncio.ensure_future(watch())
        await scene.play()
        await watching
        assert versions == list(range(versions[0], scene.taker.record.version + 1))
        # A final swap is announced once.
        assert [one.version async for one in scene.taker.runner.watch(SWAP_ID)] == versions[-1:]
        await scene.close()

    run(story())


def test_a_reader_of_a_swap_that_is_awake_does_not_read_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        runner, journal = scene.taker.runner, scene.taker.journal
        runner.drive(scene.taker.record)
        read, load = list[SwapId](), journal.load

        async def noted(swap_id: SwapId) -> SwapRecord | None:
            read.append(swap_id)
            return await load(swap_id)

        monkeypatch.setattr(journal, "load", noted)
        async with aclosing(runner.watch(SWAP_ID)) as records:
            assert await anext(records) == scene.taker.record
        assert not read
        await scene.close()
        # Without its driver, only the journal has the newest version.
        with pytest.raises(TaskCancelled):
            await wait_for(runner, SWAP_ID)
        assert read

    run(story())


def test_a_version_that_another_process_wrote_is_seen_within_the_polling_time() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        first = scene.taker.runner
        other = scene.taker.start()
        waiting = asyncio.ensure_future(wait_for(first, SWAP_ID))
        await other.resume()
        await scene.provider.runner.resume()
        assert (await waiting).is_final
        await first.aclose()
        await scene.close()

    run(story())


def test_a_wait_ends_where_the_caller_wants_it_to() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.begin()
        record = await wait_for(scene.taker.runner, SWAP_ID, until=lambda one: record_state(one).name == "funded")
        assert (record_state(record).name, record.is_final) == ("funded", False)
        # A final swap will never reach the wanted state.
        await scene.both_final()
        record = await wait_for(scene.taker.runner, SWAP_ID, until=lambda one: False)
        assert record_state(record).name == "completed"
        await scene.close()

    run(story())


def test_cancelling_a_wait_never_touches_the_swap() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        for party in scene.parties:
            await party.runner.resume()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await wait_for(scene.taker.runner, SWAP_ID)
        assert not scene.taker.record.is_final
        assert (await wait_for(scene.taker.runner, SWAP_ID)).is_final
        assert scene.taker.state == "completed"
        await scene.close()

    run(story())


def test_closing_never_waits_for_a_swap_and_returns_the_open_ones() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        runner = scene.taker.runner
        await runner.resume()
        await asyncio.sleep(30)
        waiting = asyncio.ensure_future(wait_for(runner, SWAP_ID))
        await asyncio.sleep(0)
        before = asyncio.get_running_loop().time()
        still_open = await runner.aclose()
        assert asyncio.get_running_loop().time() == before
        assert still_open == (SWAP_ID,)
        with pytest.raises(TaskCancelled) as caught:
            await waiting
        assert caught.value.transfer_id == SWAP_ID
        with pytest.raises(TaskCancelled):
            runner.drive(scene.taker.record)
        with pytest.raises(TaskCancelled):
            await wait_for(runner, SWAP_ID)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await scene.close()

    run(story())


def test_what_is_not_in_the_journal_cannot_be_waited_for() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        with pytest.raises(UnknownTransfer):
            await wait_for(scene.taker.runner, SwapId("00" * 16))
        with pytest.raises(JournalError, match="without terms"):
            scene.taker.runner.drive(replace(scene.taker.record, terms=None))
        await scene.close()

    run(story())


def test_driving_twice_is_driving_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        for _ in range(3):
            scene.taker.runner.drive(scene.taker.record)
        await scene.play()
        names = [one["event"] for one in await scene.taker.journal.events(SWAP_ID)]
        assert names.count("funding") == 1
        await scene.close()

    run(story())


def test_only_agreed_swaps_of_the_roles_are_resumed() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        assert await scene.taker.runner.resume([Role.PROVIDER]) == []
        scene.taker.journal.records[SwapId("00" * 16)] = replace(
            scene.taker.record, swap_id=SwapId("00" * 16), terms=None
        )
        assert await scene.taker.runner.resume() == [SWAP_ID]
        await scene.close()

    run(story())


def test_a_swap_that_cannot_be_read_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        unknown = replace(
            scene.taker.record, swap_id=SwapId("00" * 16), payment_hash=b"\x01" * 32, terms={"version": 99}
        )
        scene.taker.journal.records = {unknown.swap_id: unknown, **scene.taker.journal.records}
        await scene.taker.runner.resume()
        await scene.provider.runner.resume()
        async with asyncio.timeout(3_600):
            assert (await wait_for(scene.taker.runner, SWAP_ID)).is_final
        assert scene.taker.state == "completed"
        await scene.close()

    run(story())
    assert "cannot be driven" in caplog.text


def test_a_listener_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()

        def listener(record: object) -> None:
            raise RuntimeError("a listener's own fault")

        scene.taker.runner._watchers._on_change = listener
        await scene.play()
        assert scene.taker.state == "completed"
        await scene.close()

    run(story())
    assert "a listener's own fault" in caplog.text


@pytest.mark.parametrize("direction", [Scene.to_lightning, Scene.to_bob], ids=["to_lightning", "to_bob"])
def test_trouble_is_logged_and_secrets_are_not(
    direction: Callable[[], Awaitable[Scene]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "layer2")

    async def story() -> None:
        scene = await direction()
        count = 0

        async def fault(when: str, what: str) -> None:
            nonlocal count
            count += 1
            await asyncio.sleep(0)
            # Not forever: a fault at every call means that the node is down.
            if count % 11 == 0 and count < 60:
                raise NodeUnreachable("no connection") if what in LAYER_CALLS else JournalError("the disk is full")

        for party in scene.parties:
            party.on_fault(fault)
        await scene.play()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())
    assert "the disk is full" in caplog.text
    assert SWAP_ID in caplog.text
    assert PREIMAGE.secret.hex() not in caplog.text
    # Only the taker's log contains the id.
    providers = [one.getMessage() for one in caplog.records if one.getMessage().startswith("hash ")]
    assert providers
    assert not any(SWAP_ID in line for line in providers)


def test_the_preimage_is_not_in_the_takers_journal_before_it_is_to_be_shown() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.taker.runner.resume()
        await asyncio.sleep(60)
        assert scene.taker.state == "funded"
        written = repr(scene.taker.record) + repr([one.act for one in await scene.taker.journal.intents(SWAP_ID)])
        assert PREIMAGE.secret.hex() not in written
        await scene.close()

    run(story())


class StandingClock:
    def now(self) -> float:
        return NOW


async def test_a_swap_continues_from_the_file_in_another_runner(tmp_path: Path) -> None:
    scene = await Scene.to_lightning()
    scene.world.now = lambda: NOW  # type: ignore[method-assign]  # the journal's thread needs a loop of real time
    journal = await SqlJournal.open(tmp_path / "journal.db")
    source = scene.taker
    await journal.act()
    created = await journal.create(replace(source.record, terms=None))
    await journal.advance(
        created, state=source.record.state, is_final=False, event="agreed", now=1, terms=source.record.terms
    )

    def runner() -> SwapRunner:
        return SwapRunner(
            journal,
            source.legs,
            OnePreimage(),
            REGTEST,
            StandingClock(),
        )

    first = runner()
    await first.resume()
    async for record in first.watch(SWAP_ID):
        if record_state(record).name == "funding":
            break
    await first.aclose()
    [intent] = await journal.intents(SWAP_ID)
    assert (intent.number, intent.verb, intent.end) == (1, "fund", "source")
    second = runner()
    assert await second.resume() == [SWAP_ID]
    resumed = await journal.load(SWAP_ID)
    assert resumed is not None
    assert record_state(resumed).name in ("funding", "funded")
    assert read_request(resumed).source is Layer2ProtocolType.BOB
    assert resumed.provider_name == "example"
    await second.aclose()
    await journal.aclose()
