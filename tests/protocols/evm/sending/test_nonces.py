"""Nonces: each is used once, refused ones are reused, and no transaction waits for a hole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from layer2.protocols.evm.sending.nonces import NonceAllocator


def started(count: int = 7) -> NonceAllocator:
    nonces = NonceAllocator()
    nonces.reach(count)
    return nonces


def test_it_starts_at_the_nodes_count() -> None:
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


def test_holes_at_the_end_close_when_the_last_is_returned() -> None:
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
    assert [nonces.take() for _ in range(2)] == [12, 13]


def test_a_gap_below_a_transaction_of_an_earlier_run_is_given_only_when_the_pool_lacks_it() -> None:
    nonces = started()
    nonces.occupy(10)
    # Another transaction of that run may have 8 or 9: the node only shows that 7 is missing.
    assert [nonces.take_gap(8 + 3), nonces.take_gap(7), nonces.take_gap(7)] == [False, True, False]
    assert (nonces.take(), nonces.take_hole(), nonces.has_gaps) == (11, None, True)
    nonces.reach(9)
    assert [nonces.take_gap(9), nonces.has_gaps] == [True, False]


def test_a_hole_is_filled_only_where_something_waits_behind_it() -> None:
    nonces = started()
    for _ in range(4):
        nonces.take()
    nonces.give_back(9)
    assert [nonces.has_hole(9), nonces.take_hole(9), nonces.has_hole(10), nonces.take_hole(10)] == [
        False,
        None,
        True,
        9,
    ]


def test_a_nonce_that_the_node_counted_meanwhile_is_not_given_a_second_time() -> None:
    nonces = started()
    nonces.take()
    nonces.reach(8)
    nonces.give_back(7)
    assert nonces.take() == 8


def test_occupying_returns_whether_the_nonce_was_free() -> None:
    nonces = started()
    assert [nonces.take() for _ in range(3)] == [7, 8, 9]
    nonces.give_back(8)
    assert [nonces.occupy(nonce) for nonce in (6, 7, 8, 8, 12, 12)] == [False, False, True, False, True, False]


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


class Allocation(RuleBasedStateMachine):
    """An account's transactions, a node with its pool, and another wallet that has the same key.

    The node counts a nonce once a transaction in a block has it. ``alive`` are this side's transactions that may still
    get there; the pool has some of them, and loses them at times.
    """

    transactions = Bundle("transactions")

    def __init__(self) -> None:
        super().__init__()
        self.nonces = NonceAllocator()
        self.count = 5
        self.nonces.reach(self.count)
        self.alive: set[int] = set()
        self.pool: set[int] = set()

    def give(self, nonce: int) -> int:
        assert nonce not in self.alive, "two transactions would have one nonce"
        self.alive.add(nonce)
        return nonce

    @rule(target=transactions)
    def sign(self) -> int:
        return self.give(self.nonces.take())

    @rule(target=transactions, count=st.integers(2, 5))
    def sign_several(self, count: int) -> object:
        return multiple(*[self.give(self.nonces.take()) for _ in range(count)])

    @rule(nonce=transactions)
    def send_or_send_again(self, nonce: int) -> None:
        if nonce not in self.alive:
            return
        assert not self.nonces.occupy(nonce)
        self.pool.add(nonce)

    @rule(nonce=consumes(transactions))
    def the_node_refuses(self, nonce: int) -> None:
        if nonce in self.alive and nonce not in self.pool:
            self.alive.discard(nonce)
            self.nonces.give_back(nonce)

    @rule(nonce=transactions)
    def the_pool_loses_it(self, nonce: int) -> None:
        self.pool.discard(nonce)

    @rule()
    def a_block_comes(self) -> None:
        while self.count in self.pool:
            self.pool.discard(self.count)
            self.alive.discard(self.count)
            self.count += 1

    @rule(count=st.integers(1, 3))
    def the_other_wallet_uses_the_key(self, count: int) -> None:
        for _ in range(count):
            # The node refuses the client's transaction with this nonce from then on: nonce too low.
            self.pool.discard(self.count)
            self.count += 1

    @rule()
    def the_node_is_asked(self) -> None:
        self.nonces.reach(self.count)
        self.alive = {nonce for nonce in self.alive if nonce >= self.count}

    @rule(beyond=st.integers(0, 3))
    def a_transaction_from_before_a_restart_is_found(self, beyond: int) -> None:
        nonce = max(self.alive, default=self.count) + beyond
        if self.nonces.occupy(nonce):
            self.give(nonce)

    @rule(target=transactions)
    def fill_all_holes(self) -> object:
        filled = []
        while (hole := self.nonces.take_hole()) is not None:
            filled.append(self.give(hole))
            self.nonces.occupy(hole)
        self.pool |= {nonce for nonce in self.alive if nonce >= self.count}
        while self.nonces.has_gaps:
            pending = self.count
            while pending in self.pool:
                pending += 1
            if not self.nonces.take_gap(pending):
                assert not any(self.nonces.take_gap(nonce) for nonce in range(pending, max(self.alive, default=0) + 1))
                break
            filled.append(self.give(pending))
            self.nonces.occupy(pending)
            self.pool.add(pending)
        self.gap_free()
        return multiple(*filled)

    def gap_free(self) -> None:
        """After a read of the node's count, the pending transactions follow it without a hole."""
        self.the_node_is_asked()
        assert self.alive == set(range(self.count, self.count + len(self.alive)))

    @invariant()
    def what_is_alive_is_not_free(self) -> None:
        assert not any(self.nonces.is_free(nonce) for nonce in self.alive)


# In every order of events, no two transactions that can both be sent have the same nonce.
TestAllocation = Allocation.TestCase
