"""One EVM chain of the simnet: blocks, states and branches, executed by py-evm under Prague's rules.

The class keeps the list of canonical blocks, so that a branch can be replaced. py-evm's database holds the headers and
states of all branches by their hashes. The state root of each header is that of the real Merkle Patricia trie. A block
of Rootstock also has a *seal*: the header that its hash belongs to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import rlp  # type: ignore[import-untyped]  # the package carries no types
from eth.abc import BlockHeaderAPI, ExecutionContextAPI, ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.consensus.context import ConsensusContext
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.db.chain import ChainDB
from eth.rlp.headers import BlockHeader
from eth.validation import validate_gas_limit
from eth.vm.chain_context import ChainContext
from eth.vm.forks.prague import PragueVM
from eth_typing import Address, BlockNumber
from eth_utils.exceptions import ValidationError

from layer2.contracts.factory import DETERMINISTIC_FACTORY, FACTORY_CODE
from layer2.formats.keccak import keccak256
from layer2.local.network import CHAIN_IDS
from layer2.local.simnet.evm.recorded_state import THE_BLOCK, RecordedState, StateKey
from layer2.local.simnet.rskj.seals import RskSeal

__all__ = [
    "BLOCK_GAS_LIMIT",
    "BOB_CHAIN_ID",
    "ChainRules",
    "EvmChain",
    "MinedBlock",
    "OpStackRules",
]

BLOCK_GAS_LIMIT = 60_000_000
BOB_CHAIN_ID = CHAIN_IDS["BOB"]
_FEE_VAULT = Address(bytes.fromhex("4200000000000000000000000000000000000011"))
_GENESIS_BASE_FEE = 1_000_000
_ELASTICITY, _DENOMINATOR = 6, 250
_KEPT_STATES = 8
# Holocene's form: version 0, then denominator and elasticity.
_EXTRA_DATA = bytes(1) + _DENOMINATOR.to_bytes(4, "big") + _ELASTICITY.to_bytes(4, "big")


class ChainRules(Protocol):
    """What one chain has and another one has not."""

    vm: type[PragueVM]
    coinbase: Address
    """The account that receives the fees."""
    extra_data: bytes
    gas_limit: int
    """Of each block."""
    genesis_base_fee: int

    def base_fee_after(self, parent: BlockHeaderAPI) -> int:
        """The base fee of the next block in wei."""
        ...

    def least_price(self, head: MinedBlock) -> int:
        """The least price for each gas, in wei, of a transaction in the next block."""
        ...

    def seal(
        self,
        header: BlockHeaderAPI,
        transactions: Sequence[SignedTransactionAPI],
        receipts: Sequence[ReceiptAPI],
        parent: MinedBlock | None,
    ) -> RskSeal | None:
        """The seal of an executed block, None if the chain has none. The first block has no parent."""
        ...


class _BobVM(PragueVM):
    """Prague's rules, with BOB's parameters of the base fee."""

    consensus_class = NoProofConsensus
    _state_class = RecordedState

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


class OpStackRules:
    """BOB's rules."""

    vm: type[PragueVM] = _BobVM
    coinbase = _FEE_VAULT
    extra_data = _EXTRA_DATA
    gas_limit = BLOCK_GAS_LIMIT
    genesis_base_fee = _GENESIS_BASE_FEE

    def base_fee_after(self, parent: BlockHeaderAPI) -> int:
        """The base fee of the next block: EIP-1559 with BOB's elasticity and denominator."""
        return _base_fee_after(parent)

    def least_price(self, head: MinedBlock) -> int:
        """The next block's base fee."""
        return _base_fee_after(head.header)

    def seal(
        self,
        header: BlockHeaderAPI,
        transactions: Sequence[SignedTransactionAPI],
        receipts: Sequence[ReceiptAPI],
        parent: MinedBlock | None,
    ) -> None:
        """None: py-evm's header is the chain's."""
        return


def _header_after(rules: ChainRules, parent: BlockHeaderAPI, timestamp: int, mix_hash: bytes) -> BlockHeaderAPI:
    # py-evm assigns this method at run time; pyright sees only the abstract one.
    header = rules.vm.create_header_from_parent(  # pyright: ignore[reportAbstractUsage]
        parent,
        gas_limit=rules.gas_limit,
        coinbase=rules.coinbase,
        extra_data=rules.extra_data,
        timestamp=timestamp,
        mix_hash=mix_hash,
    )
    # py-evm has only Ethereum's parameters of the base fee.
    return cast(BlockHeaderAPI, header.copy(base_fee_per_gas=rules.base_fee_after(parent)))


