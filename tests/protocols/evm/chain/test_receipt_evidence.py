"""Evidence from a node's answers: all logs of a block share the work, and lies are detected."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from layer2.errors import BadAnswer, InvalidRequest, ProofUndecided
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of, decode_receipt
from layer2.formats.keccak import keccak256
from layer2.legs.chain_header import read_evm
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef
from layer2.legs.views import Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.proofs.header_chain import check_ancestor
from layer2.protocols.evm.chain.receipt_evidence import ProvenReceipts
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog
from protocols.evm.bob_network import BobNetwork
from protocols.evm.scripted_node import Calls, scripted_node

COUNT = 20
LOGS = [EvmLog(bytes([n]) * 20, (bytes([n]) * 32,), bytes([n])) for n in range(COUNT)]
RECEIPTS = [EvmReceipt(2, True, 21_000 * (n + 1), bloom_of([log]), (log,)) for n, log in enumerate(LOGS)]
ROOT = merkle_patricia.trie_root([receipt.encode() for receipt in RECEIPTS])
WORD = bytes(32)
HEADER = EvmHeader(
    WORD, WORD, bytes(20), WORD, WORD, ROOT, bytes(256), 0, 1, 2, 3, 4, b"", WORD, bytes(8), 5, WORD, 0, 0, WORD, WORD
)


def tx_hash(index: int) -> bytes:
    return hashlib.sha256(bytes([index])).digest()


def found(index: int) -> FoundLog:
    return FoundLog(LOGS[index], tx_hash(index), HEADER.hash, HEADER.number)


def block_answer() -> dict[str, Any]:
    numbers = {"difficulty": 0, "number": 1, "gasLimit": 2, "gasUsed": 3, "timestamp": 4, "baseFeePerGas": 5}
    words = ["parentHash", "sha3Uncles", "stateRoot", "transactionsRoot", "mixHash", "withdrawalsRoot", "requestsHash"]
    return {
        **{name: format_quantity(number) for name, number in numbers.items()},
        **{name: format_data(WORD) for name in [*words, "parentBeaconBlockRoot"]},
        "receiptsRoot": format_data(ROOT),
        "miner": format_data(bytes(20)),
        "logsBloom": format_data(bytes(256)),
        "extraData": "0x",
        "nonce": format_data(bytes(8)),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "hash": format_data(HEADER.hash),
    }


def receipt_answer(index: int) -> dict[str, Any]:
    receipt, log = RECEIPTS[index], LOGS[index]
    return {
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": format_quantity(receipt.cumulative_gas_used),
        "logsBloom": format_data(receipt.logs_bloom),
        "logs": [
            {
                "address": format_data(log.address),
                "topics": [format_data(topic) for topic in log.topics],
                "data": format_data(log.data),
            }
        ],
        "transactionHash": format_data(tx_hash(index)),
    }


@dataclass
class Chain:
    """The node's answer about one block."""

    block: dict[str, Any] | None = field(default_factory=block_answer)
    receipts: list[dict[str, Any]] | None = field(
        default_factory=lambda: [receipt_answer(index) for index in range(COUNT)]
    )
    asked: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, calls: Calls) -> bytes:
        self.arrived.set()
        answers = []
        for call in calls:
            self.asked.append(call["method"])
            result: object = self.receipts if call["method"] == "eth_getBlockReceipts" else self.block
            answers.append({"jsonrpc": "2.0", "id": call["id"], "result": result})
        return orjson.dumps(answers if len(answers) > 1 else answers[0])


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
async def proven(chain: Chain) -> AsyncIterator[ProvenReceipts]:
    async with scripted_node(chain.answer) as node:
        yield ProvenReceipts(EvmNode(node.client(), "BOB"), Layer2ProtocolType.BOB)


async def test_all_logs_of_a_block_are_proven_by_one_request_for_its_receipts(
    chain: Chain, proven: ProvenReceipts
) -> None:
    made = await asyncio.gather(*[proven.evidence(found(index)) for index in range(COUNT)])
    assert sorted(chain.asked) == ["eth_getBlockByHash", "eth_getBlockReceipts"]
    for index, evidence in enumerate(made):
        assert evidence.header == HEADER.encode()
        value = merkle_patricia.verify(ROOT, evidence.transaction_index, evidence.receipt_proof)
        assert decode_receipt(value).logs[evidence.log_index] == LOGS[index]


