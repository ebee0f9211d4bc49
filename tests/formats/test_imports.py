"""An auditor without a node can use the codecs: they import no server, database or event loop."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import layer2.formats

FORBIDDEN = [
    "asyncio",
    "aiohttp",
    "pydantic",
    "sqlalchemy",
    "orjson",
    "fastapi",
    "socket",
    "sqlite3",
    "random",
    "secrets",
]


def test_importing_every_codec_loads_no_event_loop_no_network_and_no_database() -> None:
    names = [f"layer2.formats.{module.name}" for module in pkgutil.iter_modules(layer2.formats.__path__)]
    assert "layer2.formats.rlp" in names
    program = "\n".join(
        [
            "import sys",
            *[f"import {name}" for name in names],
            f"print(*[name for name in {FORBIDDEN!r} if name in sys.modules])",
        ]
    )
    source = Path(layer2.formats.__path__[0]).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["model", "formats", "contracts", "legs", "terms", "proofs"])
def test_packages_below_the_rules_import_plain_errors_only(package: str) -> None:
    # layer2.errors also has errors of transfers, whose types are defined in these packages: an import cycle.
    modules = (Path(layer2.formats.__path__[0]).parent / package).rglob("*.py")
    assert [module.name for module in modules if "from layer2.errors import" in module.read_text()] == []
