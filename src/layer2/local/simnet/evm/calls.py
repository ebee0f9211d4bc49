"""Messages executed on a state without becoming part of the chain: ``eth_call`` and gas estimates."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from eth.abc import ComputationAPI, SignedTransactionAPI, UnsignedTransactionAPI
from eth.exceptions import (
    InsufficientFunds,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
    VMError,
    WriteProtection,
)
from eth.vm.forks.prague.state import PragueTransactionExecutor
from eth.vm.forks.prague.transactions import Authorization, PragueTransactionBuilder
from eth.vm.message import Message
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from layer2.formats.evm_address import to_checksum
from layer2.local.simnet.evm.chain import EvmChain, MinedBlock
from layer2.local.simnet.evm.recorded_state import RecordedState, StateKey

__all__ = [
    "CALL_GAS_LIMIT",
    "AccessList",
    "AccountOverride",
    "CallFailed",
    "CallRefused",
    "CallRequest",
    "EvmCalls",
    "Overrides",
    "apply_overrides",
    "data_floor_gas",
    "failure_of",
]

CALL_GAS_LIMIT = 50_000_000
_TRANSFER_GAS = 21_000
_KEPT_STATES = 8
_KEPT_REQUESTS = 10_000
_KEPT_OUTPUTS = 4

# op-geth's messages for these errors of py-evm; other failures keep py-evm's message.
_GETH_MESSAGES: dict[type[VMError], str] = {
    InsufficientFunds: "insufficient balance for transfer",
    InvalidJumpDestination: "invalid jump destination",
    WriteProtection: "write protection",
}

AccessList: TypeAlias = tuple[tuple[Address, tuple[int, ...]], ...]
"""Addresses with the storage slots that are warm from the start (EIP-2930)."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """An unsigned message, as ``eth_call`` takes it. It pays for gas only if it names a gas price."""

    sender: bytes
    to: bytes
    """20 bytes, or empty to create a contract."""
    value: int
    data: bytes
    gas: int
    gas_price: int = 0
    """The most wei for each gas."""
    tip: int = 0
    """The most wei for each gas above the base fee."""
    access_list: AccessList = ()
    authorizations: tuple[Authorization, ...] | None = None
    """Delegations of accounts to code (EIP-7702); None if the message has another type."""


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """Values that replace an account's own ones while a message is executed; None keeps the account's value."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    storage: Mapping[int, int] | None = None
    """Replaces the whole storage."""
    slots: Mapping[int, int] | None = None
    """Replaces these slots only."""


Overrides: TypeAlias = Mapping[bytes, AccountOverride]
"""State overrides by address."""


class CallFailed(Exception):
    """A message did not succeed; ``revert_data`` is None unless it ended in REVERT."""

    def __init__(self, message: str, revert_data: bytes | None = None) -> None:
        super().__init__(message)
        self.revert_data = revert_data


class CallRefused(CallFailed):
    """The execution of a message could not begin."""


class _CallGasTooLow(CallRefused):
    """The gas limit of a message is below its intrinsic gas."""


class _CallOutOfGas(CallFailed):
    """A message needed more gas than it had."""


@dataclass(frozen=True, slots=True)
class _Output:
    """What a message returned after a block, and what it read."""

    output: bytes
    block: MinedBlock
    reads: Set[StateKey]


def data_floor_gas(data: bytes) -> int:
    """The least gas that a transaction with this data costs (EIP-7623)."""
    zeros = data.count(0)
    return _TRANSFER_GAS + 10 * (zeros + 4 * (len(data) - zeros))


