"""What a transaction will cost, before it is signed: its gas, the three parts of its fee, and whether it can be paid.

Sources: EIP-1559; OP stack specification (``contracts.l1_block``). EIP-150 and EIP-7623 are in the node's own estimate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.aio.shared_call import SharedCall
from layer2.contracts.l1_block import L1Parameters
from layer2.errors import BadAnswer, FormatError, InsufficientFunds, NodeRefused, Outcome, TransactionError
from layer2.formats.evm_transaction import Eip1559Transaction, decode_signed
from layer2.formats.keccak import keccak256
from layer2.protocols.evm.fees.quotes import FeeQuote, Fees
from layer2.protocols.evm.requests import EvmTransaction, EvmTransactionRequest
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["Estimates", "FeeEstimate"]

_MOST_GAS = 1 << 40
_SPARE_GAS = 5
"""A fifth is added to an estimate: what is true of the state now may cost more in the block that comes."""


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """What a transaction costs in a block like the newest one, its value not counted. All amounts in wei."""

    gas: int
    """What it is expected to use: the node's estimate, or ``gas_limit`` where none was made."""
    gas_limit: int
    execution: int
    """``gas`` at the base fee and the tip (EIP-1559)."""
    l1_data: int
    """For signed bytes exact in the block that was asked; for a request a few bytes of data more or less."""
    operator: int
    """The operator's part of ``gas``."""
    most: int
    """With the whole ``gas_limit`` used, at ``max_fee_per_gas``: what the account has to hold besides the value."""

    @property
    def total(self) -> int:
        """The three parts."""
        return self.execution + self.l1_data + self.operator


class _Purse:
    """What the account has left, for requests that are made in the same tick."""

    def __init__(self, wei: int) -> None:
        self.wei = wei


class Estimates:
    """Gas limits and fees.

    Args:
        node: the party's own node; it is shown the data of requests that name no gas limit.
        sender: 20 bytes, the account that sends requests.
        fees: where prices come from.
        chain_id: part of what is signed.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, sender: bytes, fees: Fees, *, chain_id: int, protocol: str) -> None:
        self._node = node
        self._sender = sender
        self._fees = fees
        self._chain_id = chain_id
        self._protocol = protocol
        self._purse = SharedCall(self._ask_balance)

    async def aclose(self) -> None:
        """End a request that is under way."""
        await self._purse.aclose()

    async def fee(self, transaction: EvmTransaction) -> FeeEstimate:
        """What a request, or a signed transaction of any account, would cost now.

        Signed bytes and requests with a gas limit are not shown to the node.

        Raises:
            TransactionError: the request would fail; with the contract's reason.
            FundsRulesError: the chain asks more than ``max_fee_per_gas``.
            FormatError: bytes that are no signed transaction of type 2.
        """
        if isinstance(transaction, bytes):
            signed = decode_signed(transaction).transaction
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

    async def gas_limit(self, request: EvmTransactionRequest, quote: FeeQuote) -> int:
        """The gas limit to sign, once it is known that the account can pay value and fees.

        Requests of the same tick share one look at the balance, and each finds what those before it leave.

        Raises:
            InsufficientFunds: it cannot; with the amounts.
            TransactionError: the request would fail; with the contract's reason.
        """
        gas, purse = await asyncio.gather(self.gas(request), self._purse.get(), return_exceptions=True)
        if isinstance(purse, BaseException):
            raise purse
        if isinstance(gas, BaseException):
            # A node refuses to execute what the account cannot pay, in words of its own.
            if isinstance(gas, TransactionError) and purse.wei < request.value:
                raise self._cannot_pay(request.value, 0, purse.wei) from gas
            raise gas
        gas_limit = self._limit(request, gas)
        raw = self._stand_in(request, gas_limit, quote)
        fees = self._estimate(quote.l1, raw, gas, gas_limit, quote.max_fee_per_gas, quote.max_fee_per_gas).most
        if purse.wei < request.value + fees:
            raise self._cannot_pay(request.value, fees, purse.wei)
        purse.wei -= request.value + fees
        return gas_limit

    async def gas(self, request: EvmTransactionRequest) -> int:
        """What the request will use: its own limit, or the node's estimate.

        Raises:
            TransactionError: it would fail; with the contract's reason.
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
                protocol=self._protocol,
                operation="eth_estimateGas",
                outcome=Outcome.NOT_SENT,
            ) from error
        if needed > _MOST_GAS:
            raise BadAnswer(f"the node estimates {needed} gas, which no block holds", protocol=self._protocol)
        return needed

    async def _ask_balance(self) -> _Purse:
        return _Purse(await self._node.balance(self._sender))

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
        """Bytes like those that will be signed: with a late nonce, and a hash for what no hash foretells."""
        try:
            transaction = Eip1559Transaction(
                chain_id=self._chain_id,
                nonce=0xFFFF,
                max_priority_fee_per_gas=quote.max_priority_fee_per_gas,
                max_fee_per_gas=quote.max_fee_per_gas,
                gas_limit=gas_limit,
                to=request.recipient,
                value=request.value,
                data=request.data,
            )
        except FormatError as error:
            raise TransactionError(error.message, protocol=self._protocol) from error
        first = keccak256(transaction.signing_hash())
        return transaction.raw(first + keccak256(first) + b"\x00")

    def _cannot_pay(self, value: int, fees: int, balance: int) -> InsufficientFunds:
        return InsufficientFunds(
            f"{value} wei {f'and up to {fees} wei of fees' if fees else 'and fees'} cannot be paid: "
            f"the account has {balance} wei left",
            protocol=self._protocol,
            remedy=f"send {self._fees.coin} to the account, or pay less",
        )
