"""The simnet's process: finding it, controlling it, repeating its results, and its end."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.errors import ConfigurationError, NodeRefused, NodeUnreachable
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.local.accounts import LocalAccount
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.processes import ProcessRecord, load_records, save_records
from layer2.local.simnet.launch import PROCESSES, down, up
from simnet.bob_client import BobClient, signed

_SEED = b"seed of the tests"
_START = 1_800_000_000


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network that the tests do not change."""
    directory = tmp_path_factory.mktemp("standing")
    yield up(directory, seed=_SEED, clock_start=_START, with_parent=True)
    down(directory)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A network for one test."""
    yield up(tmp_path / "net", seed=_SEED, clock_start=_START, with_parent=True)
    down(tmp_path / "net")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


def _ends(process_id: int, timeout: float) -> bool:
    """Whether the process ends within that time. Returns as soon as it ends."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


async def test_the_file_describes_the_network_and_the_parties_have_test_money(
    standing: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    assert LocalNetwork.load(Path(standing.directory)) == standing
    status = await LocalNetworkControl(standing.control_url, session).status()
    for party, name in ((standing.taker, "taker"), (standing.provider, "provider")):
        account = LocalAccount.from_seed(_SEED, name)
        assert party.evm_address == to_checksum(account.address)
        for layer in standing.chains:
            tokens = {"token": 100_000_000} if layer == "BOB" else {}
            assert status["chains"][layer]["balances"][name] == {"wei": 10**19, **tokens}
    assert standing.rootstock.token_address == ""
    for chain in standing.chains.values():
        node = BobClient(chain.rpc_url, session)
        for address in (chain.htlc_address, *filter(None, [chain.token_address])):
            assert to_checksum(parse_address(address, chain.chain_id), chain.chain_id) == address
            assert len(await node.call("eth_getCode", address, "latest")) > 1000


def test_only_the_owner_can_read_the_key_files(standing: LocalNetwork) -> None:
    for party, name in ((standing.taker, "taker"), (standing.provider, "provider")):
        key_file = Path(party.evm_key_file)
        assert bytes.fromhex(key_file.read_text()) == LocalAccount.from_seed(_SEED, name).key.secret
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(standing.directory).stat().st_mode) == 0o700


