"""Receipts, headers and their proofs, compared with op-geth's own bytes and with the libraries ``trie`` and ``rlp``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import rlp as rlp_oracle  # type: ignore[import-untyped]  # a test oracle without types
from eth_account import Account
from eth_account.signers.local import LocalAccount
from trie.hexary import HexaryTrie

from layer2 import Finality
from layer2.contracts.erc20 import transfer_call
from layer2.errors import ProofUndecided
from layer2.formats import merkle_patricia
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_header import EvmHeader, decode_header, header_from_rpc
from layer2.formats.evm_receipt import DEPOSIT_TYPE, EvmReceipt, decode_receipt, receipt_from_rpc
from layer2.formats.keccak import keccak256
from layer2.legs.chain_header import read_evm
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.header_chain import check_ancestor
from networks.parties import Clients

pytestmark = pytest.mark.only_on("devnet", reason="only op-geth has debug_getRawHeader and debug_getRawReceipts")

SIZES = (1, 2, 127, 128, 129, 200, 1000)
"""The number of receipts in a block, including its first deposit. Index 128 is the first with a two-byte key."""
_PRICE = 10**9
_TIP = 10**6


@dataclass(frozen=True, slots=True)
class Mined:
    """A block from op-geth, raw and as JSON."""

    raw_header: bytes
    block: dict[str, Any]
    raw_receipts: list[bytes]
    receipts: list[dict[str, Any]]

    @property
    def header(self) -> EvmHeader:
        return decode_header(self.raw_header)


class Node:
    """Direct access to op-geth, and the taker's account, whose transactions eth-account signs."""

    def __init__(self, network: LocalNetwork, control: LocalNetworkControl, session: aiohttp.ClientSession) -> None:
        self.rpc = JsonRpc("op-geth", network.bob.rpc_url, session)
        self._control = control
        self._network = network
        self._account: LocalAccount = Account.from_key(Path(network.taker.evm_key_file).read_text().strip())

    async def mine(self, size: int) -> Mined:
        """Make a block with that many receipts: the deposit, and transactions of every type in turn."""
        nonce = int(await self.rpc.call("eth_getTransactionCount", self._account.address, "latest"), 16)
        for start in range(0, size - 1, 100):
            places = range(start, min(start + 100, size - 1))
            signed = [self._signed(nonce + place, place) for place in places]
            await asyncio.gather(*[self.rpc.call("eth_sendRawTransaction", raw) for raw in signed])
        return await self.block(await self._control.mine(1))

    async def block(self, height: int) -> Mined:
        name = hex(height)
        raw_header, block, raw_receipts, receipts = await asyncio.gather(
            self.rpc.call("debug_getRawHeader", name),
            self.rpc.call("eth_getBlockByNumber", name, False),
            self.rpc.call("debug_getRawReceipts", name),
            self.rpc.call("eth_getBlockReceipts", name),
        )
        return Mined(_bytes(raw_header), block, [_bytes(each) for each in raw_receipts], receipts)

    def _signed(self, nonce: int, place: int) -> str:
        """The place determines the type, and whether the transaction moves coins, logs like a token, or reverts."""
        fields: dict[str, Any] = {"chainId": self._network.bob.chain_id, "nonce": nonce, "value": 1, "gas": 21_000}
        fields["to"] = to_checksum((place + 1).to_bytes(20, "big"))
        if place % 5 == 1:
            amount = 2**255 if place % 10 == 6 else 1  # More than the balance: reverted.
            data = transfer_call((place + 1).to_bytes(20, "big"), amount)
            fields |= {"to": self._network.bob.token_address, "value": 0, "gas": 60_000, "data": "0x" + data.hex()}
        match place % 4:
            case 0:
                fields |= {"type": 2, "maxFeePerGas": _PRICE, "maxPriorityFeePerGas": _TIP}
            case 1:
                fields |= {"gasPrice": _PRICE}
            case 2:
                key = {"address": self._network.bob.token_address, "storageKeys": ["0x" + "00" * 32]}
                fields |= {"type": 1, "gasPrice": _PRICE, "accessList": [key], "gas": fields["gas"] + 4_300}
            case _:
                # A new authority for each, because the pool accepts one transaction of a delegated account.
                authority: LocalAccount = Account.from_key(keccak256(f"{nonce}".encode()))
                permission = {"chainId": self._network.bob.chain_id, "address": "0x" + "00" * 20, "nonce": 0}
                fields |= {
                    "type": 4,
                    "maxFeePerGas": _PRICE,
                    "maxPriorityFeePerGas": _TIP,
                    "gas": fields["gas"] + 25_000,
                    "authorizationList": [authority.sign_authorization(permission)],
                }
        return "0x" + bytes(self._account.sign_transaction(fields).raw_transaction).hex()


