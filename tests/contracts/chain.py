"""A chain in this process for contract tests: py-evm, free gas, and time as the test says.

Gas costs nothing, so that balances are those of the contracts' doing alone. Nothing is mined: each transaction
is applied to the state as the first of a block at ``timestamp``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from eth.abc import StateAPI
from eth.chains.base import MiningChain
from eth.consensus.applier import ConsensusApplier
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.exceptions import VMError
from eth.vm.base import VM
from eth.vm.forks.prague import PragueVM
from eth.vm.spoof import SpoofTransaction
from eth_keys.datatypes import PrivateKey
from eth_typing import Address
from vyper.compiler import compile_code  # type: ignore[import-untyped]  # the compiler ships no types

from layer2.contracts.erc20 import balance_of_call, decode_uint256
from layer2.contracts.factory import DETERMINISTIC_FACTORY, FACTORY_CODE, deployed_address, deployment_call
from layer2.formats.evm_revert import decode_revert

GENESIS_TIME = 1_700_000_000
WEALTH = 10**24


@dataclass(frozen=True)
class Account:
    """An account without code, and its key."""

    name: str
    key: PrivateKey = field(repr=False)
    address: bytes

    @classmethod
    def named(cls, name: str) -> Account:
        key = PrivateKey(hashlib.sha256(name.encode()).digest())
        return cls(name, key, key.public_key.to_canonical_address())


TAKER = Account.named("taker")
PROVIDER = Account.named("provider")
STRANGER = Account.named("stranger")
ACCOUNTS = (TAKER, PROVIDER, STRANGER)
_READER = b"\xee" * 20  # who calls; it never sends, so its nonce is 0


@dataclass(frozen=True)
class Log:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Receipt:
    gas_used: int
    logs: tuple[Log, ...]
    output: bytes


class Reverted(Exception):
    """The transaction or call had no effect; the message is the contract's reason."""

    @classmethod
    def of(cls, error: VMError) -> Reverted:
        output = error.args[0] if error.args else b""
        return cls(decode_revert(output) if isinstance(output, bytes) else f"{type(error).__name__}: {error}")


class Chain:
    """One chain. ``fork`` copies it."""

    def __init__(self, chain: MiningChain, chain_id: int, timestamp: int) -> None:
        self._chain = chain
        self.chain_id = chain_id
        self.timestamp = timestamp

    @classmethod
    def genesis(cls, rules: type[VM] = PragueVM, chain_id: int = 60808) -> Chain:
        """Start a chain with funded accounts and the deployment factory."""
        configured = MiningChain.configure(
            "ContractTestChain",
            vm_configuration=ConsensusApplier(NoProofConsensus).amend_vm_configuration(((0, rules),)),
            chain_id=chain_id,
        )
        state: Any = {account.address: _genesis_account(balance=WEALTH) for account in ACCOUNTS}
        state[DETERMINISTIC_FACTORY] = _genesis_account(code=FACTORY_CODE)
        params: Any = {
            "difficulty": 0,
            "gas_limit": 10**9,
            "timestamp": GENESIS_TIME - 1,
            "base_fee_per_gas": 0,
        }
        chain = configured.from_genesis(AtomicDB(), params, state)
        return cls(chain, chain_id, GENESIS_TIME)  # type: ignore[arg-type]  # py-evm names the base class

    def fork(self) -> Chain:
        """Copy this chain. Later changes to one do not affect the other."""
        copy = type(self._chain)(self._chain.chaindb.db, self._chain.header)
        return Chain(copy, self.chain_id, self.timestamp)

    def deploy(self, init_code: bytes, salt: bytes = bytes(32)) -> bytes:
        """Create a contract through the factory and return its address."""
        self.send(STRANGER, DETERMINISTIC_FACTORY, deployment_call(salt, init_code), gas=5_000_000)
        return deployed_address(salt, init_code)

    def send(self, sender: Account, to: bytes, data: bytes = b"", *, value: int = 0, gas: int = 1_000_000) -> Receipt:
        """Apply a signed transaction; raises ``Reverted`` if it failed."""
        header = self._chain.header.copy(timestamp=self.timestamp)
        transaction = (
            self._chain.create_unsigned_transaction(
                nonce=self._state.get_nonce(Address(sender.address)),
                gas_price=0,
                gas=gas,
                to=Address(to),
                value=value,
                data=data,
            )
        ).as_signed_transaction(sender.key, chain_id=self.chain_id)
        vm = self._chain.get_vm(header)
        receipt, computation = vm.apply_transaction(header, transaction)
        vm.state.persist()
        self._chain.header = header.copy(state_root=vm.state.state_root)
        if computation.is_error:
            raise Reverted.of(computation.error)
        logs = tuple(
            Log(entry.address, tuple(topic.to_bytes(32, "big") for topic in entry.topics), entry.data)
            for entry in receipt.logs
        )
        return Receipt(receipt.gas_used, logs, computation.output)

    def call(self, to: bytes, data: bytes) -> bytes:
        """Run a call and discard its effects; raises ``Reverted`` if it failed."""
        unsigned = self._chain.create_unsigned_transaction(
            nonce=0, gas_price=0, gas=1_000_000, to=Address(to), value=0, data=data
        )
        header = self._chain.header.copy(timestamp=self.timestamp)
        try:
            return self._chain.get_transaction_result(
                SpoofTransaction(unsigned, from_=_READER),  # type: ignore[arg-type]  # as py-evm means it
                header,
            )
        except VMError as error:
            raise Reverted.of(error) from error

    def code(self, address: bytes) -> bytes:
        """Read the code at an address."""
        return self._state.get_code(Address(address))

    def balance(self, address: bytes) -> int:
        """Read a balance of the native coin."""
        return self._state.get_balance(Address(address))

    def token_balance(self, token: bytes, owner: bytes) -> int:
        return decode_uint256(self.call(token, balance_of_call(owner)))

    @property
    def _state(self) -> StateAPI:
        return self._chain.get_vm(self._chain.header).state


def _genesis_account(*, balance: int = 0, code: bytes = b"") -> dict[str, Any]:
    return {"balance": balance, "nonce": 0, "code": code, "storage": {}}


@cache
def compiled(name: str) -> bytes:
    """Compile ``vyper_sources/<name>.vy`` and return its creation code."""
    return compiled_text((Path(__file__).parent / "vyper_sources" / f"{name}.vy").read_text())


def compiled_text(source: str) -> bytes:
    """Compile a contract and return its creation code."""
    code: str = compile_code(source, output_formats=["bytecode"], no_bytecode_metadata=True)["bytecode"]
    return bytes.fromhex(code.removeprefix("0x"))
