"""The HTLC contract's allowance over the payer's tokens: one approval, shared by all locks that need it.

The payer approves the maximum amount once. Exact approvals would have to change while several locks are open, and each
change overwrites the allowance that another lock relies on. They would not be safer either: the contract takes only
what its caller locks, its code has no owner and no upgrade, and its address commits to the code. For the same reason no
spender can exploit the race between an old and a new allowance.

Until an approval is mined, each lock that needs it contains the same signed bytes in its act. The act that is performed
first sends it, sending it again is harmless, and no lock depends on another act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from layer2.contracts.erc20 import allowance_call, approve_call, balance_of_call, decode_accepted, transfer_call
from layer2.contracts.htlc import LOCK_GAS_ERC20, HtlcLock, lock_call, refund_call
from layer2.errors import FormatError, FundsRulesError, InsufficientFunds, NodeError, NodeRefused, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import Finality
from layer2.protocols.evm.fees.quotes import FeeQuote
from layer2.protocols.evm.locks.gas_reserves import APPROVE_GAS, GasReserves
from layer2.protocols.evm.locks.money import LockMoney
from layer2.protocols.evm.rpc.node import BlockRef, EvmNode, NodeBlock
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.signing import Message
from layer2.protocols.evm.tokens.simulation import SimulatedBlock, SimulatedMessage, simulate
from layer2.protocols.evm.tokens.transfers import TokenTransfer, check_accepted, token_number, transfer_gas

__all__ = ["Approvals"]

_UNLIMITED = (1 << 256) - 1
_FRESH_SECONDS = 5.0
"""How long an unknown approval counts as being sent. It keeps its nonce at least twice as long."""

_NEXT = b""
"""A placeholder for the lock that is about to be signed, among the locks that share an approval."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    signed: tuple[SignedTransaction, ...]
    since: float


