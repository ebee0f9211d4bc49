"""web3.py's ordinary calls against a simnet node: balances, transactions, a token, filters, subscriptions, proofs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]  # a test oracle without types
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress, HexStr
from hexbytes import HexBytes
from trie.hexary import HexaryTrie
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3, WebSocketProvider
from web3.contract import AsyncContract
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound
from web3.types import AccessList, AccessListEntry, MerkleProof, Nonce, TxParams

from layer2.formats.keccak import keccak256
from layer2.local.accounts import START_WEI
from simnet.bob_client import RunningBob
from simnet.token_chain import TOKEN, balance_slot, deploy_token

_ADDRESS = {"name": "", "type": "address"}
_UINT = {"name": "", "type": "uint256"}
_BOOL = {"name": "", "type": "bool"}


def _function(name: str, inputs: list[Any], outputs: list[Any], mutability: str = "view") -> dict[str, Any]:
    return {"type": "function", "name": name, "inputs": inputs, "outputs": outputs, "stateMutability": mutability}


_ABI = [
    _function("balanceOf", [_ADDRESS], [_UINT]),
    _function("decimals", [], [{"name": "", "type": "uint8"}]),
    _function("transfer", [_ADDRESS, _UINT], [_BOOL], "nonpayable"),
    _function("mint", [_ADDRESS, _UINT], [], "nonpayable"),
    {
        "type": "event",
        "name": "Transfer",
        "anonymous": False,
        "inputs": [
            {"name": "sender", "type": "address", "indexed": True},
            {"name": "receiver", "type": "address", "indexed": True},
            {"name": "amount", "type": "uint256", "indexed": False},
        ],
    },
]
_FRIEND = AsyncWeb3.to_checksum_address("0x" + "05" * 20)
_PASSERBY = AsyncWeb3.to_checksum_address("0x" + "06" * 20)


@pytest.fixture
async def web3(bob: RunningBob) -> AsyncIterator[AsyncWeb3[Any]]:
    provider = AsyncHTTPProvider(bob.url)
    try:
        yield AsyncWeb3(provider)
    finally:
        await provider.disconnect()


@pytest.fixture
def taker(bob: RunningBob) -> LocalAccount:
    account: LocalAccount = Account.from_key(bob.taker.key.secret)
    return account


def token_of(web3: AsyncWeb3[Any]) -> AsyncContract:
    return web3.eth.contract(address=AsyncWeb3.to_checksum_address(TOKEN), abi=_ABI)


async def send(web3: AsyncWeb3[Any], taker: LocalAccount, transaction: Any) -> HexBytes:
    """Sign and send what ``build_transaction`` made."""
    return await web3.eth.send_raw_transaction(taker.sign_transaction(transaction).raw_transaction)


def proof_of(url: str, address: ChecksumAddress, slot: int, number: int) -> MerkleProof:
    """``eth_getProof``, which web3.py has in its synchronous client only."""
    get_proof = Web3(HTTPProvider(url)).eth.get_proof
    return get_proof(address, [slot], number)  # type: ignore[call-arg, arg-type]  # web3.py declares one tuple


async def mint_and_transfer(bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount, amount: int) -> HexBytes:
    """Mint for the taker, transfer it to the friend, and return the hash of the transfer. Two blocks."""
    token = token_of(web3)
    nonce = await web3.eth.get_transaction_count(taker.address)
    minting = await token.functions.mint(taker.address, amount).build_transaction(
        {"from": taker.address, "nonce": nonce}
    )
    await send(web3, taker, minting)
    bob.node.mine()
    transfer = await token.functions.transfer(_FRIEND, amount).build_transaction(
        {"from": taker.address, "nonce": Nonce(nonce + 1)}
    )
    transaction_hash = await send(web3, taker, transfer)
    bob.node.mine()
    return transaction_hash


async def test_the_node_is_found_and_described(web3: AsyncWeb3[Any]) -> None:
    assert await web3.is_connected()
    assert await web3.eth.chain_id == 60808
    assert await web3.net.version == "60808"
    assert await web3.net.listening
    assert await web3.net.peer_count == 0
    assert await web3.client_version == "layer2-simnet/py-evm"
    assert await web3.eth.syncing is False
    assert await web3.eth.block_number == 0
    assert len(await web3.eth.accounts) == 0


async def test_coin_is_sent_and_its_receipt_awaited(bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount) -> None:
    assert await web3.eth.get_balance(taker.address) == START_WEI
    transaction: Any = {
        "from": taker.address,
        "to": _FRIEND,
        "value": 7,
        "nonce": await web3.eth.get_transaction_count(taker.address),
        "chainId": await web3.eth.chain_id,
        "maxPriorityFeePerGas": await web3.eth.max_priority_fee,
        "maxFeePerGas": 2 * await web3.eth.gas_price,
    }
    transaction["gas"] = await web3.eth.estimate_gas(transaction)
    assert transaction["gas"] == 21_000
    transaction_hash = await send(web3, taker, transaction)
    assert await web3.eth.get_transaction_count(taker.address, "pending") == 1
    with pytest.raises(TransactionNotFound):
        await web3.eth.get_transaction_receipt(transaction_hash)
    bob.node.mine()
    receipt = await web3.eth.wait_for_transaction_receipt(transaction_hash, timeout=5)
    assert receipt["status"] == 1
    assert await web3.eth.get_balance(_FRIEND) == 7
    assert await web3.eth.get_balance(_FRIEND, 0) == 0
    paid = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert await web3.eth.get_balance(taker.address) == START_WEI - 7 - paid


async def test_blocks_are_read_by_number_hash_and_place(
    bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount
) -> None:
    deploy_token(bob, 2)
    block = await web3.eth.get_block("latest", full_transactions=True)
    assert await web3.eth.get_block(block["hash"], full_transactions=True) == block
    assert await web3.eth.get_block_transaction_count(block["hash"]) == 3
    assert await web3.eth.get_block_transaction_count(1) == 3
    receipts = await web3.eth.get_block_receipts(1)
    assert [receipt["gasUsed"] for receipt in receipts] == [
        (await web3.eth.get_transaction_receipt(receipt["transactionHash"]))["gasUsed"] for receipt in receipts
    ]
    history = await web3.eth.fee_history(2, "latest", [50])
    assert history["baseFeePerGas"][1] == block["baseFeePerGas"]
    with pytest.raises(BlockNotFound):
        await web3.eth.get_block(99)


async def test_a_token_is_transferred_and_its_events_are_read(
    bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount
) -> None:
    deploy_token(bob, 0)
    token = token_of(web3)
    transaction_hash = await mint_and_transfer(bob, web3, taker, 500)
    assert await token.functions.decimals().call() == 8
    assert await token.functions.balanceOf(_FRIEND).call() == 500
    assert await token.functions.balanceOf(_FRIEND).call(block_identifier=1) == 0
    receipt = await web3.eth.get_transaction_receipt(transaction_hash)
    (event,) = token.events.Transfer().process_receipt(receipt)
    assert event["args"] == {"sender": taker.address, "receiver": _FRIEND, "amount": 500}
    for receiver, events in ((_FRIEND, [event]), (_PASSERBY, [])):
        logs = await token.events.Transfer.get_logs(from_block=0, argument_filters={"receiver": receiver})
        assert list(logs) == events
    with pytest.raises(ContractLogicError):
        await token.functions.transfer(_FRIEND, 501).call({"from": taker.address})


async def test_a_call_takes_overrides_and_an_estimate_an_access_list(
    bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount
) -> None:
    deploy_token(bob, 0)
    slot = balance_slot(bytes.fromhex(_FRIEND[2:]))
    given: Any = {token_of(web3).address: {"stateDiff": {slot: "0x" + (9).to_bytes(32, "big").hex()}}}
    assert await token_of(web3).functions.balanceOf(_FRIEND).call(state_override=given) == 9
    assert await token_of(web3).functions.balanceOf(_FRIEND).call() == 0
    entry: AccessListEntry = {"address": HexStr(_FRIEND), "storageKeys": [HexStr("0x" + "00" * 32)]}
    transaction: TxParams = {"from": taker.address, "to": _FRIEND, "accessList": AccessList([entry])}
    assert await web3.eth.estimate_gas(transaction) >= 25_300
    assert await web3.eth.get_storage_at(token_of(web3).address, 1) == HexBytes(bytes(32))


async def test_filters_report_blocks_transactions_and_events(
    bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount
) -> None:
    deploy_token(bob, 0)
    blocks, pending = await web3.eth.filter("latest"), await web3.eth.filter("pending")
    events = await token_of(web3).events.Transfer.create_filter(
        from_block="latest", argument_filters={"receiver": _FRIEND}
    )
    transaction_hash = await mint_and_transfer(bob, web3, taker, 500)
    heads = [(await web3.eth.get_block(number))["hash"] for number in (2, 3)]
    new_heads: list[Any] = await blocks.get_new_entries()
    assert new_heads == heads
    arrived: list[Any] = await pending.get_new_entries()
    assert arrived[-1] == transaction_hash
    (event,) = await events.get_new_entries()
    assert (event["args"]["amount"], event["transactionHash"]) == (500, transaction_hash)
    assert await events.get_new_entries() == []
    assert await events.get_all_entries() == [event]
    assert blocks.filter_id is not None
    assert await web3.eth.uninstall_filter(blocks.filter_id)


async def test_a_websocket_carries_calls_and_subscriptions(
    bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount
) -> None:
    deploy_token(bob, 0)
    async with AsyncWeb3(WebSocketProvider(bob.url.replace("http", "ws"))) as listening:
        assert await listening.eth.block_number == 1
        heads = await listening.eth.subscribe("newHeads")
        friend = "0x" + bytes.fromhex(_FRIEND[2:]).rjust(32, b"\0").hex()
        logs = await listening.eth.subscribe(
            "logs", {"address": token_of(web3).address, "topics": [None, None, friend]}
        )
        transaction_hash = await mint_and_transfer(bob, web3, taker, 500)
        heard: dict[str, list[Any]] = {heads: [], logs: []}
        async with asyncio.timeout(5):
            async for message in listening.socket.process_subscriptions():
                heard[message["subscription"]].append(message["result"])
                if len(heard[heads]) == 2 and heard[logs]:
                    break
        assert [head["number"] for head in heard[heads]] == [2, 3]
        assert [(log["transactionHash"], log["removed"]) for log in heard[logs]] == [(transaction_hash, False)]
        assert await listening.eth.unsubscribe(heads)


async def test_a_proof_verifies_against_the_block(bob: RunningBob, web3: AsyncWeb3[Any], taker: LocalAccount) -> None:
    deploy_token(bob, 0)
    await mint_and_transfer(bob, web3, taker, 500)
    address, slot = token_of(web3).address, int(balance_slot(bytes.fromhex(_FRIEND[2:])), 16)
    for number, balance in ((3, 500), (2, 0)):
        block = await web3.eth.get_block(number)
        proof = await asyncio.to_thread(proof_of, bob.url, address, slot, number)
        account = rlp.encode([proof["nonce"], proof["balance"], bytes(proof["storageHash"]), bytes(proof["codeHash"])])
        assert _value(block["stateRoot"], bytes.fromhex(address[2:]), proof["accountProof"]) == account
        (entry,) = proof["storageProof"]
        assert int.from_bytes(entry["value"], "big") == balance
        value = _value(proof["storageHash"], slot.to_bytes(32, "big"), entry["proof"])
        assert value == (rlp.encode(balance) if balance else b"")


def _value(root: bytes, key: bytes, nodes: Any) -> bytes:
    decoded = [rlp.decode(bytes(node)) for node in nodes]
    value: bytes = HexaryTrie.get_from_proof(root, keccak256(key), decoded)  # type: ignore[no-untyped-call]  # the package carries no types
    return value
