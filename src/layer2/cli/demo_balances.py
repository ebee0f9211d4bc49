"""The demo's readings at the nodes: what each party owns, and the fees that its transactions paid."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from layer2.cli.demo_accounts import Books, Owned
from layer2.config import BitcoinSection, EvmSection, Layer2Config
from layer2.formats.bitcoin_block import decode_block
from layer2.formats.bitcoin_transaction import Transaction
from layer2.formats.evm_address import parse_address
from layer2.formats.evm_hex import parse_data
from layer2.manager import Layer2Manager
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId
from layer2.model.transactions import EvmTxId, Finality
from layer2.protocols.bitcoin.source.opening import open_source
from layer2.protocols.bitcoin.source.port import ChainSource
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.rpc.chain_format import chain_format
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["Accountant"]

_WEI: Final = 10**10
"""In a satoshi."""
_Parties: TypeAlias = Mapping[str, Layer2Manager]
"""Each party's manager by its name."""


@dataclass(frozen=True, slots=True)
class Accountant:
    """Reads the balances of both parties on some layers, before and after.

    Args:
        layers: the layers of the demo's transfers.
        config: the addresses of the nodes.
    """

    layers: Sequence[Layer2ProtocolType]
    config: Layer2Config

    async def owned(self, parties: _Parties) -> dict[str, Owned]:
        """What each party owns now."""
        return {name: await self._owned(manager) for name, manager in parties.items()}

    async def heights(self, manager: Layer2Manager) -> dict[Layer2ProtocolType, int]:
        """The newest block of each layer that has a chain."""
        chains = [layer for layer in self.layers if LAYERS[layer].kind != "lightning"]
        return {layer: (await (await manager.get_protocol_async(layer)).legs.read_clock()).height for layer in chains}

    async def close(
        self, parties: _Parties, before: Mapping[str, Owned], heights: Mapping[Layer2ProtocolType, int]
    ) -> Books:
        """The books of what happened since the heights were read."""
        after = await self.owned(parties)
        fees: dict[str, dict[Layer2ProtocolType, int]] = {name: {} for name in parties}
        miners = 0
        for layer, height in heights.items():
            section = self.config.layers[layer]
            if isinstance(section, BitcoinSection):
                async with aclosing(open_source(section)) as source:
                    miners = await _miners_fees(source, height)
            elif isinstance(section, EvmSection):
                for name, fee in (await self._gas(parties, layer, section, height)).items():
                    fees[name][layer] = fee
                    if LAYERS[layer].coin_is_bitcoin:
                        after[name] = _without_gas(before[name], after[name], layer, fee)
        return Books(before, after, fees, miners)

    async def _owned(self, manager: Layer2Manager) -> Owned:
        clients = [await manager.get_protocol_async(layer) for layer in self.layers]
        balances = dict(
            zip(self.layers, await asyncio.gather(*(each.balances_async() for each in clients)), strict=True)
        )
        coins = {
            layer: AssetId(facts.native_asset, facts.native_decimals)
            for layer, facts in LAYERS.items()
            if layer in balances and facts.kind == "evm"
        }
        satoshi = {layer: of_layer[BTC].spendable + of_layer[BTC].reserved for layer, of_layer in balances.items()}
        gas = {layer: balances[layer][coin].spendable + balances[layer][coin].reserved for layer, coin in coins.items()}
        # Of a coin that pays gas, only a part of it can be spent as bitcoin.
        satoshi |= {layer: wei // _WEI for layer, wei in gas.items() if LAYERS[layer].coin_is_bitcoin}
        return Owned(satoshi, gas)

    @staticmethod
    async def _gas(
        parties: _Parties, layer: Layer2ProtocolType, section: EvmSection, after_block: int
    ) -> dict[str, int]:
        """The fees in wei of each party's transactions in the blocks after a block, from their receipts."""
        clients = {name: cast("EvmClient", await each.get_protocol_async(layer)) for name, each in parties.items()}
        names = {
            parse_address(await client.receive_address_async(), section.chain_id): name
            for name, client in clients.items()
        }
        fees = dict.fromkeys(parties, 0)
        pool, seconds = section.connection_pool, section.default_timeout
        rpc = JsonRpc(section.rpc_url, protocol=layer.value, pool=pool, timeout=seconds)
        async with aclosing(rpc):
            facts = section.facts()
            node = EvmNode(rpc, layer.value, chain_format(facts.receipts), facts.depths)
            newest = await node.head(Finality.LATEST)
            for number in range(after_block + 1, newest.number + 1):
                block = await node.block(number)
                for receipt in (await node.block_receipts(block.hash) if block else None) or ():
                    name = names.get(parse_data(receipt["from"], "from", size=20))
                    if name is not None:
                        tx_id = EvmTxId(str(receipt["transactionHash"]))
                        fees[name] += (await clients[name].get_transaction_status_async(tx_id)).fee or 0
        return fees


def _without_gas(before: Owned, after: Owned, layer: Layer2ProtocolType, fee: int) -> Owned:
    """What a party would own on a layer whose coin is bitcoin and pays gas, had it paid no fees."""
    return Owned(
        {**after.satoshi, layer: (after.gas[layer] + fee) // _WEI},
        {**after.gas, layer: before.gas[layer] - fee},
    )


async def _miners_fees(source: ChainSource, after_block: int) -> int:
    """What the transactions in the blocks after a block paid to miners, in satoshi."""
    fees, newest = 0, await source.tip()
    for height in range(after_block + 1, newest.height + 1):
        block_hash = await source.block_hash(height)
        assert block_hash is not None
        for transaction in decode_block(await source.block(block_hash)).transactions[1:]:
            fees += await _spent(source, transaction) - sum(each.amount for each in transaction.outputs)
    return fees


async def _spent(source: ChainSource, transaction: Transaction) -> int:
    amount = 0
    for each in transaction.inputs:
        parent = await source.find(each.prevout.tx_hash)
        assert parent is not None
        amount += parent.transaction.outputs[each.prevout.index].amount
    return amount
