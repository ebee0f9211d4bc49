"""A chain with the HTLC and the test token, and the actions of the tests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth.vm.base import VM
from eth.vm.forks.prague import PragueVM

from contracts.chain import ACCOUNTS, GENESIS_TIME, PROVIDER, STRANGER, TAKER, WEALTH, Account, Chain, Receipt
from layer2.contracts.erc20 import approve_call, decode_accepted
from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    HTLC_SALT,
    NATIVE_COIN,
    HtlcEvent,
    HtlcLock,
    LockStatus,
    claim_call,
    decode_spent,
    decode_status,
    htlc_init_code,
    lock_call,
    parse_event,
    refund_call,
    spent_call,
    status_call,
)
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_SALT, mint_call, test_token_init_code
from layer2.model.transactions import Preimage

PREIMAGE = Preimage(bytes(range(32)))
OTHER_PREIMAGE = Preimage(bytes(range(1, 33)))
TERMS_HASH = b"\x7e" * 32
AMOUNT = 100_000
DEADLINE = GENESIS_TIME + 3600


@dataclass(frozen=True)
class World:
    """The taker and the provider have both assets, and have approved the HTLC for all tokens."""

    chain: Chain

    @classmethod
    def begin(cls, rules: type[VM] = PragueVM, chain_id: int = 60808) -> World:
        chain = Chain.genesis(rules, chain_id)
        assert chain.deploy(htlc_init_code(), HTLC_SALT) == HTLC_ADDRESS
        assert chain.deploy(test_token_init_code(), TEST_TOKEN_SALT) == TEST_TOKEN_ADDRESS
        for account in ACCOUNTS:
            chain.send(STRANGER, TEST_TOKEN_ADDRESS, mint_call(account.address, WEALTH))
            approved = chain.send(account, TEST_TOKEN_ADDRESS, approve_call(HTLC_ADDRESS, 2**256 - 1))
            assert decode_accepted(approved.output)
        return cls(chain)

    def fork(self) -> World:
        return World(self.chain.fork())

    def terms(self, token: bytes = NATIVE_COIN, preimage: Preimage = PREIMAGE) -> HtlcLock:
        """The terms of a lock by the taker for the provider; vary them with ``dataclasses.replace``."""
        return HtlcLock(
            chain_id=self.chain.chain_id,
            contract=HTLC_ADDRESS,
            payment_hash=preimage.payment_hash,
            token=token,
            amount=AMOUNT,
            payee=PROVIDER.address,
            payer=TAKER.address,
            deadline=DEADLINE,
            terms_hash=TERMS_HASH,
        )

    def lock(self, lock: HtlcLock, *, payer: Account = TAKER) -> Receipt:
        return self.chain.send(
            payer, HTLC_ADDRESS, lock_call(lock), value=lock.amount if lock.token == NATIVE_COIN else 0
        )

    def claim(self, lock: HtlcLock, preimage: Preimage = PREIMAGE, *, sender: Account = PROVIDER) -> Receipt:
        return self.chain.send(sender, HTLC_ADDRESS, claim_call(lock, preimage))

    def refund(self, lock: HtlcLock, *, sender: Account = TAKER) -> Receipt:
        return self.chain.send(sender, HTLC_ADDRESS, refund_call(lock))

    def status(self, lock: HtlcLock) -> LockStatus:
        return decode_status(self.chain.call(HTLC_ADDRESS, status_call(lock.lock_id)))

    def spent(self, payment_hash: bytes) -> bool:
        return decode_spent(self.chain.call(HTLC_ADDRESS, spent_call(payment_hash)))

    def balance(self, token: bytes, owner: bytes) -> int:
        """Read a balance of the native coin or of a token."""
        if token == NATIVE_COIN:
            return self.chain.balance(owner)
        return self.chain.token_balance(token, owner)


def events(receipt: Receipt) -> list[HtlcEvent]:
    """The HTLC's events in a receipt, without those of the token."""
    parsed = [parse_event(log.address, log.topics, log.data) for log in receipt.logs]
    return [event for event in parsed if event is not None]


def varied(lock: HtlcLock, **terms: int | bytes) -> HtlcLock:
    """The same lock with other terms."""
    return replace(lock, **terms)  # type: ignore[arg-type]  # the names decide the types
