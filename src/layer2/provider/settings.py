"""A provider's configuration file, by default ``provider.toml``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from layer2.config import LayerSettings
from layer2.config.sections import Section
from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.model.layers import Layer2ProtocolType
from layer2.provider.bounds import Limits
from layer2.provider.pricing import Pair, Price, PriceList

__all__ = ["PriceSection", "ProviderSettings"]

_JOURNAL_NAME = "provider-journal.sqlite"


class PriceSection(Section):
    """[[prices]]: the price of one pair of layers; what is left out is as for all pairs."""

    source: str = Field(description="the name of the layer that takers pay on")
    destination: str = Field(description="the name of the layer that you pay on")
    fee_ppm: int | None = Field(default=None, ge=0, le=1_000_000, description="millionths of the amount")
    base_fee_sat: int | None = Field(default=None, ge=0, description="satoshi on top for each swap")
    network_fee_sat: int | None = Field(default=None, ge=0, description="satoshi passed on for your network costs")
    min_amount_sat: int | None = Field(default=None, ge=1, description="satoshi; smaller swaps are refused")
    max_amount_sat: int | None = Field(default=None, ge=1, description="satoshi; larger swaps are refused")

    @field_validator("source", "destination")
    @classmethod
    def _layer(cls, value: str) -> str:
        if value.upper() not in Layer2ProtocolType.__members__:
            raise ValueError("not the name of a layer")
        return value.upper()

    @property
    def pair(self) -> Pair:
        """Source and destination."""
        return Layer2ProtocolType(self.source), Layer2ProtocolType(self.destination)

    def price(self, default: Price) -> Price:
        """The price of the pair."""

        def given(value: int | None, otherwise: int) -> int:
            return otherwise if value is None else value

        return Price(
            fee_ppm=given(self.fee_ppm, default.fee_ppm),
            base_fee=given(self.base_fee_sat, default.base_fee),
            network_fee=given(self.network_fee_sat, default.network_fee),
            min_amount=given(self.min_amount_sat, default.min_amount),
            max_amount=given(self.max_amount_sat, default.max_amount),
        )


class ProviderSettings(LayerSettings):
    """Everything that a provider's process needs to know: two layers at least, and what it asks for swaps between them.

    Amounts are satoshi that arrive at the destination. Example: ``ProviderSettings.load("provider.toml")``
    """

    default_file_name: ClassVar[str] = "provider.toml"

    identity_key_file: Path = Field(
        description="file with the key that signs quotes and terms, 64 hex digits, mode 0600"
    )
    listen_host: str = Field(
        default="127.0.0.1",
        description="address of this machine's loopback to serve on; put a TLS proxy in front for others",
    )
    listen_port: int = Field(default=8390, ge=0, le=65_535, description="port to serve on; 0 takes a free one")
    fee_ppm: int = Field(default=3_000, ge=0, le=1_000_000, description="millionths of the amount")
    base_fee_sat: int = Field(default=120, ge=0, description="satoshi on top for each swap")
    network_fee_sat: int = Field(
        default=100,
        ge=0,
        description="satoshi passed on for your network costs; you spend no more on the way to the destination, so "
        "with 0 a payment needs a route that costs nothing",
    )
    min_amount_sat: int = Field(default=10_000, ge=1, description="satoshi; smaller swaps are refused")
    max_amount_sat: int = Field(default=4_000_000, ge=1, description="satoshi; larger swaps are refused")
    prices: tuple[PriceSection, ...] = Field(default=(), description="pairs of layers with a price of their own")
    safe_from_sat: int = Field(
        default=500_000,
        ge=0,
        description="satoshi; swaps that rely on the latest block of one layer stay below this together; beyond it "
        "they wait until a block is safe",
    )
    finalized_from_sat: int = Field(
        default=2_000_000,
        ge=0,
        description="satoshi; swaps that rely on blocks of one layer that are not final stay below this together; "
        "beyond it they wait for the layer's strongest finality",
    )
    max_open_swaps: int = Field(default=100, ge=1, le=10_000, description="swaps that bind money or a hash at once")
    max_open_swaps_per_taker: int = Field(
        default=5, ge=1, description="of these, for one account or key that a taker names"
    )
    max_unfinished_swaps: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="swaps that have not ended, also those that only wait for finality; each asks your nodes at every "
        "block",
    )
    max_open_quotes: int = Field(
        default=10_000, ge=1, description="quotes that are remembered at once; each lives a minute"
    )
    max_event_streams: int = Field(default=200, ge=0, description="streams of a swap's events that are open at once")
    gas_per_swap_wei: int = Field(
        default=100_000_000_000_000,
        ge=0,
        description="smallest unit of the coin that pays gas, kept back for each open swap on "
        "every layer whose gas is not paid in bitcoin",
    )

    @field_validator("listen_host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            is_loopback = ipaddress.ip_address(value).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError("must be an address of this machine's loopback, such as 127.0.0.1")
        return value

    @model_validator(mode="after")
    def _two_layers(self) -> Self:
        if len(self.layers) < 2:
            raise ValueError("a provider needs the tables of two layers at least")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.safe_from_sat > self.finalized_from_sat:
            raise ValueError("safe_from_sat is above finalized_from_sat")
        for price in (self.price_list.default, *self.price_list.special.values()):
            if price.min_amount > price.max_amount:
                raise ValueError("min_amount_sat is above max_amount_sat")
        return self

    @model_validator(mode="after")
    def _distinct_prices(self) -> Self:
        pairs = [each.pair for each in self.prices]
        for source, destination in pairs:
            for layer in (source, destination):
                if layer not in self.layers:
                    raise ValueError(f"a price names {layer.value}, which has no table")
            if source is destination:
                raise ValueError(f"a price is from {source.value} to {source.value}")
            if pairs.count((source, destination)) > 1:
                raise ValueError(f"there are two prices from {source.value} to {destination.value}")
        return self

    @classmethod
    def merged(cls, file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All values that are given; the journal is not the taker's, where both have their files in one place."""
        values = super().merged(file, arguments)
        return {**values, "journal": {"path": file.parent.absolute() / _JOURNAL_NAME, **values.get("journal", {})}}

    @property
    def timelocks(self) -> TimelockSettings:
        """The named durations of the network."""
        return settings_for(self.network)

    @property
    def price_list(self) -> PriceList:
        """What swaps cost, and how much of the provider's money may depend on what is not final."""
        default = Price(
            fee_ppm=self.fee_ppm,
            base_fee=self.base_fee_sat,
            network_fee=self.network_fee_sat,
            min_amount=self.min_amount_sat,
            max_amount=self.max_amount_sat,
        )
        return PriceList(
            default=default,
            safe_from=self.safe_from_sat,
            finalized_from=self.finalized_from_sat,
            special={each.pair: each.price(default) for each in self.prices},
        )

    @property
    def limits(self) -> Limits:
        """What strangers may take up."""
        return Limits(
            open_swaps=self.max_open_swaps,
            open_swaps_per_taker=self.max_open_swaps_per_taker,
            unfinished_swaps=self.max_unfinished_swaps,
            open_quotes=self.max_open_quotes,
            event_streams=self.max_event_streams,
            gas_per_swap=self.gas_per_swap_wei,
        )
