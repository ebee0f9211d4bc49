"""The limits of a provider for strangers, and what strangers can reserve without paying."""

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
    """The limits for strangers."""

    open_swaps: int
    """Maximum number of swaps that reserve a hash and money of the provider."""
    open_swaps_per_taker: int
    """Of these, for one account or key of a taker."""
    unfinished_swaps: int
    """Maximum number of swaps that have not ended, including those that only wait for finality: each asks the nodes at
    every block."""
    open_quotes: int
    event_streams: int
    gas_per_swap: int
    """Reserve for each open swap, in the smallest unit of a layer's native coin."""


@dataclass(frozen=True, slots=True)
class FreeBounds:
    """The places that strangers can reserve in one pair with swaps that they never fund."""

    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    places: int
    """For all takers and all pairs together."""
    places_per_taker: int
    minutes: int
    """The time after which an unfunded swap releases its place."""


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
