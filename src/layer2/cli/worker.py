"""A Temporal worker of a provider or of a taker as a process: ``python -m layer2.cli.worker CONFIG``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from layer2.aio.background import background
from layer2.assembly import open_journal, open_layers, swap_seed
from layer2.cli.session import role_of, settings_class
from layer2.config import Layer2Config, LayerSettings
from layer2.config.sections import TemporalSection
from layer2.errors import ConfigurationError, Layer2Error
from layer2.legs.timelock_settings import settings_for
from layer2.manager.releases import Releases, open_releases
from layer2.ports.clock import Clock, SystemClock
from layer2.ports.journal import SwapRecord
from layer2.provider.lifetime import (
    announced,
    change_log,
    forget,
    signalled,
    spare_collections,
    stopped_or_replaced,
)
from layer2.provider.logs import configure
from layer2.provider.nodes import Nodes
from layer2.provider.settings import ProviderSettings
from layer2.swap_engine.turns import Turns
from layer2.workers.connection import Temporal
from layer2.workers.worker import Reports, working

__all__ = ["main", "work"]


def main() -> None:
    """Work until SIGTERM, SIGINT, SIGHUP, or the end of the process named by --with-parent."""
    arguments = _parser().parse_args()
    try:
        settings = settings_class(role_of(arguments.config)).load(arguments.config)
        asyncio.run(work(settings, ready_file=arguments.ready_file, parent=arguments.with_parent))
    except Layer2Error as error:
        sys.exit(str(error))


async def work(
    settings: LayerSettings,
    *,
    ready_file: Path | None = None,
    parent: int | None = None,
    clock: Clock | None = None,
) -> None:
    """Have turns of a party's swaps until SIGTERM, SIGINT or SIGHUP. Any number of workers can share a journal.

    Args:
        ready_file: written when the worker works, removed when it ends: JSON with ``process_id`` and
            ``worker``, its name in Temporal's histories.
        parent: the id of the parent process; the worker ends when the parent ends, for any reason.
        clock: this machine's clock; only tests pass another.

    Raises:
        ConfigurationError, SignerError, JournalError: the worker cannot start. A taker's worker needs the swap seed.
        JournalBusy: a single process acts on the journal, or has taken over from the workers.
        NodeUnreachable: the Temporal server cannot be reached.
    """
    configure()
    spare_collections()
    log = structlog.get_logger("layer2.workers")
    clock, seed, section = clock or SystemClock(), swap_seed(settings), _section(settings)
    with signalled(parent) as stopping:
        async with contextlib.AsyncExitStack() as closing:
            fingerprint = None if seed is None else seed.fingerprint
            journal = await open_journal(settings, closing, seed_fingerprint=fingerprint, act=True, shared=True)
            forget(ready_file)
            layers = open_layers(settings, journal, clock, closing)
            temporal = await Temporal.connect(section)
            reports = Reports(temporal)
            closing.push_async_callback(reports.aclose)
            rules = settings_for(settings.network)
            changed = change_log(log, rules)
            if isinstance(settings, Layer2Config):
                changed = _releasing(open_releases(settings, journal, layers.legs, closing), changed, closing)
            turns = Turns(journal, layers.legs, seed, rules, clock, reports.report, changed)
            closing.push_async_callback(turns.aclose)
            # A node that is down stops only its own layer, which joins when the node is up.
            closing.push_async_callback(background(Nodes(layers, clock, log).join(), "join"))
            await closing.enter_async_context(working(temporal, turns, section.turns))
            ready: dict[str, object] = {"process_id": os.getpid(), "worker": temporal.identity}
            log.info("working", task_queue=temporal.task_queue, worker=temporal.identity)
            with announced(ready_file, ready):
                await stopped_or_replaced(stopping, journal)
        log.info("stopped")


def _section(settings: LayerSettings) -> TemporalSection:
    assert isinstance(settings, Layer2Config | ProviderSettings)
    if settings.temporal is None:
        raise ConfigurationError(
            "the configuration has no table [temporal], so its transfers are not left to workers",
            code="no_temporal",
            remedy="add the table, also for the programs that start transfers",
        )
    return settings.temporal


def _releasing(
    releases: Releases, changed: Callable[[SwapRecord], None], closing: contextlib.AsyncExitStack
) -> Callable[[SwapRecord], None]:
    """Fetch the releases of the transfers that have turns here."""
    releases.background.start()
    closing.push_async_callback(releases.background.aclose)

    def noted(record: SwapRecord) -> None:
        releases.note(record)
        changed(record)

    return noted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.cli.worker", description="Run a worker.")
    parser.add_argument("config", type=Path, help="the party's TOML file")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written when the worker works")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent process ends")
    return parser


if __name__ == "__main__":
    main()
