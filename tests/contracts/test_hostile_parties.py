"""Cheating tokens, and payees with code: no party takes more than its own money, and no lock is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth_abi.abi import encode

from contracts.chain import PROVIDER, STRANGER, TAKER, Chain, Reverted, compiled
from contracts.world import AMOUNT, DEADLINE, OTHER_PREIMAGE, PREIMAGE, World, varied
from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    NATIVE_COIN,
    HtlcLock,
    LockStatus,
    claim_call,
    decode_probe_sha256,
    htlc_init_code,
    lock_call,
    probe_sha256_call,
    refund_call,
)
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, mint_call
from layer2.formats.evm_abi import encode_call
from layer2.formats.keccak import keccak256
from layer2.model.transactions import Preimage

SUPPLY = 10**12
HOOK_SUCCEEDED, HOOK_REFUSED_BY_THE_GUARD = 1, 2
"""The guard against re-entry is the only revert of the HTLC without a reason."""

HOSTILE_TOKEN, SILENT_TOKEN, HOSTILE_PARTY = "hostile_token", "silent_token", "hostile_party"


def deploy_token(chain: Chain, name: str) -> bytes:
    token = chain.deploy(compiled(name))
    chain.send(STRANGER, token, mint_call(TAKER.address, SUPPLY))
    return token


def behave(
    chain: Chain, token: bytes, *, answer: int = 1, moves: bool = True, fee: int = 0, surcharge: int = 0
) -> None:
    call = encode_call("behave(uint256,bool,uint256,uint256)", answer, moves, fee, surcharge)
    chain.send(STRANGER, token, call)


def set_hook(chain: Chain, contract: bytes, data: bytes, target: bytes = HTLC_ADDRESS) -> None:
    """Let a hostile contract send ``data`` to ``target`` during a transfer or a payment."""
    chain.send(STRANGER, contract, _with_bytes("set_hook(address,bytes)", target, data))


def hook_result(chain: Chain, contract: bytes) -> int:
    return int.from_bytes(chain.call(contract, encode_call("hook_result()")), "big")


def execute(chain: Chain, party: bytes, data: bytes, *, value: int = 0) -> None:
    """Let a hostile party call the HTLC."""
    chain.send(STRANGER, party, _with_bytes("execute(address,bytes)", HTLC_ADDRESS, data), value=value)


def _with_bytes(signature: str, address: bytes, data: bytes) -> bytes:
    return keccak256(signature.encode())[:4] + encode(["address", "bytes"], [address, data])


@pytest.fixture
def hostile_token(world: World) -> bytes:
    token = deploy_token(world.chain, HOSTILE_TOKEN)
    behave(world.chain, token)
    return token


@pytest.fixture
def hostile_party(world: World) -> bytes:
    return world.chain.deploy(compiled(HOSTILE_PARTY))


def test_a_token_that_returns_nothing_works(world: World) -> None:
    token = deploy_token(world.chain, SILENT_TOKEN)
    claimed, refunded = world.terms(token), world.terms(token, OTHER_PREIMAGE)
    world.lock(claimed)
    world.lock(refunded)
    world.claim(claimed)
    world.refund(refunded, sender=PROVIDER)
    assert world.balance(token, PROVIDER.address) == AMOUNT
    assert world.balance(token, TAKER.address) == SUPPLY - AMOUNT
    assert world.balance(token, HTLC_ADDRESS) == 0


@pytest.mark.parametrize("moves", [True, False], ids=["and moves", "and moves nothing"])
@pytest.mark.parametrize("answer", [0, 2], ids=["false", "no bool"])
def test_a_token_that_answers_false_locks_nothing(world: World, hostile_token: bytes, answer: int, moves: bool) -> None:
    behave(world.chain, hostile_token, answer=answer, moves=moves)
    lock = world.terms(hostile_token)
    with pytest.raises(Reverted):
        world.lock(lock)
    assert world.status(lock) is LockStatus.NONE
    assert world.balance(hostile_token, TAKER.address) == SUPPLY


@pytest.mark.parametrize("fee", [1, AMOUNT])
def test_a_token_that_keeps_a_fee_is_refused(world: World, hostile_token: bytes, fee: int) -> None:
    # The contract has enough of the token, but it belongs to another lock.
    world.lock(world.terms(hostile_token, OTHER_PREIMAGE))
    behave(world.chain, hostile_token, fee=fee)
    with pytest.raises(Reverted, match="wrong amount received"):
        world.lock(world.terms(hostile_token))


def test_a_token_that_claims_to_have_moved_and_did_not_locks_nothing(world: World, hostile_token: bytes) -> None:
    world.lock(world.terms(hostile_token, OTHER_PREIMAGE))
    behave(world.chain, hostile_token, moves=False)
    with pytest.raises(Reverted, match="wrong amount received"):
        world.lock(world.terms(hostile_token))


@pytest.mark.parametrize("end", ["claim", "refund"])
@pytest.mark.parametrize(
    ("conduct", "reason"),
    [
        ({"answer": 0}, "token refused"),
        ({"answer": 2}, "no reason given"),
        ({"moves": False}, "wrong amount paid"),
        ({"surcharge": 1}, "wrong amount paid"),
    ],
    ids=["false", "no bool", "no move", "surcharge"],
)
def test_a_payout_that_goes_wrong_leaves_the_lock_as_it_was(
    world: World, hostile_token: bytes, conduct: dict[str, int], reason: str, end: str
) -> None:
    lock, of_others = world.terms(hostile_token), world.terms(hostile_token, OTHER_PREIMAGE)
    world.lock(lock)
    world.lock(of_others)
    finish: Callable[[], object] = (
        (lambda: world.claim(lock)) if end == "claim" else (lambda: world.refund(lock, sender=PROVIDER))
    )

    behave(world.chain, hostile_token, **conduct)  # type: ignore[arg-type]  # moves is a bool where given
    with pytest.raises(Reverted, match=reason):
        finish()
    assert world.status(lock) is LockStatus.LOCKED
    assert not world.spent(lock.payment_hash)
    assert world.balance(hostile_token, HTLC_ADDRESS) == 2 * AMOUNT

    behave(world.chain, hostile_token)
    finish()
    assert world.balance(hostile_token, HTLC_ADDRESS) == AMOUNT


def test_a_fee_that_began_after_the_lock_is_the_payees_loss_and_freezes_nothing(
    world: World, hostile_token: bytes
) -> None:
    lock = world.terms(hostile_token)
    world.lock(lock)
    behave(world.chain, hostile_token, fee=10)
    world.claim(lock)
    assert world.balance(hostile_token, PROVIDER.address) == AMOUNT - 10
    assert world.balance(hostile_token, HTLC_ADDRESS) == 0


def _reentries(lock: HtlcLock, ready: HtlcLock) -> dict[str, bytes]:
    """The calls that a hostile contract may make during another call of the HTLC."""
    fresh = varied(lock, payment_hash=Preimage(b"\x55" * 32).payment_hash, payer=ready.payer)
    return {
        "claim the same": claim_call(lock, PREIMAGE),
        "claim another": claim_call(ready, OTHER_PREIMAGE),
        "refund the same": refund_call(lock),
        "refund another": refund_call(ready),
        "lock another": lock_call(fresh),
    }


REENTRIES = ("claim the same", "claim another", "refund the same", "refund another", "lock another")


@pytest.mark.parametrize("reentry", REENTRIES)
@pytest.mark.parametrize("interrupted", ["lock", "claim", "refund"])
def test_a_token_cannot_enter_again_while_it_is_moved(
    world: World, hostile_token: bytes, interrupted: str, reentry: str
) -> None:
    lock, ready = world.terms(hostile_token), world.terms(hostile_token, OTHER_PREIMAGE)
    world.lock(ready)
    if interrupted != "lock":
        world.lock(lock)
    world.chain.timestamp = DEADLINE - 1 if interrupted == "lock" else DEADLINE
    set_hook(world.chain, hostile_token, _reentries(lock, ready)[reentry])
    before = world.balance(hostile_token, HTLC_ADDRESS)

    match interrupted:
        case "lock":
            world.lock(lock)
        case "claim":
            world.claim(lock)
        case _:
            world.refund(lock)

    assert hook_result(world.chain, hostile_token) == HOOK_REFUSED_BY_THE_GUARD
    moved = world.balance(hostile_token, HTLC_ADDRESS) - before
    assert moved == (AMOUNT if interrupted == "lock" else -AMOUNT)
    assert world.status(ready) is LockStatus.LOCKED


@pytest.mark.parametrize("reentry", REENTRIES)
@pytest.mark.parametrize("interrupted", ["claim", "refund"])
def test_a_payee_cannot_enter_again_while_it_is_paid(
    world: World, hostile_party: bytes, interrupted: str, reentry: str
) -> None:
    # The hostile party is payer and payee of all locks, so that it may make every call.
    mine = varied(world.terms(), payee=hostile_party, payer=hostile_party)
    ready = varied(mine, payment_hash=OTHER_PREIMAGE.payment_hash)
    world.lock(world.terms(preimage=Preimage(b"\x77" * 32)))
    for lock in (mine, ready):
        execute(world.chain, hostile_party, lock_call(lock), value=AMOUNT)
    world.chain.timestamp = DEADLINE
    set_hook(world.chain, hostile_party, _reentries(mine, ready)[reentry])

    if interrupted == "claim":
        world.claim(mine, sender=STRANGER)
    else:
        world.refund(mine, sender=STRANGER)

    assert hook_result(world.chain, hostile_party) == HOOK_REFUSED_BY_THE_GUARD
    assert world.balance(NATIVE_COIN, HTLC_ADDRESS) == 2 * AMOUNT
    assert world.balance(NATIVE_COIN, hostile_party) == AMOUNT
    assert world.status(ready) is LockStatus.LOCKED


def test_the_calls_of_the_reentry_tests_succeed_by_themselves(world: World, hostile_party: bytes) -> None:
    for reentry in ("claim another", "refund another"):
        fork = world.fork()
        mine = varied(fork.terms(), payee=hostile_party, payer=hostile_party)
        ready = varied(mine, payment_hash=OTHER_PREIMAGE.payment_hash)
        execute(fork.chain, hostile_party, lock_call(ready), value=AMOUNT)
        fork.chain.timestamp = DEADLINE
        execute(fork.chain, hostile_party, _reentries(mine, ready)[reentry])
        assert fork.balance(NATIVE_COIN, hostile_party) == AMOUNT


def test_a_payee_may_read_the_status_while_it_is_paid(world: World, hostile_party: bytes) -> None:
    lock = varied(world.terms(), payee=hostile_party)
    world.lock(lock)
    set_hook(world.chain, hostile_party, encode_call("status(bytes32)", lock.lock_id))
    world.claim(lock)
    assert hook_result(world.chain, hostile_party) == HOOK_SUCCEEDED


def test_a_payee_that_refuses_the_coin_leaves_the_lock_to_be_refunded(world: World, hostile_party: bytes) -> None:
    lock = varied(world.terms(), payee=hostile_party)
    world.lock(lock)
    world.chain.send(STRANGER, hostile_party, encode_call("set_refuses(bool)", True))
    with pytest.raises(Reverted, match="payment refused"):
        world.claim(lock)
    assert world.status(lock) is LockStatus.LOCKED
    assert not world.spent(lock.payment_hash)
    world.chain.timestamp = DEADLINE
    world.refund(lock)
    assert world.status(lock) is LockStatus.REFUNDED


def test_a_payer_that_refuses_the_coin_leaves_the_lock_to_be_claimed(world: World, hostile_party: bytes) -> None:
    lock = varied(world.terms(), payer=hostile_party)
    execute(world.chain, hostile_party, lock_call(lock), value=AMOUNT)
    world.chain.send(STRANGER, hostile_party, encode_call("set_refuses(bool)", True))
    world.chain.timestamp = DEADLINE
    with pytest.raises(Reverted, match="payment refused"):
        world.refund(lock)
    world.claim(lock)
    assert world.status(lock) is LockStatus.CLAIMED


def test_a_native_payee_that_needs_more_than_a_stipend_of_gas_is_paid(world: World, hostile_party: bytes) -> None:
    lock = varied(world.terms(), payee=hostile_party)
    world.lock(lock)
    # Its code on a payment costs far more than the 2,300 gas of a plain send.
    set_hook(world.chain, hostile_party, mint_call(hostile_party, 1), target=TEST_TOKEN_ADDRESS)
    world.claim(lock)
    assert hook_result(world.chain, hostile_party) == HOOK_SUCCEEDED
    assert world.balance(TEST_TOKEN_ADDRESS, hostile_party) == 1


@pytest.mark.parametrize("token", [NATIVE_COIN, TEST_TOKEN_ADDRESS], ids=["native", "erc20"])
def test_a_lock_for_the_contract_itself_is_never_paid_and_can_be_refunded(world: World, token: bytes) -> None:
    lock = varied(world.terms(token), payee=HTLC_ADDRESS)
    world.lock(lock)
    with pytest.raises(Reverted):
        world.claim(lock)
    world.chain.timestamp = DEADLINE
    world.refund(lock)
    assert world.balance(token, HTLC_ADDRESS) == 0


def test_the_probe_exposes_a_chain_without_sha256() -> None:
    """Vyper issue 4192: without the precompile, the compiled code returns its input."""
    sha256_address = bytes(19) + b"\x02"
    precompiles = {address: run for address, run in PragueComputation._precompiles.items() if address != sha256_address}
    without_sha256 = PragueVM.configure(
        _state_class=PragueState.configure(computation_class=PragueComputation.configure(_precompiles=precompiles))
    )
    chain = Chain.genesis(without_sha256)
    htlc = chain.deploy(htlc_init_code())
    data = b"probe".ljust(32, b"\x00")
    digest = decode_probe_sha256(chain.call(htlc, probe_sha256_call(data)))
    assert digest != hashlib.sha256(data).digest()
    assert digest == data
