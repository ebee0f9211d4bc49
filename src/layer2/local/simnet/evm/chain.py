"""One EVM chain of the simnet: blocks, states and branches, executed by py-evm under Prague's rules.

It keeps its own list of canonical blocks, so that a branch can be replaced; py-evm's database holds headers
and states of every branch by their hash. It knows nothing of pools, clocks, finality or RPC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import rlp  # type: ignore[import-untyped]  # the package carries no types
from eth.abc import BlockHeaderAPI, ComputationAPI, ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.consensus.context import ConsensusContext
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.db.chain import ChainDB
from eth.exceptions import (
    InsufficientFunds,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
    VMError,
    WriteProtection,
)
from eth.rlp.headers import BlockHeader
from eth.validation import validate_gas_limit
from eth.vm.chain_context import ChainContext
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address, BlockNumber
from eth_utils.exceptions import ValidationError

from layer2.contracts.factory import DETERMINISTIC_FACTORY, FACTORY_CODE
from layer2.formats.evm_address import to_checksum
from layer2.formats.keccak import keccak256
from layer2.local.network import CHAIN_IDS

__all__ = [
    "BLOCK_GAS_LIMIT",
    "BOB_CHAIN_ID",
    "CALL_GAS_LIMIT",
    "CallFailed",
    "CallOutOfGas",
    "CallRefused",
    "CallRequest",
    "EvmChain",
    "MinedBlock",
    "SimulatedCall",
]

BLOCK_GAS_LIMIT = 60_000_000
BOB_CHAIN_ID = CHAIN_IDS["BOB"]
TRANSFER_GAS = 21_000
CALL_GAS_LIMIT = 50_000_000
_FEE_VAULT = Address(bytes.fromhex("4200000000000000000000000000000000000011"))
_GENESIS_BASE_FEE = 1_000_000
_ELASTICITY, _DENOMINATOR = 6, 250
# Holocene's form: version 0, then denominator and elasticity.
_EXTRA_DATA = bytes(1) + _DENOMINATOR.to_bytes(4, "big") + _ELASTICITY.to_bytes(4, "big")

# What op-geth says where py-evm raises these; other failures keep py-evm's words.
_GETH_WORDS: dict[type[VMError], str] = {
    InsufficientFunds: "insufficient balance for transfer",
    InvalidJumpDestination: "invalid jump destination",
    WriteProtection: "write protection",
}


class _BobVM(PragueVM):
    """Prague's rules, with BOB's parameters of the base fee."""

    consensus_class = NoProofConsensus

    @classmethod
    def validate_gas(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        validate_gas_limit(header.gas_limit, parent_header.gas_limit)
        if header.base_fee_per_gas != _base_fee_after(parent_header):
            raise ValidationError("a base fee that does not follow from the parent")


def _base_fee_after(parent: BlockHeaderAPI) -> int:
    """The base fee of the next block: EIP-1559 with BOB's elasticity and denominator."""
    fee, target = int(parent.base_fee_per_gas or 0), parent.gas_limit // _ELASTICITY
    if parent.gas_used == target:
        return fee
    change = fee * abs(parent.gas_used - target) // target // _DENOMINATOR
    return fee + max(change, 1) if parent.gas_used > target else fee - change


def _header_after(parent: BlockHeaderAPI, **fields: Any) -> BlockHeaderAPI:
    # py-evm assigns this method where pyright sees only the abstract one.
    header = _BobVM.create_header_from_parent(  # pyright: ignore[reportAbstractUsage]
        parent, gas_limit=BLOCK_GAS_LIMIT, coinbase=_FEE_VAULT, extra_data=_EXTRA_DATA, **fields
    )
    # py-evm knows only Ethereum's own parameters.
    return cast(BlockHeaderAPI, header.copy(base_fee_per_gas=_base_fee_after(parent)))


