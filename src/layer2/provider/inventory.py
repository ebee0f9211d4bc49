"""Checks that the provider's money suffices for another swap in addition to the open ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layer2.errors import InsufficientFunds
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.ports.client import Client
from layer2.provider.open_swaps import OpenSwap
from layer2.terms.documents import QuoteTerms

__all__ = ["check_inventory"]


async def check_inventory(
    clients: Mapping[Layer2ProtocolType, Client],
    gas_per_swap: int,
    quote: QuoteTerms,
    swaps: Sequence[OpenSwap],
    now: int,
) -> None:
    """Check that the provider's money suffices for a swap under a quote in addition to the open swaps.

    Args:
        gas_per_swap: the reserve for each open swap on every EVM layer, in the smallest unit of the coin that pays
            gas. It pays for funding, collecting, refund or release.

    Raises:
        InsufficientFunds: not enough to spend, to receive, or for gas.
        NodeError: a node does not report the balances.
    """
    source, destination = quote.pair
    for layer in (source, destination):
        balances = await clients[layer].balances_async()
        bitcoin = balances.get(BTC, Balance(0))
        if layer is destination:
            promised = sum(swap.will_pay(layer, now) for swap in swaps)
            _check(layer, "to spend", bitcoin.spendable, promised, quote.amount + quote.network_fee, "sat")
        if layer is source and bitcoin.receivable is not None:
            promised = sum(swap.will_receive(layer, now) for swap in swaps)
            _check(layer, "of room to receive", bitcoin.receivable, promised, quote.source_amount, "sat")
        facts = LAYERS[layer]
        if facts.native_asset != BTC.code:
            gas = balances.get(AssetId(facts.native_asset, facts.native_decimals), Balance(0))
            # A taker who funds late can refund it alone, so an unfunded swap needs no gas for that.
            promised = sum(swap.uses(layer) and swap.takes_place(now) for swap in swaps) * gas_per_swap
            wanted = gas_per_swap
            if facts.coin_is_bitcoin:
                # One balance pays locks and gas.
                unit = 10 ** (facts.native_decimals - BTC.decimals)
                promised += unit * sum(swap.will_pay(layer, now) for swap in swaps)
                wanted += unit * (quote.amount + quote.network_fee) if layer is destination else 0
            _check(layer, "for gas", gas.spendable, promised, wanted, "wei")


def _check(layer: Layer2ProtocolType, what: str, owned: int, promised: int, wanted: int, unit: str) -> None:
    if owned < promised + wanted:
        raise InsufficientFunds(
            f"{layer.value}: {owned} {unit} {what}, of which {promised} are reserved; the swap needs {wanted}",
            protocol=layer.value,
        )
