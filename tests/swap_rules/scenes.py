"""Views that a party's nodes may show, and helpers that call a machine with them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import ActStatus, ClockReading, HeldPayment, LegState, LegView
from layer2.swap_rules.machine import Act, ActView, Observed, Swap
from layer2.swap_rules.states import State
from swap_rules.example_terms import NOW, PREIMAGE, terms_of

TO_LIGHTNING = Swap(terms_of("bob", "lightning"), REGTEST, made_preimage=True)
TO_STRANGER = Swap(terms_of("bob", "lightning", foreign=True), REGTEST, made_preimage=False)
TO_BOB = Swap(terms_of("lightning", "bob"), REGTEST, made_preimage=True)
TO_ROOTSTOCK = Swap(terms_of("bob", "rootstock"), REGTEST, made_preimage=True)
TO_BITCOIN = Swap(terms_of("bob", "bitcoin"), REGTEST, made_preimage=True)
FROM_BITCOIN = Swap(terms_of("bitcoin", "lightning"), REGTEST, made_preimage=True)
ALL = {
    "to_lightning": TO_LIGHTNING,
    "to_bob": TO_BOB,
    "to_rootstock": TO_ROOTSTOCK,
    "to_bitcoin": TO_BITCOIN,
    "from_bitcoin": FROM_BITCOIN,
}


def provider(swap: Swap) -> Swap:
    """The provider's side of the same swap."""
    return replace(swap, made_preimage=False)


def deadline(swap: Swap) -> int:
    """The deadline of the first leg with a unix time; if there is none, a time long after all others."""
    times = [leg.refundable_from for leg in (swap.terms.source, swap.terms.destination)]
    return next((time for time in times if time is not None), swap.terms.collect_by + 1_000_000)


def view(state: LegState, at: int = NOW, **more: Any) -> LegView:
    if state is LegState.COLLECTED:
        more.setdefault("preimage", PREIMAGE)
        more.setdefault("arrived", True)
    if state is not LegState.NONE:
        more.setdefault("tx_id", "0xabc")
    if state is LegState.FUNDED:
        # Enough for every kind of leg; other kinds ignore it.
        more.setdefault("held", HeldPayment(expiry_height=5000, parts=1, smallest_part_msat=100_000_000))
    return LegView(state, ClockReading(chain_time=at, height=1000), **more)


def held(blocks: int, **more: Any) -> LegView:
    """A held payment with the given number of blocks left."""
    details: dict[str, Any] = {"expiry_height": 1000 + blocks, "parts": 1, "smallest_part_msat": 100_420_000, **more}
    return view(LegState.FUNDED, held=HeldPayment(**details))


def act(status: ActStatus, *, is_out: bool = True) -> ActView:
    return ActView(status, is_out)


def observed(
    source: LegView | None,
    destination: LegView | None,
    acts: dict[Act, ActView] | None = None,
    *,
    now: int = NOW,
) -> Observed:
    return Observed(now, source, destination, acts or {})


UNSENT = ActView(ActStatus.UNSEEN, is_out=False)
LOST = ActView(ActStatus.UNSEEN, is_out=True)
UNDER_WAY = ActView(ActStatus.UNDER_WAY, is_out=True)
FAILED = ActView(ActStatus.FAILED, is_out=True)
DONE = ActView(ActStatus.DONE, is_out=True)
NOTHING = view(LegState.NONE)
PENDING = view(LegState.PENDING)
FUNDED = view(LegState.FUNDED)
COLLECTED = view(LegState.COLLECTED)
COLLECTED_FINALLY = view(LegState.COLLECTED, final=True)
RETURNED = view(LegState.RETURNED)
OVER = view(LegState.RETURNED, final=True, over=True)
NEVER = view(LegState.NONE, over=True)
EVERYTHING = (NOTHING, PENDING, FUNDED, COLLECTED, COLLECTED_FINALLY, RETURNED, OVER, NEVER)


def views_at(*chain_times: int) -> list[LegView | None]:
    """Every kind of view of a leg at each of these chain times, and no view."""
    return [
        None,
        *(replace(one, clock=replace(one.clock, chain_time=at)) for one in EVERYTHING for at in chain_times),
    ]


def example_states(*unions: Any) -> list[State]:
    """One state of each class in these unions."""
    content = {
        "source_tx_id": "0x1",
        "destination_tx_id": None,
        "has_arrived": False,
        "final_at": None,
        "reason": "why",
    }
    return [
        one(**{field.name: content[field.name] for field in fields(one)}) for union in unions for one in get_args(union)
    ]
