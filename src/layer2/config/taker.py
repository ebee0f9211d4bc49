"""The configuration of a ``Layer2Manager``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from layer2.config.loading import LayerSettings
from layer2.config.sections import ProviderSection, TemporalSection

__all__ = ["Layer2Config"]


class Layer2Config(LayerSettings):
    """The configuration of a ``Layer2Manager``.

    Example: ``Layer2Config.load("layer2.toml")``, or
    ``Layer2Config(network="regtest", bob=BobSection(network="regtest", ...))``.
    """

    default_file_name: ClassVar[str] = "layer2.toml"

    swap_seed_file: Path | None = None
    """32 bytes as hex, mode 0600, created by 'layer2 config init'; transfers need it. Back it up."""
    least_finality: Literal["latest", "safe", "finalized"] = "latest"
    """minimum finality of a destination before it is collected; quotes with a lower one are refused. A preimage shown
    for a funding that a reorganisation removes is a loss"""
    max_concurrency: int = Field(default=100, ge=1, le=100_000)
    """maximum number of concurrent calls to nodes; the others queue"""
    providers: tuple[ProviderSection, ...] = ()
    """providers that are asked for quotes; the cheapest quote is used"""
    temporal: TemporalSection | None = None

    @model_validator(mode="after")
    def _distinct_providers(self) -> Self:
        for field in ("name", "identity_key"):
            values = [getattr(provider, field) for provider in self.providers]
            if len(set(values)) != len(values):
                raise ValueError(f"two providers have the same {field}")
        return self
