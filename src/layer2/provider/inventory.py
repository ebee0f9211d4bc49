"""Whether there is money for one more swap, besides what the open ones may still need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from layer2.errors import InsufficientFunds
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, ETH, AssetId, Balance
from layer2.protocol_client import OfferRequest
from layer2.provider.open_swaps import OpenSwap
from layer2.swap_rules.legs import ClockReading, Htlc, Side
from layer2.terms import QuoteTerms

__all__ = ["Inventory", "ProviderLayer"]


class ProviderLayer(Protocol):
    """What a provider needs of a layer's client, besides what its runner does with it."""

    async def offer(self, request: OfferRequest) -> str: ...

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None: ...

    async def read_clock(self) -> ClockReading: ...

    async def balances_async(self) -> Mapping[AssetId, Balance]: ...


class Inventory:
    """The provider's money on each layer, less what is promised.

    Args:
        gas_per_swap: wei that each open swap keeps reserved on the EVM side, for its lock, claim or refund.
    """

    def __init__(self, layers: Mapping[Layer2ProtocolType, ProviderLayer], gas_per_swap: int) -> None:
        self._layers = layers
        self._gas_per_swap = gas_per_swap

    async def check(self, quote: QuoteTerms, swaps: Sequence[OpenSwap], now: int) -> None:
        """Check that a swap under that quote can be paid for besides the open ones.

        Raises:
            InsufficientFunds: not enough to spend, to receive, or for gas.
            NodeError: the node does not say.
        """
        for layer, client in self._layers.items():
            balances = await client.balances_async()
            bitcoin = balances.get(BTC, Balance(0))
            if layer is quote.destination:
                promised = sum(swap.will_pay(layer, now) for swap in swaps)
                _check(layer, "to spend", bitcoin.spendable, promised, quote.amount + quote.network_fee, "sat")
            if layer is quote.source and bitcoin.receivable is not None:
                promised = sum(swap.will_receive(layer, now) for swap in swaps)
                _check(layer, "of room to receive", bitcoin.receivable, promised, quote.source_amount, "sat")
            if layer is Layer2ProtocolType.BOB:
                # A late lock that has to be given back costs gas too, but its owner can take it back alone.
                promised = sum(swap.is_binding(now) for swap in swaps) * self._gas_per_swap
                _check(layer, "for gas", balances.get(ETH, Balance(0)).spendable, promised, self._gas_per_swap, "wei")


def _check(layer: Layer2ProtocolType, what: str, owned: int, promised: int, wanted: int, unit: str) -> None:
    if owned < promised + wanted:
        raise InsufficientFunds(
            f"{layer.value}: {owned} {unit} {what}, of which {promised} are promised; {wanted} more are wanted",
            protocol=layer.value,
        )
