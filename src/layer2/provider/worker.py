"""A Temporal worker of a provider as a process: ``python -m layer2.provider.worker CONFIG``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

import structlog

from layer2.assembly import open_journal, open_layers
from layer2.errors import Layer2Error
from layer2.ports.clock import Clock, SystemClock
from layer2.provider.lifetime import announced, background, change_log, forget, signalled, stopped_or_replaced
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
        settings = ProviderSettings.load(arguments.config)
        asyncio.run(work(settings, ready_file=arguments.ready_file, parent=arguments.with_parent))
    except Layer2Error as error:
        sys.exit(str(error))


async def work(
    settings: ProviderSettings,
    *,
    ready_file: Path | None = None,
    parent: int | None = None,
    clock: Clock | None = None,
) -> None:
    """Have turns of a provider's swaps until SIGTERM, SIGINT or SIGHUP. Any number of workers can share a journal.

    Args:
        ready_file: written when the worker works, removed when it ends: JSON with ``process_id``.
        parent: the id of the parent process; the worker ends when the parent ends, for any reason.
        clock: this machine's clock; only tests pass another.

    Raises:
        ConfigurationError, SignerError, JournalError: the worker cannot start.
        JournalBusy: a single process acts on the journal, or has taken over from the workers.
        NodeUnreachable: the Temporal server cannot be reached.
    """
    configure()
    log = structlog.get_logger("layer2.provider")
    clock = clock or SystemClock()
    with signalled(parent) as stopping:
        async with contextlib.AsyncExitStack() as closing:
            journal = await open_journal(settings, closing, act=True, shared=True)
            forget(ready_file)
            layers = open_layers(settings, journal, clock, closing)
            temporal = await Temporal.connect(settings.temporal)
            reports = Reports(temporal)
            closing.push_async_callback(reports.aclose)
            rules = settings.timelocks
            turns = Turns(journal, layers.legs, None, rules, clock, reports.report, change_log(log, rules))
            closing.push_async_callback(turns.aclose)
            # A node that is down stops only its own layer, which joins when the node is up.
            closing.push_async_callback(background(Nodes(layers, clock).join()))
            await closing.enter_async_context(working(temporal, turns, settings.temporal.turns))
            ready: dict[str, object] = {"process_id": os.getpid()}
            log.info("working", task_queue=temporal.task_queue)
            with announced(ready_file, ready):
                await stopped_or_replaced(stopping, journal)
        log.info("stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.provider.worker", description="Run a provider's worker.")
    parser.add_argument("config", type=Path, help="the provider's TOML file")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written when the worker works")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent process ends")
    return parser


if __name__ == "__main__":
    main()
