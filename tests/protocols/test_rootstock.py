"""What makes an EVM client Rootstock's: its chain id, its coin, and that it is on regtest only."""

from __future__ import annotations

from typing import Any

import pytest

from layer2.errors import ProtocolNotImplemented, UnknownAsset
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import ETH
from layer2.protocols.rootstock import ROOTSTOCK_REGTEST, RootstockClient, RootstockSettings
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends


def rootstock(**changes: Any) -> RootstockClient:
    fields: dict[str, Any] = {
        "rpc_url": "http://127.0.0.1:4444",
        "network": "regtest",
        "token_address": "0x" + "11" * 20,
        "token_decimals": 8,
    }
    return RootstockClient(RootstockSettings(**(fields | changes)), SoftwareEvmSigner(b"\x01" * 32), MemorySends())


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
def test_on_public_networks_there_is_no_client(network: str) -> None:
    with pytest.raises(ProtocolNotImplemented, match=f"Rootstock has no client on {network} in this version"):
        rootstock(network=network)


async def test_on_regtest_it_is_a_layer_of_its_own_with_its_own_coin() -> None:
    client = rootstock(network="regtest")
    assert (client.protocol_type, client.settings.chain_id) == (Layer2ProtocolType.ROOTSTOCK, ROOTSTOCK_REGTEST)
    with pytest.raises(UnknownAsset, match="RBTC"):
        await client.transfer_asset_async(ETH, 1, "0x" + "22" * 20)
    await client.aclose()