class EvmCalls:
    """Executes messages on the states of one chain. The chain stays as it is.

    A message is not executed again while nothing changes of what it has read. Later messages use the accounts and slots
    of a block that py-evm has decoded. Many swaps ask about the same few blocks.
    """

    def __init__(self, chain: EvmChain) -> None:
        self._chain = chain
        self._states: OrderedDict[tuple[bytes, int], RecordedState] = OrderedDict()
        self._outputs: OrderedDict[CallRequest, list[_Output]] = OrderedDict()

    def call(self, request: CallRequest, block: MinedBlock, overrides: Overrides | None = None) -> bytes:
        """Execute a message on the state after the block, in the block's own context, and return its output.

        Raises:
            CallFailed: the message reverted, ran out of gas, or its sender cannot pay the value.
        """
        if not overrides and (known := self._known(request, block)) is not None:
            return known
        state = self._state(request, block, overrides)
        state.forget_reads()
        output, error = self._attempt(request, state)
        if error is not None:
            raise error
        if not overrides:
            self._keep(request, _Output(output, block, state.reads))
        return output

    def _known(self, request: CallRequest, block: MinedBlock) -> bytes | None:
        for one in self._outputs.get(request, ()):
            if self._chain.is_unchanged(one.reads, one.block, block):
                return one.output
        return None

    def _keep(self, request: CallRequest, output: _Output) -> None:
        kept = self._outputs.setdefault(request, [])
        kept.insert(0, output)
        del kept[_KEPT_OUTPUTS:]
        if len(self._outputs) > _KEPT_REQUESTS:
            self._outputs.popitem(last=False)

    def estimate_gas(self, request: CallRequest, block: MinedBlock, overrides: Overrides | None = None) -> int:
        """The least gas limit, to about 1.5 percent, with which the message succeeds after the block.

        Raises:
            CallFailed: the message fails with all the gas that it may have.
        """
        state = self._state(request, block, overrides)
        request = replace(request, gas=_allowance(request, state))
        _, error = self._attempt(request, state)
        if isinstance(error, _CallOutOfGas | _CallGasTooLow):
            raise _CallOutOfGas(f"gas required exceeds allowance ({request.gas})")
        if isinstance(error, CallRefused):
            raise CallRefused(f"failed with {request.gas} gas: {error}")
        if error is not None:
            raise error
        is_plain = not request.data and not request.access_list and request.authorizations is None
        if is_plain and request.to and not state.get_code(Address(request.to)):
            return _TRANSFER_GAS
        enough, too_little = request.gas, _TRANSFER_GAS - 1
        while enough - too_little > enough * 3 // 200:
            # Most calls need little of the gas that they may have, so the search starts near the bottom.
            middle = min((enough + too_little) // 2, too_little * 2)
            _, error = self._attempt(replace(request, gas=middle), state)
            if error is None:
                enough = middle
            else:
                too_little = middle
        return enough

    def _state(self, request: CallRequest, block: MinedBlock, overrides: Overrides | None) -> RecordedState:
        """The state after the block. If the message pays nothing for gas, the base fee is zero."""
        base_fee = block.base_fee if request.gas_price or request.tip else 0
        key = block.hash, base_fee
        if not overrides and key in self._states:
            self._states.move_to_end(key)
            return self._states[key]
        state = self._chain.state_of(block.header.copy(base_fee_per_gas=base_fee))
        apply_overrides(overrides, state)
        if not overrides:
            self._states[key] = state
            if len(self._states) > _KEPT_STATES:
                self._states.popitem(last=False)
        return state

    def _attempt(self, request: CallRequest, state: RecordedState) -> tuple[bytes, CallFailed | None]:
        snapshot = state.snapshot()
        try:
            computation = self.execute(request, state)
        except CallRefused as error:
            return b"", error
        finally:
            state.revert(snapshot)
        if not computation.is_error:
            return bytes(computation.output), None
        return b"", failure_of(computation.error, bytes(computation.output))

    def execute(self, request: CallRequest, state: RecordedState) -> ComputationAPI:
        """Execute a message as a transaction on a state, and leave its effects there.

        Raises:
            CallRefused: the execution could not begin.
        """
        sender = Address(request.sender)
        _check_prices(request, state.execution_context.base_fee_per_gas or 0)
        unsigned = self._unsigned(request, state.get_nonce(sender))
        balance, cost = state.get_balance(sender), request.value + request.gas * request.gas_price
        if balance < cost:
            raise CallRefused(
                f"insufficient funds for gas * price + value: address {to_checksum(request.sender)} "
                f"have {balance} want {cost}"
            )
        if request.gas < unsigned.intrinsic_gas:
            raise _CallGasTooLow(f"intrinsic gas too low: have {request.gas}, want {unsigned.intrinsic_gas}")
        if request.gas < (floor := data_floor_gas(request.data)):
            raise CallRefused(f"insufficient gas for floor data gas cost: have {request.gas}, want {floor}")
        try:
            # SpoofTransaction forwards attributes to the unsigned transaction, which the type checkers cannot see.
            spoofed = cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=sender))
            is_free = not (request.gas_price or request.tip or request.value) and request.authorizations is None
            if is_free and request.to:
                return _apply_free(spoofed, state)
            return state.apply_transaction(spoofed)
        except ValidationError as error:
            raise CallRefused(str(error)) from error

    def _unsigned(self, request: CallRequest, nonce: int) -> UnsignedTransactionAPI:
        fields: dict[str, Any] = {
            "chain_id": self._chain.chain_id,
            "nonce": nonce,
            "max_priority_fee_per_gas": request.tip,
            "max_fee_per_gas": request.gas_price,
            "gas": request.gas,
            "to": Address(request.to),
            "value": request.value,
            "data": request.data,
            "access_list": request.access_list,
        }
        if request.authorizations is None:
            return PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(**fields)
        sender = to_checksum(request.sender)
        if not request.to:
            raise CallRefused(f"EIP-7702 transaction cannot be used to create contract (sender {sender})")
        if not request.authorizations:
            raise CallRefused(f"EIP-7702 transaction with empty auth list (sender {sender})")
        return PragueTransactionBuilder.new_unsigned_set_code_transaction(
            **fields, authorization_list=request.authorizations
        )


