"""Mutants of the machines: each violates one rule, and the explorer has to find every one.

A mutant changes only what a machine sees or decides, or one function that it calls. A finding therefore shows that the
rule is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

from layer2.legs.lightning import LightningLeg
from layer2.legs.views import Verb
from layer2.model.transactions import Finality
from layer2.swap_rules import outlook, provider_machine, taker_machine
from layer2.swap_rules.states import ProviderCollecting, ProviderCounterFunded, TakerCollecting, TakerFunded
from layer2.testing.explore import mutations as change
from layer2.testing.explore.mutations import Patch
from layer2.testing.explore.results import Finding
from layer2.testing.explore.scenario import Scenario
from layer2.testing.explore.search import explore
from layer2.testing.explore.swaps import PAIRS
from layer2.testing.explore.world import Who

__all__ = ["MUTANTS", "Caught", "Mutant", "hunt"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One violated rule."""

    name: str
    patches: tuple[Patch, ...]
    runs: tuple[Scenario, ...]
    """The scenarios to explore, at least one of which has to show the violation."""


@dataclass(frozen=True, slots=True)
class Caught:
    """How a mutant was found."""

    mutant: Mutant
    scenario: Scenario | None
    """None if it was not found."""
    finding: Finding | None
    seconds: float


def hunt(mutant: Mutant) -> Caught:
    """Explore with the mutant until there is a finding."""
    seconds = 0.0
    with _changed(mutant):
        for scenario in mutant.runs:
            result = explore(scenario, only_first=True)
            seconds += result.seconds
            if result.findings:
                return Caught(mutant, scenario, result.findings[0], seconds)
    return Caught(mutant, None, None, seconds)


