"""A signed, unsent transaction keeps its nonce for a limited time."""

from __future__ import annotations

from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.protocols.evm.sending.unsent import Unsent


def signed(nonce: int) -> SignedTransaction:
    transaction = Eip1559Transaction(1, nonce, 0, 0, 21_000, b"\x05" * 20, 0)
    return SignedTransaction(b"", bytes([nonce]), transaction, b"\x06" * 20)


def holding(*nonces: int) -> Unsent:
    unsent = Unsent()
    unsent.add([signed(nonce) for nonce in nonces], 100.0)
    return unsent


def expired(unsent: Unsent, now: float, end: int = 0) -> list[int]:
    return unsent.expire(now, 30.0, end=end, blocking_patience=10.0)


def test_nonces_are_taken_back_sooner_where_something_sent_waits_behind_them() -> None:
    unsent = holding(3, 4, 9)
    assert expired(unsent, 109.0, end=6) == []
    assert expired(unsent, 110.0, end=6) == [4, 3]
    assert expired(unsent, 129.0, end=6) == []
    assert expired(unsent, 130.0, end=6) == [9]
    assert unsent.has_expired(signed(9))


def test_what_was_sent_is_never_dead() -> None:
    unsent = holding(3)
    assert unsent.send(signed(3))
    assert not unsent.discard(signed(3))
    assert not unsent.is_dead(signed(3))
    assert not unsent.contains(signed(3))


def test_what_expired_and_was_sent_after_all_is_never_dead() -> None:
    unsent = holding(3)
    expired(unsent, 130.0)
    assert unsent.contains(signed(3))
    assert not unsent.send(signed(3))
    assert not unsent.discard(signed(3))
    assert not unsent.is_dead(signed(3))


def test_what_is_discarded_is_dead_until_the_same_bytes_are_signed_again() -> None:
    unsent = holding(3)
    assert unsent.discard(signed(3))
    assert unsent.is_dead(signed(3))
    unsent.add([signed(3)], 200.0)
    assert not unsent.is_dead(signed(3))
    assert unsent.send(signed(3))


def test_an_unknown_transaction_is_not_dead_though_it_is_discarded() -> None:
    unsent = holding()
    assert not unsent.discard(signed(3))
    assert not unsent.is_dead(signed(3))


def test_a_nonce_that_turns_out_to_be_another_transactions_is_lost_to_what_holds_it() -> None:
    unsent = holding(3, 4)
    unsent.displace(3, by=b"another")
    unsent.displace(4, by=signed(4).hash)
    assert (unsent.is_dead(signed(3)), unsent.is_dead(signed(4))) == (True, False)
    assert not unsent.discard(signed(3))
