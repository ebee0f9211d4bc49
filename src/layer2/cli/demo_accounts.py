"""The demo's books: what each party owned before and after, and whether it all adds up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.cli.envelope import Table
from layer2.cli.wording import signed, wei

__all__ = ["Books", "Owned"]


@dataclass(frozen=True, slots=True)
class Owned:
    """What one party owns at one moment."""

    bob: int
    """Satoshi as the token on BOB."""
    lightning: int
    """Satoshi in its channels, those in flight included."""
    gas: int
    """Wei on BOB."""


@dataclass(frozen=True, slots=True)
class Books:
    """Both parties before and after, and what the receipts of each party's transactions cost.

    Args:
        fees: wei, by party.
    """

    before: dict[str, Owned]
    after: dict[str, Owned]
    fees: dict[str, int]

    def faults(self) -> list[str]:
        """What does not add up, each in a sentence; empty where all does."""
        faults = []
        for layer in ("bob", "lightning"):
            change = sum(
                getattr(self.after[party], layer) - getattr(self.before[party], layer) for party in self.before
            )
            if change:
                faults.append(f"between the parties {signed(change)} sat on {layer.upper()} came from nowhere")
        for party, fee in self.fees.items():
            spent = self.before[party].gas - self.after[party].gas
            if spent != fee:
                faults.append(f"{party} spent {wei(spent)} of gas, its receipts say {wei(fee)}")
        return faults

    def table(self) -> Table:
        """Balances before and after per party and layer; gas in a column of its own."""
        rows = []
        for party in self.before:
            before, after = self.before[party], self.after[party]
            for layer in ("bob", "lightning"):
                old, new = getattr(before, layer), getattr(after, layer)
                gas = wei(after.gas - before.gas) if layer == "bob" else ""
                rows.append((party, layer.upper(), f"{old:,}", f"{new:,}", signed(new - old), gas))
        for layer in ("bob", "lightning"):
            change = sum(
                getattr(self.after[party], layer) - getattr(self.before[party], layer) for party in self.before
            )
            rows.append(("together", layer.upper(), "", "", signed(change), ""))
        return Table(("party", "layer", ">before, sat", ">after, sat", ">change, sat", ">gas"), tuple(rows))
