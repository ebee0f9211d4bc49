"""The demo's accounts: the balances of each party before and after, and whether they add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.cli.envelope import Table
from layer2.cli.wording import signed, wei

__all__ = ["Books", "Owned"]


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
        faults = []
        for layer in ("bob", "lightning"):
            change = sum(
                getattr(self.after[party], layer) - getattr(self.before[party], layer) for party in self.before
            )
            if change:
                faults.append(f"the total balance on {layer.upper()} changed by {signed(change)} sat")
        for party, fee in self.fees.items():
            spent = self.before[party].gas - self.after[party].gas
            if spent != fee:
                faults.append(f"{party} spent {wei(spent)} on gas, but its receipts show {wei(fee)}")
        return faults

    def table(self) -> Table:
        """Balances before and after by party and layer, with gas in a separate column."""
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
            rows.append(("total", layer.upper(), "", "", signed(change), ""))
        return Table(("party", "layer", ">before, sat", ">after, sat", ">change, sat", ">gas"), tuple(rows))
