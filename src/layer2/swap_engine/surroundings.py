"""What every driver of a runner shares, and how often each of them tries again what failed."""

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
"""A node that does not answer must not keep the other leg waiting for longer. Clients give up before."""
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0


class SwapStore(SwapJournal, Protocol):
    """A journal that also keeps proofs; ``SqliteJournal`` is one."""

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Keep the proof of a swap, in the place of one that is kept already."""
        ...

    async def load_proof(self, swap_id: SwapId) -> bytes | None: ...


MakeProof: TypeAlias = Callable[[SignedTerms, LegEvidence | None, LegEvidence | None], bytes]
"""Makes a proof's bytes from the signed terms and the evidence of source and destination, in this order; None where
there is none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every driver of a runner shares."""

    journal: SwapStore
    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    """Of the layers that are up. One that is missing counts as unreadable, and may join later."""
    preimages: PreimageSource | None
    rules: TimelockSettings
    clock: Clock
    make_proof: MakeProof | None
    announce: Callable[[SwapRecord], None]
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class PartyLegs:
    """The legs of one swap as one party has them."""

    around: Surroundings
    swap: Swap
    htlcs: Mapping[LegEnd, Htlc]
    sides: Mapping[LegEnd, Side]
    """A leg that the party's own node has no part in is missing: the payment of a third party's invoice."""

    def layer(self, end: LegEnd) -> HtlcLayer:
        """The client's part in swaps on the layer of that leg.

        Raises:
            NodeUnreachable: the layer is not configured, or not up.
        """
        protocol = self.swap.leg(end).protocol
        layer = self.around.legs.get(protocol)
        if layer is None:
            raise NodeUnreachable("the layer is not configured, or not up", protocol=protocol.value)
        return layer


class Backoff:
    """When to try again what failed, each thing for itself: one layer that is away slows down nothing else."""

    def __init__(self) -> None:
        self._failures: dict[Hashable, tuple[int, float]] = {}

    def is_due(self, what: Hashable) -> bool:
        """Whether it may be tried now."""
        failed = self._failures.get(what)
        return failed is None or asyncio.get_running_loop().time() >= failed[1]

    def failed(self, what: Hashable) -> float:
        """Note a failure; return the seconds to wait."""
        count = self.failures(what) + 1
        seconds = float(min(_FIRST_RETRY_SECONDS * 2 ** min(count - 1, 16), _LONGEST_RETRY_SECONDS))
        self._failures[what] = (count, asyncio.get_running_loop().time() + seconds)
        return seconds

    def failures(self, what: Hashable) -> int:
        """How often it has failed since it last went well."""
        return self._failures.get(what, (0, 0.0))[0]

    def worked(self, what: Hashable) -> None:
        """Note that it went well."""
        self._failures.pop(what, None)

    def seconds_left(self) -> float | None:
        """Until the next of what failed is due; None where nothing is waited for."""
        now = asyncio.get_running_loop().time()
        return min((at - now for _, at in self._failures.values() if at > now), default=None)
