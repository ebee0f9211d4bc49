"""Whatever the parties do in whatever order, the contract holds the open locks' money and not a coin more or less.

The model is a dictionary of locks and balances. Every call is predicted by it: both that it succeeds and that it
fails, and every balance and status of the chain is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from contracts.chain import ACCOUNTS, GENESIS_TIME, Account, Reverted
from contracts.world import World
from layer2.contracts.erc20 import transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS, NATIVE_COIN, HtlcLock, LockStatus
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.model.transactions import Preimage

ASSETS = (NATIVE_COIN, TEST_TOKEN_ADDRESS)
# Few values, so that hashes, terms and whole locks repeat.
PREIMAGES = tuple(Preimage(bytes([number]) * 32) for number in (1, 2, 3))
SECRETS = {preimage.payment_hash: preimage for preimage in PREIMAGES}

accounts = st.sampled_from(ACCOUNTS)
assets = st.sampled_from(ASSETS)
amounts = st.integers(1, 3)
pauses = st.sampled_from([0, 0, 0, 1, 99])


@cache
def _beginning() -> World:
    return World.begin()


class Swaps(RuleBasedStateMachine):
    """Three parties lock, claim and refund, while time passes."""

    locks = Bundle("locks")

    @initialize()
    def begin(self) -> None:
        self.world = _beginning().fork()
        self.statuses: dict[HtlcLock, LockStatus] = {}
        self.spent: set[bytes] = set()
        # A gift belongs to no lock and must stay in the contract.
        self.world.chain.send(ACCOUNTS[0], TEST_TOKEN_ADDRESS, transfer_call(HTLC_ADDRESS, 2))
        self.balances = {
            (asset, owner): self.world.balance(asset, owner)
            for asset in ASSETS
            for owner in (*(account.address for account in ACCOUNTS), HTLC_ADDRESS)
        }

    @rule(
        target=locks,
        payer=accounts,
        payee=accounts,
        asset=assets,
        amount=amounts,
        preimage=st.sampled_from(PREIMAGES),
        lifetime=st.sampled_from([200, 400]),
        pause=pauses,
    )
    def lock(
        self,
        payer: Account,
        payee: Account,
        asset: bytes,
        amount: int,
        preimage: Preimage,
        lifetime: int,
        pause: int,
    ) -> HtlcLock:
        self.world.chain.timestamp += pause
        lock = HtlcLock(
            chain_id=self.world.chain.chain_id,
            contract=HTLC_ADDRESS,
            payment_hash=preimage.payment_hash,
            token=asset,
            amount=amount,
            payee=payee.address,
            payer=payer.address,
            deadline=GENESIS_TIME + lifetime,
            terms_hash=bytes(32),
        )
        now = self.world.chain.timestamp
        allowed = now < lock.deadline and lock not in self.statuses and lock.payment_hash not in self.spent
        with _succeeds_only_if(allowed):
            self.world.lock(lock, payer=payer)
        if allowed:
            self.statuses[lock] = LockStatus.LOCKED
            self._move(asset, payer.address, HTLC_ADDRESS, amount)
        return lock

    @rule(lock=locks, sender=accounts, by_claim=st.booleans(), pause=pauses)
    def end(self, lock: HtlcLock, sender: Account, by_claim: bool, pause: int) -> None:
        self.world.chain.timestamp += pause
        # One rule for both, because hypothesis may omit whole rules in a run.
        self._end(lock, sender, by_claim)

    def _end(self, lock: HtlcLock, sender: Account, by_claim: bool) -> None:
        if by_claim:
            self._claim(lock, sender)
        else:
            self._refund(lock, sender)

    def _claim(self, lock: HtlcLock, sender: Account) -> None:
        allowed = self.statuses.get(lock) is LockStatus.LOCKED
        with _succeeds_only_if(allowed):
            self.world.claim(lock, SECRETS[lock.payment_hash], sender=sender)
        if allowed:
            self.statuses[lock] = LockStatus.CLAIMED
            self.spent.add(lock.payment_hash)
            self._move(lock.token, HTLC_ADDRESS, lock.payee, lock.amount)

    def _refund(self, lock: HtlcLock, sender: Account) -> None:
        in_time = self.world.chain.timestamp >= lock.deadline or sender.address == lock.payee
        allowed = self.statuses.get(lock) is LockStatus.LOCKED and in_time
        with _succeeds_only_if(allowed):
            self.world.refund(lock, sender=sender)
        if allowed:
            self.statuses[lock] = LockStatus.REFUNDED
            self._move(lock.token, HTLC_ADDRESS, lock.payer, lock.amount)

    @invariant()
    def the_contract_holds_what_is_predicted(self) -> None:
        for asset in ASSETS:
            assert self.world.balance(asset, HTLC_ADDRESS) == self.balances[asset, HTLC_ADDRESS]

    def every_balance_is_as_predicted(self) -> None:
        for (asset, owner), balance in self.balances.items():
            assert self.world.balance(asset, owner) == balance

    def teardown(self) -> None:
        self.every_balance_is_as_predicted()
        for lock, status in self.statuses.items():
            assert self.world.status(lock) is status
        for payment_hash in SECRETS:
            assert self.world.spent(payment_hash) is (payment_hash in self.spent)
        # Every lock can be ended, and at the end only the gifts are left.
        self.world.chain.timestamp = GENESIS_TIME + 10_000
        for number, lock in enumerate(self.statuses):
            if self.statuses[lock] is LockStatus.LOCKED:
                self._end(lock, ACCOUNTS[0], number % 2 == 0)
        self.every_balance_is_as_predicted()

    def _move(self, asset: bytes, giver: bytes, taker: bytes, amount: int) -> None:
        self.balances[asset, giver] -= amount
        self.balances[asset, taker] += amount


@contextmanager
def _succeeds_only_if(allowed: bool) -> Iterator[None]:
    if allowed:
        yield
    else:
        with pytest.raises(Reverted):
            yield


TestMoneyConservation = Swaps.TestCase
TestMoneyConservation.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, derandomize=True, database=None
)
