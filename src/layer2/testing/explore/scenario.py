"""One run of the explorer: a pair, a finality, the honest parties, and additional failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from layer2.legs.timelock_settings import MAINNET
from layer2.model.transactions import Finality
from layer2.swap_rules.machine import Swap
from layer2.testing.explore.chain_leg import ChainLeg
from layer2.testing.explore.clock import Clock
from layer2.testing.explore.parties import Party
from layer2.testing.explore.payment_leg import PaymentLeg
from layer2.testing.explore.swaps import PAIRS, Pair, swap_terms
from layer2.testing.explore.world import Who

__all__ = ["AnyLeg", "Scenario", "Setup", "scenarios"]

_HONEST, _HOSTILE = Who.HONEST, Who.HOSTILE


AnyLeg: TypeAlias = ChainLeg | PaymentLeg


@dataclass(frozen=True, slots=True)
class Scenario:
    """The parameters of one run."""

    pair: Pair
    finality: Finality
    taker: Who = _HONEST
    provider: Who = _HONEST
    nodes_die: bool = False
    """Whether one node of one honest party may fail permanently, if no journal was replaced."""
    public: bool = False
    """Whether another swap under the same hash may make the preimage public."""
    funded_by_others: bool = False
    """Whether others pay the source of an honest taker."""
    old_copy: bool = False
    """Whether the journal of one honest party may be replaced once by an old copy of itself."""

    @property
    def name(self) -> str:
        """The parameters in words."""
        who = {(0, 0): "both honest", (1, 0): "hostile taker", (0, 1): "hostile provider"}[self.taker, self.provider]
        more = ", funded by others" if self.funded_by_others else ""
        more += (", a node dies" if self.nodes_die else "") + (", the preimage is public" if self.public else "")
        more += ", an old copy" if self.old_copy else ""
        return f"{self.pair.name} {self.finality.value}, {who}{more}"


class Setup:
    """The legs, the parties and the clock of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        terms = swap_terms(scenario.pair, scenario.finality)
        self.clock = Clock(terms, MAINNET)
        foreign = scenario.pair.is_foreign
        payee = _HOSTILE if foreign else scenario.taker
        self.source = self._leg("source", scenario.taker, scenario.provider)
        self.destination = self._leg("destination", scenario.provider, payee)
        by_others = scenario.funded_by_others
        swap = Swap(terms, MAINNET, made_preimage=not foreign, funded_by_others=by_others)
        self.taker = Party("taker", swap, self.clock)
        self.provider = Party("provider", Swap(terms, MAINNET, made_preimage=False), self.clock)

    def _leg(self, end: str, payer: Who, payee: Who) -> AnyLeg:
        leg = self.clock.terms.source if end == "source" else self.clock.terms.destination
        if leg.kind == "lightning":
            return PaymentLeg(leg, end, self.clock, payer, payee)
        by_others = end == "source" and self.scenario.funded_by_others
        return ChainLeg(leg, end, self.clock, payer, payee, funded_by_others=by_others)


def _can_be_paid_by_others(pair: Pair, taker: Who) -> tuple[bool, ...]:
    """Whether others pay the source: never, or in further runs too. A transfer to a third party is not funded so."""
    return (False, True) if pair.source == "bitcoin" and taker is _HONEST and not pair.is_foreign else (False,)


_LONG_OLD_COPIES: Final = {
    ("evm-bitcoin", _HOSTILE),
    ("bitcoin-lightning", _HONEST),
    ("bitcoin-lightning(foreign)", _HONEST),
}
"""Pair and taker of the runs with an old copy that take half of the time of all: the payer of a Bitcoin output may void
it, so its leg has the most states. *lightning-bitcoin* and *bitcoin-evm* contain the same acts."""


def _with_old_copy(pair: Pair, finality: Finality, taker: Who, provider: Who, *, is_short: bool) -> bool:
    """Whether the run has an old copy of the honest party's journal. The other party is hostile: it can also do
    whatever an honest one does. A provider's part is the same if the taker pays a third party."""
    if taker is provider or (pair.is_foreign and taker is _HOSTILE):
        return False
    return not is_short or (finality is Finality.FINALIZED and (pair.name, taker) not in _LONG_OLD_COPIES)


_FINALITIES: Final = (Finality.FINALIZED, Finality.LATEST)
_PARTIES: Final = ((_HONEST, _HONEST), (_HONEST, _HOSTILE), (_HOSTILE, _HONEST))


def scenarios(pair: str | None = None, *, is_short: bool = False) -> Iterator[Scenario]:
    """Every run, or those of one pair.

    Args:
        is_short: explore failing nodes, public preimages and old copies only at the finality *finalized*, and only
            some of the old copies.
    """
    for one in PAIRS.values():
        if pair is not None and one.name != pair:
            continue
        for finality in _FINALITIES:
            has_all = finality is Finality.FINALIZED or not is_short
            for taker, provider in _PARTIES:
                old = _with_old_copy(one, finality, taker, provider, is_short=is_short)
                for by_others in _can_be_paid_by_others(one, taker):
                    is_old = old and not (by_others and is_short)
                    yield Scenario(
                        one, finality, taker, provider, nodes_die=has_all, funded_by_others=by_others, old_copy=is_old
                    )
            if has_all:
                yield Scenario(one, finality, _HOSTILE, _HONEST, public=True)
                if one.is_foreign:
                    # No other swap has an honest taker's own preimage; a third party may reveal its preimage.
                    yield Scenario(one, finality, _HONEST, _HONEST, public=True)
                    old = one.source == "evm"
                    yield Scenario(one, finality, _HONEST, _HOSTILE, public=True, old_copy=old)
