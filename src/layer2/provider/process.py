"""The provider's own process: ``python -m layer2.provider.process CONFIG``. The command line calls ``serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import Layer2Error
from layer2.formats.evm_address import parse_address
from layer2.interfaces import Clock, Entropy, Role, SwapRecord, SystemClock, SystemEntropy
from layer2.layers import Layer2ProtocolType
from layer2.local_process import ending_with
from layer2.proofs.model import TransferProof
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.provider.http import create_app
from layer2.provider.logs import configure
from layer2.provider.quotes import ProviderFacts
from layer2.provider.server import serving
from layer2.provider.service import SwapProvider, swap_tag
from layer2.provider.settings import ProviderSettings
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.journal import SqliteJournal
from layer2.swap_engine.records import outlook_of
from layer2.swap_engine.runner import SwapRunner

__all__ = ["main", "serve"]


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
    """Run a provider until SIGTERM or SIGINT; then take no new swaps, say by when it must run again, and return.

    Open swaps go on at once at the next start; nothing of them is in memory alone.

    Args:
        ready_file: written once it serves: JSON with ``url``, ``identity_key`` and ``process_id``; gone when it ends.
        parent: end when this process, the parent of ours, ends, however it does.
        clock: this machine's clock; only tests give another one.
        entropy: where quote ids and signatures take their randomness from; only tests give another one.

    Raises:
        ConfigurationError, SignerError, JournalError: it cannot begin.
        NodeError: a node is not the configured one, or cannot be reached.
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
    timelocks = settings.timelocks
    identity, signer = SoftwareIdentity.from_file(settings.identity_key_file, entropy), settings.bob.signer()
    async with contextlib.AsyncExitStack() as closing:
        journal = await SqliteJournal.open(settings.journal.path)
        closing.push_async_callback(journal.aclose)
        to_clients = (settings.network, settings.default_timeout_ms, settings.connection_pool)
        bob = BobClient(settings.bob.settings(*to_clients), signer, journal, clock)
        closing.push_async_callback(bob.aclose)
        lightning_settings = settings.lightning.settings(*to_clients)
        lightning = LightningNetwork(lightning_settings, journal, clock)
        closing.push_async_callback(lightning.aclose)
        await asyncio.gather(bob.initialize_async(), lightning.initialize_async())
        layers: dict[Layer2ProtocolType, BobClient | LightningNetwork] = {
            Layer2ProtocolType.BOB: bob,
            Layer2ProtocolType.LIGHTNING: lightning,
        }

        def tell(record: SwapRecord) -> None:
            outlook = outlook_of(record, timelocks)
            log.info(
                "swap_changed",
                swap=swap_tag(record.swap_id),
                state=record.state.get("state"),
                version=record.version,
                deadline=outlook.deadline,
                funds=outlook.funds,
            )

        runner = SwapRunner(
            journal,
            layers,
            None,
            timelocks,
            clock,
            tell,
            make_proof=lambda terms, source, destination: TransferProof(terms, source, destination).to_bytes(),
        )
        closing.push_async_callback(runner.aclose)
        provider = SwapProvider(
            facts=ProviderFacts(
                chain_id=settings.bob.chain_id,
                contract=HTLC_ADDRESS,
                token=parse_address(settings.bob.token_address),
                token_decimals=settings.bob.token_decimals,
                evm_address=signer.address,
                lightning_network=lightning_settings.invoice_prefix,
                node_key=bytes.fromhex(await lightning.receive_address_async()),
            ),
            pricing=settings.pricing,
            limits=settings.limits,
            settings=timelocks,
            signer=identity,
            journal=journal,
            layers=layers,
            runner=runner,
            clock=clock,
            entropy=entropy,
        )
        resumed = await runner.resume((Role.PROVIDER,))
        async with serving(create_app(provider), settings.listen_host, settings.listen_port) as url:
            ready = {"url": url, "identity_key": identity.public_key.hex(), "process_id": os.getpid()}
            log.info("serving", url=url, identity_key=ready["identity_key"], resumed_swaps=len(resumed))
            with _announced(ready_file, ready):
                await stopping.wait()
            must_be_back_by = await provider.drain()
            # Ends the event streams too, so that the server need not wait for their readers.
            open_swaps = await runner.aclose()
        log.info("stopped", open_swaps=len(open_swaps), must_be_back_by=must_be_back_by)


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
