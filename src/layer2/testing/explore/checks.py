"""The invariants of every state and every act, for any behaviour of the world and of a hostile party."""

from __future__ import annotations

from typing import NamedTuple

from layer2.legs.views import Verb
from layer2.model.transactions import Finality
from layer2.swap_rules.machine import Act, LegEnd
from layer2.swap_rules.states import (
    ProviderCompleted,
    ProviderLost,
    ProviderReleased,
    TakerAbandoned,
    TakerCompleted,
    TakerLost,
    TakerRefunded,
    TakerState,
)
from layer2.testing.explore.clock import Region
from layer2.testing.explore.parties import Facts
from layer2.testing.explore.scenario import AnyLeg
from layer2.testing.explore.world import Fate

__all__ = [
    "World",
    "has_unknown_funding",
    "known_by",
    "may_restore",
    "needs_dead_node",
    "provider_act_problem",
    "provider_problem",
    "taker_act_problem",
    "taker_problem",
]


class World(NamedTuple):
    """One state of everything, by numbers."""

    region: int
    source: int
    destination: int
    taker: int
    provider: int
    public: int
    """0: only its maker knows the preimage. 1: the other party may know it. 2: it is public on both layers."""
    taker_dead: int
    """0: both nodes work. 1: the source's node has failed permanently. 2: the destination's node has."""
    provider_dead: int


def taker_problem(world: World, facts: Facts, source: AnyLeg, destination: AnyLeg, is_foreign: bool) -> str | None:
    """What is wrong for an honest taker in a state, or None."""
    paid, got = source.fate(world.source), destination.fate(world.destination)
    held = got is not Fate.NOWHERE or destination.fate_now(world.destination) is not Fate.NOWHERE
    needs_destination = world.taker_dead == 2
    state = facts.state
    if is_foreign:
        if paid is Fate.PAID and not world.public:
            return "the taker paid, and the invoice was not"
    elif paid is Fate.PAID and not held and not needs_destination:
        return "the taker lost: the provider's claim of the source is final, and nothing is left at the destination"
    elif isinstance(state, TakerLost) and not needs_destination:
        return "the taker ended as lost"
    if isinstance(state, TakerCompleted) and not is_foreign and got is not Fate.PAID:
        return "the taker ended as completed, and its claim of the destination is not final"
    if isinstance(state, TakerRefunded | TakerAbandoned) and facts.by_others:
        # Others may pay after the end. The search shows that this money is always taken back.
        if paid is Fate.PAID:
            return f"the taker ended as {state.name}, and the provider has its money"
    elif isinstance(state, TakerRefunded | TakerAbandoned):
        if paid is not Fate.NOWHERE or source.fate_now(world.source) is not Fate.NOWHERE:
            return f"the taker ended as {state.name}, and its money is not back"
        if source.may_land(world.source, world.region):
            return f"the taker ended as {state.name}, and its funding can still be made"
    if facts.funded and not facts.is_final and not facts.has_deadline:
        return f"no deadline is shown in the state {facts.name}"
    return None


def provider_problem(world: World, facts: Facts, source: AnyLeg, destination: AnyLeg) -> str | None:
    """What is wrong for an honest provider in a state, or None."""
    got, paid = source.fate(world.source), destination.fate(world.destination)
    held = got is not Fate.NOWHERE or source.fate_now(world.source) is not Fate.NOWHERE
    excused = world.provider_dead != 0 or destination.is_forgotten(world.destination)
    state = facts.state
    if paid is Fate.PAID and not held and not excused:
        return "the provider lost: the claim of the destination is final, and nothing is left at the source"
    if isinstance(state, ProviderLost) and not excused:
        return "the provider ended as lost"
    if isinstance(state, ProviderCompleted) and got is not Fate.PAID:
        return "the provider ended as completed, and its claim of the source is not final"
    if isinstance(state, ProviderReleased) and facts.funded and not excused:
        if paid is not Fate.NOWHERE or destination.fate_now(world.destination) is not Fate.NOWHERE:
            return "the provider ended as released, and its money is not back"
        if destination.may_land(world.destination, world.region):
            return "the provider ended as released, and its funding can still be made"
    if facts.funded and not facts.is_final and not facts.has_deadline:
        return f"no deadline is shown in the state {facts.name}"
    return None


def taker_act_problem(
    world: World, facts: Facts, act: Act, source: AnyLeg, destination: AnyLeg, is_foreign: bool
) -> str | None:
    """What is wrong with an act that an honest taker intends for the first time."""
    has_shown = facts.state.name == "collecting" and not is_foreign
    if act.verb is Verb.RECLAIM and has_shown and destination.fate_now(world.destination) is not Fate.NOWHERE:
        return "the taker takes the source back while it collects"
    if act.verb is Verb.RELEASE and has_shown:
        return "the taker returns the destination while it collects"
    if (problem := _old_copy_problem(facts, act, source, world.source)) is not None:
        return f"the taker {problem}"
    if act.verb is not Verb.COLLECT:
        return None
    if not facts.funded:
        return "the taker collects, and its own funding was not sent"
    if is_foreign:
        return "the taker collects a third party's payment"
    if destination.is_wrong(world.destination):
        return "the taker reveals the preimage for a wrong funding"
    if source.has_more(world.source):
        return "the taker reveals the preimage, and the provider can take another payment with it"
    return None


