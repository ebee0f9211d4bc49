"""One chaos run: transfers and faults by a schedule, audits during the run, and the verdict at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.auditor import Facts
from chaos.events import Event, Schedule, Wish
from chaos.judge import Judge, Verdict
from chaos.world import World, local_network, world
from layer2.terms.transfers import TransferState

__all__ = ["Run", "run"]

_ENDS = frozenset({"TransferRefunded", "TransferLost"})
_ASK_AGAIN_SECONDS = 0.5
_AUDIT_SECONDS = 0.7
_TICK_SECONDS = 0.1
_SETTLE_SECONDS = 15.0
"""Seconds for which transfers continue after the last fault before the clocks move."""
_BEGIN_SECONDS = 90.0
"""Maximum seconds for which the clocks stand still for transfers that have not begun."""
_NOT_BEGUN = frozenset({TransferState.PLANNED, TransferState.AGREED, TransferState.ABANDONED})
_HORIZON = 3 * 3600
"""Seconds beyond every deadline of a swap on a local network."""
_LAST_SECONDS = 20.0
_READ_SECONDS = 30.0


@dataclass
class Run:
    """A running chaos run."""

    schedule: Schedule
    say: Callable[[str], None]
    calls: dict[str, Wish] = field(default_factory=dict)
    """Requested transfers that have not ended."""
    ended: set[str] = field(default_factory=set)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The count of each error in the taker's program, and its last text."""
    judge: Judge | None = None
    place: World | None = None
    _passed: float = 0.0
    """Seconds of the schedule."""
    _asking: set[asyncio.Task[None]] = field(default_factory=set)

    def heard(self, said: dict[str, Any]) -> None:
        """A line from the taker's program."""
        if self.judge is not None:
            self.judge.hear(said)
        if "error" in said:
            name = f"{said['error']} {said.get('code', '')}"
            number, _ = self.errors.get(name, (0, ""))
            self.errors[name] = number + 1, str(said["text"])
        key = said["key"]
        if key is None or key not in self.calls:
            return
        if "proof" in said or said["error"] in _ENDS:
            self.ended.add(key)
            del self.calls[key]
            return
        task = asyncio.create_task(self._ask_again(key))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def taker_started(self) -> None:
        """A new process of the taker requests everything again, with the same keys."""
        for wish in self.calls.values():
            self.ask(wish)

    def ask(self, wish: Wish) -> None:
        """Request a transfer from the taker's program."""
        assert self.place is not None
        fields = {"source": wish.source.value, "destination": wish.destination.value, "amount": wish.amount}
        self.place.parties["taker"].send({"key": wish.key, **fields})

    async def _ask_again(self, key: str) -> None:
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
        if key in self.calls:
            self.ask(self.calls[key])

    async def clock(self) -> None:
        """Advance the schedule's time, except while a process starts, because that depends on the machine's speed."""
        assert self.place is not None
        before = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if not self.place.is_starting:
                self._passed += now - before
            before = now

    async def _until(self, at: float) -> None:
        while self._passed < at:  # noqa: ASYNC110 - a clock of its own
            await asyncio.sleep(_TICK_SECONDS)

    async def wishes(self) -> None:
        """Request each transfer at its time."""
        for wish in self.schedule.wishes:
            await self._until(wish.at)
            self.calls[wish.key] = wish
            self.ask(wish)

    async def event(self, event: Event) -> None:
        """Perform one event at its time."""
        assert self.place is not None
        await self._until(event.at)
        self.say(str(event))
        await self.place.make(event)

    async def audit(self) -> None:
        """Compare statements with facts repeatedly, without end."""
        while True:
            await self.look()
            await asyncio.sleep(_AUDIT_SECONDS)

    async def look(self) -> bool:
        """Compare once; return whether everything has ended."""
        assert self.place is not None
        assert self.judge is not None
        facts = await self.place.facts()
        stated = await self.place.stated()
        self.judge.look(facts, stated)
        return not self.calls and all(record.is_final for record in stated.records)

    async def _have_all_begun(self) -> bool:
        """Whether money has moved for every requested transfer."""
        assert self.place is not None
        stated = await self.place.stated()
        begun = {each.idempotency_key for each in stated.transfers if each.state not in _NOT_BEGUN}
        return begun >= set(self.calls)

    async def all_facts(self) -> Facts:
        """The facts from the nodes, once all of them answer."""
        assert self.place is not None
        give_up = time.monotonic() + _READ_SECONDS
        while True:
            facts = await self.place.facts()
            if len(facts.lightning) == 2 and len(facts.locks) == len(self.place.network.chains):
                return facts
            assert time.monotonic() < give_up, "a node does not answer after all faults"
            await asyncio.sleep(0.2)

    async def finish(self) -> None:
        """End all faults, and wait until everything has ended: first without, then with moving clocks."""
        assert self.place is not None
        await self.place.heal()
        began = time.monotonic()
        while self.calls:
            passed = time.monotonic() - began
            # While clocks move, a quote expires before it can be accepted.
            if passed > _BEGIN_SECONDS or (passed > _SETTLE_SECONDS and await self._have_all_begun()):
                break
            await asyncio.sleep(0.2)
        is_over = False

        async def look() -> None:
            nonlocal is_over
            while not is_over:
                is_over = await self.look()
                await asyncio.sleep(_AUDIT_SECONDS)

        looking = asyncio.create_task(look())
        try:
            await self.place.move(_HORIZON, is_over=lambda: is_over)
            async with asyncio.timeout(_LAST_SECONDS):
                await looking
        except TimeoutError:
            pass
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def run(
    schedule: Schedule, network: str, directory: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[Verdict, Run]:
    """Perform a run on a separate network.

    Args:
        directory: an empty directory for the network, both journals and both logs.
        say: called with a line about each event.
    """
    with local_network(network, directory / "network") as started:
        going = Run(schedule, say)
        async with world(started, directory, going.heard, going.taker_started) as place:
            going.place = place
            before = await going.all_facts()
            going.judge = Judge(before)
            beside = [asyncio.create_task(going.audit()), asyncio.create_task(going.clock())]
            try:
                async with asyncio.TaskGroup() as work:
                    work.create_task(going.wishes())
                    for event in schedule.events:
                        work.create_task(going.event(event))
            finally:
                for task in beside:
                    task.cancel()
                ended = await asyncio.gather(*beside, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    raise error
            await going.finish()
            facts, stated = await going.all_facts(), await place.stated()
            wanted = [wish.key for wish in schedule.wishes]
            return going.judge.finish(facts, stated, going.ended, wanted), going