async def test_a_transaction_is_in_a_block_as_soon_as_it_is_sent(
    network: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    bob, control = BobClient(network.bob.rpc_url, session), LocalNetworkControl(network.control_url, session)
    taker = LocalAccount.from_seed(_SEED, "taker")
    transaction_hash = await bob.send(signed(taker, 0))
    assert (await bob.call("eth_getTransactionReceipt", transaction_hash))["blockNumber"] == "0x2"
    await control.set_automatic(False)
    waiting = await bob.send(signed(taker, 1))
    assert await bob.call("eth_getTransactionReceipt", waiting) is None
    assert await control.mine() == 3
    assert (await bob.call("eth_getTransactionReceipt", waiting))["blockNumber"] == "0x3"


async def test_every_control_changes_the_nodes_answers(network: LocalNetwork, session: aiohttp.ClientSession) -> None:
    bob, control = BobClient(network.bob.rpc_url, session), LocalNetworkControl(network.control_url, session)
    assert await control.mine(5) == 6
    assert await bob.call("eth_blockNumber") == "0x6"
    assert await control.advance_chain_time(1000) == _START + 1005
    head = await bob.call("eth_getBlockByNumber", "latest", False)
    assert int(head["timestamp"], 16) == _START + 1005
    await control.set_finality(safe=3, finalized=1)
    held = [await bob.call("eth_getBlockByNumber", tag, False) for tag in ("safe", "finalized")]
    assert [block["number"] for block in held] == ["0x3", "0x1"]
    assert await control.reorganise(2) == 8
    before = (await control.status())["lightning"]["height"]
    assert await control.mine_bitcoin(3) == before + 3
    await control.fault("bob", "down")
    with pytest.raises(aiohttp.ClientConnectionError):
        await bob.call("eth_chainId")
    await control.fault("bob", "none")
    assert await bob.call("eth_chainId") == hex(60808)


async def test_a_control_that_fails_is_refused_with_a_reason(
    standing: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    control = LocalNetworkControl(standing.control_url, session)
    with pytest.raises(NodeRefused, match="safe cannot be held at 99"):
        await control.set_finality(safe=99)
    with pytest.raises(NodeRefused, match="is below the finalized head at 0"):
        await control.reorganise(9)
    with pytest.raises(NodeRefused, match="unknown target 'carol'"):
        await control.fault("carol", "down")
    with pytest.raises(NodeRefused, match="there is no fault 'melt'"):
        await control.fault("bob", "melt")
    with pytest.raises(NodeRefused, match="must be positive"):
        await control.mine(0)


async def _history(directory: Path, session: aiohttp.ClientSession) -> list[Any]:
    """The result of a fixed series of calls on a new network: all blocks with their receipts."""
    network = up(directory, seed=_SEED, clock_start=_START, with_parent=True)
    try:
        bob = BobClient(network.bob.rpc_url, session)
        control = LocalNetworkControl(network.control_url, session)
        taker = LocalAccount.from_seed(_SEED, "taker")
        for nonce in range(3):
            await bob.send(signed(taker, nonce))
        await control.advance_chain_time(500)
        await control.reorganise(2)
        await control.mine(2)
        height = int(await bob.call("eth_blockNumber"), 16)
        blocks = [await bob.call("eth_getBlockByNumber", hex(n), True) for n in range(height + 1)]
        receipts = [await bob.call("eth_getBlockReceipts", hex(n)) for n in range(height + 1)]
        return [blocks, receipts, network.taker.lightning.node_key, network.provider.lightning.node_key]
    finally:
        down(directory)


async def test_the_same_seed_and_the_same_calls_give_the_same_chain(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    first = await _history(tmp_path / "first", session)
    assert sum(len(block["transactions"]) for block in first[0]) == 4 + 3
    assert await _history(tmp_path / "second", session) == first


def test_a_second_simnet_in_one_directory_is_refused_and_the_first_keeps_running(standing: LocalNetwork) -> None:
    with pytest.raises(ConfigurationError, match=r"runs in .* already"):
        up(Path(standing.directory), with_parent=True)
    assert not _ends(standing.process_ids[0], 0)


def test_down_stops_its_own_process_and_a_second_down_finds_none(tmp_path: Path) -> None:
    network = up(tmp_path, with_parent=True)
    assert down(tmp_path)
    assert _ends(network.process_ids[0], 0)
    assert not down(tmp_path)
    with pytest.raises(ConfigurationError, match="no local network was started"):
        LocalNetwork.load(tmp_path)


def test_down_does_not_stop_a_later_process_with_the_same_id(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        earlier = replace(ProcessRecord.of("simnet", bystander.pid), started=1)
        save_records(tmp_path / PROCESSES, [earlier])
        assert not down(tmp_path)
        assert not _ends(bystander.pid, 0)
        bystander.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_the_network_ends_when_its_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    # The parent starts it from a thread that ends. The end of the thread is not the end of the parent.
    script = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from layer2.local.simnet.launch import up\n"
        "start = threading.Thread(target=lambda: up(Path(sys.argv[1]), with_parent=True))\n"
        "start.start(); start.join(); print('ready', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        network = LocalNetwork.load(tmp_path)
        assert not _ends(network.process_ids[0], 0.1)
        parent.send_signal(number)
        assert _ends(network.process_ids[0], 10)
    assert load_records(tmp_path / PROCESSES) == ()


def test_an_error_at_the_start_names_the_log_file(tmp_path: Path) -> None:
    (tmp_path / "taker-evm.key").mkdir()
    with pytest.raises(NodeUnreachable, match=r"ended while it started: .*taker-evm\.key.*; see .*simnet\.log"):
        up(tmp_path, with_parent=True)
    assert "Traceback" in (tmp_path / "simnet.log").read_text()


def test_a_missing_extra_is_reported_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"EVM is not installed; .*with its extra 'simnet'"):
        up(tmp_path)


def test_the_example_in_the_documentation_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "simnet.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    ran = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("http://127.0.0.1:")
    assert load_records(tmp_path / "my-simnet" / PROCESSES) == ()


def test_importing_the_package_does_not_load_the_simnet() -> None:
    program = (
        "import sys, layer2, layer2.local.network, layer2.local.simnet\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('eth', 'rlp')]\n"
        "assert 'layer2.local.simnet.network' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
