"""A machine's inputs and decisions without times and ids, so that runs can be compared.

The search gives the machines every input that is possible in its model. The inputs of another run, on fakes or on
nodes, must be among them: otherwise the model is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from layer2.legs.views import ActStatus, ClockReading, HeldPayment, LegView
from layer2.swap_rules.machine import Act, Observed, Order, Step
from layer2.swap_rules.states import ProviderAgreed, State
from layer2.testing.explore.swaps import PREIMAGE

__all__ = ["Question", "plain_state"]

_PLAIN: Final[dict[str, object]] = {
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


def plain_state(state: State) -> State:
    """A state without the fields on which no decision depends."""
    if isinstance(state, ProviderAgreed):
        # The decision depends on whether a funding is visible, and not on its id.
        return state if state.source_tx_id is None else ProviderAgreed("tx")
    return _made(type(state), {each.name: _PLAIN.get(each.name, getattr(state, each.name)) for each in fields(state)})


def _made(make: Callable[..., State], values: Mapping[str, object]) -> State:
    return make(**values)


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
