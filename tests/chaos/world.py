"""A local network with both parties' processes, and the faults that a run can cause."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, assert_never

import aiohttp

from chaos.auditor import Facts, read_facts
from chaos.events import PARTIES, Event, Fault
from chaos.judge import Stated
from chaos.party import MovedClock, journal_path, taker_config
from chaos.processes import PartyProcess
from forked_simnet import running_simnet
from layer2 import Layer2Manager
from layer2.errors import NodeRefused
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.timelock_settings import REGTEST
from layer2.local import devnet
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.ports.journal import Role
from layer2.swap_engine.records import outlook_of
from layer2.terms.transfers import Actor

__all__ = ["World", "local_network", "world"]

_START_SECONDS = 60.0
_STEP = 30
"""Seconds of one step of the clocks: less than a chain's clock may be ahead."""
_STEP_LASTS = 0.3
"""Seconds of wall time for each step, so that running parties can act meanwhile."""
_STEP_LASTS_NEAR = 2.0
"""The same near a deadline: a running party has at least a minute to act, by the moved clock."""
_NEAR = 150
_TICK_SECONDS = 0.25
_BITCOIN_BLOCK = 8
"""Seconds of a Bitcoin block on a local network, as its timelock settings assume."""
_BACK_BEFORE = 20
"""Seconds before a deadline at which a party is restarted."""
_AWAY_WITHOUT_DEADLINE = 900
_WRITES_WITHIN = 3.0
_NOTHING_AT_STAKE = ("planned", "agreed")
_TARGETS = {"BOB": "bob", "ROOTSTOCK": "rootstock"}


@contextmanager
def local_network(name: str, directory: Path) -> Iterator[LocalNetwork]:
    """A local network that ends with the block, and with this process."""
    if name == "simnet":
        # The clock of its machines, including lnd, moves with the parties' clocks.
        with running_simnet(directory, "--clock", str(int(time.time()))) as network:
            yield network
    else:
        yield devnet.up(directory, with_parent=True)
        devnet.down(directory)


