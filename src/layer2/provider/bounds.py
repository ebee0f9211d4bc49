"""What strangers may take up of a provider, and for how long they can do so for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.swap_rules.timelocks import pairs_of

__all__ = ["FreeBounds", "Limits", "bounds"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may take up."""

    open_swaps: int
    """Swaps that bind a hash, and money of the provider's, at once."""
    open_swaps_per_taker: int
    """Of these, for one account or key that a taker names."""
    unfinished_swaps: int
    """Swaps that have not ended, also those that bind nothing and only wait for finality: each is a task that asks
    the nodes at every block."""
    open_quotes: int
    event_streams: int
    gas_per_swap: int
    """Smallest unit of a layer's native coin that is kept back for each open swap."""


@dataclass(frozen=True, slots=True)
class FreeBounds:
    """How many places strangers can take for nothing in one pair, by asking for swaps that they never fund."""

    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    places: int
    """Of all takers together, over all pairs."""
    places_per_taker: int
    minutes: int
    """After which an unfunded swap gives its place back."""


def bounds(
    limits: Limits, offers: Mapping[Layer2ProtocolType, LegOffer], rules: TimelockSettings
) -> tuple[FreeBounds, ...]:
    """The bounds of every pair of these layers."""
    return tuple(
        FreeBounds(source, destination, limits.open_swaps, limits.open_swaps_per_taker, -(-bound // 60))
        for (source, destination), bound in (
            (pair, rules.funding_window + offers[pair[0]].with_finality(Finality.LATEST).settling(rules))
            for pair in pairs_of(offers, rules)
        )
    )
