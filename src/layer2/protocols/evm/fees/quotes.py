"""Reading prices from the node. ``fees.models`` computes the price of a transaction from them.

Sources: EIP-1559; ``contracts.l1_block``; rskj, ``BlockResultDTO`` (``minimumGasPrice`` of a block).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping

from layer2.aio.shared_call import SharedCall
from layer2.contracts.l1_block import L1_BLOCK, L1_BLOCK_SLOTS, L1Parameters
from layer2.errors import BadAnswer, FormatError, InsufficientFunds
from layer2.formats.evm_header import EvmHeader
from layer2.formats.evm_hex import parse_quantity
from layer2.model.layers import LayerFacts
from layer2.model.transactions import Finality
from layer2.protocols.evm.fees.models import FEE_MODELS, FeeModel
from layer2.protocols.evm.fees.prices import FeeQuote, Market
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["TRANSFER_GAS", "FeeQuote", "Fees"]

TRANSFER_GAS = 21_000
"""The gas of a transfer of the native coin to an account without code."""

_QUOTE_LIFE = 2.0


class Fees:
    """Reads prices from the node, at most once in two seconds. That is one block, and prices include a factor of two.

    Args:
        node: the party's own node.
        settings: the cap and the tip.
        facts: the layer's fee model.
    """

    def __init__(self, node: EvmNode, settings: EvmSettings, facts: LayerFacts) -> None:
        self._settings = settings
        self.model: FeeModel = FEE_MODELS[facts.fee_model]
        """The chain's rules for prices."""
        self.coin = facts.native_asset
        """The name of the coin that pays gas."""
        self._prices = SharedCall(_market_reader(node, facts.fee_model), _QUOTE_LIFE)

    async def quote(self) -> FeeQuote:
        """Prices for transactions that can wait.

        Raises:
            FundsRulesError: the price exceeds ``max_fee_per_gas_wei``.
        """
        settings = self._settings
        return self.model.quote(
            await self._prices.get(), tip=settings.tip_per_gas_wei, cap=settings.max_fee_per_gas_wei
        )

    async def urgent_quote(self) -> FeeQuote:
        """Prices for a claim or a refund, which must not wait. They may exceed ``max_fee_per_gas_wei``."""
        return self.model.urgent_quote(await self._prices.get(), tip=self._settings.tip_per_gas_wei)

    def lack_of_gas(self, problem: str) -> InsufficientFunds:
        """The error for an account that cannot pay for gas."""
        return InsufficientFunds(problem, remedy=f"send {self.coin} for gas to the account")

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._prices.aclose()


def _market_reader(node: EvmNode, fee_model: str) -> Callable[[], Coroutine[object, None, Market]]:
    async def op_stack() -> Market:
        # Not in a separate coroutine, which would start a tick later and miss the batch of the head.
        storage = asyncio.gather(*[node.storage(L1_BLOCK, slot) for slot in L1_BLOCK_SLOTS])
        head, values = await asyncio.gather(node.head(Finality.LATEST), storage)
        header = head.header
        if not isinstance(header, EvmHeader) or header.base_fee_per_gas is None:
            raise BadAnswer("the chain has no base fee (EIP-1559), so this client cannot be used with it")
        return Market(header.base_fee_per_gas, l1=L1Parameters.from_storage(values, header.extra_data))

    async def minimum_gas_price() -> Market:
        minimum, price = await asyncio.gather(
            node.ask("eth_getBlockByNumber", _minimum_gas_price, "latest", False),
            node.ask("eth_gasPrice", parse_quantity),
        )
        return Market(minimum, price)

    return minimum_gas_price if fee_model == "minimum_gas_price" else op_stack


def _minimum_gas_price(block: object, _: str) -> int:
    if not isinstance(block, Mapping):
        raise FormatError("JSON-RPC: the newest block is not an object")
    return parse_quantity(block.get("minimumGasPrice"), "minimumGasPrice")
