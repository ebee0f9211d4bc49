"""Every order in which two workers, one that repairs nonces, and lost answers meet at one act: it is sent as intended.

The workers behave as ``swap_engine.acts`` does. Each of their writes is made by the journal's own statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, select, update

from journal.test_journal import a_record, to_fund
from layer2.errors import NonceTaken, StaleSwap
from layer2.journal.nonces import claim_nonces
from layer2.journal.rows import row_of
from layer2.journal.schema import METADATA, intents, nonces, swaps
from layer2.journal.transitions import Beginning, Delivered, begin_deliveries, create_swaps, record_deliveries
from layer2.ports.journal import Delivery
from layer2.ports.nonces import NonceClaim, NonceUse

MOST_TURNS: Final = 2
"""Of each worker."""
REPAIRS: Final = "repairs"
SWAP = a_record()


@dataclass(frozen=True)
class Rows:
    """What the journal has."""

    version: int = 1
    delivery: Delivery = Delivery.INTENDED
    attempt: str | None = None
    holder: str = "0"
    """The worker that has the nonce."""
    is_out: bool = False


@dataclass(frozen=True)
class Worker:
    at: str = "load"
    version: int = 0
    delivery: Delivery = Delivery.INTENDED
    attempt: str | None = None
    """Of an attempt of which it is not known whether it began."""
    outcome: Delivery | None = None
    turns: int = 0


@dataclass(frozen=True)
class Scene:
    rows: Rows
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    repairer: Rows | None = None
    """What it has read."""
    sends: int = 0

    def with_worker(self, index: int, worker: Worker) -> Scene:
        both = list(self.workers)
        both[index] = worker
        return replace(self, workers=(both[0], both[1]))


def use(worker: str, *, is_out: bool = True) -> NonceUse:
    return NonceUse("BOB", "0x11", 7, "0xaa", b"\xaa", worker, is_out)


class RealJournal:
    """Makes one write on given rows, with the journal's statements."""

    def __init__(self, *, has_nonce: bool) -> None:
        self._has_nonce = has_nonce
        self._connection: Connection = create_engine("sqlite://").connect()
        METADATA.create_all(self._connection)
        create_swaps(self._connection, [SWAP])
        self._connection.execute(insert(intents), row_of(to_fund()) | {"swap_id": SWAP.swap_id})
        self.begin = cache(self._begin)
        self.record = cache(self._record)
        self.take_over = cache(self._take_over)

    def claims(self, worker: int) -> tuple[NonceClaim, ...]:
        return (NonceClaim(use(str(worker)), takes_over=True),) if self._has_nonce else ()

    def _begin(self, rows: Rows, index: int, worker: Worker, attempt: str) -> tuple[Any, Rows]:
        self._set(rows)
        beginning = Beginning(SWAP.swap_id, worker.version, 1, worker.delivery, attempt, self.claims(index))
        (result,) = begin_deliveries(self._connection, [beginning])
        return result if isinstance(result, Exception) else result.delivery, self._rows()

    def _record(
        self, rows: Rows, index: int, version: int, outcome: Delivery, attempt: str | None
    ) -> tuple[Delivery, Rows]:
        self._set(rows)
        given = self.claims(index) if outcome is Delivery.UNSENT else ()
        (result,) = record_deliveries(self._connection, [Delivered(SWAP.swap_id, version, 1, outcome, attempt, given)])
        assert isinstance(result, Delivery)
        return result, self._rows()

    def _take_over(self, rows: Rows, seen: Rows) -> Rows | None:
        self._set(rows)
        (error,) = claim_nonces(self._connection, [[NonceClaim(use(REPAIRS), use(seen.holder, is_out=seen.is_out))]])
        return None if error is not None else self._rows()

    def _set(self, rows: Rows) -> None:
        execute = self._connection.execute
        execute(update(swaps).values(version=rows.version))
        execute(update(intents).values(delivery=rows.delivery, attempt=rows.attempt))
        execute(delete(nonces))
        if self._has_nonce:
            execute(insert(nonces), row_of(use(rows.holder, is_out=rows.is_out)))

    def _rows(self) -> Rows:
        intent = self._connection.execute(select(intents)).one()
        version = self._connection.execute(select(swaps.c.version)).scalar_one()
        held = self._connection.execute(select(nonces)).first()
        holder = {} if held is None else {"holder": held.worker, "is_out": held.is_out}
        return Rows(version, intent.delivery, intent.attempt, **holder)


