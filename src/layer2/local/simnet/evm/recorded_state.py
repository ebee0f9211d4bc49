"""A state that records what is read from it and written to it.

The output of a message stays the same while nothing that the message read has changed, so a chain that knows what each
block wrote need not execute the message again. A record may name too much, never too little.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final, TypeAlias, cast

from eth import constants
from eth.abc import (
    AtomicDatabaseAPI,
    ComputationAPI,
    MessageAPI,
    OpcodeAPI,
    StateAPI,
    TransactionContextAPI,
)
from eth.db.account import AccountDB
from eth.vm import opcode_values
from eth.vm.code_stream import CodeStream
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.opcode import as_opcode
from eth_typing import Address, Hash32

__all__ = ["THE_BLOCK", "AccountField", "RecordedState", "StateKey"]


class AccountField(Enum):
    """A part of an account other than its storage; WHOLE is the account with its storage."""

    WHOLE = auto()
    BALANCE = auto()
    NONCE = auto()
    CODE = auto()
    EXISTENCE = auto()


StateKey: TypeAlias = tuple[bytes, AccountField | int]
"""An address with a field, or with the number of a slot of its storage."""

THE_BLOCK: Final[StateKey] = (b"the block", 0)
"""Read by a message that asks for the block's time, height or another of its fields. Every block has its own."""

_OPCODES_OF_THE_BLOCK: Final = (
    opcode_values.BLOCKHASH,
    opcode_values.COINBASE,
    opcode_values.TIMESTAMP,
    opcode_values.NUMBER,
    opcode_values.DIFFICULTY,
    opcode_values.GASLIMIT,
    opcode_values.BASEFEE,
    opcode_values.BLOBBASEFEE,
)


class _RecordedAccounts(AccountDB):
    """Records each access where the execution makes it, above all caches."""

    def __init__(self, db: AtomicDatabaseAPI, state_root: Hash32 = constants.BLANK_ROOT_HASH) -> None:
        self.reads: set[StateKey] = set()
        self.writes: set[StateKey] = set()
        super().__init__(db, state_root)

    def get_storage(self, address: Address, slot: int, from_journal: bool = True) -> int:
        self.reads.add((address, slot))
        return super().get_storage(address, slot, from_journal)

    def get_balance(self, address: Address) -> int:
        self.reads.add((address, AccountField.BALANCE))
        return super().get_balance(address)

    def get_nonce(self, address: Address) -> int:
        self.reads.add((address, AccountField.NONCE))
        return super().get_nonce(address)

    def get_code_hash(self, address: Address) -> Hash32:
        self.reads.add((address, AccountField.CODE))
        return super().get_code_hash(address)

    def account_exists(self, address: Address) -> bool:
        self.reads.add((address, AccountField.EXISTENCE))
        return super().account_exists(address)

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        self.writes.add((address, slot))
        super().set_storage(address, slot, value)

    def set_balance(self, address: Address, balance: int) -> None:
        self.writes |= {(address, AccountField.BALANCE), (address, AccountField.EXISTENCE)}
        super().set_balance(address, balance)

    def set_nonce(self, address: Address, nonce: int) -> None:
        self.writes |= {(address, AccountField.NONCE), (address, AccountField.EXISTENCE)}
        super().set_nonce(address, nonce)

    def set_code(self, address: Address, code: bytes) -> None:
        self.writes |= {(address, AccountField.CODE), (address, AccountField.EXISTENCE)}
        super().set_code(address, code)

    def delete_code(self, address: Address) -> None:
        self.writes.add((address, AccountField.CODE))
        super().delete_code(address)

    def touch_account(self, address: Address) -> None:
        self.writes.add((address, AccountField.EXISTENCE))
        super().touch_account(address)

    def delete_account(self, address: Address) -> None:
        self.writes.add((address, AccountField.WHOLE))
        super().delete_account(address)

    def delete_storage(self, address: Address) -> None:
        self.writes.add((address, AccountField.WHOLE))
        super().delete_storage(address)


def _recorded(opcode: OpcodeAPI) -> OpcodeAPI:
    """An opcode whose result the block decides, and which records that it was executed."""

    def execute(computation: ComputationAPI) -> None:
        cast(RecordedState, computation.state).read_block()
        opcode(computation)

    # The original takes the gas.
    return as_opcode(execute, opcode.mnemonic, 0)


@lru_cache(maxsize=256)
def _positions(code: bytes) -> tuple[set[int], set[int]]:
    """The positions in the code at which an instruction is known to begin, and those at which none does."""
    return set(), set()


class _RecordedComputation(PragueComputation):
    """Executions of the same code share what they find out about the targets of its jumps."""

    def __init__(self, state: StateAPI, message: MessageAPI, transaction_context: TransactionContextAPI) -> None:
        super().__init__(state, message, transaction_context)
        code = cast(CodeStream, self.code)
        code.valid_positions, code.invalid_positions = _positions(message.code)

    opcodes = PragueComputation.opcodes | {
        value: _recorded(PragueComputation.opcodes[value]) for value in _OPCODES_OF_THE_BLOCK
    }


class RecordedState(PragueState):
    """Prague's state with a record of accesses."""

    account_db_class = _RecordedAccounts
    computation_class = _RecordedComputation
    _account_db: _RecordedAccounts

    @property
    def reads(self) -> set[StateKey]:
        """What was read since the state was made, or since ``forget_reads``."""
        reads = self._account_db.reads
        return reads | {(address, AccountField.WHOLE) for address, _ in reads}

    @property
    def writes(self) -> set[StateKey]:
        """What was written since the state was made, also by what was reverted."""
        return self._account_db.writes

    def forget_reads(self) -> None:
        """Begin a new record of reads."""
        self._account_db.reads.clear()

    def read_block(self) -> None:
        """Record that a message asked for a field of the block."""
        self._account_db.reads.add(THE_BLOCK)
