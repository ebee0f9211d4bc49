"""What a party's nodes may show, and short ways to ask a machine about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, get_args

from layer2.swap_rules.legs import ActStatus, ClockReading, LegState, LegView
from layer2.swap_rules.machine import Act, Observed, Swap
from layer2.swap_rules.states import State
from layer2.swap_rules.timelocks import REGTEST
from layer2.terms import EvmLeg
from swap_rules.example_terms import NOW, PREIMAGE, bob_to_lightning, lightning_to_bob

TO_LIGHTNING = Swap(bob_to_lightning(), REGTEST, made_preimage=True)
TO_STRANGER = Swap(bob_to_lightning(), REGTEST, made_preimage=False)
TO_BOB = Swap(lightning_to_bob(), REGTEST, made_preimage=True)
PROVIDER_TO_LIGHTNING = replace(TO_LIGHTNING, made_preimage=False)
PROVIDER_TO_BOB = replace(TO_BOB, made_preimage=False)


def deadline(swap: Swap) -> int:
    """Of the lock on BOB."""
    return next(leg.deadline for leg in (swap.terms.source, swap.terms.destination) if isinstance(leg, EvmLeg))


def view(state: LegState, at: int = NOW, **more: Any) -> LegView:
    if state is LegState.COLLECTED:
        more.setdefault("preimage", PREIMAGE)
    if state is not LegState.NONE:
        more.setdefault("tx_id", "0xabc")
    return LegView(state, ClockReading(chain_time=at, height=1000), **more)


def held(blocks: int, **more: Any) -> LegView:
    """A hold invoice that is accepted with so many blocks left."""
    details: dict[str, Any] = {"expiry_height": 1000 + blocks, "parts": 1, "smallest_part_msat": 100_420_000, **more}
    return view(LegState.FUNDED, **details)


def observed(
    source: LegView | None,
    destination: LegView | None,
    acts: dict[Act, ActStatus] | None = None,
    *,
    now: int = NOW,
    sent: Iterable[Act] = (),
    unsent: Iterable[Act] = (),
) -> Observed:
    return Observed(now, source, destination, acts or {}, frozenset(sent), frozenset(unsent))


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
    """Every kind of read of a leg at each of these times of its chain, and none at all."""
    return [
        None,
        *(replace(one, clock=replace(one.clock, chain_time=at)) for one in EVERYTHING for at in chain_times),
    ]


def example_states(*unions: Any, deadline: int | None = None) -> list[State]:
    """One of each class of state in these unions."""
    content = {"source_tx_id": "0x1", "destination_tx_id": None, "since": 5, "deadline": deadline, "reason": "why"}
    return [
        one(**{field.name: content[field.name] for field in fields(one)}) for union in unions for one in get_args(union)
    ]