@dataclass(frozen=True, slots=True)
class MinedBlock:
    """A block with what executing it gave."""

    header: BlockHeaderAPI
    transactions: tuple[SignedTransactionAPI, ...]
    receipts: tuple[ReceiptAPI, ...]
    size: int
    """Length of the block's RLP in bytes."""
    contracts: tuple[bytes | None, ...]
    """The address that each transaction created, None where it created none."""

    @property
    def number(self) -> int:
        """The block's height."""
        return int(self.header.block_number)

    @property
    def hash(self) -> bytes:
        """keccak of the RLP of the header."""
        return bytes(self.header.hash)

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return int(self.header.timestamp)

    @property
    def base_fee(self) -> int:
        """Wei for each gas (EIP-1559)."""
        return int(self.header.base_fee_per_gas or 0)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A message as in ``eth_call``; it is not signed and pays nothing unless it names a gas price."""

    sender: bytes
    to: bytes
    """20 bytes, or empty to create a contract."""
    value: int
    data: bytes
    gas: int
    gas_price: int = 0


class CallFailed(Exception):
    """A simulated call did not succeed; ``revert_data`` is None where it did not end in REVERT."""

    def __init__(self, message: str, revert_data: bytes | None = None) -> None:
        super().__init__(message)
        self.revert_data = revert_data


class CallRefused(CallFailed):
    """A simulated call could not begin."""


class CallOutOfGas(CallFailed):
    """A simulated call needed more gas than it had."""


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """What became of one call of a simulation."""

    output: bytes
    gas_used: int
    logs: tuple[tuple[bytes, tuple[int, ...], bytes], ...]
    """Address, topics and data of each."""
    error: CallFailed | None


class EvmChain:
    """One canonical branch on top of a genesis block.

    Args:
        allocation: genesis balances in wei, by address.
        timestamp: the genesis block's, in unix seconds.
        chain_id: what transactions of this chain are signed for.
    """

    def __init__(self, allocation: Mapping[bytes, int], timestamp: int, chain_id: int = BOB_CHAIN_ID) -> None:
        self.chain_id = chain_id
        self._context = ChainContext(chain_id)
        self._database = AtomicDB()
        self._headers = ChainDB(self._database)
        self._consensus = ConsensusContext(self._database)
        before = BlockHeader(difficulty=0, block_number=BlockNumber(-1), gas_limit=0)
        state = _BobVM.build_state(self._database, before, self._context)
        for address, balance in allocation.items():
            state.set_balance(Address(address), balance)
        state.set_nonce(Address(DETERMINISTIC_FACTORY), 1)
        state.set_code(Address(DETERMINISTIC_FACTORY), FACTORY_CODE)
        state.persist()
        header = _BobVM.create_genesis_header(
            timestamp=timestamp,
            gas_limit=BLOCK_GAS_LIMIT,
            base_fee_per_gas=_GENESIS_BASE_FEE,
            extra_data=_EXTRA_DATA,
            state_root=state.state_root,
        )
        self._headers.persist_header(header)
        size = len(rlp.encode(_BobVM.get_block_class()(header, [], [])))
        genesis = MinedBlock(header, (), (), size, ())
        self._canonical = [genesis]
        self._blocks = {genesis.hash: genesis}
        self._positions: dict[bytes, tuple[int, int]] = {}

    @property
    def head(self) -> MinedBlock:
        """The newest canonical block."""
        return self._canonical[-1]

    def block_by_number(self, number: int) -> MinedBlock | None:
        """The canonical block at that height, None where there is none yet."""
        return self._canonical[number] if 0 <= number < len(self._canonical) else None

    def block_by_hash(self, block_hash: bytes) -> MinedBlock | None:
        """The block with that hash, on whatever branch, None where there never was one."""
        return self._blocks.get(block_hash)

    def is_canonical(self, block: MinedBlock) -> bool:
        """Whether the block is on the canonical branch."""
        return self.block_by_number(block.number) is block

    def position(self, transaction_hash: bytes) -> tuple[MinedBlock, int] | None:
        """The canonical block that holds the transaction, and its index there."""
        found = self._positions.get(transaction_hash)
        return None if found is None else (self._canonical[found[0]], found[1])

    def state_at(self, block: MinedBlock) -> StateAPI:
        """The state after the block; changes to it are never kept."""
        return self._state(block.header)

    def next_base_fee(self) -> int:
        """The base fee of the block that follows the head, in wei (EIP-1559)."""
        return _base_fee_after(self.head.header)

    def append(
        self, transactions: Iterable[SignedTransactionAPI], timestamp: int, *, branch: int = 0
    ) -> tuple[MinedBlock, tuple[SignedTransactionAPI, ...]]:
        """Make the block that follows the head.

        Args:
            transactions: in their order; those that the state does not allow are left out.
            timestamp: unix seconds, later than the head's.
            branch: makes blocks that are otherwise equal differ, through the header's prevRandao.

        Returns:
            The block, and the transactions that were left out.
        """
        parent = self.head
        header = _header_after(
            parent.header,
            timestamp=timestamp,
            mix_hash=keccak256(parent.hash + branch.to_bytes(8, "big")),
        )
        vm = _BobVM(header, self._headers, self._context, self._consensus)
        included: list[SignedTransactionAPI] = []
        receipts: list[ReceiptAPI] = []
        contracts: list[bytes | None] = []
        refused: list[SignedTransactionAPI] = []
        for transaction in transactions:
            try:
                receipt, computation = vm.apply_transaction(header, transaction)
            except ValidationError:
                refused.append(transaction)
                continue
            header = vm.add_receipt_to_header(header, receipt)
            included.append(transaction)
            receipts.append(receipt)
            contracts.append(bytes(computation.msg.storage_address) if transaction.to == b"" else None)
        filled = vm.set_block_transactions_and_withdrawals(vm.get_block(), header, included, receipts)
        sealed = vm.mine_block(filled).block
        self._headers.persist_header(sealed.header)
        block = MinedBlock(
            sealed.header,
            tuple(included),
            tuple(receipts),
            len(rlp.encode(sealed)),
            tuple(contracts),
        )
        self._canonical.append(block)
        self._blocks[block.hash] = block
        for index, transaction in enumerate(included):
            self._positions[bytes(transaction.hash)] = (block.number, index)
        return block, tuple(refused)

    def roll_back(self, depth: int) -> tuple[MinedBlock, ...]:
        """Take the last blocks off the canonical branch and return them, oldest first.

        Raises:
            ValueError: there are not that many blocks after the genesis block.
        """
        if not 0 < depth < len(self._canonical):
            raise ValueError(f"cannot remove {depth} of {len(self._canonical) - 1} blocks")
        removed = tuple(self._canonical[-depth:])
        del self._canonical[-depth:]
        for block in removed:
            for transaction in block.transactions:
                del self._positions[bytes(transaction.hash)]
        return removed

    def call(self, request: CallRequest, block: MinedBlock) -> bytes:
        """Execute a message on the state after the block, in the block's own context, and return its output.

        Raises:
            CallFailed: it reverted, ran out of gas, or its sender cannot pay the value.
        """
        output, error = self._attempt(request, self._free_state(block))
        if error is not None:
            raise error
        return output

    def estimate_gas(self, request: CallRequest, block: MinedBlock) -> int:
        """The least gas limit, to about 1.5 percent, with which the message succeeds after the block.

        Raises:
            CallFailed: it fails with all the gas that it may have.
        """
        state = self._free_state(block)
        # A limit that allows no transaction at all is not looked at, as in op-geth.
        most = request.gas if request.gas >= TRANSFER_GAS else CALL_GAS_LIMIT
        request = replace(request, gas=most)
        _, error = self._attempt(request, state)
        if error is not None:
            raise error
        if not request.data and request.to and not state.get_code(Address(request.to)):
            return TRANSFER_GAS
        enough, too_little = request.gas, TRANSFER_GAS - 1
        while enough - too_little > enough * 3 // 200:
            # Most calls need little of what they may have, so the search starts near the bottom.
            middle = min((enough + too_little) // 2, too_little * 2)
            _, error = self._attempt(replace(request, gas=middle), state)
            if error is None:
                enough = middle
            else:
                too_little = middle
        return enough

    def simulate(
        self, requests: Iterable[CallRequest], block: MinedBlock, root: bytes, *, number: int, timestamp: int
    ) -> tuple[list[SimulatedCall], bytes]:
        """Execute messages one after another in a made-up block; none of it becomes part of the chain.

        Args:
            requests: in their order; each sees what those before it did.
            block: the real block that the made-up one comes after.
            root: the state that they begin with, ``block``'s or the one that simulating before gave.
            number: the made-up block's.
            timestamp: the made-up block's, in unix seconds.

        Returns:
            What became of each, and the state's root after all of them.

        Raises:
            CallRefused: one of them could not begin.
        """
        made_up = block.header.copy(
            base_fee_per_gas=0, state_root=root, block_number=BlockNumber(number), timestamp=timestamp
        )
        state = self._state(made_up)
        calls = [self._simulated(request, state) for request in requests]
        state.persist()
        return calls, bytes(state.state_root)

    def _simulated(self, request: CallRequest, state: StateAPI) -> SimulatedCall:
        computation = self._execute(request, state)
        used = request.gas - computation.get_gas_remaining()
        used -= min(computation.get_gas_refund(), used // 5)
        output = bytes(computation.output)
        if computation.is_error:
            return SimulatedCall(b"", used, (), _failure(computation.error, output))
        logs = tuple([(bytes(address), topics, payload) for address, topics, payload in computation.get_log_entries()])
        return SimulatedCall(output, used, logs, None)

    def _state(self, header: BlockHeaderAPI) -> StateAPI:
        ancestors = _BobVM.get_prev_hashes(header.parent_hash, self._headers) or ()
        return _BobVM.build_state(self._database, header, self._context, ancestors)

    def _free_state(self, block: MinedBlock) -> StateAPI:
        """The state after the block in a context where gas may cost nothing."""
        return self._state(block.header.copy(base_fee_per_gas=0))

    def _attempt(self, request: CallRequest, state: StateAPI) -> tuple[bytes, CallFailed | None]:
        snapshot = state.snapshot()
        try:
            computation = self._execute(request, state)
        except CallRefused as error:
            return b"", error
        finally:
            state.revert(snapshot)
        if not computation.is_error:
            return bytes(computation.output), None
        return b"", _failure(computation.error, bytes(computation.output))

    def _execute(self, request: CallRequest, state: StateAPI) -> ComputationAPI:
        sender = Address(request.sender)
        unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(sender),
            max_priority_fee_per_gas=request.gas_price,
            max_fee_per_gas=request.gas_price,
            gas=request.gas,
            to=Address(request.to),
            value=request.value,
            data=request.data,
            access_list=[],
        )
        balance, cost = state.get_balance(sender), request.value + request.gas * request.gas_price
        if balance < cost:
            raise CallRefused(
                f"insufficient funds for gas * price + value: address {to_checksum(request.sender)} "
                f"have {balance} want {cost}"
            )
        if request.gas < unsigned.intrinsic_gas:
            raise CallRefused(f"intrinsic gas too low: have {request.gas}, want {unsigned.intrinsic_gas}")
        try:
            # A SpoofTransaction stands for a signed one by forwarding attributes, which no type can say.
            spoofed = cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=sender))
            return state.apply_transaction(spoofed)
        except ValidationError as error:
            raise CallRefused(str(error)) from error


def _failure(error: VMError, output: bytes) -> CallFailed:
    if isinstance(error, Revert):
        return CallFailed("execution reverted", output)
    if isinstance(error, OutOfGas):
        return CallOutOfGas("out of gas")
    if isinstance(error, InvalidInstruction) and (opcode := re.search("0x[0-9a-f]+", str(error))):
        number = int(opcode[0], 16)
        name = "INVALID" if number == 0xFE else f"opcode {number:#x} not defined"
        return CallFailed(f"invalid opcode: {name}")
    for kind, words in _GETH_WORDS.items():
        if isinstance(error, kind):
            return CallFailed(words)
    return CallFailed(str(error))
