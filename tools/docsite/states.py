"""Draw the state machines of taker and provider: ``python -m tools.docsite.states``, into ``docs/diagrams``.

The transitions are the code's own. The explorer visits every state of a swap in both directions between BOB and
Lightning, and a swap that pays another payee's invoice; each transition that a machine decided there is a solid arrow.
A dashed arrow is what a machine decides if its party missed the deadline. Only the places of the boxes are given here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Final, get_args

from tools.docsite import svg

from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, Verb
from layer2.swap_rules.decisions import next_step
from layer2.swap_rules.machine import Act, ActView, LegEnd, Observed, Swap
from layer2.swap_rules.states import ProviderState, State, TakerState
from layer2.testing.explore.scenario import Scenario, Setup, scenarios
from layer2.testing.explore.search import explore

__all__ = ["DIAGRAMS", "Arrow", "Machine", "drawn", "explored", "main"]

DIAGRAMS: Final = Path(__file__).parents[2] / "docs" / "diagrams"
_PAIRS: Final = ("evm-lightning", "lightning-evm", "evm-lightning(foreign)")
_WIDTH, _HEIGHT, _LEFT, _TOP, _COLUMN, _ROW = 112, 40, 20, 120, 196, 120
_LATE: Final = 10 * 365 * 86_400
"""Seconds after the terms: every deadline is over."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition between two states, by their names."""

    before: str
    after: str


@dataclass
class Machine:
    """The transitions of one role, each with the acts that it orders."""

    in_time: dict[Arrow, set[str]] = field(default_factory=dict)
    late: set[Arrow] = field(default_factory=set)


_PLACES: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = {
    "taker": {
        "planned": (0, 0), "agreed": (1, 0), "funding": (2, 0), "funded": (3, 0), "collecting": (4, 0),
        "completed": (5, 0), "abandoned": (1, 1), "refunding": (3, 1), "refunded": (4, 1), "lost": (5, 1),
    },
    "provider": {
        "agreed": (0, 0), "counter_funding": (1, 0), "counter_funded": (2, 0), "collecting": (3, 0),
        "completed": (4, 0), "releasing": (0, 1), "released": (0, 2), "refunding": (2, 1), "lost": (4, 1),
    },
}  # fmt: skip
_BENT: Final = {
    ("agreed", "collecting"): -58,
    ("funding", "collecting"): -38,
    ("collecting", "abandoned"): 130,
    ("counter_funding", "collecting"): -42,
}
"""How far an arrow bends away from the straight line, in pixels downwards."""
_RETURNING: Final = Arrow("released", "releasing")
"""An arrow beside its reverse: both are moved apart."""


def explored(scenario: Scenario) -> dict[str, Machine]:
    """The transitions that one run of the explorer met, by role."""
    setup = Setup(scenario)
    explore(scenario, setup=setup)
    machines = {"taker": Machine(), "provider": Machine()}
    for party in (setup.taker, setup.provider):
        machine = machines[party.role]
        for question in party.questions():
            if question.state.name != question.after.name:
                arrow = Arrow(question.state.name, question.after.name)
                orders = {f"{order.act.verb.value} {order.act.end.value}" for order in question.orders}
                machine.in_time.setdefault(arrow, set()).update(orders)
            if not question.state.is_final:
                machine.late |= set(_late(party.swap, question.state))
    return machines


def _late(swap: Swap, state: State) -> Iterator[Arrow]:
    """What a machine decides long after every deadline, when both legs have ended for good."""
    now = swap.terms.issued_at + _LATE
    ended = LegView(LegState.COLLECTED, ClockReading(now, 2_000_000), final=True, over=True)
    verbs = product((Verb.FUND, Verb.COLLECT), LegEnd)
    acts = {Act(verb, end): ActView(ActStatus.DONE, is_out=True) for verb, end in verbs}
    for ends in product((LegState.COLLECTED, LegState.RETURNED), repeat=2):
        source, destination = (replace(ended, state=end, arrived=end is LegState.COLLECTED) for end in ends)
        after = next_step(swap, state, Observed(now, source, destination, acts)).state
        if after.name != state.name:
            yield Arrow(state.name, after.name)


def machines_of(all_of: Iterator[Scenario]) -> dict[str, Machine]:
    """The transitions of several runs together."""
    total = {"taker": Machine(), "provider": Machine()}
    for scenario in all_of:
        for role, machine in explored(scenario).items():
            for arrow, acts in machine.in_time.items():
                total[role].in_time.setdefault(arrow, set()).update(acts)
            total[role].late |= machine.late
    return total


