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
    """[[prices]]: the price of one pair of layers. Omitted keys have the value for all pairs."""

    source: str = Field(description="the layer on which takers pay")
    destination: str = Field(description="the layer on which you pay")
    fee_ppm: int | None = Field(default=None, ge=0, le=1_000_000, description="fee in millionths of the amount")
    base_fee_sat: int | None = Field(default=None, ge=0, description="additional fee per swap in satoshi")
    network_fee_sat: int | None = Field(default=None, ge=0, description="fee in satoshi for your network costs")
    min_amount_sat: int | None = Field(default=None, ge=1, description="minimum amount in satoshi")
    max_amount_sat: int | None = Field(default=None, ge=1, description="maximum amount in satoshi")

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
    """The configuration of a provider: at least two layers, and the prices of swaps between them.

    Amounts are satoshi that arrive at the destination. Example: ``ProviderSettings.load("provider.toml")``
    """

    default_file_name: ClassVar[str] = "provider.toml"

    identity_key_file: Path = Field(
        description="file with the private key that signs quotes and terms, 64 hex digits, mode 0600"
    )
    listen_host: str = Field(
        default="127.0.0.1",
        description="loopback address on which to serve; put a TLS proxy in front of it for other machines",
    )
    listen_port: int = Field(default=8390, ge=0, le=65_535, description="port on which to serve; 0 uses a free port")
    fee_ppm: int = Field(default=3_000, ge=0, le=1_000_000, description="fee in millionths of the amount")
    base_fee_sat: int = Field(default=120, ge=0, description="additional fee per swap in satoshi")
    network_fee_sat: int = Field(
        default=100,
        ge=0,
        description="fee in satoshi for your network costs, and their limit on the destination; with 0, a Lightning "
        "payment needs a route without fees",
    )
    min_amount_sat: int = Field(default=10_000, ge=1, description="minimum amount in satoshi")
    max_amount_sat: int = Field(default=4_000_000, ge=1, description="maximum amount in satoshi")
    prices: tuple[PriceSection, ...] = Field(default=(), description="prices of individual pairs of layers")
    safe_from_sat: int = Field(
        default=500_000,
        ge=0,
        description="satoshi; the limit for all swaps that rely on the latest block of one layer; beyond it swaps wait "
        "until a block is safe",
    )
    finalized_from_sat: int = Field(
        default=2_000_000,
        ge=0,
        description="satoshi; the limit for all swaps that rely on blocks of one layer that are not final; beyond it "
        "swaps wait for the layer's strongest finality",
    )
    max_open_swaps: int = Field(
        default=100, ge=1, le=10_000, description="maximum number of swaps that reserve money or a hash"
    )
    max_open_swaps_per_taker: int = Field(default=5, ge=1, description="of these, for one account or key of a taker")
    max_unfinished_swaps: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="maximum number of swaps that have not ended, including those that only wait for finality; each "
        "asks your nodes at every block",
    )
    max_open_quotes: int = Field(
        default=10_000, ge=1, description="maximum number of open quotes; each is valid for a minute"
    )
    max_event_streams: int = Field(default=200, ge=0, description="maximum number of open event streams")
    gas_per_swap_wei: int = Field(
        default=100_000_000_000_000,
        ge=0,
        description="gas reserve for each open swap, on every layer whose gas is not paid in bitcoin, in the coin's "
        "smallest unit",
    )

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

    @model_validator(mode="after")
    def _two_layers(self) -> Self:
        if len(self.layers) < 2:
            raise ValueError("a provider needs the tables of at least two layers")
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
                    raise ValueError(f"a price is for {layer.value}, which has no table")
            if source is destination:
                raise ValueError(f"a price is from {source.value} to {source.value}")
            if pairs.count((source, destination)) > 1:
                raise ValueError(f"there are two prices from {source.value} to {destination.value}")
        return self

    @classmethod
    def merged(cls, file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All given values. The default journal differs from a taker's, so that both can share a directory."""
        values = super().merged(file, arguments)
        return {**values, "journal": {"path": file.parent.absolute() / _JOURNAL_NAME, **values.get("journal", {})}}

    @property
    def timelocks(self) -> TimelockSettings:
        """The durations of the network."""
        return settings_for(self.network)

    @property
    def price_list(self) -> PriceList:
        """The prices of swaps, and the amounts that may depend on fundings that are not final."""
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
        """The limits for strangers."""
        return Limits(
            open_swaps=self.max_open_swaps,
            open_swaps_per_taker=self.max_open_swaps_per_taker,
            unfinished_swaps=self.max_unfinished_swaps,
            open_quotes=self.max_open_quotes,
            event_streams=self.max_event_streams,
            gas_per_swap=self.gas_per_swap_wei,
        )
