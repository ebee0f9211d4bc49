"""The next step of either role: the type of the state selects the machine."""

from __future__ import annotations

from layer2.swap_rules.machine import Observed, Step, Swap
from layer2.swap_rules.provider_machine import decline_provider, provider_step
from layer2.swap_rules.states import State, TakerState
from layer2.swap_rules.taker_machine import decline_taker, taker_step

__all__ = ["declined", "next_step"]


def next_step(swap: Swap, state: State, observed: Observed) -> Step:
    """Decide the next step from a fresh observation."""
    if isinstance(state, TakerState):
        return taker_step(swap, state, observed)
    return provider_step(swap, state, observed)


def declined(swap: Swap, state: State, observed: Observed, reason: str) -> Step:
    """Decide the next step if a funding that ``next_step`` ordered cannot be made and was not journaled."""
    if isinstance(state, TakerState):
        return decline_taker(state, reason)
    return decline_provider(swap, state, observed, reason)
