"""The provider's own process: ``python -m layer2.provider.process CONFIG``. The command line calls ``serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from layer2.aio.process_end import ending_with
from layer2.assembly import Client, JoiningLegs, check_owners, open_clients, owners_of
from layer2.errors import AuthenticationFailed, ConfigurationError, Layer2Error, WrongNetwork
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock, Entropy, SystemClock, SystemEntropy
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.provider.http import create_app
from layer2.provider.late_fundings import LateFundings
from layer2.provider.logs import configure, utc
from layer2.provider.nodes import Nodes
from layer2.provider.server import serving
from layer2.provider.service import SwapProvider
from layer2.provider.settings import ProviderSettings
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.journal import SqliteJournal
from layer2.swap_engine.records import outlook_of
from layer2.swap_engine.runner import SwapRunner

__all__ = ["main", "serve"]

_FIRST_LOOK_SECONDS = 10.0
"""How long the first answers to takers wait for the first answers of the nodes; open swaps do not wait."""


def main() -> None:
    """Serve until SIGTERM, SIGINT, or the end of the process that was named."""
    arguments = _parser().parse_args()
    try:
        settings = ProviderSettings.load(arguments.config)
        asyncio.run(serve(settings, ready_file=arguments.ready_file, parent=arguments.with_parent))
    except Layer2Error as error:
        sys.exit(str(error))


async def serve(
    settings: ProviderSettings,
    *,
    ready_file: Path | None = None,
    parent: int | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> None:
    """Run a provider until SIGTERM or SIGINT; then take no new swaps, log by when it must run again, and return.

    Open swaps go on at once at the next start; nothing of them is in memory alone. A node that is away holds up its own
    layer only, which joins when it is back.

    Args:
        ready_file: written once it serves: JSON with ``url``, ``identity_key`` and ``process_id``; gone when it ends.
        parent: end when this process, the parent of ours, ends, however it does.
        clock: this machine's clock; only tests give another one.
        entropy: where quote ids and signatures take their randomness from; only tests give another one.

    Raises:
        ConfigurationError, SignerError, JournalError: it cannot begin.
        JournalBusy: another process acts on its journal.
        WrongNetwork, AuthenticationFailed: a node is not the configured one, and no swap is open.
    """
    configure()
    _forget(ready_file)
    log = structlog.get_logger("layer2.provider")
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        with ending_with(parent, stopping.set):
            await _serve_until(stopping, settings, ready_file, log, clock or SystemClock(), entropy or SystemEntropy())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _serve_until(
    stopping: asyncio.Event,
    settings: ProviderSettings,
    ready_file: Path | None,
    log: structlog.stdlib.BoundLogger,
    clock: Clock,
    entropy: Entropy,
) -> None:
    rules, identity = settings.timelocks, SoftwareIdentity.from_file(settings.identity_key_file, entropy)
    async with contextlib.AsyncExitStack() as closing:
        journal = await SqliteJournal.open(settings.journal.path)
        closing.push_async_callback(journal.aclose)
        await journal.act()
        await check_owners(journal, owners_of(settings))
        clients, legs = _open_layers(settings, journal, clock, closing)
        nodes = Nodes(legs, clock)
        runner = SwapRunner(
            journal,
            legs,
            None,
            rules,
            clock,
            _change_log(log, rules),
            make_proof=lambda terms, source, destination: TransferProof(terms, source, destination).to_bytes(),
        )
        closing.push_async_callback(runner.aclose)
        provider = SwapProvider(
            prices=settings.price_list,
            limits=settings.limits,
            rules=rules,
            signer=identity,
            journal=journal,
            nodes=nodes,
            legs=legs,
            purses=clients,
            runner=runner,
            clock=clock,
            entropy=entropy,
        )
        # Before any node was heard of: a swap needs only the layers that it acts on.
        resumed = await runner.resume((Role.PROVIDER,))
        for work in (nodes.join(), LateFundings(legs, journal, runner, rules, clock).run()):
            closing.push_async_callback(_background(work, log))
        await _first_look(nodes, has_open_swaps=bool(resumed))
        async with serving(create_app(provider), settings.listen_host, settings.listen_port) as url:
            ready = {"url": url, "identity_key": identity.public_key.hex(), "process_id": os.getpid()}
            log.info("serving", url=url, identity_key=ready["identity_key"], resumed_swaps=len(resumed))
            with _announced(ready_file, ready):
                await stopping.wait()
            must_be_back_by = await provider.drain()
            # Ends the event streams too, so that the server need not wait for their readers.
            open_swaps = await runner.aclose()
        log.info(
            "stopped",
            open_swaps=len(open_swaps),
            must_be_back_by=must_be_back_by,
            must_be_back_by_utc=utc(must_be_back_by),
        )


def _open_layers(
    settings: ProviderSettings, journal: SqliteJournal, clock: Clock, closing: contextlib.AsyncExitStack
) -> tuple[Mapping[Layer2ProtocolType, Client], Mapping[Layer2ProtocolType, JoiningLegs]]:
    """Make the clients and their legs; nothing is asked of any node. ``closing`` closes them."""
    clients = open_clients(settings, journal, clock)
    legs = {layer: JoiningLegs(client) for layer, client in clients.items()}
    for close in (*(client.aclose for client in clients.values()), *(each.aclose for each in legs.values())):
        closing.push_async_callback(close)
    return clients, legs


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
    """Wait for the first answer of every node, but not for long.

    Raises:
        WrongNetwork, AuthenticationFailed, ConfigurationError: a node is not the configured one, and nothing is lost by
            ending.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_LOOK_SECONDS):
            await nodes.tried()
    for error in nodes.failures.values():
        if not has_open_swaps and isinstance(error, WrongNetwork | AuthenticationFailed | ConfigurationError):
            raise error


def _background(
    work: Coroutine[Any, Any, None], log: structlog.stdlib.BoundLogger
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Start work whose end must not end the process; return what ends it."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_work_broke", exc_info=error)

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return end


def _forget(ready_file: Path | None) -> None:
    """Remove what a provider that was killed has left."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


@contextlib.contextmanager
def _announced(path: Path | None, ready: dict[str, object]) -> Iterator[None]:
    """Hold a file that says that we serve. It appears whole, because a starter may read it the moment it is there."""
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
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written once it serves")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent process does")
    return parser


if __name__ == "__main__":
    main()
