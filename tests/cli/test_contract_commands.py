"""``layer2 contract deploy`` on a simulated chain that has the factory and not the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.running import Ran, layer2
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.formats.evm_address import to_checksum
from protocols.evm.bob_network import BobNetwork, bob_network

ADDRESS = to_checksum(HTLC_ADDRESS)


@pytest.fixture
async def bare() -> AsyncIterator[BobNetwork]:
    async with bob_network(with_contract=False) as network:
        yield network


def configure(directory: Path, network: BobNetwork, account: str) -> None:
    key = directory / "bob.key"
    key.touch(mode=0o600)
    key.write_text(network.accounts[account].key.secret.hex())
    (directory / "layer2.toml").write_text(
        f'network = "regtest"\n[bob]\nrpc_url = "{network.url}"\nkey_file = "bob.key"\n'
        f'token_address = "{to_checksum(TEST_TOKEN_ADDRESS)}"\ntoken_decimals = 8\n'
    )


async def deploy(directory: Path, *options: str) -> Ran:
    return await asyncio.to_thread(layer2, "contract", "deploy", *options, cwd=directory)


async def test_the_contract_is_deployed_once_and_the_cost_is_shown_first(bare: BobNetwork, tmp_path: Path) -> None:
    configure(tmp_path, bare, "taker")
    before = len(bare.sent())
    planned = await deploy(tmp_path, "bob", "--dry-run", "--json")
    assert planned.status == 0, planned.err
    assert planned.envelope["data"]["deployed"] is False
    assert len(bare.sent()) == before

    done = await deploy(tmp_path, "bob", "--json")
    assert done.status == 0, done.err
    data = done.envelope["data"]
    assert (data["deployed"], data["contract"]) == (True, ADDRESS)
    assert bytes.fromhex(data["tx_id"][2:]) == bare.sent()[-1]
    cost, sent = (done.err.index(word) for word in ("cost ", "sent "))
    assert cost < sent
    assert "ETH, paid by " + to_checksum(bare.address("taker")) in done.err
    # A whole ETH is 10^18 wei: the estimate is near to what the node took.
    assert 0 < int(data["cost_wei"]) < 10**16

    again = await deploy(tmp_path, "bob")
    assert again.status == 0, again.err
    assert f"nothing to do: the contract {ADDRESS} is on BOB" in again.out
    assert len(bare.sent()) == before + 1


async def test_a_run_that_was_interrupted_is_continued_and_sends_nothing_more(bare: BobNetwork, tmp_path: Path) -> None:
    configure(tmp_path, bare, "taker")
    before = len(bare.sent())
    bare.maker.set_enabled(False)
    waited = [await deploy(tmp_path, "bob", "--timeout", "0.5", "--json") for _ in range(2)]
    assert [each.status for each in waited] == [2, 2]
    first, second = (each.envelope["error"] for each in waited)
    assert first["outcome"] == "unknown"
    assert first["tx_id"] == second["tx_id"]
    bare.maker.set_enabled(True)
    done = await deploy(tmp_path, "bob", "--json")
    assert done.status == 0, done.err
    assert len(bare.sent()) == before + 1


async def test_an_account_without_gas_sends_nothing(bare: BobNetwork, tmp_path: Path) -> None:
    configure(tmp_path, bare, "stranger")
    before = len(bare.sent())
    refused = await deploy(tmp_path, "bob", "--json")
    assert refused.status == 4
    assert refused.envelope["error"]["outcome"] == "not_sent"
    assert len(bare.sent()) == before


async def test_a_layer_without_contracts_is_refused(bare: BobNetwork, tmp_path: Path) -> None:
    configure(tmp_path, bare, "taker")
    refused = await deploy(tmp_path, "lightning")
    assert refused.status == 3
    assert "LIGHTNING has no contracts; name bob or rootstock" in refused.err
