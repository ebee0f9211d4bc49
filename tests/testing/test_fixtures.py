"""The fixtures that ship: a test of a user's program needs nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("fixtures")

_USER_TEST = """
from layer2 import BTC, Layer2Manager, Layer2ProtocolType

BOB, LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING


def test_blocking(layer2_manager):
    proof = layer2_manager.cross_layer_transfer_sync(BTC, 20_000, BOB, LIGHTNING, timeout=60)
    assert layer2_manager.verify_cross_layer_proof_sync(proof)


async def test_async(layer2_config):
    async with Layer2Manager(layer2_config) as layers:
        await layers.initialize_all_async()
        assert await layers.list_transfers_async() == []
"""


def test_a_users_test_moves_money_with_the_fixtures_alone(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["layer2.testing.fixtures"]\n')
    (tmp_path / "test_program.py").write_text(_USER_TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", str(tmp_path)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout
