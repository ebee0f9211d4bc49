"""A message whose output is kept returns what its execution would return, after every block of every branch."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from eth.db.backends.memory import MemoryDB
from eth.vm.forks.prague.state import PragueTransactionExecutor
from eth_typing import Address

from layer2.contracts.erc20 import balance_of_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.formats.keccak import keccak256
from layer2.local.simnet.evm.calls import CallRequest, EvmCalls
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.simulations import Simulation
from simnet.bob_client import RunningBob, signed
from simnet.token_chain import deploy_token, holder, mint

_PAID = b"\x05" * 20
_RETURN = "5f5260205ff3"
_READERS = {
    "slot": "5f54",
    "own balance": "47",
    "another's balance": f"73{_PAID.hex()}31",
    "another's code hash": f"73{_PAID.hex()}3f",
    "the sender's balance": "3331",
    "time": "42",
    "height": "43",
    "parent's hash": "6001430340",
    "randomness": "44",
    "base fee": "48",
    "gas limit": "45",
    "beneficiary": "41",
}
"""Code that puts one word on the stack."""
# With data, adds one to slot 0 and stops; else continues.
_COUNTS = "3615600d5760015f54015f55005b"


def _address(creator: bytes, nonce: int) -> bytes:
    encoded = bytes([0x80 + len(creator)]) + creator + (bytes([nonce]) if nonce else b"\x80")
    return keccak256(bytes([0xC0 + len(encoded)]) + encoded)[12:]


def _deploy(bob: RunningBob) -> list[bytes]:
    """Deploy the readers in one block after the token's, and return their addresses."""
    nonce = bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.taker.address))
    addresses = []
    for place, reads in enumerate(_READERS.values()):
        code = bytes.fromhex(_COUNTS + reads + _RETURN)
        # Copies what follows its first nine bytes, and returns it.
        creation = bytes([0x60, len(code), 0x80, 0x60, 9, 0x5F, 0x39, 0x5F, 0xF3]) + code
        raw = signed(bob.taker, nonce + place, to=None, value=0, gas=1_000_000, data=creation)
        bob.node.send(raw)
        addresses.append(_address(bob.taker.address, nonce + place))
    bob.node.mine()
    return addresses


def _blocks(bob: RunningBob, addresses: list[bytes], chance: random.Random) -> Iterator[MinedBlock]:
    """Blocks with random transactions, and now and then a branch that replaces some of them."""
    chain, nonce = bob.node.chain, bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.taker.address))
    for number in range(12):
        if number % 4 == 3:
            bob.node.reorganise(chance.randint(1, 3), keep_transactions=False)
            nonce = chain.state_at(chain.head).get_nonce(Address(bob.taker.address))
        for _ in range(chance.randint(0, 3)):
            match chance.randint(0, 2):
                case 0:
                    bob.node.send(signed(bob.taker, nonce, to=_PAID))
                case 1:
                    to = chance.choice(addresses)
                    bob.node.send(signed(bob.taker, nonce, to=to, value=0, gas=60_000, data=b"\1"))
                case _:
                    mint(bob, nonce, holder(chance.randint(1, 3)), 5)
            nonce += 1
        bob.node.mine()
        yield chain.head


def _requests(bob: RunningBob, addresses: list[bytes]) -> list[CallRequest]:
    senders = bytes(20), bob.taker.address
    readers = [CallRequest(sender, address, 0, b"", 1_000_000) for sender in senders for address in addresses]
    owners = [holder(number) for number in (1, 2, 3)]
    return readers + [
        CallRequest(bytes(20), TEST_TOKEN_ADDRESS, 0, balance_of_call(each), 1_000_000) for each in owners
    ]


@pytest.mark.parametrize("seed", range(2))
async def test_a_kept_output_is_that_of_an_execution(bob: RunningBob, seed: int) -> None:
    deploy_token(bob, 3)
    addresses, chance, seen = _deploy(bob), random.Random(seed), list[MinedBlock]()
    requests, outputs = _requests(bob, addresses), set[bytes]()
    for block in _blocks(bob, addresses, chance):
        seen.append(block)
        for after in {
            block.number: block,
            **{one.number: one for one in chance.sample(seen, min(3, len(seen)))},
        }.values():
            for request in requests:
                output = bob.node.calls.call(request, after)
                assert output == EvmCalls(bob.node.chain).call(request, after)
                outputs.add(output)
    assert len(outputs) > 50


async def test_a_message_is_executed_again_only_after_a_change_of_what_it_read(
    bob: RunningBob, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_token(bob, 2)
    request = CallRequest(bytes(20), TEST_TOKEN_ADDRESS, 0, balance_of_call(holder(1)), 1_000_000)
    execute, executions = PragueTransactionExecutor.build_computation, list[bytes]()

    def counted(self: PragueTransactionExecutor, message: object, transaction: object) -> object:
        executions.append(transaction.sender)  # type: ignore[attr-defined]
        return execute(self, message, transaction)  # type: ignore[arg-type]

    first = bob.node.calls.call(request, bob.node.chain.head)
    mint(bob, 3, holder(2), 5)
    bob.node.mine()
    unchanged = bob.node.chain.head
    with monkeypatch.context() as counting:
        counting.setattr(PragueTransactionExecutor, "build_computation", counted)
        assert bob.node.calls.call(request, unchanged) == first
        assert executions == []
    mint(bob, 4, holder(1), 5)
    bob.node.mine()
    assert int.from_bytes(bob.node.calls.call(request, bob.node.chain.head)) == int.from_bytes(first) + 5
    assert bob.node.calls.call(request, unchanged) == first


async def test_a_write_below_those_that_its_branch_replaced_is_seen(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    counter, chain = _deploy(bob)[0], bob.node.chain
    nonce, parent = chain.state_at(chain.head).get_nonce(Address(bob.taker.address)), chain.head
    counts = [signed(bob.taker, nonce + n, to=counter, value=0, gas=60_000, data=b"\1") for n in range(3)]
    request = CallRequest(bytes(20), counter, 0, b"", 60_000)
    bob.node.mine()
    for raw in counts:
        bob.node.send(raw)
        bob.node.mine()
    assert bob.node.calls.call(request, parent) == bytes(32)
    bob.node.reorganise(4, keep_transactions=False, transactions=counts[:1])
    first = chain.block_by_number(parent.number + 1)
    assert first is not None
    assert int.from_bytes(bob.node.calls.call(request, first)) == 1


async def test_a_simulated_call_uses_the_gas_of_the_same_transaction(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    counter = _deploy(bob)[0]
    state = bob.node.chain.state_at(bob.node.chain.head)
    nonce, head = state.get_nonce(Address(bob.taker.address)), bob.node.chain.head
    request = CallRequest(bob.taker.address, counter, 0, b"\1", 60_000)
    simulation = Simulation(bob.node.chain, bob.node.calls, head)
    calls = simulation.execute([request] * 2, number=head.number + 1, timestamp=head.timestamp + 1)
    for place in range(2):
        bob.node.send(signed(bob.taker, nonce + place, to=counter, value=0, gas=60_000, data=b"\1"))
    bob.node.mine()
    first, both = (receipt.gas_used for receipt in bob.node.chain.head.receipts)
    assert [call.gas_used for call in calls] == [first, both - first]
    assert first > both - first, "the slot was empty only before the first"


async def test_a_simulation_sees_its_earlier_blocks_and_writes_nothing_to_the_database(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    counter, head = _deploy(bob)[0], bob.node.chain.head
    database = bob.node.chain.database.wrapped_db
    assert isinstance(database, MemoryDB)
    before = dict(database.kv_store)
    simulation = Simulation(bob.node.chain, bob.node.calls, head)
    writes, reads = (CallRequest(bytes(20), counter, 0, data, 60_000) for data in (b"\1", b""))
    outputs = []
    for number in (1, 2):
        _, read = simulation.execute([writes, reads], number=head.number + number, timestamp=head.timestamp + number)
        outputs.append(int.from_bytes(read.output))
    assert outputs == [1, 2]
    assert database.kv_store == before
    assert bob.node.calls.call(reads, head) == bytes(32)
    assert bob.node.chain.state_at(head).get_nonce(Address(bytes(20))) == 0
