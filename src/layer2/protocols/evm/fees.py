"""What a transaction costs at most: execution (EIP-1559), L1 data (Fjord) and the operator's part (Isthmus).

The L1 and operator parameters are read from the storage of the L1Block predeploy, as op-geth itself does. A chain
without it has zeros there and no such fees. Sources: EIP-1559; OP stack specification, Ecotone, Fjord and Isthmus.
The operator fee of Jovian is computed otherwise and is not known here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.errors import BadAnswer, FundsRulesError
from layer2.protocols.evm.node import EvmNode
from layer2.protocols.evm.settings import EvmSettings
from layer2.protocols.evm.shared_call import SharedCall
from layer2.transactions import Finality

__all__ = ["TRANSFER_GAS", "FeeQuote", "Fees", "L1Parameters"]

TRANSFER_GAS = 21_000
"""Gas of a transfer of the native coin to an account without code."""

_L1_BLOCK = bytes.fromhex("4200000000000000000000000000000000000015")
_SLOT_BASE_FEE, _SLOT_SCALARS, _SLOT_BLOB_BASE_FEE, _SLOT_OPERATOR = 1, 3, 7, 8
_QUOTE_LIFE = 2.0
_L1_RESERVE_FACTOR = 3
"""Today's L1 fee may be a multiple of it by the time that one has to act."""


@dataclass(frozen=True, slots=True)
class L1Parameters:
    """What the chain charges for L1 data and for its operator, as its newest block has it."""

    base_fee: int
    blob_base_fee: int
    base_fee_scalar: int
    blob_base_fee_scalar: int
    operator_fee_scalar: int
    operator_fee_constant: int

    def data_fee_bound(self, size: int) -> int:
        """The most wei that the L1 data of a transaction costs.

        Args:
            size: bytes of the signed transaction. Compressed it is charged less; never more than this.
        """
        compressed = size + size // 255 + 16
        scaled_size = max(100_000_000, 836_500 * compressed - 42_585_600)
        price = 16 * self.base_fee_scalar * self.base_fee + self.blob_base_fee_scalar * self.blob_base_fee
        return scaled_size * price // 10**12

    def operator_fee(self, gas: int) -> int:
        """The operator's part in wei."""
        return gas * self.operator_fee_scalar // 1_000_000 + self.operator_fee_constant


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """Prices for a transaction that is made now."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    l1: L1Parameters

    def most(self, gas_limit: int, size: int) -> int:
        """The most wei that a transaction with this gas limit and signed size takes, its value not counted."""
        return gas_limit * self.max_fee_per_gas + self.l1.data_fee_bound(size) + self.l1.operator_fee(gas_limit)

    def reserve(self, gas_limit: int, size: int) -> int:
        """What has to be kept for a transaction that may have to be made later."""
        return self.most(gas_limit, size) + (_L1_RESERVE_FACTOR - 1) * self.l1.data_fee_bound(size)


class Fees:
    """Asks the node for prices, at most once in two seconds: that is one block, and prices carry a factor of two."""

    def __init__(self, node: EvmNode, settings: EvmSettings) -> None:
        self._node = node
        self._settings = settings
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
        return FeeQuote(min(2 * base_fee + tip, cap), tip, l1)

    async def urgent_quote(self) -> FeeQuote:
        """Prices for what must not be left: a claim or a refund. No cap holds it back."""
        base_fee, l1 = await self._prices.get()
        tip = 2 * self._settings.priority_fee_per_gas
        return FeeQuote(4 * base_fee + tip, tip, l1)

    async def aclose(self) -> None:
        """End a request that is under way."""
        await self._prices.aclose()

    async def _ask(self) -> tuple[int, L1Parameters]:
        head, base_fee, scalars, blob_base_fee, operator = await asyncio.gather(
            self._node.head(Finality.LATEST),
            self._node.storage(_L1_BLOCK, _SLOT_BASE_FEE),
            self._node.storage(_L1_BLOCK, _SLOT_SCALARS),
            self._node.storage(_L1_BLOCK, _SLOT_BLOB_BASE_FEE),
            self._node.storage(_L1_BLOCK, _SLOT_OPERATOR),
        )
        if head.header.base_fee_per_gas is None:
            raise BadAnswer("the chain has no base fee (EIP-1559); it is not one that this client serves")
        scalar_word, operator_word = scalars.to_bytes(32, "big"), operator.to_bytes(32, "big")
        return head.header.base_fee_per_gas, L1Parameters(
            base_fee=base_fee,
            blob_base_fee=blob_base_fee,
            base_fee_scalar=int.from_bytes(scalar_word[16:20], "big"),
            blob_base_fee_scalar=int.from_bytes(scalar_word[20:24], "big"),
            operator_fee_scalar=int.from_bytes(operator_word[20:24], "big"),
            operator_fee_constant=int.from_bytes(operator_word[24:32], "big"),
        )
