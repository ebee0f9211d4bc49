"""The registry of the kinds of legs."""

from __future__ import annotations

from typing import Final

from layer2.errors.base import FormatError
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import read_record, write_record
from layer2.legs.bitcoin import BitcoinLeg, BitcoinOffer
from layer2.legs.evm import EvmLeg, EvmOffer
from layer2.legs.leg import Leg, LegOffer
from layer2.legs.lightning import LightningLeg, LightningOffer

__all__ = ["KINDS", "read_leg", "read_offer", "write_leg", "write_offer"]

KINDS: Final[dict[str, tuple[type[LegOffer], type[Leg]]]] = {
    offer.kind: (offer, leg)
    for offer, leg in ((EvmOffer, EvmLeg), (LightningOffer, LightningLeg), (BitcoinOffer, BitcoinLeg))
}


def write_offer(offer: LegOffer) -> dict[str, JsonValue]:
    """One side of a quote as a JSON object."""
    return {"kind": offer.kind, **write_record(offer)}


def read_offer(fields: JsonObject) -> LegOffer:
    """The reverse of ``write_offer``.

    Raises:
        FormatError: the kind is unknown, or a field is missing, unknown or of the wrong type.
    """
    offer = read_record(_kind(fields)[0], fields)
    fields.end()
    return offer


def write_leg(leg: Leg) -> dict[str, JsonValue]:
    """One leg of the terms as a JSON object."""
    return {"kind": leg.kind, **write_record(leg)}


def read_leg(fields: JsonObject) -> Leg:
    """The reverse of ``write_leg``. Raises: as ``read_offer``."""
    leg = read_record(_kind(fields)[1], fields)
    fields.end()
    return leg


def _kind(fields: JsonObject) -> tuple[type[LegOffer], type[Leg]]:
    name = fields.text("kind", max_length=32)
    kind = KINDS.get(name)
    if kind is None:
        raise FormatError(f"the kind of leg {name!r} is unknown")
    return kind
