"""The cost of a transaction before it is signed: its gas, the three parts of its fee, and whether the account can pay.

Sources: EIP-1559; OP stack specification (``contracts.l1_block``). The node's estimate includes EIP-150 and EIP-7623.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from layer2.aio.shared_call import SharedCall
from layer2.contracts.l1_block import L1Parameters
from layer2.errors import BadAnswer, FormatError, InsufficientFunds, NodeRefused, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.formats.keccak import keccak256
from layer2.protocols.evm.fees.prices import FeeQuote
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.requests import EvmTransaction, EvmTransactionRequest
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["Estimates", "FeeEstimate"]

_MOST_GAS = 1 << 40
_SPARE_GAS = 5
"""A fifth is added to an estimate, because execution may cost more on the state of the next block."""


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """The cost of a transaction in a block like the newest one, without its value. All amounts are in wei."""

    gas: int
    """The expected use: the node's estimate, or ``gas_limit`` if the node was not asked."""
    gas_limit: int
    execution: int
    """``gas`` at the base fee and the tip (EIP-1559), or at the gas price on a chain with one price."""
    l1_data: int
    """Exact for signed bytes in the newest block. For a request the size may differ by a few bytes. Zero on a chain
    without an L1."""
    operator: int
    """The operator's fee for ``gas``."""
    most: int
    """The fee for all of ``gas_limit`` at ``max_fee_per_gas``. The account needs this in addition to the value."""

    @property
    def total(self) -> int:
        """The sum of the three parts."""
        return self.execution + self.l1_data + self.operator


class _RemainingBalance:
    """The account's balance, less the requests of the same tick that were already checked."""

    def __init__(self, wei: int) -> None:
        self.wei = wei