def provider_act_problem(world: World, facts: Facts, act: Act, source: AnyLeg, destination: AnyLeg) -> str | None:
    """What is wrong with an act that an honest provider intends for the first time.

    Args:
        facts: the provider's facts before the act.
    """
    if (problem := _old_copy_problem(facts, act, destination, world.destination)) is not None:
        return f"the provider {problem}"
    now = destination.fate_now(world.destination)
    if act.end is LegEnd.SOURCE and act.verb is Verb.COLLECT:
        if not facts.funded or (facts.is_old and not destination.was_funded(world.destination)):
            return "the provider collects without having paid"
        if now is not Fate.PAID and facts.state.name != "collecting":
            return "the provider collects, and its own funding was not collected"
    if act.verb in (Verb.RECLAIM, Verb.VOID) and facts.state.name == "collecting":
        return "the provider takes the destination back while it collects"
    may_be_collected = now is not Fate.NOWHERE or destination.may_land(world.destination, world.region)
    if act.verb is Verb.RELEASE and facts.funded and may_be_collected and world.region < Region.AT_SOURCE:
        return "the provider releases, and its own funding may still be collected"
    if act.verb is Verb.FUND:
        if facts.signed or (facts.is_old and source.was_released(world.source)):
            return "the provider funds after it released"
        if source.is_wrong(world.source):
            return "the provider funds, and the source is wrong"
    return None


def _old_copy_problem(facts: Facts, act: Act, own: AnyLeg, number: int) -> str | None:
    """What is wrong with an act on the leg that the party pays, because its journal may lack its funding."""
    if act.verb is Verb.FUND and facts.is_old and own.was_funded(number):
        return "funds a second time"
    if act.verb is Verb.VOID and not facts.is_journaled:
        return "voids a funding whose inputs it does not know"
    return None


def may_restore(world: World, after: Facts, source: AnyLeg, destination: AnyLeg, *, is_taker: bool) -> bool:
    """Whether a journal may be replaced by this old copy at this time. Otherwise no rule prevents a loss.

    - A funding that never lapses, and that the copy does not show, cannot be voided. It has to be over, or final, by
      ``known_by``.
    - A taker that may have begun to collect, and whose claim is not final, has to run before ``collect_by``, like any
      taker that collects. If others pay it, it must not be paid again before.
    - A provider that has begun to collect, and whose payment's claim is not final, has to run before that payment's
      deadline: its copy does not show the preimage.

    Versions of other runs are left out: a funding that was not sent, or did not get the finality of the terms, was not
    seen with it, and a provider collects without the intent when the claim of its payment is final.

    Args:
        after: the facts of the copy.
    """
    own, number = (source, world.source) if is_taker else (destination, world.destination)
    if world.region > known_by(after) and has_unknown_funding(world, after, source, destination):
        return False
    is_paid, collects = destination.fate(world.destination) is Fate.PAID, after.state.name == "collecting"
    shows_funding = after.state.name in ("funded", "counter_funded")
    if shows_funding and own.leg.finality is Finality.FINALIZED and own.is_unsettled(number, Verb.FUND):
        return False
    shows_funding |= own.leg.lapses and (after.state.name == "refunding" or (collects and not is_taker))
    if shows_funding and not own.was_funded(number):
        return False
    if is_paid:
        return True
    if not is_taker:
        begun = source.is_unsettled(world.source, Verb.COLLECT)
        return after.has_collect or not (collects or (begun and world.region >= Region.AT_DESTINATION))
    begun = destination.is_unsettled(world.destination, Verb.COLLECT) or (collects and after.has_collect)
    return not begun or (world.region <= Region.COLLECTING and not after.by_others)


def has_unknown_funding(world: World, facts: Facts, source: AnyLeg, destination: AnyLeg) -> bool:
    """Whether a party sent a funding that never lapses, that its old copy does not show, and that is not final."""
    is_taker = isinstance(facts.state, TakerState)
    own, number = (source, world.source) if is_taker else (destination, world.destination)
    is_unknown = facts.is_old and not facts.is_journaled and not own.leg.lapses
    return is_unknown and own.is_unsettled(number, Verb.FUND)


def known_by(facts: Facts) -> int:
    """The last region in which a funding that an old copy does not show may be neither final nor over. A taker waits
    for it until the source's deadline. A provider has to send its refund before the margin of the source begins."""
    return Region.BEFORE_SOURCE if isinstance(facts.state, TakerState) else Region.AT_DESTINATION


def needs_dead_node(facts: Facts, dead: int, destination: AnyLeg) -> bool:
    """Whether a party cannot end without its node that has failed permanently.

    Args:
        dead: 1: the source's node. 2: the destination's node.
    """
    name = facts.state.name
    if isinstance(facts.state, TakerState):
        return dead == 1 or name in ("agreed", "collecting")
    if dead == 2:
        return name != "releasing"
    if name == "counter_funding" and not destination.leg.is_repeatable:
        # The source's deadline ends the wait for a payment that may have been sent.
        return True
    return name in ("agreed", "releasing", "collecting")
