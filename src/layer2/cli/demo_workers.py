"""``layer2 demo --engine temporal``: swaps on three workers, one of which is killed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from layer2 import __version__
from layer2.cli.demo_accounts import Books
from layer2.cli.demo_balances import Accountant
from layer2.cli.demo_network import PROCESS_IDS
from layer2.cli.output import Line, Result, table
from layer2.cli.session import Session
from layer2.config import JournalSection, Layer2Config
from layer2.config.sections import TemporalSection
from layer2.errors import Layer2Error
from layer2.local import simnet
from layer2.local.network import LocalNetwork
from layer2.local.parties import LocalProvider, LocalWorker, party_values, taker_config
from layer2.local.programs import entered
from layer2.local.servers import running_servers
from layer2.manager import Layer2Manager
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import SwapId
from layer2.terms.transfers import Transfer
from layer2.workers.connection import Temporal
from layer2.workers.history import SwapHistory

__all__ = ["demo_of_workers", "settings_for_many"]

_AMOUNT: Final = 10_000
_MAX_FEE: Final = 1_000
_WORKERS: Final = ("1", "2", "3")
_BOB, _LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
_DIRECTIONS: Final = ((_BOB, _LIGHTNING), (_LIGHTNING, _BOB))
_UNUSED: Final = {"bitcoin": None, "rootstock": None}
"""Layers that the demo does not use. Each would cost every worker something."""
_STARTING: Final = 20
"""Swaps that are being started at the same time, and histories that are being read."""
_BLOCK_SECONDS: Final = 1.0
_CHANNELS: Final = 4
_PLACES: Final = 10_000
_ALL_MONEY: Final = 100_000_000
_SETTLING_SECONDS: Final = 120.0
_LOOK_AGAIN_SECONDS: Final = 0.2
_RESULT_FIELDS: Final = frozenset({"is_final", "wait_seconds", "has_begun"})


async def demo_of_workers(
    session: Session, place: Path, swaps: int, *, temporal: str | None, postgres: str | None
) -> Result:
    """Move money in both directions on three workers, kill one of them in the middle, and show which did what.

    Args:
        place: for all files.
        swaps: how many.
        temporal: the address of the user's Temporal server; None to start one.
        postgres: the URL of an empty database of the user; None to start a server.

    Raises:
        ConfigurationError: a server's program is not installed.
    """
    began, say = time.monotonic(), session.terminal.say
    say(f"layer2 {__version__}, {len(_WORKERS)} workers: everything runs on this machine, no real money")
    async with AsyncExitStack() as stack:
        with session.terminal.working("starting the servers, the network, the provider and its workers"):
            stage = await stack.enter_async_context(_stage(place, temporal, postgres))
        say("  ready: a network, a provider, its journal on PostgreSQL, a Temporal server and the workers")
        run = _Run(stage, swaps)
        with session.terminal.live(lambda: f"  accepted {len(run.swap_ids)}, completed {run.completed} of {swaps}"):
            books = await run.carry_out(say)
        histories = await run.histories()
    return _result(run, books, histories, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The processes of one demo, and the configurations of its two parties."""

    workers: Sequence[LocalWorker]
    temporal: Temporal
    taker_config: Layer2Config
    provider_config: Layer2Config
    """The provider's nodes and account, to read its balances."""