class World:
    """Both parties on one network. ``heal`` ends every fault."""

    def __init__(
        self,
        network: LocalNetwork,
        directory: Path,
        session: aiohttp.ClientSession,
        heard: Callable[[dict[str, Any]], None],
        taker_started: Callable[[], None],
    ) -> None:
        self.network = network
        self.control = LocalNetworkControl(network.control_url, session)
        self.clock = MovedClock(directory / "clock")
        self.directory = directory
        self.parties = {
            "taker": PartyProcess("taker", directory, heard, taker_started),
            "provider": PartyProcess("provider", directory, heard, lambda: None),
        }
        self._session = session
        self._journals: dict[str, SqlJournal] = {}
        self._closing = contextlib.AsyncExitStack()
        self._reader: Layer2Manager | None = None
        self._control_lock = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._one_at_a_time = defaultdict[tuple[Fault, str], asyncio.Lock](asyncio.Lock)
        self._happening = 0
        self._ticking: asyncio.Task[None] | None = None
        self._shown = 0
        """The time of the simnet's clock."""

    async def start(self) -> None:
        """Start the provider, and then the taker."""
        (self.directory / "clock").write_text("0")
        if self.network.name == "simnet":
            self._shown = int((await self.control.status())["clock"])
            self._ticking = asyncio.create_task(self._tick())
        self.parties["provider"].start()
        ready = self.parties["provider"].ready_file
        give_up = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert time.monotonic() < give_up, "the provider did not get ready; its log is in provider.log"
            await asyncio.sleep(0.05)
        # Restarts keep the address.
        announced = json.loads(ready.read_text())
        (self.directory / "provider.json").write_text(json.dumps(announced))
        self.parties["taker"].start()
        while not journal_path(self.directory, "taker").exists():
            assert time.monotonic() < give_up, "the taker has no journal; its log is in taker.log"
            await asyncio.sleep(0.05)
        # It only reads.
        self._reader = await self._closing.enter_async_context(Layer2Manager(taker_config(self.directory)))
        for party in PARTIES:
            journal = self._journals[party] = await SqlJournal.open(journal_path(self.directory, party))
            self._closing.push_async_callback(journal.aclose)

    async def stop(self) -> None:
        """End both processes."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        for party in self.parties.values():
            await party.kill()
        await self._closing.aclose()

    @property
    def is_starting(self) -> bool:
        """Whether a party's process was started and does not serve yet."""
        return any(party.is_starting for party in self.parties.values())

    async def facts(self) -> Facts:
        """The current facts from the nodes."""
        return await read_facts(self.network, self._session)

    async def stated(self) -> Stated:
        """The current statements of statuses and journals."""
        assert self._reader is not None
        transfers = await self._reader.list_transfers_async(timeout=30)
        records = [record for journal in self._journals.values() for record in await journal.list()]
        return Stated(tuple(transfers), tuple(records))

    async def make(self, event: Event) -> None:
        """Perform an event, and undo it after its seconds.

        Nothing else happens while the clocks move: seconds of an outage would become minutes.
        """
        if event.fault is Fault.AWAY:
            async with self._alone:
                await self._until_nothing_happens()
                await self._stay_away(event.target)
            return
        async with self._alone:
            self._happening += 1
        try:
            # The same fault of the same target follows this one.
            async with self._one_at_a_time[event.fault, event.target]:
                await self._make(event)
        finally:
            self._happening -= 1

    async def _until_nothing_happens(self) -> None:
        while self._happening:  # noqa: ASYNC110 - every event ends after its seconds
            await asyncio.sleep(0.05)

    async def _make(self, event: Event) -> None:
        match event.fault:
            case Fault.KILL:
                await self._until_it_writes(event.target)
                await self.parties[event.target].kill()
                await asyncio.sleep(event.seconds)
                self.parties[event.target].start()
            case Fault.FREEZE:
                await self._until_it_writes(event.target)
                self.parties[event.target].freeze()
                await asyncio.sleep(event.seconds)
                self.parties[event.target].thaw()
            case Fault.DISK_FULL:
                await self._until_it_writes(event.target)
                self.parties[event.target].fill_disk(True)
                await asyncio.sleep(event.seconds)
                self.parties[event.target].fill_disk(False)
            case Fault.FREEZE_NODE:
                await self._freeze_node(event)
            case Fault.STOP_LIGHTNING:
                await self._stop_lightning(event)
            case Fault.REORGANISE | Fault.FORGET:
                keep = event.fault is Fault.REORGANISE
                with contextlib.suppress(NodeRefused):  # a block of the depth became final meanwhile
                    async with self._control_lock:
                        await self.control.reorganise(event.depth, keep_transactions=keep, chain=event.target)
            case Fault.CHAIN_DOWN:
                async with self._control_lock:
                    await self.control.fault(_TARGETS[event.target], "down")
                await asyncio.sleep(event.seconds)
                async with self._control_lock:
                    await self.control.fault(_TARGETS[event.target], "none")
            case Fault.LOSE_REPLIES:
                async with self._control_lock:
                    await self.control.fault(
                        _TARGETS[event.target], "drop_reply", method="eth_sendRawTransaction", count=1 + event.pick % 3
                    )
            case Fault.AWAY:
                raise AssertionError("made alone")
            case _:
                assert_never(event.fault)

    async def heal(self) -> None:
        """End every fault."""
        for party in self.parties.values():
            party.thaw()
            party.fill_disk(False)
            party.start()
        if self.network.name == "simnet":
            for target in _TARGETS.values():
                await self.control.fault(target, "none")

    async def move(self, seconds: int, *, is_over: Callable[[], bool] = lambda: False) -> None:
        """Move all clocks, in steps between which all parties act; Bitcoin blocks arrive at their usual rate.

        Real nodes use this machine's clock, so there the seconds simply pass.
        """
        blocks = 0.0
        while seconds > 0 and not is_over():
            step = min(_STEP if self.network.name == "simnet" else _BITCOIN_BLOCK, seconds)
            blocks += step / _BITCOIN_BLOCK
            async with self._control_lock:
                if self.network.name == "simnet":
                    self.clock.move(step)
                    await self._show_time()
                    for chain in self.network.chains:
                        await self.control.mine(chain=chain)
                if blocks >= 1:
                    await self.control.mine_bitcoin(int(blocks))
                    blocks -= int(blocks)
            seconds -= step
            if self.network.name == "simnet":
                is_near = any(each - self.clock.now() < _NEAR for each in await self._deadlines(*PARTIES))
                await asyncio.sleep(_STEP_LASTS_NEAR if is_near else _STEP_LASTS)
            else:
                for _ in range(step):
                    if is_over():
                        break
                    await asyncio.sleep(1)

    async def _tick(self) -> None:
        """Advance the simnet's time, and make a block of each chain every second."""
        while True:
            async with self._control_lock:
                shown = self._shown
                await self._show_time()
                for chain in self.network.chains if self._shown > shown else ():
                    await self.control.mine(chain=chain)
            await asyncio.sleep(_TICK_SECONDS)

    async def _show_time(self) -> None:
        """Set the simnet's clock to the parties' clock."""
        ahead = int(self.clock.now()) - self._shown
        if ahead > 0 and self.network.name == "simnet":
            url = f"{self.network.control_url}/clock"
            async with self._session.post(url, json={"seconds": ahead}) as response:
                assert response.status == 200, await response.text()
            self._shown += ahead

    async def _deadlines(self, *parties: str) -> list[int]:
        """The time by which these parties have to act to lose no money, from their journals."""
        return [
            outlook.deadline
            for party in parties
            for record in await self._journals[party].list(role=Role(party), open_only=True)
            if (outlook := outlook_of(record, REGTEST)).deadline is not None
            if outlook.next_actor is Actor.YOU or record.state["state"] == "counter_funded"
            if record.state["state"] not in _NOTHING_AT_STAKE
        ]

    async def _stay_away(self, party: str) -> None:
        """Kill a party, and restart it shortly before the first deadline shown to it."""
        await self.parties[party].kill()
        deadlines = await self._deadlines(party)
        back_at = min(deadlines, default=int(self.clock.now()) + _AWAY_WITHOUT_DEADLINE) - _BACK_BEFORE
        await self.move(min(back_at - int(self.clock.now()), _AWAY_WITHOUT_DEADLINE))
        self.parties[party].start()

    async def _until_it_writes(self, party: str) -> None:
        """Wait briefly for a party's next write to its journal, which is right before or after an act."""
        path = journal_path(self.directory, party)
        log = path.with_name(path.name + "-wal")
        before, give_up = _written(log), time.monotonic() + _WRITES_WITHIN
        while _written(log) == before and time.monotonic() < give_up:  # noqa: ASYNC110 - the write is another process's
            await asyncio.sleep(0.002)

    async def _freeze_node(self, event: Event) -> None:
        # The first process of a devnet serves the controls; a simnet is one process.
        first, *others = self.network.process_ids
        async with self._control_lock:
            # A node that was restarted has another id.
            ids = [each for each in others if _parent(each) == first] or [first]
            process_id = ids[event.pick % len(ids)]
            os.kill(process_id, signal.SIGSTOP)
            try:
                await asyncio.sleep(event.seconds)
            finally:
                os.kill(process_id, signal.SIGCONT)

    async def _stop_lightning(self, event: Event) -> None:
        party: Any = event.target
        async with self._control_lock:
            await self.control.stop_lightning(party)
        try:
            await asyncio.sleep(event.seconds)
        finally:
            async with self._control_lock:
                await self.control.start_lightning(party)


def _parent(process_id: int) -> int | None:
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return None


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@asynccontextmanager
async def world(
    network: LocalNetwork,
    directory: Path,
    heard: Callable[[dict[str, Any]], None],
    taker_started: Callable[[], None],
) -> AsyncIterator[World]:
    """A world that runs until the end of the block."""
    async with aiohttp.ClientSession() as session:
        made = World(network, directory, session, heard, taker_started)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
