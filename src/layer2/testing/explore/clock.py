"""Time as ten regions between the named instants of a swap, each represented by one moment.

A machine's decision may depend only on the region: every moment in it gives the same result. What is sent in one region
is in a block and final before the end of the next. The inequality, which other tests check, guarantees that the regions
are long enough and in this order.
"""

from __future__ import annotations

from typing import Final

from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.invoices import decoded
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading
from layer2.swap_rules.timelocks import source_surely_over
from layer2.terms.documents import Terms
from layer2.testing.explore.swaps import HEIGHT

__all__ = ["REGION_NAMES", "Clock", "Region"]


class Region:
    """The regions' numbers."""

    FUNDING = 0
    COUNTER_FUNDING = 1
    COLLECTING = 2
    BEFORE_DESTINATION = 3
    AT_DESTINATION = 4
    """From the destination's deadline until a refund must have been sent."""
    BEFORE_KNOWN = 5
    BEFORE_BEGIN = 6
    BEFORE_SOURCE = 7
    AT_SOURCE = 8
    OVER = 9


REGION_NAMES: Final = (
    "before fund_by",
    "before counter_fund_by",
    "before collect_by",
    "before the destination's deadline D",
    "after D, before the refund must be sent",
    "before known(D)",
    "before must_begin(S)",
    "before the source's deadline S",
    "after S",
    "when S is surely over",
)


class Clock:
    """The instants of one swap, with Bitcoin blocks at their usual rate."""

    def __init__(self, terms: Terms, rules: TimelockSettings) -> None:
        self.terms, self.rules = terms, rules
        self._block = rules.bitcoin.fast_seconds * 5 // 4
        """Seconds: ten minutes on Bitcoin itself."""
        issued = terms.issued_at
        self.expiry = {
            "source": self._expiry(terms.source, terms.fund_by),
            "destination": self._expiry(terms.destination, terms.counter_fund_by),
        }
        _, destination = self._instants(terms.destination, "destination")
        source_begin, source = self._instants(terms.source, "source")
        span = terms.destination.known(issued, terms.destination.clock_at_issue(issued), rules)
        known = issued + span.seconds + self._block * span.blocks
        self.bounds = (
            terms.fund_by,
            terms.counter_fund_by,
            terms.collect_by,
            destination,
            destination + rules.provider_absence,
            known,
            source_begin,
            source,
            max(source + 12 * 3600, source_surely_over(terms, rules)),
        )
        """The last moment of each region; for a deadline, the first moment after it."""
        if not issued < self.bounds[0] or any(
            late <= early for early, late in zip(self.bounds, self.bounds[1:], strict=False)
        ):
            raise ValueError(f"the instants of the swap are not in order: {[one - issued for one in self.bounds]}")
        starts = (issued, *self.bounds)
        ends = (*self.bounds, self.bounds[-1] + 12 * 3600)
        self.now = tuple((start + end) // 2 for start, end in zip(starts, ends, strict=True))
        self.readings = tuple(ClockReading(now, self._height(now)) for now in self.now)
        self.begin = {"source": Region.BEFORE_SOURCE, "destination": Region.BEFORE_DESTINATION}
        """From these regions on, a payee that begins to collect may be too late."""
        self.deadline = {"source": Region.AT_SOURCE, "destination": Region.AT_DESTINATION}

    def region_of(self, instant: int) -> int:
        """The region that contains an instant."""
        for region, bound in enumerate(self.bounds):
            is_deadline = region in (Region.BEFORE_DESTINATION, Region.BEFORE_SOURCE)
            if instant < bound or (instant == bound and not is_deadline):
                return region
        return Region.OVER

    def _height(self, now: int) -> int:
        return HEIGHT + (now - self.terms.issued_at) // self._block

    def _expiry(self, leg: Leg, paid_at: int) -> int:
        """Lightning: the height at which the HTLC of a payment expires that is made at the last moment."""
        if not isinstance(leg, LightningLeg):
            return 0
        return self._height(paid_at) + decoded(leg.invoice).min_final_cltv_expiry_delta

    def _instants(self, leg: Leg, end: str) -> tuple[int, int]:
        """The last moment at which the payee can begin to collect and surely succeeds, and the deadline."""
        rules, issued = self.rules, self.terms.issued_at
        if isinstance(leg, LightningLeg):
            height = self.expiry[end]
            margin = rules.hold_expiry_blocks + rules.late_tip_blocks
        elif isinstance(leg, BitcoinLeg) and leg.is_by_height:
            height = leg.locktime
            margin = rules.claim_blocks + rules.final_depth + rules.late_tip_blocks
        else:
            begin, deadline = leg.collect_until(None, issued, rules), leg.refundable_from
            assert begin is not None
            assert deadline is not None
            return begin, deadline
        deadline = issued + self._block * (height - HEIGHT)
        return deadline - self._block * margin, deadline
