"""Every state of one swap, for every pair of kinds: no party that follows the machines loses, and every swap ends."""

from __future__ import annotations

from dataclasses import replace
from inspect import Parameter, signature
from types import FunctionType

import pytest

from layer2.legs.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings
from layer2.model.transactions import Finality
from layer2.testing.explore.clock import Clock, Region
from layer2.testing.explore.mutants import MUTANTS, hunt
from layer2.testing.explore.mutation import Mutant
from layer2.testing.explore.results import Result, summary
from layer2.testing.explore.scenario import Scenario, scenarios
from layer2.testing.explore.search import explore
from layer2.testing.explore.swaps import PAIRS, Pair, swap_terms
from layer2.testing.explore.world import Who

FINALITIES = (Finality.FINALIZED, Finality.LATEST)
EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS.values(), ids=lambda pair: pair.name)
EVERY_FINALITY = pytest.mark.parametrize("finality", FINALITIES, ids=lambda finality: finality.value)
PARTIES = {
    "hostile-taker": (Who.HOSTILE, Who.HONEST),
    "both-honest": (Who.HONEST, Who.HONEST),
    "hostile-provider": (Who.HONEST, Who.HOSTILE),
}
SAMPLE = (
    "collect a destination that is pending",
    "release while its own funding may be collected",
    "collect without its own payment",
    "show the latest known(D) where blocks count",
    "leave a late payment of others",
    "reveal although others paid again",
    "reveal after collect_by (evm-bitcoin)",
    "old copy: fund again (provider)",
    "old copy: fund again (taker) (bitcoin-evm)",
    "old copy: give the source up",
    "old copy: silence ends a missing payment (taker)",
)


def test_an_explored_run_of_two_chains_has_no_wrong_state() -> None:
    result = explore(Scenario(PAIRS["evm-evm"], Finality.FINALIZED, provider=Who.HOSTILE))
    assert result.findings == []
    assert result.states > 1000


@pytest.mark.usefixtures("untraced")
@EVERY_PAIR
@pytest.mark.parametrize("parties", PARTIES)
@EVERY_FINALITY
def test_no_party_that_follows_the_machine_loses_and_every_state_leads_to_an_end(
    pair: Pair, parties: str, finality: Finality
) -> None:
    for scenario in scenarios(pair.name, is_short=True):
        if (scenario.finality, (scenario.taker, scenario.provider)) == (finality, PARTIES[parties]):
            result = explore(scenario)
            print(result)
            assert not result.findings, str(result)
            check_attention(result)


def check_attention(result: Result) -> None:
    """Attention is needed only if a node has failed permanently, or has lost a payment that may have been sent, or if
    an old copy of the journal was restored."""
    for reason in result.attention:
        is_dead = "a node dead" in reason and "node cannot be read" in reason
        is_old = result.scenario.old_copy and "an old copy of the journal was restored" in reason
        assert is_dead or is_old or "LIGHTNING node shows no payment" in reason, (result.scenario.name, reason)


@EVERY_PAIR
@EVERY_FINALITY
@pytest.mark.parametrize("rules", [MAINNET, TESTNET, REGTEST], ids=lambda rules: rules.network)
def test_the_instants_of_every_pair_are_in_the_order_of_the_regions(
    pair: Pair, finality: Finality, rules: TimelockSettings
) -> None:
    clock = Clock(swap_terms(pair, finality, rules), rules)
    assert list(clock.bounds) == sorted(clock.bounds)
    assert [clock.region_of(now) for now in clock.now] == list(range(Region.OVER + 1))


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.name in SAMPLE], ids=lambda mutant: mutant.name)
def test_a_rule_that_is_removed_is_noticed(mutant: Mutant) -> None:
    caught = hunt(mutant)
    assert caught.finding is not None
    assert "caught" in str(caught)
    others = [scenario for scenario in mutant.runs if not is_explored(scenario)]
    assert all(not explore(scenario).findings for scenario in others), "there is a finding even without the mutant"


