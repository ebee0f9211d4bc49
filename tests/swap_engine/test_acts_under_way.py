"""An act stays under way until its leg shows its effect: the node that confirmed it can be ahead of the view."""

from __future__ import annotations

import pytest

from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, Verb
from layer2.swap_engine.acts import is_under_way
from layer2.swap_rules.machine import Act, ActView, LegEnd, Observed

CLOCK = ClockReading(1_800_000_000, 100)


def observed(verb: Verb, status: ActStatus, view: LegView) -> Observed:
    return Observed(1_800_000_000, view, None, {Act(verb, LegEnd.SOURCE): ActView(status, is_out=True)})


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        (Verb.FUND, LegState.NONE),
        (Verb.COLLECT, LegState.FUNDED),
        (Verb.COLLECT, LegState.NONE),
        (Verb.RELEASE, LegState.FUNDED),
        (Verb.RECLAIM, LegState.PENDING),
    ],
)
def test_an_act_in_a_block_that_the_view_does_not_have_yet_is_under_way(verb: Verb, state: LegState) -> None:
    """A reorganisation can remove that block before the layer has read it: then no change of the leg is reported."""
    assert is_under_way(observed(verb, ActStatus.DONE, LegView(state, CLOCK)))


@pytest.mark.parametrize(
    ("verb", "state", "over"),
    [
        (Verb.FUND, LegState.PENDING, False),
        (Verb.FUND, LegState.FUNDED, False),
        (Verb.FUND, LegState.COLLECTED, False),
        (Verb.COLLECT, LegState.COLLECTED, False),
        (Verb.RELEASE, LegState.RETURNED, False),
        (Verb.RELEASE, LegState.NONE, True),
        (Verb.RECLAIM, LegState.RETURNED, False),
    ],
)
def test_an_act_whose_effect_the_leg_shows_is_not(verb: Verb, state: LegState, over: bool) -> None:
    assert not is_under_way(observed(verb, ActStatus.DONE, LegView(state, CLOCK, over=over)))
