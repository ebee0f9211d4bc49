"""Fuzzes the decoders with atheris, each in a separate process: ``python -m fuzz --seconds 20 [TARGET ...]``.

A crash ends it with status 1 and stores its input in ``fuzz/crashes``. ``python -m fuzz TARGET --replay FILE`` repeats
the crash.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from fuzz.targets import Target

CRASHES = Path(__file__).parent / "crashes"


def targets(*, instrumented: bool) -> Mapping[str, Target]:
    """Load the targets. If instrumented, atheris counts every branch that an input takes in this package."""
    # The seed proof is made with the tests' own functions.
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    with atheris.instrument_imports(include=["layer2"]) if instrumented else nullcontext():
        from fuzz.targets import TARGETS
    return TARGETS


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process. This call ends the process."""
    target = targets(instrumented=True)[name]
    CRASHES.mkdir(exist_ok=True)

    def take(data: bytes) -> None:
        target.check(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", f"-max_len={target.longest}", "-timeout=10", "-rss_limit_mb=2048"]
        atheris.Setup(["fuzz", corpus, f"-artifact_prefix={CRASHES}/{name}-", *options], take)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    known = targets(instrumented=False) if "--here" not in sys.argv else {}
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(known)}; all by default")
    parser.add_argument("--seconds", type=int, default=20, help="seconds for each target")
    parser.add_argument("--here", action="store_true", help="run one target in this process")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one target with this input, without fuzzing")
    arguments = parser.parse_args()
    if arguments.here:
        fuzz(arguments.targets[0], arguments.seconds)
        return 0
    names: list[str] = arguments.targets or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")
    if arguments.replay is not None:
        known[names[0]].check(arguments.replay.read_bytes())
        return 0
    crashed = [name for name in names if not _survives(name, arguments.seconds)]
    if crashed:
        print(f"crashed: {', '.join(crashed)}", file=sys.stderr)
    return 1 if crashed else 0


def _survives(name: str, seconds: int) -> bool:
    command = [sys.executable, "-m", "fuzz", name, "--here", "--seconds", str(seconds)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # this program
    done = [line for line in finished.stderr.splitlines() if line.startswith("Done")]
    print(f"{name:<12} {done[-1] if done else 'crashed'}", flush=True)
    if finished.returncode != 0:
        print(finished.stdout + finished.stderr, file=sys.stderr)
    return finished.returncode == 0 and bool(done)


if __name__ == "__main__":
    sys.exit(main())
