"""The page that checks proofs in a browser: its size, and the time of a hundred files in headless Chromium."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from figures import Figure, within

from proof_checks.effort import Effort

__all__ = ["measure_page"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "src" / "layer2" / "proofs" / "page" / "check-proofs.html"
VERIFIER: Final = ROOT / "verifier-js"
SIZE_AIM: Final = 150_000.0
SECONDS_AIM: Final = 2.0


def measure_page(effort: Effort) -> list[Figure]:
    """Measure the page from the drop of the files to the last verdict. It does not depend on the effort."""
    _run("make", "--silent", "page", directory=ROOT)
    _run("npx", "tsc", "-p", "tsconfig.json", directory=VERIFIER)
    rounds: list[float] = json.loads(_run("node", "build/browser/measure.js", directory=VERIFIER))
    return [
        within("the page for browsers", "bytes", PAGE.stat().st_size, aim=SIZE_AIM),
        within(f"100 files dropped on the page, the best of {len(rounds)} rounds", "s", min(rounds), aim=SECONDS_AIM),
    ]


def _run(*command: str, directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout
