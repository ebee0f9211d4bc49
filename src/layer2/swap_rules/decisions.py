"""The next step of either role: the type of the state selects the machine."""

from __future__ import annotations

from dataclasses import replace

from layer2.legs.views import Verb
from layer2.swap_rules.machine import Manner, Observed, Step, Swap
from layer2.swap_rules.provider_machine import decline_provider, provider_step
from layer2.swap_rules.states import State, TakerState
from layer2.swap_rules.taker_machine import decline_taker, taker_step

__all__ = ["declined", "next_step", "without_funding"]


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


def without_funding(swap: Swap, state: State, observed: Observed, step: Step) -> Step:
    """The same step for a party that funds nothing more. It decides everything else by the same rules.

    A swap whose funding would begin now is declined: nothing was journaled, so nothing was sent. A funding that is
    journaled may have been sent. It is not sent again, and still ends only by what its leg shows and by its times.
    """
    fundings = [each for each in step.orders if each.act.verb is Verb.FUND]
    if any(each.manner is Manner.NEW for each in fundings):
        return declined(swap, state, observed, "this party funds nothing more")
    return replace(step, orders=tuple(each for each in step.orders if each not in fundings)) if fundings else step
