"""What all drivers of a runner share, and the back-off of their retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from layer2.errors import NodeUnreachable
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import PreimageSource
from layer2.swap_rules.machine import LegEnd, Swap
from layer2.terms.documents import SignedTerms

__all__ = ["LONGEST_CALL_SECONDS", "Backoff", "MakeProof", "PartyLegs", "Surroundings", "SwapStore"]

LONGEST_CALL_SECONDS: Final = 30.0
"""Maximum delay of one leg by an unresponsive node of the other. Clients time out earlier."""
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0


class SwapStore(SwapJournal, Protocol):
    """A journal that also keeps proofs; ``SqliteJournal`` is one."""

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Save the proof of a swap; it replaces an earlier one."""
        ...

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        """The proof of a swap, or None without one."""
        ...


MakeProof: TypeAlias = Callable[[SignedTerms, LegEvidence | None, LegEvidence | None], bytes]
"""Makes a proof's bytes from the signed terms and the evidence of source and destination, in this order. None means
missing evidence."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The dependencies and settings that all drivers of a runner share."""

    journal: SwapStore
    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    """The layers that are up. A missing layer counts as unreadable, and can be added later."""
    preimages: PreimageSource | None
    rules: TimelockSettings
    clock: Clock
    make_proof: MakeProof | None
    announce: Callable[[SwapRecord], None]
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class PartyLegs:
    """The legs of one swap from one party's point of view."""

    around: Surroundings
    swap: Swap
    htlcs: Mapping[LegEnd, Htlc]
    sides: Mapping[LegEnd, Side]
    """Without the leg in which the party's node takes no part: the payment of a third party's invoice."""

    def layer(self, end: LegEnd) -> HtlcLayer:
        """The ``HtlcLayer`` of that leg's layer.

        Raises:
            NodeUnreachable: the layer is not configured, or not up.
        """
        protocol = self.swap.leg(end).protocol
        layer = self.around.legs.get(protocol)
        if layer is None:
            raise NodeUnreachable("the layer is not configured, or not up", protocol=protocol.value)
        return layer


class Backoff:
    """The time of the next retry, separately for each key: an unreachable layer does not slow down anything else."""

    def __init__(self) -> None:
        self._failures: dict[Hashable, tuple[int, float]] = {}

    def is_due(self, what: Hashable) -> bool:
        """Whether a try is due now."""
        failed = self._failures.get(what)
        return failed is None or asyncio.get_running_loop().time() >= failed[1]

    def failed(self, what: Hashable) -> float:
        """Record a failure; return the seconds until the next try."""
        count = self.failures(what) + 1
        seconds = float(min(_FIRST_RETRY_SECONDS * 2 ** min(count - 1, 16), _LONGEST_RETRY_SECONDS))
        self._failures[what] = (count, asyncio.get_running_loop().time() + seconds)
        return seconds

    def failures(self, what: Hashable) -> int:
        """The number of failures since the last success."""
        return self._failures.get(what, (0, 0.0))[0]

    def worked(self, what: Hashable) -> None:
        """Record a success."""
        self._failures.pop(what, None)

    def seconds_left(self) -> float | None:
        """Seconds until the next retry is due; None if there is none."""
        now = asyncio.get_running_loop().time()
        return min((at - now for _, at in self._failures.values() if at > now), default=None)
