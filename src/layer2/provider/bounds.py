"""The limits of a provider for strangers, and what strangers can reserve without paying."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from layer2.config.sections import Section
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.swap_rules.timelocks import pairs_of

__all__ = ["FreeBounds", "Limits", "bounds"]


class Limits(Section):
    """The limits for strangers."""

    max_open_swaps: int = Field(default=100, ge=1, le=10_000)
    """maximum number of swaps that reserve money or a hash"""
    max_open_swaps_per_taker: int = Field(default=5, ge=1)
    """of these, for one account or key of a taker"""
    max_unfinished_swaps: int = Field(default=1_000, ge=1, le=100_000)
    """maximum number of swaps that have not ended, including those that only wait for finality"""
    max_acceptances: int = Field(default=64, ge=1, le=1_000)
    """maximum number of swaps that are being accepted at the same time, and of quotes that are being issued; as many
    wait for half a second, and more are refused as `busy`"""
    max_event_streams: int = Field(default=200, ge=0)
    """maximum number of open event streams"""
    gas_per_swap_wei: int = Field(default=100_000_000_000_000, ge=0)
    """gas reserve for each open swap, on every layer whose gas is not paid in bitcoin, in the coin's smallest unit"""


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
        FreeBounds(source, destination, limits.max_open_swaps, limits.max_open_swaps_per_taker, -(-bound // 60))
        for (source, destination), bound in (
            (pair, rules.funding_window + offers[pair[0]].with_finality(Finality.LATEST).settling(rules))
            for pair in pairs_of(offers, rules)
        )
    )