@contextmanager
def _changed(mutant: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        for where, name, change in mutant.patches:
            stack.enter_context(patch.object(where, name, change(getattr(where, name))))
        yield


def _run(pair: str, who: str = "honest", *, finality: Finality = Finality.FINALIZED, **more: bool) -> Scenario:
    taker = Who.HOSTILE if who == "taker" else Who.HONEST
    provider = Who.HOSTILE if who == "provider" else Who.HONEST
    return Scenario(PAIRS[pair], finality, taker, provider, **more)


_CHAINS_TAKER, _CHAINS_PROVIDER, _CHAINS = _run("evm-evm", "taker"), _run("evm-evm", "provider"), _run("evm-evm")
_CHAINS_LATEST: Final = _run("evm-evm", finality=Finality.LATEST)
_DEAD: Final = _run("evm-evm", nodes_die=True)
_NEVER_RECLAIMS: Final = change.answer(())

MUTANTS: Final = (
    Mutant(
        "collect a destination that is pending",
        change.taker(change.seeing(change.pending_destination)),
        (_CHAINS_PROVIDER,),
    ),
    Mutant("reveal after collect_by", change.taker(change.deciding(change.reveals_late)), (_CHAINS_PROVIDER,)),
    Mutant("reveal while refunding", change.taker(change.deciding(change.reveals_in_refunding)), (_CHAINS_PROVIDER,)),
    Mutant("reveal before its own funding", change.taker(change.deciding(change.reveals_unpaid)), (_CHAINS_PROVIDER,)),
    Mutant(
        "collect a payment in bad parts",
        ((LightningLeg, "problem", change.answer(None)),),
        (_run("evm-lightning", "provider"),),
    ),
    Mutant("completed at the newest block", change.taker(change.seeing(change.final_collect)), (_CHAINS,)),
    Mutant("completed when arrived", change.taker(change.deciding(change.ends_when_arrived)), (_CHAINS_LATEST,)),
    Mutant("refunded at the newest block", change.taker(change.seeing(change.final_return)), (_CHAINS,)),
    Mutant("stop collecting after collect_by", change.taker(change.deciding(change.stops_late)), (_CHAINS_PROVIDER,)),
    Mutant(
        "collect once and never again (taker)",
        change.taker(change.once(Verb.COLLECT)),
        (_CHAINS_PROVIDER, _CHAINS),
    ),
    Mutant(
        "abandon a funding that the node does not show",
        change.taker(change.deciding(change.abandons_silence)),
        (_CHAINS,),
    ),
    Mutant(
        "silence ends a payment (taker)",
        ((taker_machine, "funding_is_over", change.silence_is_over),),
        (_run("lightning-evm"),),
    ),
    Mutant(
        "a forgotten payment never ends",
        ((taker_machine, "_is_forgotten", change.answer(False)),),
        (_run("lightning-evm"),),
    ),
    Mutant(
        "repeat a payment that may have been sent",
        change.taker(change.deciding(change.pays_again)),
        (_run("lightning-evm"),),
    ),
    Mutant("never take the source back", ((taker_machine, "take_back", _NEVER_RECLAIMS),), (_CHAINS_PROVIDER,)),
    Mutant(
        "no refund while the destination's node is dead",
        change.taker(change.deciding(change.needs_other_node)),
        (_DEAD,),
    ),
    Mutant("never void its own output", change.both("take_back", change.without_void), (_run("bitcoin-evm"),)),
    Mutant("void at the deadline", change.both("take_back", change.voids_at_deadline), (_run("evm-bitcoin", "taker"),)),
    Mutant(
        "leave the source after a third party was paid",
        ((taker_machine, "_paid_for_stranger", change.leaves_source),),
        (_run("evm-lightning(foreign)", "provider"),),
    ),
    Mutant(
        "show D as the taker's deadline",
        (
            (
                outlook,
                "outlook",
                change.shown_to_taker(TakerCollecting, lambda terms: terms.destination.refundable_from),
            ),
        ),
        (_CHAINS_PROVIDER, _CHAINS),
    ),
    Mutant(
        "show no deadline while funded",
        ((outlook, "outlook", change.shown_to_taker(TakerFunded, lambda terms: None)),),
        (_CHAINS,),
    ),
    Mutant("fund on a pending source", change.provider(change.seeing(change.pending_source)), (_CHAINS_TAKER,)),
    Mutant(
        "fund after counter_fund_by",
        change.provider(change.deciding(change.funds_late)),
        (_run("evm-bitcoin", "taker"),),
    ),
    Mutant(
        "fund while releasing",
        change.provider(change.deciding(change.funds_in_releasing)),
        (_run("bitcoin-evm", "taker"), _CHAINS_TAKER),
    ),
    Mutant(
        "fund on a wrong held payment",
        ((LightningLeg, "problem", change.answer(None)),),
        (_run("lightning-evm", "taker"),),
    ),
    Mutant(
        "release while its own funding may be collected",
        change.provider(change.deciding(change.releases_funded)),
        (_CHAINS_TAKER,),
    ),
    Mutant("release while refunding", change.provider(change.deciding(change.releases_in_refunding)), (_CHAINS_TAKER,)),
    Mutant(
        "end as released with money locked", change.provider(change.deciding(change.ends_as_released)), (_CHAINS_TAKER,)
    ),
    Mutant(
        "silence ends a payment (provider)",
        ((provider_machine, "funding_is_over", change.silence_is_over),),
        (_run("evm-lightning", "taker"),),
    ),
    Mutant(
        "an unreadable leg counts as refunded",
        change.provider(change.seeing(change.silent_destination)),
        (_CHAINS_TAKER,),
    ),
    Mutant(
        "wait for the refund of the source",
        ((provider_machine, "_counter_funding", change.waits_for_source),),
        (_run("evm-lightning", "taker"),),
    ),
    Mutant(
        "collect without its own payment",
        change.provider(change.deciding(change.collects_unpaid)),
        (_run("evm-evm", "taker", public=True),),
    ),
    Mutant(
        "collect before its own funding is collected",
        change.provider(change.deciding(change.collects_uncollected)),
        (_run("evm-evm", "taker", public=True),),
    ),
    Mutant("released at the newest block", change.provider(change.seeing(change.final_return)), (_CHAINS_TAKER,)),
    Mutant(
        "provider completed at the newest block", change.provider(change.seeing(change.final_collect)), (_CHAINS_TAKER,)
    ),
    Mutant(
        "enter collecting without the intent",
        ((provider_machine, "_collect", change.collects_without_intent),),
        (_CHAINS_TAKER,),
    ),
    Mutant(
        "stop collecting after must_begin(S)", change.provider(change.deciding(change.stops_at_begin)), (_CHAINS_TAKER,)
    ),
    Mutant("collect once and never again (provider)", change.provider(change.once(Verb.COLLECT)), (_CHAINS_TAKER,)),
    Mutant("reclaim once and never again", change.provider(change.once(Verb.RECLAIM)), (_CHAINS_TAKER,)),
    Mutant("never take the destination back", change.provider(change.never(Verb.RECLAIM)), (_CHAINS_TAKER,)),
    Mutant(
        "no refund while the source's node is dead", change.provider(change.deciding(change.needs_other_node)), (_DEAD,)
    ),
    Mutant(
        "keep a wrong output",
        ((provider_machine, "_release_orders", change.signs_only_funded),),
        (_run("bitcoin-evm", "taker"),),
    ),
    Mutant(
        "show S as the provider's deadline",
        (
            (
                outlook,
                "must_be_back_by",
                change.back_by(ProviderCollecting, lambda terms, rules: terms.source.refundable_from),
            ),
        ),
        (_CHAINS_TAKER,),
    ),
    Mutant(
        "show no deadline while counter-funded",
        ((outlook, "must_be_back_by", change.back_by(ProviderCounterFunded, lambda terms, rules: None)),),
        (_CHAINS_TAKER,),
    ),
    Mutant(
        "show the latest known(D) where blocks count",
        ((outlook, "_begin_by", change.latest_known),),
        (_run("bitcoin-lightning", "taker"),),
    ),
    Mutant(
        "take the destination back while collecting",
        change.provider(change.deciding(change.takes_both)),
        (_CHAINS_TAKER,),
    ),
    Mutant("nothing needs attention", ((outlook, "attention", change.answer(None)),), (_DEAD,)),
)
