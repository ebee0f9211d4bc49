"""A machine's inputs and decisions without times and ids, so that runs can be compared.

The search gives the machines every input that is possible in its model. The inputs of another run, on fakes or on
nodes, must be among them: otherwise the model is incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from layer2.legs.views import ActStatus, ClockReading, HeldPayment, LegView
from layer2.swap_rules.machine import Act, Observed, Order, Step
from layer2.swap_rules.states import ProviderAgreed, State
from layer2.testing.explore.swaps import PREIMAGE

__all__ = ["Question", "plain_state"]

_PLAIN: Final[dict[str, Any]] = {
    "source_tx_id": None, "destination_tx_id": None, "reason": "", "has_arrived": False, "final_at": None
}  # fmt: skip
"""Fields on which no decision depends."""
_NO_CLOCK: Final = ClockReading(0, 0)
_HELD: Final = HeldPayment(expiry_height=0, parts=0, smallest_part_msat=0)


@dataclass(frozen=True, slots=True)
class Question:
    """One input of a machine and its decision."""

    state: State
    source: LegView | None
    destination: LegView | None
    acts: frozenset[tuple[Act, ActStatus, bool]]
    """Every act with an intent: its status, and whether it may have been sent."""
    after: State
    orders: frozenset[Order]

    @classmethod
    def of(cls, state: State, observed: Observed, step: Step) -> Question:
        """Input and decision without clocks, ids, reasons and estimates."""
        return cls(
            state=plain_state(state),
            source=_plain_view(observed.source),
            destination=_plain_view(observed.destination),
            acts=frozenset((act, view.status, view.is_out) for act, view in observed.acts.items()),
            after=plain_state(step.state),
            orders=frozenset(step.orders),
        )

    def lines(self) -> Iterator[str]:
        """Input and decision as readable lines."""
        yield f"in {self.state}"
        for name, view in (("source", self.source), ("destination", self.destination)):
            yield f"  {name}: {'not read' if view is None else _view_line(view)}"
        for act, status, is_out in sorted(self.acts, key=lambda one: (one[0].end.value, one[0].verb.value)):
            yield f"  {act.verb.value} {act.end.value}: {status.value}{'' if is_out else ', certainly not sent'}"
        orders = [f"{one.act.verb.value} {one.act.end.value} ({one.manner.value})" for one in self.orders]
        yield f"  -> {self.after}{'; ' if orders else ''}{', '.join(sorted(orders))}"


def plain_state(state: State) -> State:
    """A state without the fields on which no decision depends."""
    if isinstance(state, ProviderAgreed):
        # The decision depends on whether a funding is visible, and not on its id.
        return state if state.source_tx_id is None else ProviderAgreed("tx")
    changes = {name: plain for name, plain in _PLAIN.items() if hasattr(state, name)}
    return replace(state, **changes) if changes else state


def _plain_view(view: LegView | None) -> LegView | None:
    if view is None:
        return None
    return replace(
        view,
        clock=_NO_CLOCK,
        preimage=None if view.preimage is None else PREIMAGE,
        tx_id=None,
        final_at=None,
        reason=None,
        held=None if view.held is None else _HELD,
    )


def _view_line(view: LegView) -> str:
    flags = ("arrived", "final", "over", "returnable")
    shown = [name for name in flags if getattr(view, name)]
    shown += ["preimage"] if view.preimage is not None else []
    shown += ["held"] if view.held is not None else []
    return ", ".join([view.state.value, *shown])