@pytest.fixture
async def node(network: LocalNetwork, control: LocalNetworkControl) -> AsyncIterator[Node]:
    await control.set_automatic(False)
    await control.mine(1)  # Includes transactions that other tests left in the pool.
    async with aiohttp.ClientSession() as session:
        yield Node(network, control, session)


@pytest.mark.parametrize("size", SIZES)
async def test_blocks_receipts_and_proofs_are_those_of_the_node_and_of_other_libraries(node: Node, size: int) -> None:
    mined = await node.mine(size)
    header = _header_agrees(mined)
    assert len(mined.raw_receipts) == size
    receipts = _receipts_agree(mined)
    assert (receipts[0].tx_type, receipts[0].deposit_receipt_version) == (DEPOSIT_TYPE, 1)
    assert receipts[0].deposit_nonce is not None
    if size > 100:
        assert {receipt.tx_type for receipt in receipts} == {0, 1, 2, 4, DEPOSIT_TYPE}
        assert {receipt.succeeded for receipt in receipts} == {True, False}
        assert any(receipt.logs for receipt in receipts)
    _proofs_agree(header, mined.raw_receipts)


async def test_headers_lead_from_a_proof_to_a_later_block_of_the_node(
    node: Node, control: LocalNetworkControl, taker: Clients
) -> None:
    mined = await node.mine(3)
    evidence = EvmReceiptEvidence(
        Layer2ProtocolType.BOB, mined.raw_header, 1, merkle_patricia.prove(mined.raw_receipts, 1), 0
    )
    with pytest.raises(ProofUndecided):
        await taker.bob.header_chain_async(evidence)
    assert await taker.bob.header_chain_async(evidence, until=Finality.LATEST) == ()
    height = await control.mine(6)
    expected = [(await node.block(number)) for number in range(mined.header.number + 1, height + 1)]
    headers = await taker.bob.header_chain_async(evidence, until=Finality.LATEST)
    assert list(headers) == [each.raw_header for each in expected]
    block = BlockRef(mined.header.number, mined.header.hash, mined.header.timestamp)
    check_ancestor(block, headers, _bytes(expected[-1].block["hash"]), read_evm)
    final = await taker.bob.header_chain_async(evidence)
    assert headers[: len(final)] == final
    assert 0 < len(final) < len(headers)
    stranger = EvmReceiptEvidence(Layer2ProtocolType.BOB, expected[0].raw_header[:-1] + b"\x00", 0, (), 0)
    with pytest.raises(ProofUndecided):
        await taker.bob.header_chain_async(stranger, until=Finality.LATEST)


def _header_agrees(mined: Mined) -> EvmHeader:
    header = mined.header
    assert header.encode() == mined.raw_header
    assert rlp_oracle.encode(rlp_oracle.decode(mined.raw_header)) == mined.raw_header
    assert header == header_from_rpc(mined.block)
    assert header.hash == _bytes(mined.block["hash"])
    assert header.requests_hash is not None
    return header


def _receipts_agree(mined: Mined) -> list[EvmReceipt]:
    receipts = [decode_receipt(raw) for raw in mined.raw_receipts]
    assert [receipt.encode() for receipt in receipts] == mined.raw_receipts
    assert [receipt_from_rpc(each) for each in mined.receipts] == receipts
    for raw, receipt in zip(mined.raw_receipts, receipts, strict=True):
        status, gas, bloom, logs, *deposit = rlp_oracle.decode(raw if receipt.tx_type == 0 else raw[1:])
        assert int.from_bytes(status, "big") == receipt.succeeded
        assert int.from_bytes(gas, "big") == receipt.cumulative_gas_used
        assert bloom == receipt.logs_bloom
        assert [(address, tuple(topics), data) for address, topics, data in logs] == [
            (log.address, log.topics, log.data) for log in receipt.logs
        ]
        assert len(deposit) == (2 if receipt.tx_type == DEPOSIT_TYPE else 0)
    return receipts


def _proofs_agree(header: EvmHeader, values: list[bytes]) -> None:
    oracle = HexaryTrie({})
    for index, value in enumerate(values):
        oracle[rlp_oracle.encode(index)] = value
    assert merkle_patricia.trie_root(values) == header.receipts_root == oracle.root_hash
    for index, nodes in enumerate(merkle_patricia.prove_all(values)):
        assert merkle_patricia.verify(header.receipts_root, index, nodes) == values[index]
        decoded = [rlp_oracle.decode(each) for each in nodes]
        key = rlp_oracle.encode(index)
        found = HexaryTrie.get_from_proof(header.receipts_root, key, decoded)  # type: ignore[no-untyped-call]  # an oracle's
        assert found == values[index]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
