"""How bitcoin gets into and out of locks: as an ERC-20 token (``approvals``), or as the chain's own coin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from layer2.contracts.htlc import LOCK_GAS_NATIVE, HtlcLock, lock_call
from layer2.errors import FundsRulesError, NodeRefused
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.fees.quotes import FeeQuote
from layer2.protocols.evm.locks.gas_reserves import GasReserves
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.signing import Message

__all__ = ["CoinMoney", "LockMoney"]


class LockMoney(ABC):
    """Checks and signs locks, and checks their payouts. No request contains a preimage."""

    @abstractmethod
    async def check_owned(self, lock: HtlcLock) -> None:
        """Check that the payer has the amount.

        Raises:
            InsufficientFunds: the payer has less.
        """

    @abstractmethod
    async def check(self, lock: HtlcLock, head: NodeBlock) -> None:
        """Let the node execute the lock without sending it.

        Args:
            lock: the lock.
            head: the newest block, after which it is executed.

        Raises:
            FundsRulesError: the lock would fail.
            TransactionError: it cannot be checked, or the token refuses.
        """

    @abstractmethod
    async def sign(self, lock: HtlcLock, price: FeeQuote) -> list[SignedTransaction]:
        """Sign the lock and the transactions that it needs. Nothing is sent.

        Returns:
            The transactions in the order in which they have to be sent. The last one is the lock.

        Raises:
            InsufficientFunds: the account cannot pay.
        """

    @abstractmethod
    def unshared(self, transactions: Sequence[SignedTransaction]) -> Sequence[SignedTransaction]:
        """The transactions of a discarded lock that no other act contains.

        Args:
            transactions: the result of ``sign``.
        """

    @abstractmethod
    async def check_payout(self, lock: HtlcLock) -> None:
        """Check, without the preimage, that the contract could pay the payee now.

        Raises:
            FundsRulesError: it could not.
        """

    @abstractmethod
    async def check_deliverable(self, lock: HtlcLock) -> None:
        """As ``check_payout``, for a claim that is a favour: it is refused if it cannot be checked.

        Raises:
            TransactionError: the contract could not pay the payee, or the node cannot tell.
        """


class CoinMoney(LockMoney):
    """Locks of the chain's own coin: the amount is the value of the transaction that locks it.

    Args:
        node: the party's own node.
        account: signs.
        gas: whether the account can pay amount and gas, which come out of one balance.
    """

    def __init__(self, node: EvmNode, account: EvmAccount, gas: GasReserves) -> None:
        self._node = node
        self._account = account
        self._gas = gas

    async def check_owned(self, lock: HtlcLock) -> None:
        """See ``LockMoney``. The gas is not counted here: ``GasReserves`` counts amount and gas together."""
        await self._gas.check_amount(lock.amount)

    async def check(self, lock: HtlcLock, head: NodeBlock) -> None:
        """See ``LockMoney``. A refund needs no check: it pays an account without code."""
        try:
            await self._node.call(lock.contract, lock_call(lock), sender=lock.payer, value=lock.amount, at=head.hash)
        except NodeRefused as error:
            raise FundsRulesError(f"the lock would fail: {error.node_message}; nothing was signed") from error

    async def sign(self, lock: HtlcLock, price: FeeQuote) -> list[SignedTransaction]:
        """See ``LockMoney``: one transaction."""
        message = Message(lock.contract, lock_call(lock), lock.amount, LOCK_GAS_NATIVE)
        await self._gas.check_lock(lock, message, price)
        return list(await self._account.sign([message], price))

    def unshared(self, transactions: Sequence[SignedTransaction]) -> Sequence[SignedTransaction]:
        """See ``LockMoney``: all of them."""
        return transactions

    async def check_payout(self, lock: HtlcLock) -> None:
        """See ``LockMoney``: the contract has the amount, and the payee accepts it."""
        # rskj executes a call without a look at the balance.
        if await self._node.balance(lock.contract) < lock.amount:
            raise FundsRulesError("the contract has less than the lock's amount; the preimage stays secret")
        try:
            await self._node.call(lock.payee, b"", sender=lock.contract, value=lock.amount)
        except NodeRefused as error:
            raise FundsRulesError(
                f"the contract could not pay out: {error.node_message}; the preimage stays secret"
            ) from error

    async def check_deliverable(self, lock: HtlcLock) -> None:
        """See ``LockMoney``."""
        await self.check_payout(lock)
