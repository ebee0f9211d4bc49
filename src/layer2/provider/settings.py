"""A provider's configuration file, by default ``provider.toml``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from layer2.config import (
    BobSection,
    ConnectionPoolSection,
    FileSettings,
    JournalSection,
    LightningSection,
    NetworkName,
)
from layer2.provider.pricing import Pricing
from layer2.provider.service import Limits
from layer2.swap_rules.timelocks import TimelockSettings, settings_for

__all__ = ["ProviderSettings"]

_JOURNAL_NAME = "provider-journal.sqlite"


class ProviderSettings(FileSettings):
    """Everything that a provider's process needs to know. Amounts are satoshi that arrive at the destination.

    Example: ``ProviderSettings.load("provider.toml")``
    """

    default_file_name: ClassVar[str] = "provider.toml"

    network: NetworkName = Field(description="mainnet, testnet or regtest; every node is checked against it")
    identity_key_file: Path = Field(
        description="file with the key that signs quotes and terms, 64 hex digits, mode 0600"
    )
    bob: BobSection
    lightning: LightningSection
    journal: JournalSection = JournalSection()
    connection_pool: ConnectionPoolSection = ConnectionPoolSection()
    default_timeout_ms: int = Field(default=30_000, ge=1, description="milliseconds for one call to a node")
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
        description="satoshi passed on for your network costs; a Lightning payment spends no more on its route, "
        "so with 0 only payees of your own channels are reached",
    )
    min_amount_sat: int = Field(default=10_000, ge=1, description="satoshi; smaller swaps are refused")
    max_amount_sat: int = Field(default=4_000_000, ge=1, description="satoshi; larger swaps are refused")
    safe_from_sat: int = Field(
        default=500_000, ge=0, description="satoshi; from here on a lock counts when its batch is posted to Ethereum"
    )
    finalized_from_sat: int = Field(
        default=2_000_000, ge=0, description="satoshi; from here on a lock counts when that Ethereum block is finalized"
    )
    max_open_swaps: int = Field(default=100, ge=1, le=10_000, description="swaps that bind money or a hash at once")
    max_open_swaps_per_taker: int = Field(default=5, ge=1, description="of these, for one account on BOB")
    max_watched_swaps: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="swaps that have not ended, also those never funded that are only watched for a late lock; "
        "each asks your nodes at every block",
    )
    max_open_quotes: int = Field(
        default=10_000, ge=1, description="quotes that are remembered at once; each lives a minute"
    )
    max_event_streams: int = Field(default=200, ge=0, description="streams of a swap's events that are open at once")
    gas_per_swap_wei: int = Field(
        default=100_000_000_000_000, ge=0, description="wei of ETH on BOB that are kept back for each open swap"
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
    def _in_order(self) -> Self:
        if self.min_amount_sat > self.max_amount_sat:
            raise ValueError("min_amount_sat is above max_amount_sat")
        if self.safe_from_sat > self.finalized_from_sat:
            raise ValueError("safe_from_sat is above finalized_from_sat")
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
    def pricing(self) -> Pricing:
        """The price list."""
        return Pricing(
            fee_ppm=self.fee_ppm,
            base_fee=self.base_fee_sat,
            network_fee=self.network_fee_sat,
            min_amount=self.min_amount_sat,
            max_amount=self.max_amount_sat,
            safe_from=self.safe_from_sat,
            finalized_from=self.finalized_from_sat,
        )

    @property
    def limits(self) -> Limits:
        """What strangers may take up."""
        return Limits(
            open_swaps=self.max_open_swaps,
            open_swaps_per_taker=self.max_open_swaps_per_taker,
            watched_swaps=self.max_watched_swaps,
            open_quotes=self.max_open_quotes,
            event_streams=self.max_event_streams,
            gas_per_swap=self.gas_per_swap_wei,
        )
