"""The next step of either role: the state decides which machine answers."""

from __future__ import annotations

from layer2.swap_rules.machine import Observed, Step, Swap
from layer2.swap_rules.provider_machine import decline_provider, provider_step
from layer2.swap_rules.states import State, TakerState
from layer2.swap_rules.taker_machine import decline_taker, taker_step

__all__ = ["declined", "next_step"]


def next_step(swap: Swap, state: State, observed: Observed) -> Step:
    """Decide what follows from what was observed just now."""
    if isinstance(state, TakerState):
        return taker_step(swap, state, observed)
    return provider_step(swap, state, observed)


def declined(swap: Swap, state: State, observed: Observed, reason: str) -> Step:
    """Decide what follows when a funding that ``next_step`` ordered cannot be made: nothing was intended yet."""
    if isinstance(state, TakerState):
        return decline_taker(state, reason)
    return decline_provider(swap, state, observed, reason)
