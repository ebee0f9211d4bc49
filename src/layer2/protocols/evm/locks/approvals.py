"""The HTLC contract's allowance over the payer's tokens: one approval, shared by all locks that need it.

The payer approves the largest amount, once. There is no exact approval: the exact sum of several open locks would
have to be raised and lowered while they run, and a change of an allowance overwrites what another lock counts on.
Nor is there anything to win by it: the contract takes only what its caller itself locks, its code has no owner and
no upgrade, and its address commits to that code. For the same reason the approve race, in which a spender takes the
old allowance and then the new one too, has nobody to run it.

While an approval is signed and not mined, each lock that needs it carries the same signed bytes in its own act:
whichever act is performed first sends it, handing it in again is harmless, and no lock depends on another act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from layer2.contracts.erc20 import allowance_call, approve_call, balance_of_call
from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock, lock_call, refund_call
from layer2.errors import FundsRulesError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.fees.quotes import FeeQuote
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.sending.account import EvmAccount, Message
from layer2.protocols.evm.tokens.simulation import SimulatedBlock, SimulatedMessage, simulate
from layer2.protocols.evm.tokens.transfers import check_accepted, token_number

__all__ = ["APPROVE_GAS", "Approvals"]

APPROVE_GAS = 100_000
"""Measured 46,000 with a plain ERC-20; the rest is for tokens behind proxies."""

_UNLIMITED = (1 << 256) - 1
_FRESH_SECONDS = 5.0
"""How long an approval that the node does not know yet may be on its way; it keeps its nonce at least twice as long."""

_NEXT = b""
"""Stands for the lock that is about to be signed, among those that carry an approval."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    signed: tuple[SignedTransaction, ...]
    since: float


