"""A signed transaction that is not sent keeps its nonce for a while; then it is known whether it was ever sent."""

from __future__ import annotations

from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.protocols.evm.sending.held import Held


def signed(nonce: int) -> SignedTransaction:
    transaction = Eip1559Transaction(1, nonce, 0, 0, 21_000, b"\x05" * 20, 0)
    return SignedTransaction(b"", bytes([nonce]), transaction, b"\x06" * 20)


def holding(*nonces: int) -> Held:
    held = Held()
    held.add([signed(nonce) for nonce in nonces], 100.0)
    return held


def lapsed(held: Held, now: float, end: int = 0) -> list[int]:
    return held.lapse(now, 30.0, end=end, blocking_patience=10.0)


def test_nonces_are_taken_back_sooner_where_something_sent_waits_behind_them() -> None:
    held = holding(3, 4, 9)
    assert lapsed(held, 109.0, end=6) == []
    assert lapsed(held, 110.0, end=6) == [4, 3]
    assert lapsed(held, 129.0, end=6) == []
    assert lapsed(held, 130.0, end=6) == [9]
    assert held.has_lapsed(signed(9))


def test_what_was_sent_is_never_dead() -> None:
    held = holding(3)
    assert held.send(signed(3))
    assert not held.discard(signed(3))
    assert not held.is_dead(signed(3))
    assert not held.is_unsent(signed(3))


def test_what_lapsed_and_was_sent_after_all_is_never_dead() -> None:
    held = holding(3)
    lapsed(held, 130.0)
    assert held.is_unsent(signed(3))
    assert not held.send(signed(3))
    assert not held.discard(signed(3))
    assert not held.is_dead(signed(3))


def test_what_is_discarded_is_dead_until_the_same_bytes_are_signed_anew() -> None:
    held = holding(3)
    assert held.discard(signed(3))
    assert held.is_dead(signed(3))
    held.add([signed(3)], 200.0)
    assert not held.is_dead(signed(3))
    assert held.send(signed(3))


def test_an_unknown_transaction_is_not_dead_though_it_is_discarded() -> None:
    held = holding()
    assert not held.discard(signed(3))
    assert not held.is_dead(signed(3))


def test_a_nonce_that_turns_out_to_be_another_transactions_is_lost_to_what_holds_it() -> None:
    held = holding(3, 4)
    held.displace(3, by=b"another")
    held.displace(4, by=signed(4).hash)
    assert (held.is_dead(signed(3)), held.is_dead(signed(4))) == (True, False)
    assert not held.discard(signed(3))
