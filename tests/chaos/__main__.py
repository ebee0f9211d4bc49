"""``python -m chaos``: runs with consecutive seeds until the time is over, and a table of their results."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from chaos.events import schedule
from chaos.party import SAFE_FROM
from chaos.run import run

_RUN_SECONDS = 60.0
_HEAD = f"{'seed':>6} {'transfers':>9} {'events':>6} {'seconds':>7}  result"


def main() -> int:
    """Run and return the exit status: 1 if anything was lost, stuck, reported wrongly or paid twice."""
    arguments = _parser().parse_args()
    give_up, seed, is_clean = time.monotonic() + arguments.seconds, arguments.seed, True
    print(_HEAD, flush=True)
    while True:
        is_clean &= _run_once(seed, arguments)
        seed += 1
        if time.monotonic() >= give_up:
            return 0 if is_clean else 1


def _run_once(seed: int, arguments: argparse.Namespace) -> bool:
    began, lines = time.monotonic(), list[str]()
    length = min(_RUN_SECONDS, max(arguments.seconds, 10.0))
    planned = schedule(seed, length, arguments.network, transfers=arguments.transfers, every=arguments.every)
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    say = print if arguments.verbose else lines.append
    verdict, going = asyncio.run(run(planned, arguments.network, directory, say))
    took = time.monotonic() - began
    print(f"{seed:>6} {len(planned.wishes):>9} {len(planned.events):>6} {took:>7.0f}  {verdict}", flush=True)
    is_good = verdict.is_clean and verdict.reorganised_away <= SAFE_FROM
    if not is_good or arguments.verbose:
        print(verdict.details(), *lines, f"  errors: {going.errors}", f"  files: {directory}", sep="\n", flush=True)
    return is_good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="no new seed is begun after that")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--network", choices=("simnet", "devnet"), default="simnet")
    parser.add_argument("--transfers", type=int, default=24, help="in each run")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from one event to the next, on average")
    parser.add_argument("--verbose", action="store_true", help="each event as it happens")
    return parser


if __name__ == "__main__":
    sys.exit(main())
