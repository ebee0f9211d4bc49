"""The gas of the calls, in the usual and in the worst case, compared with the limits."""

from __future__ import annotations

import pytest

from contracts.chain import STRANGER, TAKER
from contracts.world import DEADLINE, OTHER_PREIMAGE, World, varied
from layer2.contracts.erc20 import transfer_call
from layer2.contracts.htlc import CLAIM_GAS, LOCK_GAS_ERC20, NATIVE_COIN, REFUND_GAS, HtlcLock
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS

NEW_ACCOUNT = b"\xab" * 20


@pytest.mark.parametrize(
    ("token", "first_ever", "usual"),
    [(NATIVE_COIN, 73_600, 53_700), (TEST_TOKEN_ADDRESS, 112_400, 75_400)],
    ids=["native", "erc20"],
)
def test_a_lock_costs_no_more_than_is_written_down(world: World, token: bytes, first_ever: int, usual: int) -> None:
    assert world.lock(world.terms(token)).gas_used <= first_ever
    assert world.lock(world.terms(token, OTHER_PREIMAGE)).gas_used <= usual
    assert 2 * first_ever <= (150_000 if token == NATIVE_COIN else LOCK_GAS_ERC20)


def test_a_claim_costs_no_more_than_is_written_down(world: World, asset: bytes) -> None:
    usual, new_payee = world.terms(asset), varied(world.terms(asset, OTHER_PREIMAGE), payee=NEW_ACCOUNT)
    _lock_all(world, usual, new_payee)
    assert world.claim(usual).gas_used <= 72_200
    assert world.claim(new_payee, OTHER_PREIMAGE).gas_used <= 94_200
    assert CLAIM_GAS >= 2 * 94_200


def test_a_refund_costs_no_more_than_is_written_down(world: World, asset: bytes) -> None:
    first, second = world.terms(asset), world.terms(asset, OTHER_PREIMAGE)
    _lock_all(world, first, second)
    world.chain.timestamp = DEADLINE
    if asset != NATIVE_COIN:
        everything = world.balance(asset, TAKER.address)
        world.chain.send(TAKER, asset, transfer_call(STRANGER.address, everything))
    assert world.refund(first).gas_used <= 66_700
    assert world.refund(second).gas_used <= 49_600
    assert REFUND_GAS >= 2 * 66_700


def _lock_all(world: World, *locks: HtlcLock) -> None:
    """Lock them and one more. Emptying the contract would refund gas."""
    for lock in (*locks, varied(locks[0], terms_hash=bytes(32))):
        world.lock(lock)