class Estimates:
    """Computes gas limits and fees.

    Args:
        node: the party's own node. It sees the data of requests without a gas limit.
        sender: the account that sends requests, 20 bytes.
        fees: prices.
        chain_id: part of the signed bytes.
    """

    def __init__(self, node: EvmNode, sender: bytes, fees: Fees, *, chain_id: int) -> None:
        self._node = node
        self._sender = sender
        self._fees = fees
        self._chain_id = chain_id
        self._balance = SharedCall(self._ask_balance)

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._balance.aclose()

    def decode(self, raw: bytes) -> SignedTransaction:
        """Read a signed transaction.

        Raises:
            FormatError: the bytes are not a signed transaction of the kind that the chain accepts.
        """
        return self._fees.model.decode(raw)

    async def fee(self, transaction: EvmTransaction) -> FeeEstimate:
        """The cost of a request, or of a signed transaction of any account, now.

        The node does not see signed bytes, nor requests with a gas limit.

        Raises:
            TransactionError: the request would fail; with the contract's reason.
            FundsRulesError: the price exceeds ``max_fee_per_gas_wei``.
            FormatError: the bytes are not a signed transaction of the chain's kind.
        """
        if isinstance(transaction, bytes):
            signed = self.decode(transaction).transaction
            quote = await self._fees.urgent_quote()
            price = min(signed.max_fee_per_gas, quote.base_fee + signed.max_priority_fee_per_gas)
            return self._estimate(
                quote.l1, transaction, signed.gas_limit, signed.gas_limit, price, signed.max_fee_per_gas
            )
        quote, gas = await asyncio.gather(self._fees.quote(), self.gas(transaction))
        gas_limit = self._limit(transaction, gas)
        price = min(quote.max_fee_per_gas, quote.base_fee + quote.max_priority_fee_per_gas)
        raw = self._stand_in(transaction, gas_limit, quote)
        return self._estimate(quote.l1, raw, gas, gas_limit, price, quote.max_fee_per_gas)

    async def affordable(
        self, request: EvmTransactionRequest, measure: Callable[[], Awaitable[int]] | None = None
    ) -> tuple[int, FeeQuote]:
        """The gas limit and the price of a request, after a check that the account can pay value and fees.

        Requests of the same tick share one read of the balance, and each is checked against what the earlier ones
        leave.

        Args:
            measure: returns the gas limit; None uses the request's limit or the node's estimate.

        Raises:
            InsufficientFunds: the account cannot pay; with the amounts.
            TransactionError: the request would fail; with the contract's reason.
            FundsRulesError: the price exceeds ``max_fee_per_gas_wei``.
        """
        quote = await self._fees.quote()
        if measure is not None:
            request = replace(request, gas_limit=await measure())
        gas, remaining = await asyncio.gather(self.gas(request), self._balance.get(), return_exceptions=True)
        if isinstance(remaining, BaseException):
            raise remaining
        if isinstance(gas, BaseException):
            # A node also refuses an estimate if the account cannot pay, with a message of its own.
            if isinstance(gas, TransactionError) and remaining.wei < request.value:
                raise self._cannot_pay(request.value, 0, remaining.wei) from gas
            raise gas
        gas_limit = self._limit(request, gas)
        raw = self._stand_in(request, gas_limit, quote)
        fees = self._estimate(quote.l1, raw, gas, gas_limit, quote.max_fee_per_gas, quote.max_fee_per_gas).most
        if remaining.wei < request.value + fees:
            raise self._cannot_pay(request.value, fees, remaining.wei)
        remaining.wei -= request.value + fees
        return gas_limit, quote

    async def gas(self, request: EvmTransactionRequest) -> int:
        """The gas of a request: its own limit, or the node's estimate.

        Raises:
            TransactionError: the request would fail; with the contract's reason.
        """
        if request.gas_limit is not None:
            return request.gas_limit
        try:
            needed = await self._node.estimate_gas(
                request.recipient, request.data, sender=self._sender, value=request.value
            )
        except NodeRefused as error:
            raise TransactionError(
                f"the transaction would fail: {error.node_message}",
                code="would_fail",
                operation="eth_estimateGas",
            ) from error
        if needed > _MOST_GAS:
            raise BadAnswer(f"the node estimates {needed} gas, more than a block allows")
        return needed

    async def _ask_balance(self) -> _RemainingBalance:
        return _RemainingBalance(await self._node.balance(self._sender))

    @staticmethod
    def _limit(request: EvmTransactionRequest, gas: int) -> int:
        return gas if request.gas_limit is not None else gas + gas // _SPARE_GAS

    @staticmethod
    def _estimate(
        l1: L1Parameters, raw: bytes, gas: int, gas_limit: int, price: int, max_fee_per_gas: int
    ) -> FeeEstimate:
        data_fee = l1.data_fee(raw)
        return FeeEstimate(
            gas=gas,
            gas_limit=gas_limit,
            execution=gas * price,
            l1_data=data_fee,
            operator=l1.operator_fee(gas),
            most=gas_limit * max_fee_per_gas + data_fee + l1.operator_fee(gas_limit),
        )

    def _stand_in(self, request: EvmTransactionRequest, gas_limit: int, quote: FeeQuote) -> bytes:
        """Bytes of about the same compressed size as the signed transaction: a high nonce, and hashes as signature."""
        try:
            transaction = self._fees.model.unsigned(
                chain_id=self._chain_id,
                nonce=0xFFFF,
                gas_limit=gas_limit,
                to=request.recipient,
                value=request.value,
                data=request.data,
                price=quote.price,
            )
        except FormatError as error:
            raise TransactionError(error.message) from error
        first = keccak256(transaction.signing_hash())
        return transaction.raw(first + keccak256(first) + b"\x00")

    def _cannot_pay(self, value: int, fees: int, balance: int) -> InsufficientFunds:
        return InsufficientFunds(
            f"the account cannot pay {value} wei {f'and up to {fees} wei of fees' if fees else 'and fees'}: "
            f"it has {balance} wei left",
            remedy=f"send {self._fees.coin} to the account, or pay less",
        )
