"""A party that funds nothing more: what has begun ends by the usual rules, and what has not begun is declined."""

from __future__ import annotations

import pytest

from layer2.legs.views import ActStatus, Verb
from layer2.swap_rules.decisions import next_step, without_funding
from layer2.swap_rules.machine import Act, ActView, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderReleasing,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerFunded,
    TakerFunding,
)
from swap_rules.example_terms import NOW
from swap_rules.scenes import FUNDED, NOTHING, TO_BOB, TO_LIGHTNING, TO_ROOTSTOCK, held
from swap_rules.test_provider_machine import ENOUGH

FUND_SOURCE, FUND_DESTINATION = Act(Verb.FUND, LegEnd.SOURCE), Act(Verb.FUND, LegEnd.DESTINATION)


def both(swap: Swap, state: State, observed: Observed) -> tuple[Step, Step]:
    """The usual step, and that of a party that funds nothing more."""
    step = next_step(swap, state, observed)
    return step, without_funding(swap, state, observed, step)


def funds(step: Step) -> bool:
    return any(each.act.verb is Verb.FUND for each in step.orders)


@pytest.mark.parametrize("swap", [TO_BOB, TO_LIGHTNING, TO_ROOTSTOCK])
def test_a_taker_whose_funding_has_not_begun_abandons_the_swap(swap: Swap) -> None:
    usual, rescue = both(swap, TakerAgreed(), Observed(NOW, NOTHING, NOTHING, {}))
    assert funds(usual)
    assert isinstance(rescue.state, TakerAbandoned)
    assert rescue.orders == ()


def test_a_provider_that_has_not_chosen_to_pay_releases_the_source() -> None:
    usual, rescue = both(TO_ROOTSTOCK, ProviderAgreed(), Observed(NOW, FUNDED, NOTHING, {}))
    assert funds(usual)
    assert isinstance(rescue.state, ProviderReleasing)
    assert rescue.orders == (Order(Act(Verb.RELEASE, LegEnd.SOURCE), Manner.NEW),)


@pytest.mark.parametrize("is_out", [False, True])
def test_a_funding_that_is_journaled_is_not_sent_again_and_its_state_stays(is_out: bool) -> None:
    unseen = ActView(ActStatus.UNSEEN, is_out=is_out)
    for swap, state, observed in (
        (TO_LIGHTNING, TakerFunding(), Observed(NOW, NOTHING, NOTHING, {FUND_SOURCE: unseen})),
        (TO_BOB, ProviderCounterFunding(None), Observed(NOW, held(ENOUGH), NOTHING, {FUND_DESTINATION: unseen})),
        (TO_BOB, ProviderCounterFunded(None, None), Observed(NOW, held(ENOUGH), NOTHING, {FUND_DESTINATION: unseen})),
    ):
        usual, rescue = both(swap, state, observed)
        assert funds(usual), state
        assert (rescue.state, rescue.orders) == (usual.state, ()), state
        assert rescue.wake_at == usual.wake_at


def test_every_other_step_is_the_usual_one() -> None:
    usual, rescue = both(TO_LIGHTNING, TakerFunded("0x1"), Observed(NOW, FUNDED, FUNDED, {}))
    assert rescue is usual