class Approvals(LockMoney):
    """Locks of an ERC-20 token: checks and signs them together with the approvals that they need.

    Args:
        node: the party's own node.
        account: signs.
        gas: whether the account can pay.
    """

    def __init__(self, node: EvmNode, account: EvmAccount, gas: GasReserves) -> None:
        self._node = node
        self._account = account
        self._gas = gas
        self._turn = asyncio.Lock()
        self._under_way: dict[bytes, _UnderWay] = {}
        self._sharing: dict[bytes, set[bytes]] = {}

    async def check_owned(self, lock: HtlcLock) -> None:
        """See ``LockMoney``."""
        balance = token_number(await self._node.call(lock.token, balance_of_call(lock.payer)))
        if balance < lock.amount:
            raise InsufficientFunds(
                f"the account has {balance} of the token's smallest unit, the lock needs {lock.amount}"
            )

    async def check_payout(self, lock: HtlcLock) -> None:
        """See ``LockMoney``."""
        try:
            await self.check_deliverable(lock)
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

    async def check_deliverable(self, lock: HtlcLock) -> None:
        """See ``LockMoney``: a simulated transfer."""
        await transfer_gas(self._node, TokenTransfer(lock.token, lock.contract, lock.payee, lock.amount))

    async def check(self, lock: HtlcLock, head: NodeBlock) -> None:
        """Simulate the lock, and its refund after the deadline, which must return the whole amount.

        Args:
            lock: the lock.
            head: the newest block, after which the simulation starts.

        Raises:
            TransactionError: the token refuses the approval (``token_refused``); the node cannot simulate
                (``no_simulation``).
            FundsRulesError: the lock or its refund would fail, or the refund would return less (``token_refused``).
        """
        # Read at the same block: another lock's approval may be mined meanwhile.
        approvals = _approvals(lock, await self._allowance(lock, head.hash))
        balance = SimulatedMessage(lock.payer, lock.token, balance_of_call(lock.payer))
        locking = [
            balance,
            *[SimulatedMessage(lock.payer, lock.token, message.data) for message in approvals],
            SimulatedMessage(lock.payer, lock.contract, lock_call(lock)),
        ]
        refunding = [SimulatedMessage(lock.payer, lock.contract, refund_call(lock)), balance]
        before, *approved, locked, refunded, after = await simulate(
            self._node,
            [
                SimulatedBlock(locking, time=head.timestamp + 1),
                SimulatedBlock(refunding, time=max(lock.deadline, head.timestamp + 2)),
            ],
            after=head.hash,
        )
        for answer in approved:
            check_accepted(answer, "approve")
        for what, answer in (("lock", locked), ("refund", refunded)):
            if answer.failure is not None:
                raise _refused(f"the {what} would fail: {answer.failure}")
        had, has = token_number(before.output), token_number(after.output)
        if had != has:
            raise _refused(f"after a refund the payer would have {has} of the token's smallest unit instead of {had}")

    async def sign(self, lock: HtlcLock, price: FeeQuote) -> list[SignedTransaction]:
        """Sign the lock and the approvals that it needs. An approval that is not mined yet is shared. Nothing is sent.

        Args:
            lock: the lock.
            price: the price of every transaction.

        Returns:
            The transactions in the order in which they have to be sent. The last one is the lock.

        Raises:
            InsufficientFunds: the account cannot pay for the gas.
        """
        # One at a time, so that each call finds the approvals of earlier ones.
        async with self._turn:
            shared = await self._shared(lock.token)
            try:
                return await self._sign_after(shared, lock, price)
            finally:
                for approval in shared[-1:]:
                    self._sharing.get(approval.hash, set()).discard(_NEXT)

    async def _sign_after(
        self, shared: Sequence[SignedTransaction], lock: HtlcLock, price: FeeQuote
    ) -> list[SignedTransaction]:
        message = Message(lock.contract, lock_call(lock), 0, LOCK_GAS_ERC20)
        # Read after the receipt, so that the answer includes a mined approval.
        missing = _approvals(lock, await self._allowance(lock))
        if missing and shared:
            await self._gas.check_balance([message], price)
            (signed,) = await self._account.sign([message], price)
            if signed.transaction.nonce > shared[-1].transaction.nonce:
                self._sharing.setdefault(shared[-1].hash, set()).add(signed.hash)
                return [*shared, signed]
            # It got a lower, returned nonce, so it would be mined before the approval.
            self._account.give_back([signed])
        await self._gas.check_balance([*missing, message], price)
        all_signed = await self._account.sign([*missing, message], price)
        if missing:
            self._under_way[lock.token] = _UnderWay(tuple(all_signed[:-1]), asyncio.get_running_loop().time())
            self._sharing[all_signed[-2].hash] = {all_signed[-1].hash}
        return all_signed

    def unshared(self, transactions: Sequence[SignedTransaction]) -> Sequence[SignedTransaction]:
        """Remove a lock from those that share its approval, and return the transactions that no other act contains.

        Args:
            transactions: the result of ``sign``.
        """
        *approvals, lock = transactions
        if approvals:
            last = approvals[-1].hash
            sharing = self._sharing.get(last, set())
            sharing.discard(lock.hash)
            if sharing:
                return [lock]
            self._sharing.pop(last, None)
            self._under_way = {
                token: under_way for token, under_way in self._under_way.items() if under_way.signed[-1].hash != last
            }
        return transactions

    async def _shared(self, token: bytes) -> tuple[SignedTransaction, ...]:
        """The approval that is signed and not mined; empty if there is none, or if it may be lost."""
        under_way = self._under_way.get(token)
        if under_way is None:
            return ()
        last = under_way.signed[-1]
        if await self._node.receipt(last.hash) is not None:
            self._sharing.pop(last.hash, None)
        else:
            fresh = asyncio.get_running_loop().time() - under_way.since < _FRESH_SECONDS
            is_good = fresh or await self._node.knows_transaction(last.hash)
            # It may have been discarded while the node was asked. From here on ``_NEXT`` prevents that.
            if is_good and self._under_way.get(token) is under_way:
                self._sharing.setdefault(last.hash, set()).add(_NEXT)
                return under_way.signed
        self._under_way.pop(token, None)
        return ()

    async def _allowance(self, lock: HtlcLock, at: BlockRef = Finality.LATEST) -> int:
        return token_number(await self._node.call(lock.token, allowance_call(lock.payer, lock.contract), at=at))

    async def _check_payout_call(self, lock: HtlcLock) -> None:
        try:
            answer = await self._node.call(lock.token, transfer_call(lock.payee, lock.amount), sender=lock.contract)
            accepted = decode_accepted(answer)
        except (NodeRefused, FormatError) as error:
            raise FundsRulesError(f"the token would not pay out: {error.message}; the preimage stays secret") from error
        if not accepted:
            raise FundsRulesError("the token would not pay out; the preimage stays secret")


def _refused(problem: str) -> FundsRulesError:
    return FundsRulesError(f"{problem}; nothing was signed", code="token_refused")


def _approvals(lock: HtlcLock, allowance: int) -> list[Message]:
    if allowance >= lock.amount:
        return []
    # Some tokens, USDT among them, change an allowance only from zero or to zero.
    amounts = [0, _UNLIMITED] if allowance else [_UNLIMITED]
    return [Message(lock.token, approve_call(lock.contract, each), 0, APPROVE_GAS) for each in amounts]
