"""Checks that the provider's money suffices for another swap in addition to the open ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from layer2.errors import InsufficientFunds
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.provider.swap_book import Promised
from layer2.terms.documents import QuoteTerms

__all__ = ["check_inventory"]


def check_inventory(
    layer: Layer2ProtocolType,
    balances: Mapping[AssetId, Balance],
    promised: Promised,
    gas_per_swap: int,
    quote: QuoteTerms,
) -> None:
    """Check that the money on one layer suffices for a swap under a quote in addition to the open swaps.

    Args:
        promised: what the open and pending swaps may still take from these balances.
        gas_per_swap: the reserve for each open swap on every EVM layer, in the smallest unit of the coin that pays
            gas. It pays for funding, collecting, refund or release.

    Raises:
        InsufficientFunds: not enough to spend, to receive, or for gas.
    """
    source, destination = quote.pair
    bitcoin = balances.get(BTC, Balance(0))
    if layer is destination:
        _check(layer, "to spend", bitcoin.spendable, promised.pays, quote.amount + quote.network_fee, "sat")
    if layer is source and bitcoin.receivable is not None:
        _check(layer, "of room to receive", bitcoin.receivable, promised.receives, quote.source_amount, "sat")
    facts = LAYERS[layer]
    if facts.native_asset != BTC.code:
        gas = balances.get(AssetId(facts.native_asset, facts.native_decimals), Balance(0))
        # A taker who funds late can refund it alone, so an unfunded swap needs no gas for that.
        reserved, wanted = promised.swaps * gas_per_swap, gas_per_swap
        if facts.coin_is_bitcoin:
            # One balance pays locks and gas.
            unit = 10 ** (facts.native_decimals - BTC.decimals)
            reserved += unit * promised.pays
            wanted += unit * (quote.amount + quote.network_fee) if layer is destination else 0
        _check(layer, "for gas", gas.spendable, reserved, wanted, "wei")


def _check(layer: Layer2ProtocolType, what: str, owned: int, promised: int, wanted: int, unit: str) -> None:
    if owned < promised + wanted:
        raise InsufficientFunds(
            f"{layer.value}: {owned} {unit} {what}, of which {promised} are reserved; the swap needs {wanted}",
            protocol=layer.value,
        )
