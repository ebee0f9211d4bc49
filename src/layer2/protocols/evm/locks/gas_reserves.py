"""Reserving the gas that open swaps need for their remaining acts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from layer2.contracts.htlc import CLAIM_GAS, LOCK_GAS_ERC20, REFUND_GAS
from layer2.legs.views import Side
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


class GasReserves:
    """The gas that each open lock may still need. Amounts of gas are reserved; prices are read when they are needed.

    Args:
        node: the party's own node.
        address: the account that pays; 20 bytes.
        fees: prices.
    """

    def __init__(self, node: EvmNode, address: bytes, fees: Fees) -> None:
        self._node = node
        self._address = address
        self._fees = fees
        self._reserved: dict[bytes, tuple[int, ...]] = {}
        self._checked: dict[bytes, tuple[tuple[int, ...], float]] = {}

    def reserve(self, lock_id: bytes, side: Side) -> None:
        """Reserve gas for an open swap until ``free``. This never fails, even if the price of gas rises."""
        self._reserved[lock_id] = _gas_limits(side)
        self._checked.pop(lock_id, None)

    def free(self, lock_id: bytes) -> None:
        """Release the gas of a lock. It does nothing if none is reserved."""
        self._reserved.pop(lock_id, None)
        self._checked.pop(lock_id, None)

    async def check(self, lock_id: bytes, side: Side) -> None:
        """Check that the account can pay for every act that this side may need.

        For a new swap, the gas of open swaps counts too, and its own gas stays reserved for half a minute. For a swap
        that already has a reserve, only its own gas counts: a higher price must not stop an agreed swap.

        Raises:
            InsufficientFunds: there is not enough gas.
        """
        price, balance = await asyncio.gather(self._fees.urgent_quote(), self._node.balance(self._address))
        now = asyncio.get_running_loop().time()
        self._checked = {other: (gas, until) for other, (gas, until) in self._checked.items() if until > now}
        gas_limits = _gas_limits(side)
        needed, others = _wei(gas_limits, price), 0
        if lock_id not in self._reserved:
            checked = [gas for other, (gas, _) in self._checked.items() if other != lock_id]
            others = sum(_wei(gas, price) for gas in [*self._reserved.values(), *checked])
        if balance < needed + others:
            others_text = f", and other open swaps {others}" if others else ""
            problem = f"the swap needs up to {needed} wei for gas{others_text}; the account has {balance}"
            raise self._fees.lack_of_gas(problem)
        if lock_id not in self._reserved:
            self._checked[lock_id] = (gas_limits, now + _CHECKED_SECONDS)

    async def check_balance(self, messages: Sequence[Message], price: FeeQuote) -> None:
        """Check that the account can pay for acts of an open swap.

        Raises:
            InsufficientFunds: there is not enough gas.
        """
        balance = await self._node.balance(self._address)
        needed = sum(price.most(message.gas_limit, SIGNED_SIZE) for message in messages)
        if balance < needed:
            raise self._fees.lack_of_gas(f"the act needs up to {needed} wei for gas, the account has {balance}")

    async def check_spare(self, wei: int) -> None:
        """Check that the account can spend an amount on an optional act and still finish its open swaps.

        Raises:
            InsufficientFunds: the gas is reserved for open swaps.
        """
        price, balance = await asyncio.gather(self._fees.urgent_quote(), self._node.balance(self._address))
        kept = sum(_wei(gas, price) for gas in self._reserved.values())
        if balance < wei + kept:
            problem = f"the act needs up to {wei} wei for gas, and open swaps {kept}; the account has {balance}"
            raise self._fees.lack_of_gas(problem)


def _gas_limits(side: Side) -> tuple[int, ...]:
    match side:
        case Side.PAYER:
            return (APPROVE_GAS, LOCK_GAS_ERC20, REFUND_GAS)
        case Side.PAYEE:
            return (CLAIM_GAS, REFUND_GAS)


def _wei(gas_limits: tuple[int, ...], price: FeeQuote) -> int:
    return sum(price.reserve(gas_limit, SIGNED_SIZE) for gas_limit in gas_limits)
