"""What makes an EVM client BOB's."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from pathlib import Path
from textwrap import dedent

import pytest

from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.legs import HtlcLayer
from layer2.protocols.bob import BOB_MAINNET, BOB_SEPOLIA, BobClient, BobSettings
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends
from protocols.evm.bob_network import START_SATOSHIS, bob_network


def test_the_chain_ids_are_those_that_bob_publishes() -> None:
    assert (BOB_MAINNET, BOB_SEPOLIA) == (60808, 808813)


def write_key(path: Path, secret: bytes) -> None:
    path.touch(mode=0o600)
    path.write_text(secret.hex())


async def test_the_example_in_the_docstring_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = dedent((inspect.getdoc(BobClient) or "").partition("Example::\n")[2])
    async with bob_network() as network:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "LAYER2_NETWORK": "regtest",
            "LAYER2_BOB__RPC_URL": network.url,
            "LAYER2_BOB__TOKEN_ADDRESS": network.settings().token_address,
            "LAYER2_BOB__TOKEN_DECIMALS": "8",
            "LAYER2_BOB__KEY_FILE": "bob.key",
        }.items():
            monkeypatch.setenv(name, value)
        write_key(tmp_path / "bob.key", network.accounts["taker"].key.secret)
        for _ in range(2):
            # The second run has the same idempotency key, so it pays nothing.
            await asyncio.to_thread(exec, example, {})
        lines = capsys.readouterr().out.splitlines()
        assert lines == [lines[0]] * 2
        assert lines[0].startswith("0x")
        assert lines[0].endswith(("INCLUDED", "FINAL"))
        client = await network.client("taker")
        assert (await client.balances_async())[BTC].spendable == START_SATOSHIS - 100_000


async def test_bob_is_a_layer_that_can_hold_swaps_and_its_users_see_none_of_their_acts() -> None:
    settings = BobSettings(
        network="mainnet", rpc_url="http://127.0.0.1:8545", token_address="0x" + "11" * 20, token_decimals=8
    )
    client = BobClient(settings, SoftwareEvmSigner(b"\x01" * 32), MemorySends())
    assert isinstance(client, Layer2ProtocolAsync)
    assert isinstance(client.legs, HtlcLayer)
    assert client.protocol_type is Layer2ProtocolType.BOB
    acts = {name for name in dir(HtlcLayer) if not name.startswith("_")}
    assert acts & set(dir(client)) == set()
    await client.aclose()


def test_a_token_has_to_be_named_because_bob_has_several_bitcoins() -> None:
    with pytest.raises(TypeError, match="token"):
        BobSettings(network="mainnet", rpc_url="http://127.0.0.1:8545")  # type: ignore[call-arg]  # that is the point


def test_by_default_final_means_finalized_on_ethereum_and_the_chain_is_the_mainnet() -> None:
    settings = BobSettings(
        network="mainnet", rpc_url="http://127.0.0.1:8545", token_address="0x" + "11" * 20, token_decimals=8
    )
    assert (settings.chain_id, settings.finality) == (BOB_MAINNET, Finality.FINALIZED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.chain_id = 1  # type: ignore[misc]  # that is the point
