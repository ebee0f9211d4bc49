"""Checking, before anything is signed, that an act on a lock would succeed now."""

from __future__ import annotations

import asyncio

from layer2.contracts.erc20 import balance_of_call, decode_accepted, transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock, LockStatus
from layer2.errors import FormatError, FundsRulesError, InsufficientFunds, NodeError, NodeRefused, TransactionError
from layer2.legs.views import Side
from layer2.model.transactions import Finality
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.locks.approvals import Approvals
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.tokens.transfers import TokenTransfer, token_number, transfer_gas

__all__ = ["LockChecks"]


class LockChecks:
    """Checks acts of one account. No request contains a preimage.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        watcher: the node's heads.
        locks: reads locks.
        events: finds earlier locks.
        approvals: simulates locks.
    """

    def __init__(
        self,
        node: EvmNode,
        address: bytes,
        watcher: HeadWatcher,
        locks: Locks,
        events: LockEvents,
        approvals: Approvals,
    ) -> None:
        self._node = node
        self._address = address
        self._watcher = watcher
        self._locks = locks
        self._events = events
        self._approvals = approvals

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

    async def check_tokens(self, lock: HtlcLock) -> None:
        """Check that the payer has the tokens to lock.

        Raises:
            InsufficientFunds: the payer has less.
        """
        balance = token_number(await self._node.call(lock.token, balance_of_call(lock.payer)))
        if balance < lock.amount:
            raise InsufficientFunds(
                f"the account has {balance} of the token's smallest unit, the lock needs {lock.amount}"
            )

    async def check_fundable(self, lock: HtlcLock) -> None:
        """Check that the account can lock, that it has not locked before, and that a refund would return everything.

        Raises:
            FundsRulesError: the lock must not be funded.
            InsufficientFunds: the account has too few tokens.
            TransactionError: as ``Approvals.check``.
        """
        self.check_side(lock, Side.PAYER)
        heads = await self._watcher.read()
        if heads.latest.timestamp >= lock.deadline:
            raise FundsRulesError("the lock's deadline has passed on the chain's clock")
        spent, earlier, _ = await asyncio.gather(
            self._locks.is_spent(lock.payment_hash, heads.latest),
            self._events.locked_by(lock.payer, lock.payment_hash, heads.latest),
            self.check_tokens(lock),
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
        await self._approvals.check(lock, heads.latest)

    async def check_collectable(self, lock: HtlcLock) -> None:
        """Check, without the preimage, that a claim would pay out now.

        Raises:
            FundsRulesError: there is no open lock, or the token would not pay out.
        """
        self.check_side(lock, Side.PAYEE)
        heads = await self._watcher.read()
        if await self._locks.status(lock.lock_id, heads.latest) is not LockStatus.LOCKED:
            raise FundsRulesError("there is no open lock to claim: the preimage stays secret")
        try:
            await transfer_gas(self._node, TokenTransfer(lock.token, HTLC_ADDRESS, lock.payee, lock.amount))
        except NodeError:
            # A claim of locked money must not depend on simulation, so a plain call is checked instead.
            await self._check_payout_call(lock)
        except TransactionError as error:
            if error.code == "no_simulation":
                await self._check_payout_call(lock)
                return
            raise FundsRulesError(
                f"the token would not pay out: {error.message}; the preimage stays secret", code=error.code
            ) from error

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

    async def _check_payout_call(self, lock: HtlcLock) -> None:
        try:
            answer = await self._node.call(lock.token, transfer_call(lock.payee, lock.amount), sender=HTLC_ADDRESS)
            accepted = decode_accepted(answer)
        except (NodeRefused, FormatError) as error:
            raise FundsRulesError(f"the token would not pay out: {error.message}; the preimage stays secret") from error
        if not accepted:
            raise FundsRulesError("the token would not pay out; the preimage stays secret")
