"""The process of a simnet: ``python -m layer2.local.simnet.process DIRECTORY``; ``launch.up`` starts it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from layer2.aio.process_end import ending_with
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic
from layer2.local.simnet.launch import owning
from layer2.local.simnet.network import Simnet

__all__ = ["main"]

_GATHER_SECONDS = 0.01
_DEFAULT_SEED = b"layer2 simnet".hex()


def main() -> None:
    """Run a simnet until SIGTERM, SIGINT, or the end of the process given as ``--parent``."""
    arguments = _parser().parse_args()
    asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    with ending_with(arguments.parent, ending.set):
        if ending.is_set():
            return
        arguments.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with owning(arguments.directory):
            await _serve(arguments, ending)


async def _serve(arguments: argparse.Namespace, ending: asyncio.Event) -> None:
    manual = arguments.clock is not None
    clock = SimClock(arguments.clock)
    gather = 0.0 if manual else _GATHER_SECONDS
    automatic = Automatic(
        gather_seconds=gather if arguments.automatic in ("on", "transactions") else None,
        every_seconds=arguments.block_time if arguments.automatic in ("on", "timer") and not manual else None,
    )
    simnet = Simnet(arguments.directory, bytes.fromhex(arguments.seed), clock, automatic, channels=arguments.channels)
    try:
        await simnet.start()
        await ending.wait()
    finally:
        await simnet.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer2.local.simnet.process", description=__doc__)
    parser.add_argument("directory", type=lambda text: Path(text).absolute())
    parser.add_argument("--seed", default=_DEFAULT_SEED, help="hexadecimal; all keys are derived from it")
    parser.add_argument(
        "--automatic",
        choices=("on", "transactions", "timer", "off"),
        default="on",
        help="make blocks for arriving transactions, by the timer, for both (on), or for neither (off)",
    )
    parser.add_argument(
        "--block-time", type=float, default=2.0, help="seconds between blocks of the timer; ignored with --clock"
    )
    parser.add_argument("--channels", type=int, default=1, metavar="COUNT", help="between the two Lightning nodes")
    parser.add_argument("--clock", type=int, help="unix seconds: a manual clock that starts there")
    parser.add_argument("--parent", type=int, help="id of a parent process; end when it ends")
    return parser


if __name__ == "__main__":
    main()
