"""The provider as a process: ``python -m layer2.provider.process CONFIG``. The command line calls ``serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from layer2.aio.process_end import ending_with
from layer2.assembly import open_journal, open_layers
from layer2.errors import AuthenticationFailed, ConfigurationError, JournalError, Layer2Error, WrongNetwork
from layer2.legs.timelock_settings import TimelockSettings
from layer2.ports.clock import Clock, Entropy, SystemClock, SystemEntropy
from layer2.ports.journal import Journal, Role, SwapRecord
from layer2.provider.http import create_app
from layer2.provider.late_fundings import LateFundings
from layer2.provider.logs import configure, utc
from layer2.provider.nodes import Nodes
from layer2.provider.server import serving
from layer2.provider.service import SwapProvider
from layer2.provider.settings import ProviderSettings
from layer2.provider.swap_book import SwapBook
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.records import outlook_of
from layer2.swap_engine.runner import SwapRunner

__all__ = ["Stopped", "main", "serve"]

_FIRST_LOOK_SECONDS = 10.0
"""The time that takers wait for the first answers of the nodes. Open swaps do not wait."""
_STAND_BY_SECONDS = 1.0
"""Between two tries to take over."""
_NEVER_ACTS = ("register_missing", "register_of_another")
"""Waiting does not help: an operator has to learn this now, and not when the other process ends."""
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a provider leaves open when it stops."""

    open_swaps: int
    must_be_back_by: int | None
    """Unix seconds by which it must run again, or it could lose money; None if no money is at risk."""


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
        parent: the id of the parent process; the provider ends when the parent ends, for any reason.
        clock: this machine's clock; only tests pass another.
        entropy: the source of quote ids and of signature randomness; only tests pass another.

    Raises:
        ConfigurationError, SignerError, JournalError: the provider cannot start.
        JournalBusy: another process acts on its journal, or has taken over from this one.
        WrongNetwork, AuthenticationFailed: a node is not the configured one, and no swap is open.
    """
    configure()
    log = structlog.get_logger("layer2.provider")
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in _STOPPING:
        loop.add_signal_handler(number, stopping.set)
    try:
        with ending_with(parent, stopping.set):
            return await _serve_until(
                stopping, settings, ready_file, stand_by, log, clock or SystemClock(), entropy or SystemEntropy()
            )
    finally:
        for number in _STOPPING:
            loop.remove_signal_handler(number)


async def _serve_until(
    stopping: asyncio.Event,
    settings: ProviderSettings,
    ready_file: Path | None,
    stand_by: bool,
    log: structlog.stdlib.BoundLogger,
    clock: Clock,
    entropy: Entropy,
) -> Stopped:
    rules, identity = settings.timelocks, SoftwareIdentity.from_file(settings.identity_key_file, entropy)
    async with contextlib.AsyncExitStack() as closing:
        journal = await open_journal(settings, closing, act=not stand_by)
        if stand_by and not await _is_active(journal, stopping, log):
            return Stopped(0, None)
        _forget(ready_file)
        layers = open_layers(settings, journal, clock, closing)
        legs, nodes = layers.legs, Nodes(layers, clock)
        book = await SwapBook.load(journal, rules)
        runner = SwapRunner(journal, legs, None, rules, clock, _noting(book, _change_log(log, rules)))
        closing.push_async_callback(runner.aclose)
        provider = SwapProvider(
            prices=settings.price_list,
            limits=settings,
            rules=rules,
            signer=identity,
            journal=journal,
            nodes=nodes,
            layers=layers,
            runner=runner,
            book=book,
            clock=clock,
            entropy=entropy,
        )
        # Before any node has answered: a swap needs only the layers that it acts on.
        resumed = await runner.resume((Role.PROVIDER,))
        for work in (nodes.join(), nodes.keep_reading(), LateFundings(legs, journal, runner, rules, clock).run()):
            closing.push_async_callback(_background(work, log))
        await _first_look(nodes, has_open_swaps=bool(resumed))
        async with serving(create_app(provider), settings.listen_host, settings.listen_port) as url:
            ready = {"url": url, "identity_key": identity.public_key.hex(), "process_id": os.getpid()}
            log.info("serving", url=url, identity_key=ready["identity_key"], resumed_swaps=len(resumed))
            with _announced(ready_file, ready):
                await _stopped_or_replaced(stopping, journal)
            must_be_back_by = await provider.drain()
            # This also ends the event streams, so that the server does not wait for their readers.
            open_swaps = await runner.aclose()
        log.info(
            "stopped",
            open_swaps=len(open_swaps),
            must_be_back_by=must_be_back_by,
            must_be_back_by_utc=utc(must_be_back_by),
        )
    return Stopped(len(open_swaps), must_be_back_by)


async def _is_active(journal: Journal, stopping: asyncio.Event, log: structlog.stdlib.BoundLogger) -> bool:
    """Wait until this process acts on the journal; return False if it has to stop before.

    Raises:
        JournalError: it can never act, because it lacks the journal's register.
    """
    shown = None
    while not stopping.is_set():
        try:
            await journal.act()
        except JournalError as error:
            if error.code in _NEVER_ACTS:
                raise
            # Another process acts, or the server is down: it may restart, or another server take its place.
            if error.message != shown:
                shown = error.message
                log.info("standing_by", reason=shown)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STAND_BY_SECONDS):
                    await stopping.wait()
        else:
            return True
    return False


async def _stopped_or_replaced(stopping: asyncio.Event, journal: Journal) -> None:
    """Wait for a signal.

    Raises:
        JournalError: this process cannot act any longer: another one has taken over, or the database continues with an
            old copy.
    """
    stopped, replaced = asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(journal.replaced())
    try:
        await asyncio.wait((stopped, replaced), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (stopped, replaced):
            each.cancel()
        await asyncio.gather(stopped, replaced, return_exceptions=True)
    if not stopping.is_set():
        raise replaced.result()


def _noting(book: SwapBook, log: Callable[[SwapRecord], None]) -> Callable[[SwapRecord], None]:
    def changed(record: SwapRecord) -> None:
        # First, because the book must not depend on the log.
        book.update(record)
        log(record)

    return changed


def _change_log(log: structlog.stdlib.BoundLogger, rules: TimelockSettings) -> Callable[[SwapRecord], None]:
    def changed(record: SwapRecord) -> None:
        outlook = outlook_of(record, rules)
        log.info(
            "swap_changed",
            swap_id=record.swap_id,
            state=record.state.get("state"),
            version=record.version,
            deadline=outlook.deadline,
            deadline_utc=utc(outlook.deadline),
            funds=outlook.funds,
        )
        if record.attention is not None:
            log.error("swap_needs_attention", swap_id=record.swap_id, reason=record.attention)

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


def _background(
    work: Coroutine[object, None, None], log: structlog.stdlib.BoundLogger
) -> Callable[[], Coroutine[object, None, None]]:
    """Start a task whose failure must not end the process; return the function that ends it."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return end


def _forget(ready_file: Path | None) -> None:
    """Remove the file that a killed provider left behind."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


@contextlib.contextmanager
def _announced(path: Path | None, ready: dict[str, object]) -> Iterator[None]:
    """Keep the ready file while the block runs. It appears complete, because a reader may open it immediately."""
    if path is None:
        yield
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(ready))
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.provider.process", description="Run a swap provider.")
    parser.add_argument("config", type=Path, help="the provider's TOML file")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written when the provider serves")
    parser.add_argument("--standby", action="store_true", help="wait while another process acts on the journal")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent process ends")
    return parser


if __name__ == "__main__":
    main()