@asynccontextmanager
async def _stage(place: Path, temporal: str | None, postgres: str | None) -> AsyncIterator[_Stage]:
    """Start everything. Stop it when the block ends, or when this process dies."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(entered(running_servers(place, postgres=postgres, temporal=temporal)))
        network = await asyncio.to_thread(
            simnet.up,
            place / "simnet",
            automatic="timer",
            block_time=_BLOCK_SECONDS,
            channels=_CHANNELS,
            with_parent=True,
        )
        stack.push_async_callback(asyncio.to_thread, simnet.down, place / "simnet")
        # Its queue is new, because the user's server may have others.
        section = TemporalSection(address=servers.temporal, task_queue=f"layer2-demo-{secrets.token_hex(4)}")
        settings = settings_for_many(servers.postgres, section)
        program = ("-m", "layer2.provider.process", "--engine", "temporal")
        provider = await stack.enter_async_context(
            entered(LocalProvider(network, place / "provider", program=program, **settings))
        )
        identity = place / "provider" / "identity"
        workers = [LocalWorker(name, network, place / f"worker-{name}", identity, **settings) for name in _WORKERS]
        async with AsyncExitStack() as working:
            await asyncio.gather(*[working.enter_async_context(entered(each)) for each in workers])
            ids = [
                *servers.process_ids.values(),
                *network.process_ids,
                provider.process_id,
                *(each.process_id for each in workers),
            ]
            (place / PROCESS_IDS).write_text(" ".join(map(str, ids)))
            yield _Stage(
                workers, await Temporal.connect(section), _taker(network, place, provider), _reader(network, place)
            )


def settings_for_many(journal_url: str, temporal: TemporalSection) -> dict[str, object]:
    """Settings of a provider of BOB and Lightning that limit neither the number of swaps nor their sum."""
    return {
        "journal": {"url": journal_url},
        "temporal": {"address": temporal.address, "task_queue": temporal.task_queue},
        **_UNUSED,
        "max_open_swaps": _PLACES,
        "max_open_swaps_per_taker": _PLACES,
        "max_unfinished_swaps": _PLACES,
        # Else swaps would wait for a safe block from a sum on.
        "safe_from_sat": _ALL_MONEY,
        "finalized_from_sat": _ALL_MONEY,
    }


def _taker(network: LocalNetwork, place: Path, provider: LocalProvider) -> Layer2Config:
    config = taker_config(network, place / "you", (provider.table,))
    return config.model_copy(update={**_UNUSED, "max_concurrency": _PLACES})


def _reader(network: LocalNetwork, place: Path) -> Layer2Config:
    values = party_values(network, network.provider)
    for unused in _UNUSED:
        del values[unused]
    return Layer2Config(**values, journal=JournalSection(path=place / "reader.sqlite"))


@dataclass
class _Run:
    """The swaps of one run."""

    stage: _Stage
    count: int
    swap_ids: list[SwapId] = field(default_factory=list)
    """Of the accepted swaps."""
    completed: int = 0
    killed: LocalWorker | None = None
    open_at_kill: int = 0
    _half: asyncio.Event = field(default_factory=asyncio.Event)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_STARTING))

    async def carry_out(self, say: Callable[[str], None]) -> Books:
        """Carry out all swaps, and kill a worker when half of them are accepted."""
        accountant = Accountant((_BOB, _LIGHTNING), self.stage.taker_config)
        async with Layer2Manager(self.stage.taker_config) as you, Layer2Manager(self.stage.provider_config) as other:
            for manager in (you, other):
                await manager.initialize_all_async()
            parties = {"you": you, "provider": other}
            before, heights = await accountant.owned(parties), await accountant.heights(you)
            try:
                async with asyncio.TaskGroup() as tasks:
                    for number in range(self.count):
                        tasks.create_task(self._swap(you, *_DIRECTIONS[number % len(_DIRECTIONS)]))
                    tasks.create_task(self._kill_one(say))
            except ExceptionGroup as failures:
                # The group has cancelled the others; one cause is enough.
                raise failures.exceptions[0] from failures
            say(f"  all {self.completed} transfers completed")
            # The provider's swaps end after those of the taker. The accounts need both.
            async with asyncio.timeout(_SETTLING_SECONDS):
                await asyncio.gather(*map(self._ended, self.swap_ids))
            return await accountant.close(parties, before, heights)

    async def histories(self) -> Mapping[SwapId, SwapHistory]:
        """The history of every accepted swap."""

        async def read(swap_id: SwapId) -> SwapHistory:
            async with self._places:
                return await SwapHistory.read(self.stage.temporal, swap_id)

        swap_ids = tuple(self.swap_ids)
        return dict(zip(swap_ids, await asyncio.gather(*map(read, swap_ids)), strict=True))

    async def _swap(self, you: Layer2Manager, source: Layer2ProtocolType, destination: Layer2ProtocolType) -> None:
        async with self._places:
            quote = await you.quote_transfer_async(BTC, _AMOUNT, source, destination, max_fee=_MAX_FEE)
            transfer: Transfer = await you.start_transfer_async(quote)
        self.swap_ids.append(SwapId(transfer.transfer_id))
        if 2 * len(self.swap_ids) >= self.count:
            self._half.set()
        await you.wait_for_transfer_async(transfer.transfer_id)
        self.completed += 1

    async def _kill_one(self, say: Callable[[str], None]) -> None:
        """Kill the worker that has had most turns."""
        await self._half.wait()
        while not (turns := turns_of(await self.histories())):  # noqa: ASYNC110 - they are in other processes
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        (busiest, _), *_ = turns.most_common(1)
        self.killed = next(each for each in self.stage.workers if each.identity == busiest)
        self.open_at_kill = len(self.swap_ids) - self.completed
        await asyncio.to_thread(self.killed.kill)
        say(f"  worker {self.killed.name} was killed; {self.open_at_kill} swaps are open")

    async def _ended(self, swap_id: SwapId) -> None:
        await self.stage.temporal.workflow(swap_id).result()


def turns_of(histories: Mapping[SwapId, SwapHistory]) -> Counter[str]:
    """The number of turns by the identity of their worker."""
    return Counter(turn.worker for history in histories.values() for turn in history.turns)


def taken_over(histories: Sequence[SwapHistory], killed: str) -> int:
    """The number of swaps whose last turn before the end of the killed worker was on it, and that others continued."""
    # By the clock of the Temporal server, which may be on another machine.
    last = max((turn.ended for each in histories for turn in each.turns if turn.worker == killed), default=0.0)
    count = 0
    for each in histories:
        before = [turn for turn in each.turns if turn.ended <= last]
        count += len(before) < len(each.turns) and bool(before) and before[-1].worker == killed
    return count


def faults_of(histories: Mapping[SwapId, SwapHistory]) -> list[str]:
    """A sentence for each history that is not complete, or that shows more than a swap's id, times and booleans."""
    found: list[str] = []
    for swap_id, history in histories.items():
        if not history.is_complete:
            found.append(f"the workflow of swap {swap_id} has not completed")
        if not all(each == swap_id or isinstance(each, bool) or _is_result(each) for each in history.values):
            found.append(f"the history of swap {swap_id} contains more than its id, times and booleans")
    return found


