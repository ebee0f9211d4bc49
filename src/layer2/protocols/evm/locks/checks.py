"""Checking, before anything is signed, that an act on a lock would succeed now."""

from __future__ import annotations

import asyncio

from layer2.contracts.htlc import HtlcLock, LockStatus
from layer2.errors import FundsRulesError
from layer2.legs.views import Side
from layer2.model.transactions import Finality
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.money import LockMoney
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["LockChecks"]


class LockChecks:
    """Checks acts of one account. No request contains a preimage.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        watcher: the node's heads.
        locks: reads locks.
        events: finds earlier locks.
        money: how bitcoin gets into and out of locks.
    """

    def __init__(
        self,
        node: EvmNode,
        address: bytes,
        watcher: HeadWatcher,
        locks: Locks,
        events: LockEvents,
        money: LockMoney,
    ) -> None:
        self._node = node
        self._address = address
        self._watcher = watcher
        self._locks = locks
        self._events = events
        self._money = money

    def check_side(self, lock: HtlcLock, side: Side) -> None:
        """Check that the account is this side of the lock.

        Raises:
            FundsRulesError: it is not.
        """
        match side:
            case Side.PAYER:
                party = lock.payer
            case Side.PAYEE:
                party = lock.payee
        if party != self._address:
            raise FundsRulesError(f"this account is not the {side.value} of the lock")

    async def check_fundable(self, lock: HtlcLock) -> None:
        """Check that the account can lock, that it has not locked before, and that a refund would return everything.

        Raises:
            FundsRulesError: the lock must not be funded.
            InsufficientFunds: the account has too little.
            TransactionError: as ``LockMoney.check``.
        """
        self.check_side(lock, Side.PAYER)
        heads = await self._watcher.read()
        if heads.latest.timestamp >= lock.deadline:
            raise FundsRulesError("the lock's deadline has passed on the chain's clock")
        spent, earlier, _ = await asyncio.gather(
            self._locks.is_spent(lock.payment_hash, heads.latest),
            self._events.locked_by(lock.payer, lock.payment_hash, heads.latest),
            self._money.check_owned(lock),
        )
        if spent:
            raise FundsRulesError("the preimage of this payment hash is public: do not lock money under it")
        for found in earlier:
            # A lock that was refunded in a finalized block is over, and its hash can be used again.
            if await self._locks.status(found.event.lock_id, heads.finalized) is not LockStatus.REFUNDED:
                raise FundsRulesError(
                    f"this account has already locked under this payment hash: 0x{found.found.tx_hash.hex()}",
                    code="funded_before",
                )
        await self._money.check(lock, heads.latest)

    async def check_collectable(self, lock: HtlcLock) -> None:
        """Check, without the preimage, that a claim would pay out now.

        Raises:
            FundsRulesError: there is no open lock, or it would not be paid out.
        """
        self.check_side(lock, Side.PAYEE)
        heads = await self._watcher.read()
        if await self._locks.status(lock.lock_id, heads.latest) is not LockStatus.LOCKED:
            raise FundsRulesError("there is no open lock to claim: the preimage stays secret")
        await self._money.check_payout(lock)

    async def check_reclaimable(self, lock: HtlcLock) -> None:
        """Check that the payer can refund.

        Raises:
            FundsRulesError: the deadline has not passed (retryable), or the account is not the payer.
        """
        self.check_side(lock, Side.PAYER)
        head = await self._node.head(Finality.LATEST)
        if head.timestamp < lock.deadline:
            raise FundsRulesError(
                "the lock's deadline has not passed on the chain's clock", deadline=lock.deadline, retryable=True
            )