def _apply_free(transaction: SignedTransactionAPI, state: RecordedState) -> ComputationAPI:
    """Execute a message that moves no coins, and whose gas costs nothing.

    It omits what py-evm does to the balances of the sender and of the block's beneficiary, which stay as they are.
    """
    executor = cast(PragueTransactionExecutor, state.get_transaction_executor())
    state.increment_nonce(transaction.sender)
    code, delegation = executor.get_code_at_address(transaction.to)
    message = Message(
        gas=transaction.gas - transaction.intrinsic_gas,
        to=transaction.to,
        sender=transaction.sender,
        value=0,
        data=transaction.data,
        code=code,
        is_delegation=delegation is not None,
    )
    computation = executor.build_computation(message, transaction)
    for account in computation.get_accounts_for_deletion():
        state.delete_account(account)
    state.clear_transient_storage()
    return computation


def _allowance(request: CallRequest, state: RecordedState) -> int:
    """The most gas that a message may have: its own limit, and what its sender can pay for."""
    # Like op-geth, ignore a limit that is too low for any transaction.
    most = request.gas if request.gas >= _TRANSFER_GAS else CALL_GAS_LIMIT
    if not request.gas_price:
        return most
    balance = state.get_balance(Address(request.sender))
    if request.value >= balance:
        raise CallRefused("insufficient funds for transfer")
    return min(most, (balance - request.value) // request.gas_price)


def _check_prices(request: CallRequest, base_fee: int) -> None:
    price = request.gas_price
    if request.tip > price:
        raise CallRefused(
            f"max priority fee per gas higher than max fee per gas: address {to_checksum(request.sender)}, "
            f"maxPriorityFeePerGas: {request.tip}, maxFeePerGas: {price}"
        )
    if price < base_fee:
        raise CallRefused(
            f"max fee per gas less than block base fee: address {to_checksum(request.sender)}, "
            f"maxFeePerGas: {price}, baseFee: {base_fee}"
        )


def apply_overrides(overrides: Overrides | None, state: RecordedState) -> None:
    """Replace values of accounts on a state."""
    if not overrides:
        return
    for name, override in overrides.items():
        address = Address(name)
        if override.balance is not None:
            state.set_balance(address, override.balance)
        if override.nonce is not None:
            state.set_nonce(address, override.nonce)
        if override.code is not None:
            state.set_code(address, override.code)
        if override.storage is not None:
            state.delete_storage(address)
        for slot, value in {**(override.storage or {}), **(override.slots or {})}.items():
            state.set_storage(address, slot, value)
    # From here on the overriding values are those from before the message, which SSTORE's gas depends on.
    state.lock_changes()


def failure_of(error: VMError, output: bytes) -> CallFailed:
    """The failure of a message, with op-geth's message for py-evm's error."""
    if isinstance(error, Revert):
        return CallFailed("execution reverted", output)
    if isinstance(error, OutOfGas):
        return _CallOutOfGas("out of gas")
    if isinstance(error, InvalidInstruction) and (opcode := re.search("0x[0-9a-f]+", str(error))):
        number = int(opcode[0], 16)
        name = "INVALID" if number == 0xFE else f"opcode {number:#x} not defined"
        return CallFailed(f"invalid opcode: {name}")
    for kind, message in _GETH_MESSAGES.items():
        if isinstance(error, kind):
            return CallFailed(message)
    return CallFailed(str(error))
