"""Prices for transactions: for execution (EIP-1559), and the parameters of an OP-stack chain's additional fees.

The price is twice the base fee plus the configured tip, limited by the cap. Sources: EIP-1559; ``contracts.l1_block``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.aio.shared_call import SharedCall
from layer2.contracts.l1_block import L1_BLOCK, L1_BLOCK_SLOTS, L1Parameters
from layer2.errors import BadAnswer, FundsRulesError, InsufficientFunds
from layer2.model.layers import LayerFacts
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["TRANSFER_GAS", "FeeQuote", "Fees"]

TRANSFER_GAS = 21_000
"""The gas of a transfer of the native coin to an account without code."""

_QUOTE_LIFE = 2.0
_NO_L1_FEES = (0,) * len(L1_BLOCK_SLOTS)
_L1_RESERVE_FACTOR = 3
"""The L1 fee may rise before a reserve is used, so reserves count a multiple of today's fee."""


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """Prices for a transaction that is signed now."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    l1: L1Parameters
    base_fee: int
    """The base fee of the newest block, in wei for each gas."""

    def most(self, gas_limit: int, size: int) -> int:
        """The maximum fee, in wei, of a transaction with this gas limit and signed size."""
        return gas_limit * self.max_fee_per_gas + self.l1.data_fee_bound(size) + self.l1.operator_fee(gas_limit)

    def reserve(self, gas_limit: int, size: int) -> int:
        """The wei to keep for a transaction that may become necessary later."""
        return self.most(gas_limit, size) + (_L1_RESERVE_FACTOR - 1) * self.l1.data_fee_bound(size)


class Fees:
    """Reads prices from the node, at most once in two seconds. That is one block, and prices include a factor of two.

    Args:
        node: the party's own node.
        settings: the cap and the tip.
        facts: the layer's fee model.
    """

    def __init__(self, node: EvmNode, settings: EvmSettings, facts: LayerFacts) -> None:
        self._node = node
        self._settings = settings
        self._slots = L1_BLOCK_SLOTS if facts.fee_model == "op_stack" else ()
        self.coin = facts.native_asset
        """The name of the coin that pays gas."""
        self._prices = SharedCall(self._ask, _QUOTE_LIFE)

    async def quote(self) -> FeeQuote:
        """Prices for transactions that can wait.

        Raises:
            FundsRulesError: the price exceeds ``max_fee_per_gas_wei``.
        """
        base_fee, l1 = await self._prices.get()
        tip, cap = self._settings.priority_fee_per_gas_wei, self._settings.max_fee_per_gas_wei
        if base_fee + tip > cap:
            raise FundsRulesError(
                f"gas costs {base_fee + tip} wei now, more than max_fee_per_gas_wei, which is {cap}",
                code="fee_cap",
                retryable=True,
                remedy="wait, or raise max_fee_per_gas_wei",
            )
        return FeeQuote(min(2 * base_fee + tip, cap), tip, l1, base_fee)

    async def urgent_quote(self) -> FeeQuote:
        """Prices for a claim or a refund, which must not wait. They may exceed ``max_fee_per_gas_wei``."""
        base_fee, l1 = await self._prices.get()
        tip = 2 * self._settings.priority_fee_per_gas_wei
        return FeeQuote(4 * base_fee + tip, tip, l1, base_fee)

    def lack_of_gas(self, problem: str) -> InsufficientFunds:
        """The error for an account that cannot pay for gas."""
        return InsufficientFunds(problem, remedy=f"send {self.coin} for gas to the account")

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._prices.aclose()

    async def _ask(self) -> tuple[int, L1Parameters]:
        # Not in a separate coroutine, which would start a tick later and miss the batch of the head.
        storage = asyncio.gather(*[self._node.storage(L1_BLOCK, slot) for slot in self._slots])
        head, values = await asyncio.gather(self._node.head(Finality.LATEST), storage)
        base_fee = head.header.base_fee_per_gas
        if base_fee is None:
            raise BadAnswer("the chain has no base fee (EIP-1559), so this client cannot be used with it")
        return base_fee, L1Parameters.from_storage(values or _NO_L1_FEES, head.header.extra_data)
