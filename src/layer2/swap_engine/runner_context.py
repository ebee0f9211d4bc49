"""What all drivers of a process share, and their retries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from layer2.errors import Layer2Error, NodeUnreachable
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

__all__ = ["LOG", "LONGEST_CALL_SECONDS", "PartyLegs", "Retries", "RunnerContext", "trace_of"]

LOG: Final = logging.getLogger("layer2.swap_engine")
LONGEST_CALL_SECONDS: Final = 30.0
"""Maximum delay of one leg by an unresponsive node of the other. Clients time out earlier."""
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RunnerContext:
    """The dependencies and settings that all drivers of a ``SwapRunner`` or of ``Turns`` share."""

    journal: SwapJournal
    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    """The layers that are up. A missing layer counts as unreadable, and can be added later."""
    preimages: PreimageSource | None
    rules: TimelockSettings
    clock: Clock
    announce: Callable[[SwapRecord], None]
    turned: Callable[[SwapId], None]
    """Is called after every turn."""
    poll_seconds: float
    may_fund: bool = True
    """False: nothing is funded any more, not even again."""


@dataclass(frozen=True, slots=True)
class PartyLegs:
    """The legs of one swap from one party's point of view."""

    context: RunnerContext
    swap_id: SwapId
    label: str
    """The swap in the log."""
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
        layer = self.context.legs.get(protocol)
        if layer is None:
            raise NodeUnreachable("the layer is not configured, or not up", protocol=protocol.value)
        return layer


class Retries:
    """The time of the next try, separately for each key: an unreachable layer does not slow down anything else.

    Args:
        name: the swap and its state, for the log. The attribute can be set to another state.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._failures: dict[Hashable, tuple[int, float]] = {}

    @asynccontextmanager
    async def trying(self, what: Hashable, problem: str, seconds: float = LONGEST_CALL_SECONDS) -> AsyncIterator[None]:
        """Run a block with a limit of time. Its error is logged as ``problem`` and delays the next try."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except Exception as error:  # noqa: BLE001 - noted, with its traceback
            self.note(what, problem, error)
        else:
            self.worked(what)

    def note(self, what: Hashable, problem: str, error: Exception) -> None:
        """Record and log a failure."""
        seconds = self.failed(what)
        LOG.warning("%s: %s: %s; retry in %.1f s", self.name, problem, error, seconds, exc_info=trace_of(error))

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


def trace_of(error: Exception) -> Exception | None:
    """The error whose traceback the log needs: one that is a bug of this package."""
    return None if isinstance(error, Layer2Error | TimeoutError) else error