def next_scenes(scene: Scene, journal: RealJournal, *, is_repeatable: bool) -> Iterator[Scene]:
    if scene.rows.version == 1:
        # A turn that orders nothing for this act.
        yield replace(scene, rows=replace(scene.rows, version=2))
    if is_repeatable:
        yield from repairs(scene, journal)
    for index, worker in enumerate(scene.workers):
        match worker.at:
            case "load" if worker.turns < MOST_TURNS:
                seen = replace(worker, version=scene.rows.version, delivery=scene.rows.delivery, turns=worker.turns + 1)
                if is_repeatable or not seen.delivery.is_out:
                    yield scene.with_worker(index, replace(seen, at="begin"))
            case "begin":
                yield from begins(scene, journal, index)
            case "not begun":
                # The turn after that begins with what is in memory, or reads the journal.
                for again in ("begin", "load"):
                    if worker.turns < MOST_TURNS:
                        ended = records(scene, journal, index, Delivery.UNSENT, worker.attempt, again)
                        yield from (each for each in ended if is_repeatable or not is_out(each, index))
            case "send":
                yield from sends(scene, index)
            case "record":
                assert worker.outcome is not None
                yield from records(scene, journal, index, worker.outcome, None, "load")
            case _:
                pass


def is_out(scene: Scene, index: int) -> bool:
    """Whether a worker is about to begin with what has been sent, as far as it knows."""
    worker = scene.workers[index]
    return worker.at == "begin" and worker.delivery.is_out


def begins(scene: Scene, journal: RealJournal, index: int) -> Iterator[Scene]:
    worker = scene.workers[index]
    attempt = worker.attempt or f"{index}{worker.turns}"
    result, rows = journal.begin(scene.rows, index, replace(worker, turns=0, attempt=None), attempt)
    if isinstance(result, StaleSwap | NonceTaken):
        yield scene.with_worker(index, replace(worker, at="load"))
        return
    begun = replace(worker, at="send", delivery=result, attempt=None)
    yield replace(scene.with_worker(index, begun), rows=rows)
    lost = replace(worker, at="load" if worker.delivery.is_out else "not begun", attempt=attempt)
    yield scene.with_worker(index, lost)
    yield replace(scene.with_worker(index, lost), rows=rows)


def sends(scene: Scene, index: int) -> Iterator[Scene]:
    worker = scene.workers[index]
    for outcome in (Delivery.TAKEN, Delivery.UNKNOWN):
        sent = scene.with_worker(index, replace(worker, at="record", outcome=outcome))
        yield replace(sent, sends=scene.sends + 1)
    at = "record" if worker.delivery is Delivery.LEAVING else "load"
    yield scene.with_worker(index, replace(worker, at=at, outcome=Delivery.UNSENT))


def records(
    scene: Scene, journal: RealJournal, index: int, outcome: Delivery, attempt: str | None, then: str
) -> Iterator[Scene]:
    worker = scene.workers[index]
    result, rows = journal.record(scene.rows, index, worker.version, outcome, attempt)
    done = replace(worker, at=then, turns=worker.turns + (then == "begin"), outcome=None)
    yield replace(scene.with_worker(index, replace(done, delivery=result)), rows=rows)
    # The answer is lost, and the write was made or not.
    yield replace(scene.with_worker(index, done), rows=rows)
    yield scene.with_worker(index, done)


def repairs(scene: Scene, journal: RealJournal) -> Iterator[Scene]:
    """A worker reads the nonces, and later sends what was out."""
    seen, now = scene.repairer, scene.rows
    if seen is None:
        if now.is_out and now.holder != REPAIRS:
            yield replace(scene, repairer=Rows(holder=now.holder, is_out=True))
        return
    rows = journal.take_over(now, seen)
    yield replace(scene, repairer=None, rows=rows or now, sends=scene.sends + (rows is not None))


@pytest.mark.parametrize("is_repeatable", [False, True], ids=["payment", "lock"])
def test_in_every_order_an_act_is_sent_as_intended_and_counts_as_sent_from_then_on(is_repeatable: bool) -> None:
    journal = RealJournal(has_nonce=is_repeatable)
    first = Scene(Rows())
    seen, open_scenes, most = {first}, [first], 0
    while open_scenes:
        scene = open_scenes.pop()
        for after in next_scenes(scene, journal, is_repeatable=is_repeatable):
            most = max(most, after.sends)
            after = replace(after, sends=min(after.sends, 2))
            assert is_repeatable or after.sends <= 1, (scene, after)
            assert not after.sends or after.rows.delivery.is_out, (scene, after)
            if after not in seen:
                seen.add(after)
                open_scenes.append(after)
    assert most >= 1
    assert len(seen) > 1_000