def is_explored(scenario: Scenario) -> bool:
    """Whether a run of the test of every pair visits all states of this one: with failures, it visits more."""
    return any(
        one.nodes_die >= scenario.nodes_die
        and one.old_copy >= scenario.old_copy
        and replace(one, nodes_die=scenario.nodes_die, old_copy=scenario.old_copy) == scenario
        for one in scenarios(scenario.pair.name, is_short=True)
    )


def test_a_run_with_failures_visits_every_state_of_the_runs_with_one_of_them() -> None:
    run = Scenario(PAIRS["lightning-evm"], Finality.FINALIZED, provider=Who.HOSTILE)
    plain, dying, copied, both = (
        explore(replace(run, nodes_die=dies, old_copy=old)).states
        for dies, old in ((False, False), (True, False), (False, True), (True, True))
    )
    assert plain < min(dying, copied)
    assert both - plain == (dying - plain) + (copied - plain)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_puts_in_place_of_a_function_can_be_called_like_it(mutant: Mutant) -> None:
    for place, name, instead in mutant.patches:
        real = getattr(place, name)
        if isinstance(real, FunctionType) and isinstance(instead, FunctionType):
            taken = signature(real).parameters.values()
            required = [
                each.name
                for each in taken
                if each.default is Parameter.empty and each.kind is not Parameter.KEYWORD_ONLY
            ]
            others = [each.name for each in taken if each.name not in required]
            signature(instead).bind(*required, **dict.fromkeys(others))


def test_every_mutant_has_a_name_of_its_own_and_there_are_at_least_thirty() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30
    assert {one.name for one in MUTANTS} >= set(SAMPLE)


def test_every_rule_of_two_locks_is_also_removed_where_a_leg_is_on_bitcoin() -> None:
    names = {mutant.name for mutant in MUTANTS}
    of_locks = [one.name for one in MUTANTS if {scenario.pair.name for scenario in one.runs} == {"evm-evm"}]
    assert len(of_locks) > 20
    for name in of_locks:
        assert {f"{name} (bitcoin-evm)", f"{name} (evm-bitcoin)"} <= names


def test_a_bitcoin_source_is_also_explored_with_payments_of_others() -> None:
    by_others = {(one.pair.name, one.provider, one.nodes_die) for one in scenarios() if one.funded_by_others}
    assert by_others == {
        (pair, provider, True)
        for pair in ("bitcoin-evm", "bitcoin-lightning")
        for provider in (Who.HONEST, Who.HOSTILE)
    }


def test_every_pair_is_explored_with_an_old_copy_of_each_partys_journal() -> None:
    runs = {(one.pair.name, one.taker, one.provider) for one in scenarios() if one.old_copy}
    honest, hostile = Who.HONEST, Who.HOSTILE
    assert runs == {
        (pair.name, taker, provider)
        for pair in PAIRS.values()
        for taker, provider in ((honest, hostile), (hostile, honest))
        if not (pair.is_foreign and taker is hostile)
    }
    assert len([one for one in scenarios(is_short=True) if one.old_copy]) == 14


def test_a_finding_comes_with_the_shortest_story_that_leads_to_it() -> None:
    caught = hunt(next(one for one in MUTANTS if one.name == "reveal before its own funding"))
    assert caught.finding is not None
    assert str(caught.finding).splitlines() == [
        "  WRONG: the taker collects, and its own funding was not sent",
        "      1. the hostile payer: destination: funds",
        "      2. destination: the newest becomes final",
        "      3. taker -> collecting: collect destination",
    ]


def test_a_report_sums_up_all_runs() -> None:
    scenario = Scenario(PAIRS["evm-evm"], Finality.LATEST)
    results = [Result(scenario, states=1000, transitions=5000, seconds=1.0), Result(scenario, states=500)]
    assert summary(results) == "2 runs, 1,500 states, 5,000 transitions, 1 s of one core, 0 findings"