@dataclass(frozen=True, slots=True)
class MinedBlock:
    """A block and the results of its execution."""

    header: BlockHeaderAPI
    transactions: tuple[SignedTransactionAPI, ...]
    receipts: tuple[ReceiptAPI, ...]
    size: int
    """The length of the block's RLP in bytes."""
    contracts: tuple[bytes | None, ...]
    """The address of the contract that each transaction created, or None."""
    seal: RskSeal | None = None
    """The block's identity on a chain whose headers are not py-evm's."""

    @property
    def number(self) -> int:
        """The block's height."""
        return int(self.header.block_number)

    @property
    def hash(self) -> bytes:
        """The hash of the block's header."""
        return bytes(self.header.hash) if self.seal is None else self.seal.hash

    @property
    def parent_hash(self) -> bytes:
        """The hash of the block before it."""
        return bytes(self.header.parent_hash) if self.seal is None else self.seal.parent_hash

    @property
    def raw_header(self) -> bytes:
        """The header's RLP."""
        return bytes(rlp.encode(self.header))

    @property
    def timestamp(self) -> int:
        """The block's time in unix seconds."""
        return int(self.header.timestamp)

    @property
    def base_fee(self) -> int:
        """The base fee in wei for each gas (EIP-1559)."""
        return int(self.header.base_fee_per_gas or 0)


