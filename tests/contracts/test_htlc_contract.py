"""The HTLC on a chain, with the native coin and with a plain ERC-20."""

from __future__ import annotations

import hashlib

import pytest

from contracts.chain import PROVIDER, STRANGER, TAKER, Account, Reverted
from contracts.world import AMOUNT, DEADLINE, OTHER_PREIMAGE, PREIMAGE, TERMS_HASH, World, events, varied
from layer2.contracts.artefact import load_artefact
from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    NATIVE_COIN,
    ClaimedEvent,
    LockedEvent,
    LockStatus,
    RefundedEvent,
    claim_call,
    decode_probe_sha256,
    lock_call,
    probe_sha256_call,
    refund_call,
)
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.formats.evm_abi import encode_call


def test_a_lock_and_its_claim_move_the_amount_from_payer_to_payee(world_of_each_fork: World, asset: bytes) -> None:
    world = world_of_each_fork
    lock = world.terms(asset)
    payer_before, payee_before = (world.balance(asset, who.address) for who in (TAKER, PROVIDER))

    locked = world.lock(lock)
    assert locked.output == lock.lock_id
    assert world.status(lock) is LockStatus.LOCKED
    assert world.balance(asset, HTLC_ADDRESS) == AMOUNT

    world.claim(lock)
    assert world.status(lock) is LockStatus.CLAIMED
    assert world.balance(asset, HTLC_ADDRESS) == 0
    assert world.balance(asset, TAKER.address) == payer_before - AMOUNT
    assert world.balance(asset, PROVIDER.address) == payee_before + AMOUNT


def test_a_refund_after_the_deadline_gives_everything_back(world_of_each_fork: World, asset: bytes) -> None:
    world = world_of_each_fork
    lock = world.terms(asset)
    before = world.balance(asset, TAKER.address)
    world.lock(lock)

    world.chain.timestamp = DEADLINE
    world.refund(lock)

    assert world.status(lock) is LockStatus.REFUNDED
    assert world.balance(asset, HTLC_ADDRESS) == 0
    assert world.balance(asset, TAKER.address) == before


