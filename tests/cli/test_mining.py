"""``layer2 simnet mine``: blocks on demand."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from cli.running import PROGRAM, layer2_here

pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.parametrize("chain", ["bitcoin", "bob", "rootstock"])
def test_blocks_are_made_on_the_named_chain(home: Path, chain: str) -> None:
    first, second = (
        layer2_here("simnet", "mine", number, "--chain", chain, "--directory", "net", "--json", cwd=home)
        for number in ("1", "3")
    )
    assert first.status == second.status == 0, first.err + second.err
    heights = [ran.envelope["data"]["height"] for ran in (first, second)]
    # The other chains make blocks by themselves, too.
    assert heights[1] - heights[0] == 3 if chain == "bitcoin" else heights[1] - heights[0] >= 3
    assert second.envelope["data"]["chain"] == chain


def test_bitcoin_is_the_chain_that_is_meant(home: Path) -> None:
    ran = layer2_here("simnet", "mine", "--directory", "net", cwd=home)
    assert ran.out.startswith("bitcoin: height ")


def test_it_goes_on_until_it_is_interrupted(home: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "simnet", "mine", "--every", "0.1", "--directory", "net"],
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        heights = [int(process.stderr.readline().rpartition(" ")[2]) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert heights[2] - heights[0] == 2


def test_a_network_that_does_not_run_is_named_with_the_command_that_starts_it(home: Path, tmp_path: Path) -> None:
    none = layer2_here("simnet", "mine", "--directory", "none", "--json", cwd=tmp_path)
    assert none.status == 3
    assert none.envelope["error"]["remedy"] == "start one: layer2 simnet up --directory none"
    (tmp_path / "net").mkdir()
    text = (home / "net" / "network.json").read_text()
    control = text.partition('"control_url": "')[2].partition('"')[0]
    (tmp_path / "net" / "network.json").write_text(text.replace(control, "http://127.0.0.1:9"))
    dead = layer2_here("simnet", "mine", "--directory", "net", "--json", cwd=tmp_path)
    assert (dead.status, dead.envelope["error"]["code"]) == (5, "node_unreachable")
    assert dead.envelope["error"]["remedy"] == "start it: layer2 simnet up --directory net"
    shutil.rmtree(tmp_path / "net")


@pytest.mark.parametrize("words", [("0",), ("many",), ("1", "--chain", "lightning"), ("1", "--every", "0")])
def test_what_cannot_be_mined_is_wrong_use(home: Path, words: tuple[str, ...]) -> None:
    assert layer2_here("simnet", "mine", *words, "--directory", "net", "--json", cwd=home).status == 3