def _is_result(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == _RESULT_FIELDS


def _result(run: _Run, books: Books, histories: Mapping[SwapId, SwapHistory], seconds: float) -> Result:
    assert run.killed is not None
    turns = turns_of(histories)
    touched = Counter(worker for each in histories.values() for worker in {turn.worker for turn in each.turns})
    moved = taken_over(tuple(histories.values()), run.killed.identity)
    faults = [*books.faults(), *faults_of(histories)]
    workers = [
        {
            "worker": each.name,
            "identity": each.identity,
            "turns": turns[each.identity],
            "swaps": touched[each.identity],
            "killed": each is run.killed,
        }
        for each in run.stage.workers
    ]
    shown = [
        (str(each["worker"]), f"{each['turns']:,}", f"{each['swaps']:,}", "killed" if each["killed"] else "alive")
        for each in workers
    ]
    lines: list[Line] = [
        table(("worker", ">turns", ">swaps", "state"), shown),
        "",
        table(("party", "layer", ">before, sat", ">after, sat", ">change, sat", ">gas"), books.rows()),
        "",
        f"{run.completed} of {run.count} transfers completed. Worker {run.killed.name} was killed while "
        f"{run.open_at_kill} were open; others continued the {moved} whose last turn was on it.",
        "Temporal's histories contain only swap ids, times and booleans." if not faults else "; ".join(faults),
        f"Total time {seconds:.1f} s.",
    ]
    return Result(
        {
            "swaps": run.count,
            "completed": run.completed,
            "seconds": round(seconds, 1),
            "workers": workers,
            "open_at_kill": run.open_at_kill,
            "taken_over": moved,
            "balances": books.data(),
            "faults": faults,
        },
        lines,
        problem=None if not faults else Layer2Error("; ".join(faults), code="demo_failed"),
    )
