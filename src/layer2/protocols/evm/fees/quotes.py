"""Prices for transactions: of execution (EIP-1559), and the parameters of what an OP-stack chain takes on top of it.

Twice the base fee and the configured tip, within the cap. Sources: EIP-1559; for the rest ``contracts.l1_block``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.aio.shared_call import SharedCall
from layer2.contracts.l1_block import L1_BLOCK, L1_BLOCK_SLOTS, L1Parameters
from layer2.errors import BadAnswer, FundsRulesError
from layer2.model.layers import LayerFacts
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["TRANSFER_GAS", "FeeQuote", "Fees"]

TRANSFER_GAS = 21_000
"""Gas of a transfer of the native coin to an account without code."""

_QUOTE_LIFE = 2.0
_NO_L1_FEES = (0,) * len(L1_BLOCK_SLOTS)
_L1_RESERVE_FACTOR = 3
"""Today's L1 fee may be a multiple of it by the time that one has to act."""


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """Prices for a transaction that is made now."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    l1: L1Parameters
    base_fee: int
    """Of the newest block, in wei for each gas."""

    def most(self, gas_limit: int, size: int) -> int:
        """The most wei that a transaction with this gas limit and signed size takes, its value not counted."""
        return gas_limit * self.max_fee_per_gas + self.l1.data_fee_bound(size) + self.l1.operator_fee(gas_limit)

    def reserve(self, gas_limit: int, size: int) -> int:
        """What has to be kept for a transaction that may have to be made later."""
        return self.most(gas_limit, size) + (_L1_RESERVE_FACTOR - 1) * self.l1.data_fee_bound(size)


class Fees:
    """Asks the node for prices, at most once in two seconds: that is one block, and prices carry a factor of two.

    Args:
        node: the party's own node.
        settings: the cap and the tip.
        facts: of the layer; whether it takes more than execution.
    """

    def __init__(self, node: EvmNode, settings: EvmSettings, facts: LayerFacts) -> None:
        self._node = node
        self._settings = settings
        self._slots = L1_BLOCK_SLOTS if facts.fee_model == "op_stack" else ()
        self.coin = facts.native_asset
        """The name of the coin that pays gas."""
        self._prices = SharedCall(self._ask, _QUOTE_LIFE)

    async def quote(self) -> FeeQuote:
        """Prices for what can wait or be left.

        Raises:
            FundsRulesError: the chain asks more than ``max_fee_per_gas``.
        """
        base_fee, l1 = await self._prices.get()
        tip, cap = self._settings.priority_fee_per_gas, self._settings.max_fee_per_gas
        if base_fee + tip > cap:
            raise FundsRulesError(
                f"gas costs {base_fee + tip} wei now, the limit max_fee_per_gas is {cap}",
                code="fee_cap",
                retryable=True,
                remedy="wait, or raise max_fee_per_gas",
            )
        return FeeQuote(min(2 * base_fee + tip, cap), tip, l1, base_fee)

    async def urgent_quote(self) -> FeeQuote:
        """Prices for what must not be left: a claim or a refund. No cap holds it back."""
        base_fee, l1 = await self._prices.get()
        tip = 2 * self._settings.priority_fee_per_gas
        return FeeQuote(4 * base_fee + tip, tip, l1, base_fee)

    async def aclose(self) -> None:
        """End a request that is under way."""
        await self._prices.aclose()

    async def _ask(self) -> tuple[int, L1Parameters]:
        # No coroutine of its own for the words: that would begin a tick later and miss the batch of the head.
        words_asked = asyncio.gather(*[self._node.storage(L1_BLOCK, slot) for slot in self._slots])
        head, words = await asyncio.gather(self._node.head(Finality.LATEST), words_asked)
        base_fee = head.header.base_fee_per_gas
        if base_fee is None:
            raise BadAnswer("the chain has no base fee (EIP-1559); it is not one that this client serves")
        return base_fee, L1Parameters.from_storage(words or _NO_L1_FEES, head.header.extra_data)
