"""Bitcoin of one account outside of locks: its balance, and its transfers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from layer2.contracts.erc20 import balance_of_call, decimals_call, decode_decimals, transfer_call
from layer2.errors import ConfigurationError, FormatError, InsufficientFunds
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_hex import format_data
from layer2.protocols.evm.fees.estimates import Estimates
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE, GasReserves
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.settings import EvmAsset
from layer2.protocols.evm.tokens.transfers import TokenTransfer, token_number, transfer_gas

__all__ = ["AccountBitcoin", "BitcoinCoin", "BitcoinToken", "Transfer"]

Transfer: TypeAlias = tuple[EvmTransactionRequest, Callable[[], Awaitable[int]]]
"""A transfer, and what checks it before it is signed and returns its gas limit."""


class AccountBitcoin(ABC):
    """What represents bitcoin on a chain, for one account. Amounts are in its smallest unit."""

    @abstractmethod
    async def check(self) -> None:
        """Check that the chain has it, as the configuration describes it.

        Raises:
            ConfigurationError: it has not.
        """

    @abstractmethod
    async def units(self) -> int:
        """The account's balance."""

    @abstractmethod
    def transfer(self, recipient: bytes, units: int) -> Transfer:
        """A transfer to an account of 20 bytes."""


class BitcoinToken(AccountBitcoin):
    """An ERC-20 token.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        asset: the token.
    """

    def __init__(self, node: EvmNode, address: bytes, asset: EvmAsset) -> None:
        self._node = node
        self._address = address
        self._asset = asset
        self._name = to_checksum(asset.token)

    async def check(self) -> None:
        """See ``AccountBitcoin``: the token's decimals."""
        answer = await self._node.call(self._asset.token, decimals_call())
        try:
            decimals = decode_decimals(answer)
        except FormatError as error:
            raise ConfigurationError(f"there is no ERC-20 token at {self._name} on this chain") from error
        if decimals != self._asset.decimals:
            raise ConfigurationError(f"token_decimals is {self._asset.decimals}, the token {self._name} has {decimals}")

    async def units(self) -> int:
        """See ``AccountBitcoin``."""
        return token_number(await self._node.call(self._asset.token, balance_of_call(self._address)))

    def transfer(self, recipient: bytes, units: int) -> Transfer:
        """See ``AccountBitcoin``: it is simulated first."""
        token = self._asset.token
        request = EvmTransactionRequest(to=self._name, data=transfer_call(recipient, units))
        return request, partial(transfer_gas, self._node, TokenTransfer(token, self._address, recipient, units))


class BitcoinCoin(AccountBitcoin):
    """The chain's own coin, which also pays gas.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        estimates: the gas of a transfer.
        fees: its price.
        gas: what open swaps still need of the same balance.
    """

    def __init__(self, node: EvmNode, address: bytes, estimates: Estimates, fees: Fees, gas: GasReserves) -> None:
        self._node = node
        self._address = address
        self._estimates = estimates
        self._fees = fees
        self._gas = gas

    async def check(self) -> None:
        """See ``AccountBitcoin``: the chain id is enough."""
        return

    async def units(self) -> int:
        """See ``AccountBitcoin``."""
        return await self._node.balance(self._address)

    def transfer(self, recipient: bytes, units: int) -> Transfer:
        """See ``AccountBitcoin``: what open swaps need stays in the account."""
        request = EvmTransactionRequest(to=format_data(recipient), value=units)
        return request, partial(self._gas_limit, request)

    async def _gas_limit(self, request: EvmTransactionRequest) -> int:
        balance = await self._node.balance(self._address)
        if balance < request.value:
            raise InsufficientFunds(f"the account cannot send {request.value} wei: it has {balance}")
        gas = await self._estimates.gas(request)
        # As for other requests: execution may cost more on the state of the next block.
        gas_limit = gas + gas // 5
        await self._gas.check_spare(request.value + (await self._fees.quote()).most(gas_limit, SIGNED_SIZE))
        return gas_limit
