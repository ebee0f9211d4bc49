"""Nonces: each is given once, refused ones are found, and nothing that comes later waits for a hole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.protocols.evm.nonces import NonceAllocator


def started(count: int = 7) -> NonceAllocator:
    nonces = NonceAllocator()
    nonces.reach(count)
    return nonces


def test_it_begins_where_the_node_says_and_counts_on() -> None:
    nonces = started()
    assert [nonces.take() for _ in range(3)] == [7, 8, 9]


def test_it_gives_nothing_before_it_knows_where_to_begin() -> None:
    assert not NonceAllocator().is_started
    with pytest.raises(RuntimeError):
        NonceAllocator().take()


def test_the_last_one_given_back_is_simply_given_again() -> None:
    nonces = started()
    nonces.take()
    nonces.give_back(nonces.take())
    assert nonces.take_hole() is None
    assert nonces.take() == 8


def test_one_in_the_middle_given_back_is_a_hole_and_the_next_to_be_given() -> None:
    nonces = started()
    for _ in range(4):
        nonces.take()
    nonces.give_back(8)
    assert nonces.take_hole() == 8
    nonces.give_back(8)
    assert [nonces.take(), nonces.take()] == [8, 11]


def test_holes_at_the_end_close_when_the_last_comes_back() -> None:
    nonces = started()
    for _ in range(4):
        nonces.take()
    for nonce in (8, 9, 10):
        nonces.give_back(nonce)
    assert nonces.take_hole() is None
    assert nonces.take() == 8


def test_an_old_answer_of_the_node_does_not_count_back() -> None:
    nonces = started()
    nonces.take()
    nonces.reach(5)
    assert nonces.take() == 8


def test_foreign_transactions_of_the_same_key_are_jumped_over() -> None:
    nonces = started()
    nonces.take()
    nonces.take()
    nonces.give_back(7)
    nonces.reach(20)
    assert nonces.take_hole() is None
    assert nonces.take() == 20


def test_a_transaction_from_before_a_restart_keeps_its_nonce() -> None:
    nonces = started()
    nonces.occupy(7)
    assert nonces.take() == 8
    nonces.occupy(11)
    assert [nonces.take() for _ in range(3)] == [9, 10, 12]


@given(st.lists(st.sampled_from(["take", "refuse first", "refuse last", "fill"]), max_size=60))
def test_no_two_transactions_ever_share_a_nonce_and_filling_leaves_no_gap(steps: list[str]) -> None:
    nonces, alive = started(0), set[int]()
    for step in steps:
        if step == "take":
            nonce = nonces.take()
            assert nonce not in alive
            alive.add(nonce)
        elif step == "fill":
            while (hole := nonces.take_hole()) is not None:
                assert hole not in alive
                assert hole < max(alive)
                alive.add(hole)
            assert alive == set(range(len(alive)))
        elif alive:
            refused = min(alive) if step == "refuse first" else max(alive)
            alive.discard(refused)
            nonces.give_back(refused)
