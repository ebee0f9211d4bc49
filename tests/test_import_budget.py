"""The modules that each import loads, from ``sys.modules``. ``make bench-imports`` measures the time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proofs import made_proofs

_PROGRAM = "import sys\n{code}\nprint(*sys.modules)"


def loaded_after(code: str) -> set[str]:
    """The top-level packages, and this package's modules, that a fresh interpreter has loaded after the code."""
    finished = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM.format(code=code)], capture_output=True, text=True, check=True
    )
    names = set(finished.stdout.split())
    return {name for name in names if name.startswith("layer2")} | {name.partition(".")[0] for name in names}


HEAVY = {
    "aiohttp",
    "alembic",
    "asyncio",
    "bdkpython",
    "cyclopts",
    "fastapi",
    "pydantic",
    "rich",
    "sqlalchemy",
    "structlog",
    "uvicorn",
}


@pytest.mark.parametrize(
    "code",
    [
        "import layer2",
        "from layer2 import BTC, Layer2ProtocolType, TransferState",
        "from layer2 import Layer2Error, TransferRefunded",
        "from layer2 import TransferProof, check_proof, OFFLINE, FINAL",
        "import layer2.proofs.audit",
        "import layer2.proofs.check, layer2.formats.bolt11, layer2.swap_rules.taker_machine",
    ],
)
def test_the_pure_floor_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_checking_a_proof_on_the_command_line_loads_no_event_loop_and_no_console(tmp_path: Path) -> None:
    file = str(made_proofs.to_lightning().save(tmp_path / "transfer.json"))
    code = f"from layer2.cli.app import run; assert run(['proof', 'verify', {file!r}]) == 4"
    assert not loaded_after(code) & (HEAVY - {"cyclopts"} | {"rich", "socket", "ssl"})


def test_the_manager_s_name_loads_no_database() -> None:
    assert not loaded_after("from layer2 import Layer2Manager") & {"sqlalchemy", "alembic", "sqlite3"}


def test_a_new_journal_loads_no_migrations(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    loaded = loaded_after(
        "import asyncio; from layer2.journal.sql_journal import SqlJournal\n"
        f"async def use(): await (await SqlJournal.open({path!r})).aclose()\n"
        "asyncio.run(use())"
    )
    assert "sqlalchemy" in loaded
    assert "alembic" not in loaded


def test_a_client_loads_no_other_layer_s_client_and_no_database() -> None:
    loaded = loaded_after("from layer2 import BobClient")
    assert not loaded & {"layer2.protocols.lightning", "layer2.swap_engine", "sqlalchemy", "pydantic"}
    loaded = loaded_after("from layer2 import LightningNetwork")
    assert not loaded & {"layer2.protocols.bob", "layer2.protocols.evm", "layer2.swap_engine", "sqlalchemy", "pydantic"}


def test_only_a_client_of_bitcoin_loads_its_wallet() -> None:
    assert "bdkpython" not in loaded_after("from layer2 import Layer2Manager; import layer2.assembly.clients")
    assert "bdkpython" not in loaded_after("from layer2 import BitcoinClient, BitcoinSettings")


def test_starting_a_local_network_loads_nothing_of_its_nodes() -> None:
    assert not loaded_after("import layer2.local.simnet, layer2.local.devnet") & {"eth", "cryptography"}


def test_the_test_kit_loads_no_network() -> None:
    assert not loaded_after("import layer2.testing") & {"aiohttp", "sqlalchemy", "pydantic", "eth", "pytest"}
