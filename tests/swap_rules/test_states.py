"""States are stored and read exactly, and everything else is refused."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from layer2.errors import FormatError
from layer2.swap_rules.states import (
    ProviderState,
    State,
    TakerCollecting,
    TakerPlanned,
    TakerRefunding,
    TakerState,
    read_state,
    write_state,
)
from layer2.terms.transfers import TransferState
from swap_rules.scenes import example_states


@pytest.mark.parametrize("state", example_states(TakerState, ProviderState), ids=lambda state: type(state).__name__)
def test_a_state_is_read_back_as_it_was_written(state: State) -> None:
    assert read_state(json.loads(json.dumps(write_state(state)))) == state


def test_the_first_stored_version_can_be_read_for_ever() -> None:
    stored = (
        '{"destination_tx_id":"0x2","final_at":null,"has_arrived":true,"role":"taker",'
        '"source_tx_id":"0x1","state":"collecting","version":1}'
    )
    assert read_state(json.loads(stored)) == TakerCollecting("0x1", "0x2", has_arrived=True, final_at=None)


def test_the_takers_states_have_the_public_names() -> None:
    # An arrived swap is a collecting swap with one additional fact.
    public = {one.value: one.is_final for one in TransferState if one is not TransferState.ARRIVED}
    assert {one.name: one.is_final for one in get_args(TakerState)} == public


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"role": "verifier"},
        {"state": "won"},
        {"extra": 1},
        {"reason": None},
        {"reason": 5},
        {"source_tx_id": 5},
        {"source_tx_id": True},
    ],
    ids=str,
)
def test_an_unknown_or_malformed_state_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="state"):
        read_state({**write_state(TakerRefunding("0x1", "why")), **change})


def test_a_missing_field_is_refused() -> None:
    stored = write_state(TakerRefunding("0x1", "why"))
    del stored["reason"]
    with pytest.raises(FormatError):
        read_state(stored)


def test_a_boolean_is_not_a_time() -> None:
    stored = {**write_state(TakerCollecting(None, None, has_arrived=True, final_at=2)), "final_at": True}
    with pytest.raises(FormatError):
        read_state(stored)


def test_a_state_without_data_stores_only_its_name() -> None:
    assert write_state(TakerPlanned()) == {"version": 1, "role": "taker", "state": "planned"}