def drawn(role: str, machine: Machine) -> str:
    """The picture of one machine.

    Raises:
        KeyError: a state has no place in the picture yet.
    """
    places = _PLACES[role]
    states = {state.name: state for state in get_args(TakerState if role == "taker" else ProviderState)}
    shapes = [svg.text(_LEFT, 28, f"States of a {role}", "title", "start")]
    shapes.append(
        svg.text(
            _LEFT,
            46,
            "solid: decided while the party runs, if need be with a dead node; dashed: only after it missed a deadline",
            "small",
            "start",
        )
    )
    arrows = {arrow: sorted(acts) for arrow, acts in machine.in_time.items()}
    if role == "taker":
        # The machine begins with the terms. The manager makes these two steps before.
        arrows |= {Arrow("planned", "agreed"): ["terms signed"], Arrow("planned", "abandoned"): ["refused"]}
    for arrow in sorted(arrows, key=lambda one: (one.before, one.after)):
        shapes += _arrow(places, arrow, ", ".join(arrows[arrow]), "edge")
    for arrow in sorted(machine.late - set(arrows), key=lambda one: (one.before, one.after)):
        shapes += _arrow(places, arrow, "", "edge late")
    for name, state in states.items():
        x, y = _corner(places[name])
        kind = "bad" if name == "lost" else "final" if state.is_final else "box"
        shapes += [svg.rectangle(x, y, _WIDTH, _HEIGHT, kind), svg.text(x + _WIDTH / 2, y + 25, name)]
    columns, rows = (max(place[axis] for place in places.values()) for axis in (0, 1))
    width, height = (
        2 * _LEFT + columns * _COLUMN + _WIDTH,
        _TOP + rows * _ROW + _HEIGHT + (80 if role == "taker" else 20),
    )
    return svg.document(width, height, f"State machine of a {role}", shapes)


def _corner(place: tuple[int, int]) -> tuple[float, float]:
    return _LEFT + place[0] * _COLUMN, _TOP + place[1] * _ROW


def _arrow(places: Mapping[str, tuple[int, int]], arrow: Arrow, label: str, kind: str) -> Iterator[str]:
    (x1, y1), (x2, y2) = (_corner(places[name]) for name in (arrow.before, arrow.after))
    x1, y1, x2, y2 = x1 + _WIDTH / 2, y1 + _HEIGHT / 2, x2 + _WIDTH / 2, y2 + _HEIGHT / 2
    shift = {arrow: 20, Arrow(arrow.after, arrow.before): -20}.get(_RETURNING, 0)
    x1, x2 = x1 + shift, x2 + shift
    bend = _BENT.get((arrow.before, arrow.after), 0)
    middle = ((x1 + x2) / 2, (y1 + y2) / 2 + 2 * bend)
    start, end = _border(x1, y1, *middle), _border(x2, y2, *middle)
    yield (
        f"<path {svg.attributes(class_=kind, data_from=arrow.before, data_to=arrow.after)} "
        f'd="M{start[0]:.0f} {start[1]:.0f}Q{middle[0]:.0f} {middle[1]:.0f} {end[0]:.0f} {end[1]:.0f}"/>'
    )
    across = 0.25 * start[0] + 0.5 * middle[0] + 0.25 * end[0]
    down = 0.25 * start[1] + 0.5 * middle[1] + 0.25 * end[1]
    for number, word in enumerate(label.split()):
        yield svg.text(across, down - 6 + 20 * number, word, "label")


def _border(x: float, y: float, toward_x: float, toward_y: float) -> tuple[float, float]:
    """The point at which a line from a box's centre leaves the box."""
    dx, dy = toward_x - x, toward_y - y
    scale = min(_WIDTH / 2 / abs(dx) if dx else 1e9, _HEIGHT / 2 / abs(dy) if dy else 1e9)
    return x + dx * scale, y + dy * scale


def main() -> int:
    """Explore and draw both machines."""
    every = (scenario for pair in _PAIRS for scenario in scenarios(pair, is_short=True))
    DIAGRAMS.mkdir(exist_ok=True)
    for role, machine in machines_of(every).items():
        (DIAGRAMS / f"{role}-states.svg").write_text(drawn(role, machine), encoding="utf-8")
        print(f"{role}: {len(machine.in_time)} transitions in time, {len(machine.late)} late")
    return 0


if __name__ == "__main__":
    sys.exit(main())
