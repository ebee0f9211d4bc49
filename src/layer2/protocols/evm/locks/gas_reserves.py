"""Reserving what open swaps need for their acts: gas, and the coin that a lock takes from the same balance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.contracts.htlc import CLAIM_GAS, LOCK_GAS_ERC20, LOCK_GAS_NATIVE, NATIVE_COIN, REFUND_GAS, HtlcLock
from layer2.errors import InsufficientFunds
from layer2.formats.evm_transaction import SignedTransaction
from layer2.legs.views import Side
from layer2.model.transactions import Finality
from layer2.protocols.compact_map import CompactMap
from layer2.protocols.evm.fees.quotes import FeeQuote, Fees
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.signing import Message

__all__ = ["APPROVE_GAS", "SIGNED_SIZE", "GasReserves"]

APPROVE_GAS: Final = 100_000
"""Measured: 46,000 with a plain ERC-20. The rest is for tokens behind proxies."""
SIGNED_SIZE: Final = 400
"""Bytes; the longest act, a signed claim, has 350."""
_CHECKED_SECONDS = 30.0
"""How long the gas of a checked swap stays reserved before ``reserve`` is called."""


@dataclass(frozen=True, slots=True)
class _Needs:
    """What one side of a lock may still need."""

    gas_limits: tuple[int, ...]
    coins: int
    """Wei that the lock will take; 0 if it is of a token, or has taken them."""

    def gas(self, price: FeeQuote) -> int:
        """The wei for gas."""
        return sum(price.reserve(gas_limit, SIGNED_SIZE) for gas_limit in self.gas_limits)

    def wei(self, price: FeeQuote) -> int:
        """The wei for gas and lock."""
        return self.gas(price) + self.coins


_PAYER_OF_COIN: Final = (LOCK_GAS_NATIVE, REFUND_GAS)
_PAYER_WHOSE_LOCK_IS_THERE: Final = _Needs(_PAYER_OF_COIN, 0)
_PAYER_OF_TOKEN: Final = _Needs((APPROVE_GAS, LOCK_GAS_ERC20, REFUND_GAS), 0)
_PAYEE: Final = _Needs((CLAIM_GAS, REFUND_GAS), 0)
"""Shared by all locks, however many are open."""


class _Sum:
    """The needs of many locks. Its cost does not grow with their number: few differ in their gas."""

    def __init__(self) -> None:
        self._gas: Counter[tuple[int, ...]] = Counter()
        self._coins = 0

    def add(self, needs: _Needs, sign: int = 1) -> None:
        """Add the needs of a lock, or subtract them."""
        self._gas[needs.gas_limits] += sign
        self._coins += sign * needs.coins

    def gas(self, price: FeeQuote) -> int:
        """The wei for gas."""
        return sum(count * _Needs(limits, 0).gas(price) for limits, count in self._gas.items())

    def wei(self, price: FeeQuote) -> int:
        """The wei for gas and locks."""
        return self.gas(price) + self._coins


class GasReserves:
    """The gas that each open lock may still need. Amounts of gas are reserved; prices are read when they are needed.

    A lock of the native coin takes its amount from the balance that pays gas, so both are counted together.

    Args:
        node: the party's own node.
        address: the account that pays; 20 bytes.
        fees: prices.
        payments: if bitcoin is the coin that pays gas: the account's sent transactions that are not final, except acts
            on locks. While they wait in the pool, the balance still has what they pay.
    """

    def __init__(
        self,
        node: EvmNode,
        address: bytes,
        fees: Fees,
        payments: Callable[[], Sequence[SignedTransaction]] | None = None,
    ) -> None:
        self._node = node
        self._address = address
        self._fees = fees
        self._payments = payments
        self._reserved: CompactMap[_Needs] = CompactMap()
        """By ``lock_id``."""
        self._sum = _Sum()
        """Of all that is reserved."""
        self._checked: dict[bytes, tuple[_Needs, float]] = {}
        """What swaps without a reserve need, and when they were checked; the earliest first."""
        self._checked_sum = _Sum()

    def reserve(self, lock: HtlcLock, side: Side) -> None:
        """Reserve for an open swap until ``free``. This never fails, even if the price of gas rises."""
        lock_id = lock.lock_id
        # A lock that is known to be on the chain stays so.
        if self._reserved.get(lock_id) is None:
            self._put(lock_id, _needs(lock, side))
        self._uncheck(lock_id)

    def observed(self, lock: HtlcLock, side: Side, *, is_on_chain: bool) -> None:
        """Note whether the amount of a lock has left the balance. It does nothing if none is reserved.

        A reorganisation can return it to the balance, and the lock to the pool.
        """
        if side is Side.PAYER and lock.token == NATIVE_COIN and self._reserved.get(lock.lock_id) is not None:
            self._put(lock.lock_id, _PAYER_WHOSE_LOCK_IS_THERE if is_on_chain else _needs(lock, side))

    def free(self, lock: HtlcLock) -> None:
        """Release what is reserved for a lock. It does nothing if none is reserved."""
        lock_id = lock.lock_id
        self._put(lock_id, None)
        self._uncheck(lock_id)

    def _put(self, lock_id: bytes, needs: _Needs | None) -> None:
        before = self._reserved.get(lock_id) if needs is not None else self._reserved.pop(lock_id)
        if before is not None:
            self._sum.add(before, -1)
        if needs is not None:
            self._reserved[lock_id] = needs
            self._sum.add(needs)

    def _uncheck(self, lock_id: bytes) -> None:
        if (checked := self._checked.pop(lock_id, None)) is not None:
            self._checked_sum.add(checked[0], -1)

    async def check(self, lock: HtlcLock, side: Side) -> None:
        """Check that the account can pay for every act that this side may need, and for the lock in the native coin.

        For a new swap, the needs of open swaps count too, and its own stay reserved for half a minute. For a swap that
        already has a reserve, only its own needs count: a higher price must not stop an agreed swap.

        Raises:
            InsufficientFunds: there is not enough.
        """
        lock_id = lock.lock_id
        price, balance = await asyncio.gather(self._fees.urgent_quote(), self._unspent())
        now = asyncio.get_running_loop().time()
        while self._checked and self._checked[first := next(iter(self._checked))][1] <= now - _CHECKED_SECONDS:
            self._uncheck(first)
        own = self._reserved.get(lock_id)
        needs = _needs(lock, side) if own is None else own
        needed, others = needs.wei(price), 0
        if own is None:
            others = self._sum.wei(price) + self._checked_sum.wei(price)
            if (checked := self._checked.get(lock_id)) is not None:
                others -= checked[0].wei(price)
        if balance < needed + others:
            others_text = f", and other open swaps {others}" if others else ""
            coins = needs.wei(price) - needs.gas(price)
            what = f"for the lock of {coins} wei and its gas" if coins else "for gas"
            problem = f"the swap needs up to {needed} wei {what}{others_text}; the account has {balance}"
            raise self._fees.lack_of_gas(problem)
        if own is None:
            self._uncheck(lock_id)
            self._checked[lock_id] = needs, now
            self._checked_sum.add(needs)

    async def check_balance(self, messages: Sequence[Message], price: FeeQuote) -> None:
        """Check that the account can pay for acts of an open swap.

        Raises:
            InsufficientFunds: there is not enough gas.
        """
        balance = await self._node.balance(self._address)
        needed = sum(price.most(message.gas_limit, SIGNED_SIZE) for message in messages)
        if balance < needed:
            raise self._fees.lack_of_gas(f"the act needs up to {needed} wei for gas, the account has {balance}")

    async def check_amount(self, wei: int) -> None:
        """Check that the account has an amount of the native coin.

        Raises:
            InsufficientFunds: it has less.
        """
        balance = await self._node.balance(self._address)
        if balance < wei:
            raise InsufficientFunds(f"the account has {balance} wei, the lock needs {wei}")

    async def check_lock(self, lock: HtlcLock, message: Message, price: FeeQuote) -> None:
        """Check that the account can lock the native coin and keep the gas of its other open swaps.

        Raises:
            InsufficientFunds: there is not enough.
        """
        balance, urgent = await asyncio.gather(self._node.balance(self._address), self._fees.urgent_quote())
        needed = message.value + price.most(message.gas_limit, SIGNED_SIZE)
        own = self._reserved.get(lock.lock_id)
        kept = self._sum.gas(urgent) - (0 if own is None else own.gas(urgent))
        if balance < needed + kept:
            kept_text = f", and other open swaps {kept} for gas" if kept else ""
            raise self._fees.lack_of_gas(f"the lock needs up to {needed} wei{kept_text}; the account has {balance}")

    async def check_spare(self, wei: int) -> None:
        """Check that the account can spend an amount, with its gas, and still finish its open swaps.

        Raises:
            InsufficientFunds: the balance is reserved for open swaps.
        """
        price, balance = await asyncio.gather(self._fees.urgent_quote(), self._unspent())
        kept = self._sum.wei(price)
        if balance < wei + kept:
            problem = f"the act needs up to {wei} wei, and open swaps {kept}; the account has {balance}"
            raise self._fees.lack_of_gas(problem)

    async def _unspent(self) -> int:
        """The balance less what payments in the pool will take."""
        if self._payments is None:
            return await self._node.balance(self._address)
        balance, used = await asyncio.gather(
            self._node.balance(self._address), self._node.transaction_count(self._address, Finality.LATEST)
        )
        waiting = [signed.transaction for signed in self._payments() if signed.transaction.nonce >= used]
        return balance - sum(each.value + each.gas_limit * each.max_fee_per_gas for each in waiting)


def _needs(lock: HtlcLock, side: Side) -> _Needs:
    is_native = lock.token == NATIVE_COIN
    match side:
        case Side.PAYER if is_native:
            return _Needs(_PAYER_OF_COIN, lock.amount)
        case Side.PAYER:
            return _PAYER_OF_TOKEN
        case Side.PAYEE:
            return _PAYEE