def test_the_locked_event_rebuilds_the_lock(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    (event,) = events(world.lock(lock))
    assert isinstance(event, LockedEvent)
    assert event.lock(world.chain.chain_id) == lock


def test_the_claimed_event_carries_the_preimage(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    assert events(world.claim(lock)) == [ClaimedEvent(HTLC_ADDRESS, lock.lock_id, lock.payment_hash, PREIMAGE)]


def test_the_refunded_event_names_the_lock(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    world.chain.timestamp = DEADLINE
    assert events(world.refund(lock)) == [RefundedEvent(HTLC_ADDRESS, lock.lock_id, lock.payment_hash)]


def test_whoever_claims_the_payee_is_paid(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    payee_before, stranger_before = (world.balance(asset, who.address) for who in (PROVIDER, STRANGER))
    world.claim(lock, sender=STRANGER)
    assert world.balance(asset, PROVIDER.address) == payee_before + AMOUNT
    assert world.balance(asset, STRANGER.address) == stranger_before


def test_whoever_refunds_after_the_deadline_the_payer_is_paid(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    before = world.balance(asset, TAKER.address)
    world.lock(lock)
    world.chain.timestamp = DEADLINE
    world.refund(lock, sender=STRANGER)
    assert world.balance(asset, TAKER.address) == before


def test_the_payee_can_release_before_the_deadline(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    before = world.balance(asset, TAKER.address)
    world.lock(lock)
    world.refund(lock, sender=PROVIDER)
    assert world.status(lock) is LockStatus.REFUNDED
    assert world.balance(asset, TAKER.address) == before


@pytest.mark.parametrize("sender", [TAKER, STRANGER], ids=lambda account: account.name)
def test_only_the_payee_refunds_before_the_deadline(world: World, sender: Account) -> None:
    lock = world.terms()
    world.lock(lock)
    world.chain.timestamp = DEADLINE - 1
    with pytest.raises(Reverted, match="too early"):
        world.refund(lock, sender=sender)
    assert world.status(lock) is LockStatus.LOCKED


def test_a_claim_after_the_deadline_still_pays(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    world.chain.timestamp = DEADLINE + 10_000_000
    world.claim(lock)
    assert world.status(lock) is LockStatus.CLAIMED


def test_a_refunded_lock_is_not_claimed(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    world.refund(lock, sender=PROVIDER)
    with pytest.raises(Reverted, match="not locked"):
        world.claim(lock)
    assert not world.spent(lock.payment_hash)


def test_a_claimed_lock_is_neither_claimed_again_nor_refunded(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    # The contract also has the money of another lock, and must not pay that out.
    world.lock(world.terms(asset, OTHER_PREIMAGE))
    world.lock(lock)
    world.claim(lock)
    world.chain.timestamp = DEADLINE
    with pytest.raises(Reverted, match="not locked"):
        world.claim(lock)
    for sender in (TAKER, PROVIDER):
        with pytest.raises(Reverted, match="not locked"):
            world.refund(lock, sender=sender)
    assert world.balance(asset, HTLC_ADDRESS) == AMOUNT


def test_a_refunded_lock_is_not_refunded_again(world: World, asset: bytes) -> None:
    world.lock(world.terms(asset, OTHER_PREIMAGE))
    lock = world.terms(asset)
    world.lock(lock)
    world.refund(lock, sender=PROVIDER)
    with pytest.raises(Reverted, match="not locked"):
        world.refund(lock, sender=PROVIDER)
    assert world.balance(asset, HTLC_ADDRESS) == AMOUNT


def test_a_lock_id_is_used_once_for_ever(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    with pytest.raises(Reverted, match="lock used"):
        world.lock(lock)
    world.refund(lock, sender=PROVIDER)
    with pytest.raises(Reverted, match="lock used"):
        world.lock(lock)


def test_no_new_money_is_locked_under_a_hash_whose_preimage_is_public(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    assert not world.spent(lock.payment_hash)
    world.claim(lock)
    assert world.spent(lock.payment_hash)
    with pytest.raises(Reverted, match="hash spent"):
        world.lock(varied(lock, terms_hash=b"\x01" * 32))
    with pytest.raises(Reverted, match="hash spent"):
        world.lock(varied(lock, payer=STRANGER.address), payer=STRANGER)


def test_locks_that_exist_stay_claimable_after_their_hash_is_spent(world: World, asset: bytes) -> None:
    first, second = world.terms(asset), varied(world.terms(asset), amount=7)
    world.lock(first)
    world.lock(second)
    world.claim(first)
    world.claim(second)
    assert world.status(second) is LockStatus.CLAIMED
    assert world.balance(asset, HTLC_ADDRESS) == 0


def test_locks_that_exist_stay_refundable_after_their_hash_is_spent(world: World, asset: bytes) -> None:
    first, second = world.terms(asset), varied(world.terms(asset), amount=7)
    world.lock(first)
    world.lock(second)
    world.claim(first)
    world.chain.timestamp = DEADLINE
    world.refund(second)
    assert world.status(second) is LockStatus.REFUNDED


def test_a_refund_leaves_the_hash_free_for_another_lock(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    world.refund(lock, sender=PROVIDER)
    again = varied(lock, terms_hash=b"\x02" * 32)
    world.lock(again)
    world.claim(again)
    assert world.status(again) is LockStatus.CLAIMED


VARIATIONS: dict[str, int | bytes] = {
    "amount": AMOUNT + 1,
    "payee": STRANGER.address,
    "payer": STRANGER.address,
    "deadline": DEADLINE - 1,
    "terms_hash": b"\x00" * 32,
}


@pytest.mark.parametrize("term", [*VARIATIONS, "token"])
def test_no_lock_is_claimed_or_refunded_with_another_term(world: World, asset: bytes, term: str) -> None:
    other_asset = TEST_TOKEN_ADDRESS if asset == NATIVE_COIN else NATIVE_COIN
    # The contract has enough of both assets to pay a wrong claim.
    for token in (asset, other_asset):
        world.lock(varied(world.terms(token, OTHER_PREIMAGE), amount=10 * AMOUNT))
    lock = world.terms(asset)
    world.lock(lock)
    wrong = varied(lock, token=other_asset) if term == "token" else varied(lock, **{term: VARIATIONS[term]})
    world.chain.timestamp = DEADLINE
    for sender in (TAKER, PROVIDER, STRANGER):
        with pytest.raises(Reverted, match="not locked"):
            world.claim(wrong, sender=sender)
        with pytest.raises(Reverted, match="not locked"):
            world.refund(wrong, sender=sender)
    assert world.status(lock) is LockStatus.LOCKED


def test_a_wrong_preimage_claims_nothing(world: World, asset: bytes) -> None:
    lock = world.terms(asset)
    world.lock(lock)
    with pytest.raises(Reverted, match="not locked"):
        world.claim(varied(lock, payment_hash=OTHER_PREIMAGE.payment_hash), OTHER_PREIMAGE)
    assert not world.spent(OTHER_PREIMAGE.payment_hash)


def test_a_decoy_with_other_terms_under_the_hash_is_another_lock(world: World) -> None:
    lock = world.terms()
    decoy = varied(lock, payer=STRANGER.address, amount=1)
    world.lock(decoy, payer=STRANGER)
    assert world.status(lock) is LockStatus.NONE
    world.lock(lock)
    assert world.status(lock) is LockStatus.LOCKED


def test_the_payer_of_a_lock_is_its_sender_alone(world: World) -> None:
    lock = world.terms()
    receipt = world.lock(lock, payer=STRANGER)
    assert receipt.output == varied(lock, payer=STRANGER.address).lock_id
    assert world.status(lock) is LockStatus.NONE


def test_the_same_terms_on_another_chain_are_another_lock(world: World, world_of_another_chain: World) -> None:
    here, there = world.terms(), world_of_another_chain.terms()
    world.lock(here)
    receipt = world_of_another_chain.lock(here)
    assert receipt.output == there.lock_id != here.lock_id
    assert world_of_another_chain.status(here) is LockStatus.NONE


@pytest.mark.parametrize("timestamp", [DEADLINE, DEADLINE + 1])
def test_a_lock_at_or_after_its_deadline_is_refused(world: World, asset: bytes, timestamp: int) -> None:
    world.chain.timestamp = timestamp
    with pytest.raises(Reverted, match="deadline passed"):
        world.lock(world.terms(asset))


def test_a_lock_one_second_before_its_deadline_is_taken(world: World, asset: bytes) -> None:
    world.chain.timestamp = DEADLINE - 1
    world.lock(world.terms(asset))
    assert world.status(world.terms(asset)) is LockStatus.LOCKED


def _raw_lock(token: bytes, amount: int, payee: bytes) -> bytes:
    return encode_call(
        "lock(bytes32,address,uint256,address,uint256,bytes32)",
        PREIMAGE.payment_hash,
        token,
        amount,
        payee,
        DEADLINE,
        TERMS_HASH,
    )


def test_a_lock_without_a_payee_is_refused(world: World, asset: bytes) -> None:
    with pytest.raises(Reverted, match="no payee"):
        world.chain.send(TAKER, HTLC_ADDRESS, _raw_lock(asset, AMOUNT, bytes(20)))


def test_a_lock_of_nothing_is_refused(world: World, asset: bytes) -> None:
    with pytest.raises(Reverted, match="no amount"):
        world.chain.send(TAKER, HTLC_ADDRESS, _raw_lock(asset, 0, PROVIDER.address))


@pytest.mark.parametrize("value", [0, AMOUNT - 1, AMOUNT + 1])
def test_a_native_lock_carries_exactly_its_amount(world: World, value: int) -> None:
    with pytest.raises(Reverted, match="wrong value"):
        world.chain.send(TAKER, HTLC_ADDRESS, lock_call(world.terms()), value=value)


def test_a_token_lock_carries_no_native_coin(world: World) -> None:
    with pytest.raises(Reverted, match="wrong value"):
        world.chain.send(TAKER, HTLC_ADDRESS, lock_call(world.terms(TEST_TOKEN_ADDRESS)), value=1)


def test_native_coin_comes_in_by_a_lock_only(world: World) -> None:
    lock = world.terms()
    with pytest.raises(Reverted):
        world.chain.send(TAKER, HTLC_ADDRESS, value=1)
    world.lock(lock)
    for data in (claim_call(lock, PREIMAGE), refund_call(lock)):
        with pytest.raises(Reverted):
            world.chain.send(PROVIDER, HTLC_ADDRESS, data, value=1)


def test_a_token_lock_without_approval_or_balance_is_refused(world: World) -> None:
    lock = world.terms(TEST_TOKEN_ADDRESS)
    world.chain.send(TAKER, TEST_TOKEN_ADDRESS, encode_call("approve(address,uint256)", HTLC_ADDRESS, 0))
    with pytest.raises(Reverted):
        world.lock(lock)
    with pytest.raises(Reverted):
        world.lock(varied(lock, amount=2**255))
    assert world.status(lock) is LockStatus.NONE


def test_a_token_address_without_code_is_refused(world: World) -> None:
    for token in (STRANGER.address, bytes(19) + b"\x04"):
        with pytest.raises(Reverted):
            world.lock(world.terms(token))


def test_a_gift_of_tokens_disturbs_no_lock(world: World) -> None:
    gift = encode_call("transfer(address,uint256)", HTLC_ADDRESS, 5)
    lock = world.terms(TEST_TOKEN_ADDRESS)
    world.chain.send(STRANGER, TEST_TOKEN_ADDRESS, gift)
    world.lock(lock)
    world.chain.send(STRANGER, TEST_TOKEN_ADDRESS, gift)
    world.claim(lock)
    assert world.chain.token_balance(TEST_TOKEN_ADDRESS, HTLC_ADDRESS) == 10


def test_addresses_with_dirty_upper_bytes_are_refused(world: World) -> None:
    call = bytearray(lock_call(world.terms()))
    call[4 + 3 * 32] = 1
    with pytest.raises(Reverted):
        world.chain.send(TAKER, HTLC_ADDRESS, bytes(call), value=AMOUNT)


def test_the_probe_shows_the_chains_sha256(world: World) -> None:
    data = b"probe".ljust(32, b"\x00")
    answer = world.chain.call(HTLC_ADDRESS, probe_sha256_call(data))
    assert decode_probe_sha256(answer) == hashlib.sha256(data).digest()


def test_the_code_at_the_address_is_the_artefacts(world: World) -> None:
    assert world.chain.code(HTLC_ADDRESS) == load_artefact("htlc").runtime_code
