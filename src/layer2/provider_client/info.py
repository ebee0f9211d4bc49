"""The public offer of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layer2.errors import FormatError
from layer2.formats.json_object import JsonObject
from layer2.formats.printable import printable
from layer2.legs.kinds import read_offer
from layer2.legs.leg import LegOffer
from layer2.model.layers import Layer2ProtocolType

__all__ = ["PairOffer", "ProviderInfo", "read_info"]


@dataclass(frozen=True, slots=True)
class PairOffer:
    """The offer of a provider for one pair: limits and fees in satoshi, durations in seconds after the terms."""

    provider_name: str
    """The provider's name in the configuration."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    min_amount: int
    max_amount: int
    base_fee: int
    """The fee for each swap, regardless of its amount."""
    fee_ppm: int
    """The additional fee in millionths of the amount."""
    network_fee: int
    """The fee for the provider's network costs."""
    collect_by: int
    """The time that you have to collect what arrives."""
    known: int
    """The maximum time for which the provider's money is locked."""
    source_deadline: int
    """The latest time at which the source's clock can reach its deadline."""
    worst: int
    """The time after which your money is refunded if the provider disappears."""

    def fee(self, amount: int) -> int:
        """An estimate of the fee for an amount that arrives, both in satoshi. Only a quote binds the provider."""
        return self.base_fee + amount * self.fee_ppm // 1_000_000 + self.network_fee


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """The public offer of a provider, for people and for the choice of a provider. It is not signed."""

    identity_key: bytes
    """32 bytes (BIP 340) or 33 (ECDSA)."""
    network: str
    layers: Mapping[Layer2ProtocolType, LegOffer]
    """The provider's side of each layer."""
    pairs: tuple[PairOffer, ...]
    is_ready: bool
    """Whether at least one pair accepts new swaps now."""
    reason: str | None
    """The reason why some layers do not take part now; None if all do."""


def read_info(answer: object, provider_name: str) -> ProviderInfo:
    """Read the answer to ``GET /v1/info``.

    Raises:
        FormatError: a field is missing or has another form.
    """
    fields = JsonObject(answer, "info")
    identity_key = _read_key(fields)
    health, listed = fields.nested("health"), fields.take("layers")
    if not isinstance(listed, dict):
        raise FormatError("info: layers is not an object")
    # A layer that this version does not know is omitted.
    known = {each.value: each for each in Layer2ProtocolType}
    layers = {
        known[name]: read_offer(JsonObject(offer, f"info.layers.{name}"))
        for name, offer in listed.items()
        if name in known
    }
    pairs = [JsonObject(pair, "info.pairs") for pair in fields.items("pairs")]
    named = [(pair, pair.text("source", max_length=32), pair.text("destination", max_length=32)) for pair in pairs]
    reason, is_ready = health.take("reason"), health.take("ready")
    return ProviderInfo(
        identity_key=identity_key,
        network=fields.text("network", max_length=16),
        layers=layers,
        pairs=tuple(
            _read_pair(provider_name, pair, known[s], known[d]) for pair, s, d in named if s in known and d in known
        ),
        is_ready=is_ready is True,
        reason=printable(reason) if isinstance(reason, str) else None,
    )


def _read_pair(
    provider_name: str, pair: JsonObject, source: Layer2ProtocolType, destination: Layer2ProtocolType
) -> PairOffer:
    return PairOffer(
        provider_name=provider_name,
        source=source,
        destination=destination,
        min_amount=pair.amount("min_amount"),
        max_amount=pair.amount("max_amount"),
        base_fee=pair.amount("base_fee"),
        fee_ppm=pair.integer("fee_ppm"),
        network_fee=pair.amount("network_fee"),
        collect_by=pair.integer("collect_by"),
        known=pair.integer("known"),
        source_deadline=pair.integer("source_deadline"),
        worst=pair.integer("worst"),
    )


def _read_key(fields: JsonObject) -> bytes:
    """An identity key of 32 bytes (BIP 340) or 33 (ECDSA)."""
    text = fields.text("identity_key", max_length=66)
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise FormatError("info: identity_key is not hexadecimal digits") from error
    if len(key) not in (32, 33):
        raise FormatError(f"info: identity_key has {len(key)} bytes")
    return key