class Approvals:
    """Checks and signs locks together with the approvals that they need.

    Args:
        node: the party's own node.
        account: whose key signs.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, account: EvmAccount, protocol: str) -> None:
        self._node = node
        self._account = account
        self._protocol = protocol
        self._turn = asyncio.Lock()
        self._under_way: dict[bytes, _UnderWay] = {}
        self._carriers: dict[bytes, set[bytes]] = {}

    async def check(self, lock: HtlcLock, head: NodeBlock) -> None:
        """Simulate that the lock takes its amount, and that a refund after its deadline brings all of it back.

        Args:
            lock: what is to be locked.
            head: the newest block; its state is what the simulation begins with.

        Raises:
            TransactionError: the token refuses the approval (``token_refused``); the node cannot simulate
                (``no_simulation``).
            FundsRulesError: the lock or its refund would fail, or less would come back (``token_refused``).
        """
        approvals = _approvals(lock.token, lock.amount, await self._allowance(lock))
        look = SimulatedMessage(lock.payer, lock.token, balance_of_call(lock.payer))
        locking = [
            look,
            *[SimulatedMessage(lock.payer, lock.token, message.data) for message in approvals],
            SimulatedMessage(lock.payer, HTLC_ADDRESS, lock_call(lock)),
        ]
        refunding = [SimulatedMessage(lock.payer, HTLC_ADDRESS, refund_call(lock)), look]
        before, *approved, locked, refunded, after = await simulate(
            self._node,
            [
                SimulatedBlock(locking, time=head.timestamp + 1),
                SimulatedBlock(refunding, time=max(lock.deadline, head.timestamp + 2)),
            ],
            protocol=self._protocol,
            after=head.hash,
        )
        for answer in approved:
            check_accepted(answer, "approve", protocol=self._protocol)
        for what, answer in (("lock", locked), ("refund", refunded)):
            if answer.failure is not None:
                raise self._refused(f"the {what} would fail: {answer.failure}")
        had, has = [token_number(look.output, protocol=self._protocol) for look in (before, after)]
        if had != has:
            raise self._refused(f"a refund would leave the payer {has} of the token's smallest unit, it has {had}")

    async def sign(
        self,
        lock: HtlcLock,
        message: Message,
        price: FeeQuote,
        check_gas: Callable[[Sequence[Message], FeeQuote], Awaitable[None]],
    ) -> list[SignedTransaction]:
        """Sign the lock, after the approvals that are missing; those under way are shared. Nothing is sent.

        Args:
            lock: what is to be locked.
            message: the call that locks it.
            price: of every transaction.
            check_gas: refuses what the account cannot pay.

        Returns:
            In the order in which they have to be sent; the lock itself is the last.
        """
        # One at a time: what one signs, the next one finds.
        async with self._turn:
            shared = await self._shared(lock.token)
            try:
                return await self._sign_after(shared, lock, message, price, check_gas)
            finally:
                for approval in shared[-1:]:
                    self._carriers.get(approval.hash, set()).discard(_NEXT)

    async def _sign_after(
        self,
        shared: Sequence[SignedTransaction],
        lock: HtlcLock,
        message: Message,
        price: FeeQuote,
        check_gas: Callable[[Sequence[Message], FeeQuote], Awaitable[None]],
    ) -> list[SignedTransaction]:
        # Asked for after the receipt: an approval that is mined is in this answer.
        missing = _approvals(lock.token, lock.amount, await self._allowance(lock))
        if missing and shared:
            await check_gas([message], price)
            (signed,) = await self._account.sign([message], price)
            if signed.transaction.nonce > shared[-1].transaction.nonce:
                self._carriers.setdefault(shared[-1].hash, set()).add(signed.hash)
                return [*shared, signed]
            # It got an older nonce that was free, and would come before the approval.
            self._account.give_back([signed])
        await check_gas([*missing, message], price)
        all_signed = await self._account.sign([*missing, message], price)
        if missing:
            self._under_way[lock.token] = _UnderWay(tuple(all_signed[:-1]), asyncio.get_running_loop().time())
            self._carriers[all_signed[-2].hash] = {all_signed[-1].hash}
        return all_signed

    def unshared(self, transactions: Sequence[SignedTransaction]) -> Sequence[SignedTransaction]:
        """Which of an act's transactions no other act carries, once this one is discarded.

        Args:
            transactions: as ``sign`` returned them.
        """
        *approvals, lock = transactions
        if approvals:
            last = approvals[-1].hash
            carriers = self._carriers.get(last, set())
            carriers.discard(lock.hash)
            if carriers:
                return [lock]
            self._carriers.pop(last, None)
            self._under_way = {
                token: under_way for token, under_way in self._under_way.items() if under_way.signed[-1].hash != last
            }
        return transactions

    async def _shared(self, token: bytes) -> tuple[SignedTransaction, ...]:
        """The approval that was signed before and is not mined; empty where there is none to count on."""
        under_way = self._under_way.get(token)
        if under_way is None:
            return ()
        last = under_way.signed[-1]
        if await self._node.receipt(last.hash) is not None:
            self._carriers.pop(last.hash, None)
        else:
            fresh = asyncio.get_running_loop().time() - under_way.since < _FRESH_SECONDS
            is_good = fresh or await self._node.knows_transaction(last.hash)
            # It may have been discarded while the node was asked; from here on it may not.
            if is_good and self._under_way.get(token) is under_way:
                self._carriers.setdefault(last.hash, set()).add(_NEXT)
                return under_way.signed
        self._under_way.pop(token, None)
        return ()

    async def _allowance(self, lock: HtlcLock) -> int:
        answer = await self._node.call(lock.token, allowance_call(lock.payer, HTLC_ADDRESS))
        return token_number(answer, protocol=self._protocol)

    def _refused(self, problem: str) -> FundsRulesError:
        return FundsRulesError(f"{problem}; nothing was signed", code="token_refused", protocol=self._protocol)


def _approvals(token: bytes, amount: int, allowance: int) -> list[Message]:
    if allowance >= amount:
        return []
    # Some tokens, USDT among them, change an allowance only from zero or to zero.
    amounts = [0, _UNLIMITED] if allowance else [_UNLIMITED]
    return [Message(token, approve_call(HTLC_ADDRESS, each), 0, APPROVE_GAS) for each in amounts]
