"""The demo's accounts: the balances of each party before and after, and whether they add up. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from layer2.cli.wording import signed, wei
from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = ["Books", "Owned"]

_BITCOIN = Layer2ProtocolType.BITCOIN


@dataclass(frozen=True, slots=True)
class Owned:
    """The balances of one party at one moment."""

    satoshi: Mapping[Layer2ProtocolType, int]
    """On each layer, including what is in flight or unconfirmed."""
    gas: Mapping[Layer2ProtocolType, int]
    """Wei of the native coin on each EVM layer."""


@dataclass(frozen=True, slots=True)
class Books:
    """The balances of both parties before and after, and the fees of their transactions.

    Args:
        fees: wei by party and EVM layer, from the receipts.
        miners: satoshi that the transactions in Bitcoin's blocks paid to miners.
    """

    before: Mapping[str, Owned]
    after: Mapping[str, Owned]
    fees: Mapping[str, Mapping[Layer2ProtocolType, int]]
    miners: int = 0

    def faults(self) -> list[str]:
        """A sentence for each difference; empty if everything adds up."""
        return [*self._satoshi_faults(), *self._gas_faults()]

    def _satoshi_faults(self) -> Iterator[str]:
        for layer in self._layers:
            total = self._total(layer)
            if layer is _BITCOIN and total != -self.miners:
                yield f"the total balance on BITCOIN changed by {signed(total)} sat, but miners got {self.miners:,} sat"
            elif layer is not _BITCOIN and total:
                yield f"the total balance on {layer.value} changed by {signed(total)} sat"

    def _gas_faults(self) -> Iterator[str]:
        for party, fees in self.fees.items():
            for layer, fee in fees.items():
                spent, coin = self._spent(party, layer), LAYERS[layer].native_asset
                if spent != fee:
                    yield f"{party} spent {wei(spent, coin)} on gas, but its receipts show {wei(fee, coin)}"

    def rows(self) -> list[tuple[str, ...]]:
        """Party, layer, balance before and after, change, and gas."""
        rows: list[tuple[str, ...]] = []
        for party, before in self.before.items():
            for layer in self._layers:
                old, new = before.satoshi[layer], self.after[party].satoshi[layer]
                gas = wei(-self._spent(party, layer), LAYERS[layer].native_asset) if layer in before.gas else ""
                rows.append((party, layer.value, f"{old:,}", f"{new:,}", signed(new - old), gas))
        if _BITCOIN in self._layers:
            rows.append(("miners", _BITCOIN.value, "", "", signed(self.miners), ""))
        totals = [(layer, self._total(layer) + self.miners * (layer is _BITCOIN)) for layer in self._layers]
        return rows + [("total", layer.value, "", "", signed(total), "") for layer, total in totals]

    def data(self) -> dict[str, dict[str, object]]:
        """The same for machines, by party."""
        return {party: dict(self._data(party)) for party in self.before}

    def _data(self, party: str) -> Iterator[tuple[str, object]]:
        before, after = self.before[party], self.after[party]
        for layer in self._layers:
            name = layer.value.lower()
            yield f"{name}_before", before.satoshi[layer]
            yield f"{name}_after", after.satoshi[layer]
        for layer, fee in self.fees[party].items():
            # Two native coins have no sum.
            prefix = f"{layer.value.lower()}_" if len(before.gas) > 1 else ""
            yield f"{prefix}gas_wei", str(self._spent(party, layer))
            yield f"{prefix}receipts_wei", str(fee)

    @property
    def _layers(self) -> tuple[Layer2ProtocolType, ...]:
        return tuple(next(iter(self.before.values())).satoshi)

    def _spent(self, party: str, layer: Layer2ProtocolType) -> int:
        return self.before[party].gas[layer] - self.after[party].gas[layer]

    def _total(self, layer: Layer2ProtocolType) -> int:
        """The change of the sum of both parties' balances."""
        return sum(self.after[party].satoshi[layer] - self.before[party].satoshi[layer] for party in self.before)