class EvmChain:
    """A genesis block and the branches on top of it, one of which is canonical.

    Args:
        allocation: genesis balances in wei, by address.
        timestamp: the genesis block's time in unix seconds.
        chain_id: the chain id that transactions are signed for.
        rules: BOB's, or another chain's.
    """

    def __init__(
        self,
        allocation: Mapping[bytes, int],
        timestamp: int,
        chain_id: int = BOB_CHAIN_ID,
        rules: ChainRules | None = None,
    ) -> None:
        self.chain_id = chain_id
        self.rules: ChainRules = OpStackRules() if rules is None else rules
        self._context = ChainContext(chain_id)
        self.database = AtomicDB()
        """Headers, codes and the nodes of all tries, by their hashes. Nothing is removed."""
        self._headers = ChainDB(self.database)
        self._consensus = ConsensusContext(self.database)
        before = BlockHeader(difficulty=0, block_number=BlockNumber(-1), gas_limit=0)
        vm = self.rules.vm
        state = vm.build_state(self.database, before, self._context)
        for address, balance in allocation.items():
            state.set_balance(Address(address), balance)
        state.set_nonce(Address(DETERMINISTIC_FACTORY), 1)
        state.set_code(Address(DETERMINISTIC_FACTORY), FACTORY_CODE)
        state.persist()
        header = vm.create_genesis_header(
            timestamp=timestamp,
            gas_limit=self.rules.gas_limit,
            base_fee_per_gas=self.rules.genesis_base_fee,
            extra_data=self.rules.extra_data,
            state_root=state.state_root,
        )
        self._headers.persist_header(header)
        size = len(rlp.encode(vm.get_block_class()(header, [], [])))
        genesis = MinedBlock(header, (), (), size, (), self.rules.seal(header, (), (), None))
        self._canonical = [genesis]
        self._blocks = {genesis.hash: genesis}
        self._positions: dict[bytes, tuple[int, int]] = {}
        self._states: OrderedDict[bytes, RecordedState] = OrderedDict()
        self._writes: dict[StateKey, list[int]] = {}
        """The heights of the canonical blocks that wrote each part of the state, ascending."""

    @property
    def head(self) -> MinedBlock:
        """The newest canonical block."""
        return self._canonical[-1]

    def block_by_number(self, number: int) -> MinedBlock | None:
        """The canonical block at that height, or None if there is none."""
        return self._canonical[number] if 0 <= number < len(self._canonical) else None

    def blocks(self, first: int, last: int) -> list[MinedBlock]:
        """The canonical blocks from one height to another, both included."""
        return self._canonical[first : last + 1]

    def block_by_hash(self, block_hash: bytes) -> MinedBlock | None:
        """The block with that hash on any branch, or None if there is none."""
        return self._blocks.get(block_hash)

    def is_canonical(self, block: MinedBlock) -> bool:
        """Whether the block is on the canonical branch."""
        return self.block_by_number(block.number) is block

    def position(self, transaction_hash: bytes) -> tuple[MinedBlock, int] | None:
        """The canonical block that holds the transaction, and its index; None if no block does.

        The index of Rootstock's payment to miners is the number of the block's signed transactions.
        """
        found = self._positions.get(transaction_hash)
        return None if found is None else (self._canonical[found[0]], found[1])

    def state_at(self, block: MinedBlock) -> StateAPI:
        """The state after the block, to be read only: its readers share it, and what they have decoded."""
        state = self._states.get(block.hash)
        if state is None:
            state = self._states[block.hash] = self.state_of(block.header)
            if len(self._states) > _KEPT_STATES:
                self._states.popitem(last=False)
        return state

    def is_unchanged(self, keys: Iterable[StateKey], one: MinedBlock, other: MinedBlock) -> bool:
        """Whether these parts of the state are known to be the same after both blocks."""
        if one is other:
            return True
        if not (self.is_canonical(one) and self.is_canonical(other)):
            return False
        first, last = sorted((one.number, other.number))
        for key in keys:
            heights = self._writes.get(key, ())
            if key == THE_BLOCK or bisect_right(heights, first) != bisect_right(heights, last):
                return False
        return True

    def least_price(self) -> int:
        """The least price for each gas, in wei, of a transaction in the block that follows the head.

        On BOB, this is the base fee (EIP-1559).
        """
        return self.rules.least_price(self.head)

    def append(
        self, transactions: Iterable[SignedTransactionAPI], timestamp: int, *, branch: int = 0
    ) -> tuple[MinedBlock, tuple[SignedTransactionAPI, ...]]:
        """Make the block that follows the head.

        Args:
            transactions: in order; those that the state does not allow are left out.
            timestamp: unix seconds, later than the head's.
            branch: a number that goes into the header's prevRandao, so that equal blocks of two branches differ.

        Returns:
            The block, and the transactions that were left out.
        """
        parent = self.head
        mix_hash = keccak256(parent.hash + branch.to_bytes(8, "big"))
        header = _header_after(self.rules, parent.header, timestamp, mix_hash)
        vm = self.rules.vm(header, self._headers, self._context, self._consensus)
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
        size = len(rlp.encode(sealed))
        seal = self.rules.seal(sealed.header, included, receipts, parent)
        block = MinedBlock(sealed.header, tuple(included), tuple(receipts), size, tuple(contracts), seal)
        self._canonical.append(block)
        self._blocks[block.hash] = block
        for index, transaction_hash in enumerate(_hashes(block)):
            self._positions[transaction_hash] = (block.number, index)
        for key in cast(RecordedState, vm.state).writes:
            self._writes.setdefault(key, []).append(block.number)
        return block, tuple(refused)

    def roll_back(self, depth: int) -> tuple[MinedBlock, ...]:
        """Remove the last blocks from the canonical branch and return them, oldest first.

        Raises:
            ValueError: the chain does not have that many blocks after the genesis block.
        """
        if not 0 < depth < len(self._canonical):
            raise ValueError(f"cannot remove {depth} of {len(self._canonical) - 1} blocks")
        removed = tuple(self._canonical[-depth:])
        del self._canonical[-depth:]
        for block in removed:
            for transaction_hash in _hashes(block):
                del self._positions[transaction_hash]
        for heights in self._writes.values():
            del heights[bisect_right(heights, self.head.number) :]
        return removed

    def path(self, start: MinedBlock, end: MinedBlock) -> tuple[list[MinedBlock], list[MinedBlock]]:
        """The blocks that a client at ``start`` has to remove and then to add to be at ``end``, each in that order."""
        removed: list[MinedBlock] = []
        added: list[MinedBlock] = []
        while start is not end:
            if start.number >= end.number:
                removed.append(start)
                start = self._blocks[start.parent_hash]
            else:
                added.append(end)
                end = self._blocks[end.parent_hash]
        return removed, added[::-1]

    def state_of(self, header: BlockHeaderAPI) -> RecordedState:
        """The state with the header's root, in the header's context; the header may belong to no block."""
        return RecordedState(self.database, self.context_of(header), header.state_root)

    def context_of(self, header: BlockHeaderAPI) -> ExecutionContextAPI:
        """What a message can read of the block with that header."""
        ancestors = self.rules.vm.get_prev_hashes(header.parent_hash, self._headers) or ()
        return self.rules.vm.create_execution_context(header, ancestors, self._context)


def _hashes(block: MinedBlock) -> list[bytes]:
    """The hashes of the block's transactions, Rootstock's payment to miners included."""
    signed = [bytes(transaction.hash) for transaction in block.transactions]
    return signed if block.seal is None else [*signed, block.seal.payment_hash]