async def test_a_caller_that_is_cancelled_leaves_the_block_to_the_others(chain: Chain, proven: ProvenReceipts) -> None:
    tasks = [asyncio.create_task(proven.evidence(found(index))) for index in range(3)]
    await asyncio.wait_for(chain.arrived.wait(), 5)
    tasks[0].cancel()
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert all(isinstance(other, EvmReceiptEvidence) for other in others)


async def test_receipts_that_do_not_match_the_root_are_refused_and_read_again(
    chain: Chain, proven: ProvenReceipts
) -> None:
    assert chain.receipts is not None
    right = chain.receipts
    gas = [{**right[0], "cumulativeGasUsed": "0x1"}, *right[1:]]
    for wrong in (gas, right[1:], [*right, right[0]], right[::-1], []):
        chain.receipts = wrong
        with pytest.raises(BadAnswer, match="receiptsRoot"):
            await proven.evidence(found(0))
    chain.receipts = [{**right[0], "logs": []}, *right[1:]]
    with pytest.raises(BadAnswer, match="bloom"):
        await proven.evidence(found(0))
    chain.receipts = right
    assert (await proven.evidence(found(0))).transaction_index == 0


@pytest.mark.parametrize("missing", ["block", "receipts"])
async def test_a_block_that_is_gone_is_worth_another_try(chain: Chain, proven: ProvenReceipts, missing: str) -> None:
    setattr(chain, missing, None)
    with pytest.raises(BadAnswer, match="no longer on the chain") as caught:
        await proven.evidence(found(0))
    assert caught.value.retryable


async def test_a_log_that_is_not_in_its_transaction_is_refused(proven: ProvenReceipts) -> None:
    elsewhere = FoundLog(LOGS[1], tx_hash(0), HEADER.hash, HEADER.number)
    with pytest.raises(BadAnswer, match="not in the receipts"):
        await proven.evidence(elsewhere)


SECRET = Preimage(bytes(range(32)))


async def claimed(bob: BobNetwork) -> EvmReceiptEvidence:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    htlc = bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    bob.node.mine(2)
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    assert isinstance(evidence, EvmReceiptEvidence)
    return evidence


async def test_headers_lead_from_evidence_to_the_head_that_was_asked_for(bob: BobNetwork) -> None:
    evidence, client = await claimed(bob), await bob.client("taker")
    with pytest.raises(ProofUndecided):
        await client.header_chain_async(evidence)
    bob.node.mine(7)
    latest = await client.header_chain_async(evidence, until=Finality.LATEST)
    final = await client.header_chain_async(evidence)
    assert latest[: len(final)] == final
    assert 0 < len(final) < len(latest)
    for headers in (latest, final):
        header = decode_header(evidence.header)
        block = BlockRef(header.number, header.hash, header.timestamp)
        check_ancestor(block, headers, keccak256(headers[-1]), read_evm)


async def test_evidence_of_another_chain_has_no_headers_here(bob: BobNetwork) -> None:
    evidence, client = await claimed(bob), await bob.client("taker")
    bob.node.mine(7)
    for header, error in (
        (HEADER.encode(), ProofUndecided),
        (b"no header", InvalidRequest),
    ):
        stranger = EvmReceiptEvidence(evidence.protocol, header, 0, (), 0)
        with pytest.raises(error):
            await client.header_chain_async(stranger)


async def test_a_header_of_another_chain_costs_one_request_for_a_block(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, client = await claimed(bob), await bob.client("taker")
    bob.node.mine(30)
    await client.header_chain_async(evidence)
    asked: list[object] = []

    async def block(node: EvmNode, ref: object) -> object:
        asked.append(ref)
        return await read(node, ref)

    read: Any = EvmNode.block
    monkeypatch.setattr(EvmNode, "block", block)
    with pytest.raises(ProofUndecided):
        await client.header_chain_async(replace(evidence, header=HEADER.encode()))
    assert asked.count(HEADER.number) == 1
    assert not set(asked) & set(range(HEADER.number + 1, 30))


@pytest.mark.parametrize("number", [(1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_a_block_far_above_the_head_is_undecided_also_at_a_height_that_nodes_refuse(
    bob: BobNetwork, number: int
) -> None:
    evidence, client = await claimed(bob), await bob.client("taker")
    header = replace(decode_header(evidence.header), number=number)
    with pytest.raises(ProofUndecided):
        await client.verify_proof_async(replace(evidence, header=header.encode()))
