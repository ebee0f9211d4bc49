"""The balances of both parties of swaps on every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from layer2 import BTC, Layer2ProtocolType
from layer2.formats.bitcoin_transaction import Transaction, decode_transaction
from layer2.model.layers import LAYERS
from layer2.model.money import AssetId
from layer2.protocols.bitcoin import BitcoinClient
from networks.coins import coins_of
from networks.parties import Clients

if TYPE_CHECKING:
    import bdkpython as bdk

__all__ = ["NOTHING", "Changes", "Money", "is_quiet", "mining_fees_of", "money_of"]

Changes = Mapping[tuple[str, Layer2ProtocolType], int]
"""The growth of a party's balance on a layer, in satoshi; unchanged balances are omitted."""
NOTHING: Changes = {}
_BITCOIN: Final = Layer2ProtocolType.BITCOIN
_TRANSACTIONS: Final[dict[bytes, Transaction]] = {}
"""By hash, because a transaction never changes."""


@dataclass(frozen=True, slots=True)
class Money:
    """The balances of both parties."""

    bitcoin: Changes
    """Satoshi on each layer. On Bitcoin's chain and on Rootstock, with the fees that the party has paid."""
    gas: Changes
    """Wei for gas on BOB; on Rootstock what was spent of it, as a negative number."""
    mining_fees: Mapping[str, int]
    """Satoshi that each party has paid to miners, in all transactions of its wallet."""

    def changes(self, before: Money) -> Changes:
        """The growth of each bitcoin balance, without mining fees."""
        return {key: now - before.bitcoin[key] for key, now in self.bitcoin.items() if now != before.bitcoin[key]}


async def is_quiet(parties: Mapping[str, Clients]) -> bool:
    """Whether both nodes show the same channels, and no payment in flight."""
    taker, provider = parties["taker"], parties["provider"]
    return await _channels_of(taker) == tuple(reversed(await _channels_of(provider)))


async def money_of(parties: Mapping[str, Clients], *, on_chain: bool) -> Money:
    """Read the balances.

    Args:
        on_chain: whether to read Bitcoin's chain too.
    """
    bitcoin: dict[tuple[str, Layer2ProtocolType], int] = {}
    gas: dict[tuple[str, Layer2ProtocolType], int] = {}
    mining_fees: dict[str, int] = {}
    for name, party in parties.items():
        for client in (party.bob, party.rootstock, party.lightning):
            layer, balances = client.protocol_type, await client.balances_async()
            bitcoin[name, layer] = balances[BTC].spendable
            if layer is Layer2ProtocolType.ROOTSTOCK:
                # Its coin is bitcoin and pays gas.
                bitcoin[name, layer], fees = await coins_of(party.rootstock)
                gas[name, layer] = -fees
            elif layer is Layer2ProtocolType.LIGHTNING:
                bitcoin[name, layer] += balances[BTC].reserved
            else:
                gas[name, layer] = balances[_coin(layer)].spendable
        if on_chain:
            balance = (await party.bitcoin.balances_async())[BTC]
            mining_fees[name] = await mining_fees_of(party.bitcoin)
            bitcoin[name, _BITCOIN] = balance.spendable + balance.reserved + mining_fees[name]
    return Money(bitcoin, gas, mining_fees)


async def mining_fees_of(client: BitcoinClient) -> int:
    """Inputs less outputs of every transaction that the wallet counts. Each transaction of a swap is paid by the party
    whose wallet it touches: it spends the wallet's coins, or pays to the wallet from the leg's output."""

    def known(wallet: bdk.Wallet) -> list[Transaction]:
        return [decode_transaction(bytes(each.transaction.serialize())) for each in wallet.transactions()]

    transactions = await client._parts.coins.wallet.run(known)
    _TRANSACTIONS.update({each.hash: each for each in transactions})
    fees = 0
    for each in transactions:
        for one in each.inputs:
            fees += (await _transaction(client, one.prevout.tx_hash)).outputs[one.prevout.index].amount
        fees -= sum(paid.amount for paid in each.outputs)
    return fees


async def _transaction(client: BitcoinClient, tx_hash: bytes) -> Transaction:
    if tx_hash not in _TRANSACTIONS:
        located = await client._parts.source.find(tx_hash)
        assert located is not None, f"the node does not know the transaction {tx_hash[::-1].hex()}"
        _TRANSACTIONS[tx_hash] = located.transaction
    return _TRANSACTIONS[tx_hash]


async def _channels_of(party: Clients) -> tuple[int, int]:
    """A node's view of both sides of all channels. The nodes' views differ while a payment is in flight."""
    channels = await party.lightning._parts.node.channels()
    if any(channel.hashes for channel in channels):
        return (-1, -2)
    flows = [(channel.outgoing.balance_sat, channel.incoming.balance_sat) for channel in channels]
    return (sum(own for own, _ in flows), sum(other for _, other in flows))


def _coin(layer: Layer2ProtocolType) -> AssetId:
    return AssetId(LAYERS[layer].native_asset, LAYERS[layer].native_decimals)
