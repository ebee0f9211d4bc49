"""The provider as a process: ``python -m layer2.provider.process CONFIG``. The command line calls ``serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog

from layer2.aio.background import background
from layer2.assembly import needing_temporal, open_journal, open_layers
from layer2.errors import AuthenticationFailed, ConfigurationError, Layer2Error, WrongNetwork
from layer2.ports.clock import Clock, Entropy, SystemClock, SystemEntropy
from layer2.ports.journal import Role, SwapRecord
from layer2.provider.http import create_app
from layer2.provider.late_fundings import LateFundings
from layer2.provider.lifetime import (
    announced,
    change_log,
    forget,
    is_active,
    signalled,
    spare_collections,
    stopped_or_replaced,
)
from layer2.provider.logs import configure, utc
from layer2.provider.nodes import Nodes
from layer2.provider.server import serving
from layer2.provider.service import SwapProvider
from layer2.provider.settings import ProviderSettings
from layer2.provider.swap_book import SwapBook
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.runner import SwapRunner

__all__ = ["Engine", "Stopped", "main", "serve"]

_FIRST_LOOK_SECONDS = 10.0
"""The time that takers wait for the first answers of the nodes. Open swaps do not wait."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a provider leaves open when it stops."""

    open_swaps: int
    must_be_back_by: int | None
    """Unix seconds by which it must run again, or it could lose money; None if no money is at risk."""


class Engine(Enum):
    """What carries out a provider's swaps."""

    PROCESS = "process"
    """The process that serves."""
    TEMPORAL = "temporal"
    """Temporal workers, which share the journal with the process that serves."""


def main() -> None:
    """Serve until SIGTERM, SIGINT, SIGHUP, or the end of the process named by --with-parent."""
    arguments = _parser().parse_args()
    try:
        settings = ProviderSettings.load(arguments.config)
        asyncio.run(
            serve(
                settings,
                ready_file=arguments.ready_file,
                stand_by=arguments.standby,
                engine=Engine(arguments.engine),
                parent=arguments.with_parent,
            )
        )
    except Layer2Error as error:
        sys.exit(str(error))


async def serve(
    settings: ProviderSettings,
    *,
    ready_file: Path | None = None,
    stand_by: bool = False,
    engine: Engine = Engine.PROCESS,
    parent: int | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Stopped:
    """Run a provider until SIGTERM, SIGINT or SIGHUP. Then refuse new swaps, and return what is still open.

    Open swaps resume at the next start; the journal holds all of their state. A node that is down stops only its own
    layer, which joins when the node is up.

    Args:
        ready_file: written when the provider serves, removed when it ends: JSON with ``url``, ``identity_key`` and
            ``process_id``.
        stand_by: while another process acts on the journal, wait until it ends.
        engine: what carries out the swaps.
        parent: the id of the parent process; the provider ends when the parent ends, for any reason.
        clock: this machine's clock; only tests pass another.
        entropy: the source of quote ids and of signature randomness; only tests pass another.

    Raises:
        ConfigurationError, SignerError, JournalError: the provider cannot start.
        JournalBusy: another process acts on its journal, or has taken over from this one.
        WrongNetwork, AuthenticationFailed: a node is not the configured one, and no swap is open.
    """
    configure()
    spare_collections()
    log = structlog.get_logger("layer2.provider")
    with signalled(parent) as stopping:
        return await _serve_until(
            stopping, settings, ready_file, stand_by, engine, log, clock or SystemClock(), entropy or SystemEntropy()
        )


async def _serve_until(
    stopping: asyncio.Event,
    settings: ProviderSettings,
    ready_file: Path | None,
    stand_by: bool,
    engine: Engine,
    log: structlog.stdlib.BoundLogger,
    clock: Clock,
    entropy: Entropy,
) -> Stopped:
    rules, identity = settings.timelocks, SoftwareIdentity.from_file(settings.identity_key_file, entropy)
    async with contextlib.AsyncExitStack() as closing:
        shared = engine is Engine.TEMPORAL
        journal = await open_journal(settings, closing, act=not stand_by, shared=shared)
        if stand_by and not await is_active(journal, stopping, log, shared=shared):
            return Stopped(0, None)
        forget(ready_file)
        layers = open_layers(settings, journal, clock, closing)
        legs, nodes = layers.legs, Nodes(layers, clock)
        book = await SwapBook.load(journal, rules, shared=shared)
        noting = _noting(book, change_log(log, rules))
        swap_engine: SwapEngine
        if engine is Engine.TEMPORAL:
            with needing_temporal():
                from layer2.provider.workflows import open_engine
            swap_engine = await open_engine(settings, journal, legs, clock, book, noting, closing)
        else:
            swap_engine = SwapRunner(journal, legs, None, rules, clock, noting)
        closing.push_async_callback(swap_engine.aclose)
        provider = SwapProvider(
            prices=settings.price_list,
            limits=settings,
            rules=rules,
            signer=identity,
            journal=journal,
            nodes=nodes,
            layers=layers,
            engine=swap_engine,
            book=book,
            clock=clock,
            entropy=entropy,
        )
        # Before any node has answered: a swap needs only the layers that it acts on.
        resumed = len(await swap_engine.resume((Role.PROVIDER,)))
        late = LateFundings(legs, journal, swap_engine, rules, clock)
        for name, work in (("join", nodes.join()), ("readings", nodes.keep_reading()), ("late fundings", late.run())):
            closing.push_async_callback(background(work, name))
        await _first_look(nodes, has_open_swaps=bool(resumed))
        async with serving(create_app(provider), settings.listen_host, settings.listen_port) as url:
            ready = {"url": url, "identity_key": identity.public_key.hex(), "process_id": os.getpid()}
            log.info("serving", url=url, identity_key=ready["identity_key"], resumed_swaps=resumed)
            with announced(ready_file, ready):
                await stopped_or_replaced(stopping, journal)
            must_be_back_by = await provider.drain()
            # This also ends the event streams, so that the server does not wait for their readers.
            open_swaps = await swap_engine.aclose()
        log.info(
            "stopped",
            open_swaps=len(open_swaps),
            must_be_back_by=must_be_back_by,
            must_be_back_by_utc=utc(must_be_back_by),
        )
    return Stopped(len(open_swaps), must_be_back_by)


def _noting(book: SwapBook, log: Callable[[SwapRecord], None]) -> Callable[[SwapRecord], None]:
    def changed(record: SwapRecord) -> None:
        # First, because the book must not depend on the log.
        book.update(record)
        log(record)

    return changed


async def _first_look(nodes: Nodes, *, has_open_swaps: bool) -> None:
    """Wait for the first answer of every node, at most ``_FIRST_LOOK_SECONDS``.

    Raises:
        WrongNetwork, AuthenticationFailed, ConfigurationError: a node is not the configured one, and no swap is open.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_LOOK_SECONDS):
            await nodes.tried()
    for error in nodes.failures.values():
        if not has_open_swaps and isinstance(error, WrongNetwork | AuthenticationFailed | ConfigurationError):
            raise error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.provider.process", description="Run a swap provider.")
    parser.add_argument("config", type=Path, help="the provider's TOML file")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written when the provider serves")
    parser.add_argument("--standby", action="store_true", help="wait while another process acts on the journal")
    parser.add_argument("--engine", choices=[each.value for each in Engine], default=Engine.PROCESS.value)
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent process ends")
    return parser


if __name__ == "__main__":
    main()
