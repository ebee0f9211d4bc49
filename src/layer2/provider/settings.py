"""A provider's configuration file, by default ``provider.toml``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from layer2.config import LayerSettings
from layer2.config.sections import Section, TemporalSection
from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.model.layers import Layer2ProtocolType
from layer2.provider.bounds import Limits
from layer2.provider.pricing import Pair, Price, PriceList

__all__ = ["PriceSection", "ProviderSettings"]


class PriceSettings(Section):
    """The price of swaps, in satoshi that arrive at the destination."""

    fee_ppm: int = Field(default=3_000, ge=0, le=1_000_000)
    """fee in millionths of the amount"""
    base_fee_sat: int = Field(default=120, ge=0)
    """additional fee per swap in satoshi"""
    network_fee_sat: int = Field(default=100, ge=0)
    """fee in satoshi for your network costs, and their limit on the destination; with 0, a Lightning payment needs a
    route without fees"""
    min_amount_sat: int = Field(default=10_000, ge=1)
    """minimum amount in satoshi"""
    max_amount_sat: int = Field(default=4_000_000, ge=1)
    """maximum amount in satoshi"""

    @model_validator(mode="after")
    def _amounts_in_order(self) -> Self:
        if self.min_amount_sat > self.max_amount_sat:
            raise ValueError("min_amount_sat is above max_amount_sat")
        return self

    @property
    def price(self) -> Price:
        """The price for the provider's calculations."""
        return Price(
            fee_ppm=self.fee_ppm,
            base_fee=self.base_fee_sat,
            network_fee=self.network_fee_sat,
            min_amount=self.min_amount_sat,
            max_amount=self.max_amount_sat,
        )


class PriceSection(PriceSettings):
    """[[prices]]: the price of one pair of layers. Omitted keys have the value for all pairs."""

    source: str
    """the layer on which takers pay"""
    destination: str
    """the layer on which you pay"""

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


class ProviderSettings(Limits, PriceSettings, LayerSettings):
    """The configuration of a provider: at least two layers, and the prices of swaps between them.

    Amounts are satoshi that arrive at the destination. Example: ``ProviderSettings.load("provider.toml")``
    """

    default_file_name: ClassVar[str] = "provider.toml"
    default_journal: ClassVar[str] = "provider-journal.sqlite"
    """It differs from a taker's, so that both can share a directory."""

    identity_key_file: Path
    """file with the private key that signs quotes and terms, 64 hex digits, mode 0600"""
    listen_host: str = "127.0.0.1"
    """loopback address on which to serve; put a TLS proxy in front of it for other machines"""
    listen_port: int = Field(default=8390, ge=0, le=65_535)
    """port on which to serve; 0 uses a free port"""
    temporal: TemporalSection = TemporalSection()
    prices: tuple[PriceSection, ...] = ()
    """prices of individual pairs of layers"""
    safe_from_sat: int = Field(default=500_000, ge=0)
    """satoshi; the limit for all swaps that rely on the latest block of one layer; beyond it swaps wait until a
    block is safe"""
    finalized_from_sat: int = Field(default=2_000_000, ge=0)
    """satoshi; the limit for all swaps that rely on blocks of one layer that are not final; beyond it swaps wait
    for the layer's strongest finality"""

    @field_validator("listen_host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            is_loopback = ipaddress.ip_address(value).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError("must be a loopback address, such as 127.0.0.1")
        return value

    @model_validator(mode="before")
    @classmethod
    def _complete_prices(cls, values: Mapping[str, object]) -> Mapping[str, object]:
        prices = values.get("prices")
        if not isinstance(prices, list | tuple):
            return values
        common = {name: values[name] for name in PriceSettings.model_fields.keys() & values.keys()}
        # A section made in Python has defaults of its own, which must not replace the common values.
        given = [each.model_dump(exclude_unset=True) if isinstance(each, PriceSection) else each for each in prices]
        return {**values, "prices": [common | each if isinstance(each, dict) else each for each in given]}

    @model_validator(mode="after")
    def _two_layers(self) -> Self:
        if len(self.layers) < 2:
            raise ValueError("a provider needs the tables of at least two layers")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.safe_from_sat > self.finalized_from_sat:
            raise ValueError("safe_from_sat is above finalized_from_sat")
        return self

    @model_validator(mode="after")
    def _distinct_prices(self) -> Self:
        pairs = [each.pair for each in self.prices]
        for source, destination in pairs:
            for layer in (source, destination):
                if layer not in self.layers:
                    raise ValueError(f"a price is for {layer.value}, which has no table")
            if source is destination:
                raise ValueError(f"a price is from {source.value} to {source.value}")
            if pairs.count((source, destination)) > 1:
                raise ValueError(f"there are two prices from {source.value} to {destination.value}")
        return self

    @property
    def timelocks(self) -> TimelockSettings:
        """The durations of the network."""
        return settings_for(self.network)

    @property
    def price_list(self) -> PriceList:
        """The prices of swaps, and the amounts that may depend on fundings that are not final."""
        return PriceList(
            default=self.price,
            safe_from=self.safe_from_sat,
            finalized_from=self.finalized_from_sat,
            special={each.pair: each.price for each in self.prices},
        )
