"""What makes an EVM client BOB's."""

from __future__ import annotations

import dataclasses

import pytest

from layer2.layers import Layer2ProtocolType
from layer2.protocol_client import HtlcLayer, Layer2ProtocolAsync
from layer2.protocols.bob import BOB_MAINNET, BOB_SEPOLIA, BobClient, BobSettings
from layer2.transactions import Finality


def test_the_chain_ids_are_those_that_bob_publishes() -> None:
    assert (BOB_MAINNET, BOB_SEPOLIA) == (60808, 808813)


def test_bob_is_a_layer_and_can_hold_swaps() -> None:
    assert issubclass(BobClient, Layer2ProtocolAsync)
    assert issubclass(BobClient, HtlcLayer)
    assert BobClient.protocol_type is Layer2ProtocolType.BOB


def test_a_token_has_to_be_named_because_bob_has_several_bitcoins() -> None:
    with pytest.raises(TypeError, match="token"):
        BobSettings(rpc_url="http://127.0.0.1:8545")  # type: ignore[call-arg]  # that is the point


def test_by_default_final_means_finalized_on_ethereum_and_the_chain_is_the_mainnet() -> None:
    settings = BobSettings(rpc_url="http://127.0.0.1:8545", token="0x" + "11" * 20, token_decimals=8)
    assert (settings.chain_id, settings.finality) == (BOB_MAINNET, Finality.FINALIZED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.chain_id = 1  # type: ignore[misc]  # that is the point
