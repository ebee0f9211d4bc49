"""A state of everything as one integer: a ``World`` whose fields have fixed places."""

from __future__ import annotations

from typing import Final

from layer2.testing.explore.checks import World

__all__ = [
    "ACCEPTED",
    "DESTINATION",
    "NEXT_REGION",
    "OF_LEGS",
    "PROVIDER",
    "PROVIDER_DEAD",
    "PUBLIC",
    "REGION",
    "SOURCE",
    "TAKER",
    "TAKER_DEAD",
    "difference",
    "fields",
    "unpack",
]

_BITS: Final = (4, 14, 14, 14, 14, 2, 2, 2)
_SHIFTS: Final = tuple(sum(_BITS[:place]) for place in range(len(_BITS)))
_MASKS: Final = tuple((1 << bits) - 1 for bits in _BITS)
REGION, SOURCE, DESTINATION, TAKER, PROVIDER, PUBLIC, TAKER_DEAD, PROVIDER_DEAD = range(len(_BITS))
"""The places of the fields."""
NEXT_REGION: Final = 1 << _SHIFTS[REGION]
"""The difference to the same state in the next region."""
ACCEPTED: Final = 1 << sum(_BITS)
"""Above all fields: the first of two more bits of a key."""


def fields(*places: int) -> int:
    """The mask of these fields."""
    return sum(_MASKS[place] << _SHIFTS[place] for place in places)


OF_LEGS: Final = fields(REGION, SOURCE, DESTINATION)
"""The fields on which the possible changes of the legs depend."""


def difference(place: int, before: int, after: int) -> int:
    """The difference between two packed states that differ in one field."""
    return (after - before) << _SHIFTS[place]


def unpack(packed: int) -> World:
    """The state."""
    # Unrolled, because it is called for every state.
    return World(
        packed & 15,
        packed >> 4 & 16383,
        packed >> 18 & 16383,
        packed >> 32 & 16383,
        packed >> 46 & 16383,
        packed >> 60 & 3,
        packed >> 62 & 3,
        packed >> 64 & 3,
    )
