"""The demo's accounts: the balances of each party before and after, and whether they add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.cli.wording import signed, wei

__all__ = ["Books", "Owned"]

_LAYERS = ("bob", "lightning")


@dataclass(frozen=True, slots=True)
class Owned:
    """The balances of one party at one moment."""

    bob: int
    """Satoshi in the token on BOB."""
    lightning: int
    """Satoshi in its channels, including those in flight."""
    gas: int
    """Wei on BOB."""


@dataclass(frozen=True, slots=True)
class Books:
    """The balances of both parties before and after, and the fees of their transactions.

    Args:
        fees: wei by party, from the receipts.
    """

    before: dict[str, Owned]
    after: dict[str, Owned]
    fees: dict[str, int]

    def faults(self) -> list[str]:
        """A sentence for each difference; empty if everything adds up."""
        faults = [
            f"the total balance on {layer.upper()} changed by {signed(self._total(layer))} sat"
            for layer in _LAYERS
            if self._total(layer)
        ]
        for party, fee in self.fees.items():
            spent = self.before[party].gas - self.after[party].gas
            if spent != fee:
                faults.append(f"{party} spent {wei(spent)} on gas, but its receipts show {wei(fee)}")
        return faults

    def rows(self) -> list[tuple[str, ...]]:
        """Party, layer, balance before and after, change, and gas."""
        rows: list[tuple[str, ...]] = []
        for party, before in self.before.items():
            after = self.after[party]
            for layer in _LAYERS:
                old, new = getattr(before, layer), getattr(after, layer)
                gas = wei(after.gas - before.gas) if layer == "bob" else ""
                rows.append((party, layer.upper(), f"{old:,}", f"{new:,}", signed(new - old), gas))
        return rows + [("total", layer.upper(), "", "", signed(self._total(layer)), "") for layer in _LAYERS]

    def data(self) -> dict[str, dict[str, object]]:
        """The same for machines, by party."""
        return {
            party: {
                "bob_before": before.bob,
                "bob_after": self.after[party].bob,
                "lightning_before": before.lightning,
                "lightning_after": self.after[party].lightning,
                "gas_wei": str(before.gas - self.after[party].gas),
                "receipts_wei": str(self.fees[party]),
            }
            for party, before in self.before.items()
        }

    def _total(self, layer: str) -> int:
        """The change of the sum of both parties' balances."""
        return sum(getattr(self.after[party], layer) - getattr(self.before[party], layer) for party in self.before)
