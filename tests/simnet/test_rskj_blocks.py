"""Blocks of the simnet's Rootstock chain pass the checks for a real one: headers, receipts, and Bitcoin's work."""

from __future__ import annotations

from typing import Any

import pytest

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.htlc import HTLC_SALT, htlc_init_code
from layer2.errors import FormatError
from layer2.formats.evm_receipt import receipt_from_rpc
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import MergedMining, RskHeader, check_work, decode_header
from layer2.formats.rsk_receipt import decode_rsk_receipt, encode_rsk_receipt
from layer2.formats.rsk_trie import trie_root, verify
from simnet.rootstock_node import RunningRootstock, legacy


async def header(rootstock: RunningRootstock, block_hash: str) -> RskHeader:
    return decode_header(bytes.fromhex((await rootstock.client.call("rsk_getRawBlockHeaderByHash", block_hash))[2:]))


def mining(block: dict[str, Any]) -> MergedMining:
    path, coinbase = (
        bytes.fromhex(block[name][2:])
        for name in ("bitcoinMergedMiningMerkleProof", "bitcoinMergedMiningCoinbaseTransaction")
    )
    return MergedMining(path, coinbase)


async def test_every_raw_header_hashes_to_its_block_and_names_its_parent(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.node.mine(3)
    parent = bytes(32)
    for number in range(4):
        block = await rootstock.block(hex(number))
        raw = decode_header(
            bytes.fromhex((await rootstock.client.call("rsk_getRawBlockHeaderByNumber", hex(number)))[2:])
        )
        assert raw == await header(rootstock, block["hash"])
        assert (raw.number, "0x" + raw.hash.hex(), raw.parent_hash) == (number, block["hash"], parent)
        assert "0x" + parent.hex() == block["parentHash"]
        stated = [int(block[name], 16) for name in ("timestamp", "minimumGasPrice", "difficulty")]
        assert stated == [raw.timestamp, raw.minimum_gas_price, raw.difficulty]
        assert block["receiptsRoot"] == "0x" + raw.receipts_root.hex()
        parent = raw.hash


async def test_every_mined_block_has_the_work_of_its_difficulty(rootstock: RunningRootstock) -> None:
    rootstock.node.mine(20)
    blocks = [await rootstock.block(hex(number)) for number in range(1, 21)]
    for block in blocks:
        raw = await header(rootstock, block["hash"])
        assert raw.version == 2
        check_work(raw, mining(block))
        assert block["hashForMergedMining"].startswith("0x" + raw.hash_for_merged_mining.hex())
        assert raw.bitcoin is not None
        assert block["bitcoinMergedMiningHeader"] == "0x" + raw.bitcoin.encode().hex()
    with pytest.raises(FormatError):
        check_work(await header(rootstock, blocks[0]["hash"]), mining(blocks[1]))


async def test_the_first_block_has_no_header_of_bitcoin_and_no_transactions(rootstock: RunningRootstock) -> None:
    block = await rootstock.block("earliest")
    assert (block["bitcoinMergedMiningHeader"], block["transactions"]) == ("0x00", [])
    assert block["parentHash"] == "0x" + "00" * 32
    assert (await header(rootstock, block["hash"])).bitcoin is None


async def test_the_receipts_of_a_block_give_its_root_and_each_can_be_proved(rootstock: RunningRootstock) -> None:
    deployment = deployment_call(HTLC_SALT, htlc_init_code())
    await rootstock.client.send(
        legacy(rootstock.taker, 0, to=DETERMINISTIC_FACTORY, value=0, data=deployment, gas=2_000_000)
    )
    for nonce in range(1, 10):
        await rootstock.client.send(legacy(rootstock.taker, nonce))
    # Without enough gas for the deployment: it fails.
    await rootstock.client.send(
        legacy(rootstock.other, 0, to=DETERMINISTIC_FACTORY, value=0, data=deployment, gas=400_000)
    )
    rootstock.node.mine()
    block = await rootstock.block()
    assert len(block["transactions"]) == 12
    values, before = [], 0
    for index, name in enumerate(block["transactions"]):
        receipt = await rootstock.client.call("eth_getTransactionReceipt", name)
        used, total = int(receipt["gasUsed"], 16), int(receipt["cumulativeGasUsed"], 16)
        assert (receipt["transactionIndex"], receipt["blockHash"], total) == (hex(index), block["hash"], before + used)
        before = total
        values.append(encode_rsk_receipt(receipt_from_rpc(receipt), used))
        assert "0x" + values[-1].hex() == await rootstock.client.call("rsk_getRawTransactionReceiptByHash", name)
    root = bytes.fromhex(block["receiptsRoot"][2:])
    assert trie_root(values) == root
    assert [decode_rsk_receipt(value).succeeded for value in values].count(False) == 1
    for index, name in enumerate(block["transactions"]):
        nodes = await rootstock.client.call("rsk_getTransactionReceiptNodesByHash", block["hash"], name)
        verify(root, index, [bytes.fromhex(node[2:]) for node in nodes], values[index])


async def test_every_mined_block_ends_with_the_payment_of_miners(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.node.mine(2)
    for number, count in ((1, 2), (2, 1)):
        block = await rootstock.block(hex(number), full=True)
        assert len(block["transactions"]) == count
        payment = block["transactions"][-1]
        assert (payment["from"], payment["to"]) == ("0x" + "00" * 20, "0x" + "00" * 16 + "01000008")
        assert (payment["gas"], payment["v"], payment["nonce"]) == ("0x0", "0x0", hex(number - 1))
        receipt = await rootstock.client.call("eth_getTransactionReceipt", payment["hash"])
        assert (receipt["gasUsed"], receipt["logs"], receipt["status"]) == ("0x0", [], "0x1")
        assert (await rootstock.client.call("eth_getTransactionByHash", payment["hash"])) == payment


async def test_blocks_of_two_branches_differ_and_a_replaced_block_keeps_its_proofs(rootstock: RunningRootstock) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.node.mine(2)
    old = [await rootstock.block(hex(number)) for number in (1, 2)]
    rootstock.node.reorganise(2, keep_transactions=False)
    new = [await rootstock.block(hex(number)) for number in (1, 2, 3)]
    assert not {block["hash"] for block in old} & {block["hash"] for block in new}
    assert await rootstock.client.call("eth_getTransactionReceipt", name) is None
    assert (await rootstock.client.call("eth_getBlockByHash", old[1]["hash"], False)) == old[1]
    nodes = await rootstock.client.call("rsk_getTransactionReceiptNodesByHash", old[0]["hash"], name)
    assert keccak256(bytes.fromhex(nodes[-1][2:])) == bytes.fromhex(old[0]["receiptsRoot"][2:])
    check_work(await header(rootstock, old[0]["hash"]), mining(old[0]))
