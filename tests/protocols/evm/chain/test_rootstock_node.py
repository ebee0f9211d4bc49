"""A Rootstock node, read by the client's parts: heads by depth, headers as bytes, receipts one by one, evidence."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from layer2.contracts.htlc import CLAIMED, HtlcLock, claim_call, htlc_init_code, lock_call
from layer2.errors import BadAnswer, NodeRefused, ProofUndecided
from layer2.formats import rlp
from layer2.formats.evm_hex import format_data
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import RskHeader, decode_header
from layer2.legs.chain_header import reader_after
from layer2.legs.evm import NO_ADDRESS
from layer2.legs.lock_evidence import block_of
from layer2.legs.rootstock_evidence import shown_of
from layer2.legs.shown import LegOutcome
from layer2.model.layers import HeadDepths, Layer2ProtocolType
from layer2.model.transactions import EvmTxId, Finality, Preimage
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.chain.canonical import header_chain, is_canonical
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.chain.logs import LogFilter, LogStreams
from layer2.protocols.evm.chain.receipt_evidence import evidence_source
from layer2.protocols.evm.chain.rootstock_evidence import RootstockReceipts
from layer2.protocols.evm.rpc.chain_format import RootstockFormat
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog, NodeBlock
from simnet.rootstock_node import CHAIN_ID, RunningRootstock, legacy, rootstock_node

PREIMAGE = Preimage(hashlib.sha256(b"rootstock").digest())
Change = Callable[[str, tuple[object, ...], object], object]


class LyingRpc(JsonRpc):
    """The node's answers, changed by a test, and the names of the calls."""

    def __init__(self, url: str) -> None:
        super().__init__(url, protocol="ROOTSTOCK", pool=ConnectionPoolConfig(retry_seconds=0), timeout=5)
        self.change: Change | None = None
        self.asked: list[str] = []

    async def call(self, method: str, *params: object) -> object:
        return (await self.call_dated(method, *params))[0]

    async def call_dated(self, method: str, *params: object) -> tuple[object, float | None]:
        self.asked.append(method)
        answer, date = await super().call_dated(method, *params)
        return (answer if self.change is None else self.change(method, params, answer)), date


@dataclass(frozen=True)
class Chain:
    """A node with an HTLC contract, and the parts of a client."""

    running: RunningRootstock
    rpc: LyingRpc
    node: EvmNode
    watcher: HeadWatcher
    contract: bytes
    lock: HtlcLock

    async def claimed(self, later: int = 5) -> FoundLog:
        """Lock and claim coins in a block with another transaction, then mine blocks."""
        taker, other = self.running.taker, self.running.other
        await self.send(
            legacy(taker, 1, to=self.contract, value=self.lock.amount, data=lock_call(self.lock), gas=200_000)
        )
        self.running.node.mine()
        await self.send(legacy(other, 0))
        claim = legacy(taker, 2, to=self.contract, value=0, data=claim_call(self.lock, PREIMAGE), gas=250_000)
        await self.send(claim)
        top = self.running.node.mine()
        if later:
            self.running.node.mine(later)
        [found] = await self.node.logs(self.contract, [CLAIMED], 0, top)
        return found

    async def send(self, raw: bytes) -> None:
        await self.node.send(raw)


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with rootstock_node() as running:
        rpc = LyingRpc(running.url)
        node = EvmNode(rpc, "ROOTSTOCK", RootstockFormat(), HeadDepths(2, 4))
        watcher = HeadWatcher(node, CHAIN_ID, 0.01)
        running.node.send(legacy(running.taker, 0, to=None, value=0, data=htlc_init_code(), gas=2_000_000))
        running.node.mine()
        contract = keccak256(rlp.encode([running.taker.address, b""]))[12:]
        assert await node.code(contract)
        lock = HtlcLock(
            chain_id=CHAIN_ID,
            contract=contract,
            payment_hash=PREIMAGE.payment_hash,
            token=NO_ADDRESS,
            amount=10**15,
            payee=running.other.address,
            payer=running.taker.address,
            deadline=running.clock.now() + 100_000,
            terms_hash=bytes(32),
        )
        try:
            yield Chain(running, rpc, node, watcher, contract, lock)
        finally:
            await watcher.aclose()
            await rpc.aclose()


async def test_the_heads_are_the_blocks_at_their_depths(chain: Chain) -> None:
    chain.running.node.mine(9)
    heads = await chain.watcher.read()
    assert [head.number for head in (heads.latest, heads.safe, heads.finalized)] == [10, 8, 6]
    for head in (heads.latest, heads.safe, heads.finalized):
        block = await chain.running.block(hex(head.number))
        assert (format_data(head.hash), head.timestamp) == (block["hash"], int(block["timestamp"], 16))
        assert isinstance(head.header, RskHeader)
    for finality, number in zip(Finality, (10, 8, 6), strict=True):
        assert (await chain.node.head(finality)).number == number
        block_at = await chain.node.block(finality)
        assert block_at is not None
        assert block_at.number == number


async def test_on_a_short_chain_the_first_block_is_the_finalized_one(chain: Chain) -> None:
    heads = await chain.watcher.read()
    assert [head.number for head in (heads.latest, heads.safe, heads.finalized)] == [1, 0, 0]


async def test_no_older_block_is_read_while_the_newest_is_unchanged(chain: Chain) -> None:
    first = await chain.watcher.read()
    chain.rpc.asked.clear()
    assert await chain.watcher.read() == first
    assert sorted(chain.rpc.asked) == ["eth_chainId", "rsk_getRawBlockHeaderByNumber"]
    chain.running.node.mine()
    assert (await chain.watcher.read()).latest.number == first.latest.number + 1


async def test_heads_of_a_chain_that_changes_meanwhile_are_refused(chain: Chain) -> None:
    """The newest block is read before and after the others: another one after them is another chain."""
    chain.running.node.mine(9)
    other = format_data((await _block(chain, 9)).header.encode())
    seen = [0]

    def changes(method: str, params: tuple[object, ...], answer: object) -> object:
        if params == ("0xa",):
            seen[0] += 1
            return other if seen[0] == 2 else answer
        return answer

    chain.rpc.change = changes
    with pytest.raises(BadAnswer) as caught:
        await chain.watcher.read()
    assert caught.value.retryable


@pytest.mark.parametrize("missing", ["latest", "0xa", "0x6"])
async def test_a_head_that_the_node_does_not_have_is_refused(chain: Chain, missing: str) -> None:
    chain.running.node.mine(9)
    chain.rpc.change = lambda method, params, answer: None if params == (missing,) else answer
    with pytest.raises(BadAnswer) as caught:
        await chain.watcher.read()
    assert caught.value.retryable


async def test_neighbours_that_are_no_parent_and_child_are_refused(chain: Chain) -> None:
    chain.running.node.mine(9)
    elsewhere = format_data((await _block(chain, 7)).header.encode())
    chain.running.node.reorganise(4, keep_transactions=False)
    node = EvmNode(chain.rpc, "ROOTSTOCK", RootstockFormat(), HeadDepths(3, 4))
    chain.rpc.change = lambda method, params, answer: elsewhere if params == ("0x7",) else answer
    with pytest.raises(BadAnswer, match="not the parent"):
        await node.heads.heads(list(Finality))


async def test_a_header_of_another_block_is_refused(chain: Chain) -> None:
    chain.running.node.mine(3)
    wanted, other = await _block(chain, 2), await _block(chain, 1)
    answer = format_data(other.header.encode())
    chain.rpc.change = lambda method, params, _: answer
    for ref in (2, wanted.hash):
        with pytest.raises(BadAnswer, match="another block"):
            await chain.node.block(ref)
    chain.rpc.change = lambda method, params, _: "0x" + "00" * 600
    with pytest.raises(BadAnswer):
        await chain.node.block(2)


async def test_a_block_that_the_node_does_not_have_is_none(chain: Chain) -> None:
    assert await chain.node.block(99) is None
    assert await chain.node.block(bytes(32)) is None
    assert await chain.node.block_receipts(99) is None
    assert await chain.node.receipts_of(bytes(32), {"0x" + "11" * 32}) is None


async def test_states_at_the_heads_are_read_by_their_blocks(chain: Chain) -> None:
    """rskj refuses the names ``safe`` and ``finalized``, and a boolean in place of the text "true"."""
    taker = chain.running.taker.address
    await chain.send(legacy(chain.running.taker, 1))
    chain.running.node.mine(2)
    counts = [await chain.node.transaction_count(taker, finality) for finality in Finality]
    assert counts == [2, 1, 0]
    head = await chain.node.head(Finality.LATEST)
    assert await chain.node.transaction_count(taker, head.hash) == 2
    for finality in Finality:
        count, block = await chain.node.count_at_head(taker, finality)
        assert await chain.node.transaction_count(taker, block.hash) == count
    old = head.hash
    chain.running.node.reorganise(1, keep_transactions=False)
    with pytest.raises(NodeRefused):
        await chain.node.transaction_count(taker, old)


async def test_receipts_are_read_one_by_one_and_checked_against_the_header(chain: Chain) -> None:
    found = await chain.claimed()
    receipts = await chain.node.block_receipts(found.block_hash)
    assert receipts is not None
    # Two transactions, and the payment to miners.
    assert len(receipts) == 3
    block = await chain.node.block(found.block_hash)
    assert block is not None
    values = [chain.node.format.read_receipt(receipt)[1] for receipt in receipts]
    assert chain.node.format.receipts_root(values) == block.header.receipts_root
    tx_id = EvmTxId(format_data(found.tx_hash))
    chain.rpc.asked.clear()
    [(mined_id, mined)] = (await chain.node.receipts_of(found.block_hash, {tx_id}) or {}).items()
    assert (mined_id, mined.block_hash, mined.succeeded) == (tx_id, found.block_hash, True)
    assert chain.rpc.asked == ["eth_getBlockByHash", "eth_getTransactionReceipt"]
    assert await chain.node.receipts_of(found.block_number, {tx_id}) == {tx_id: mined}


async def test_receipts_of_another_block_are_refused(chain: Chain) -> None:
    found = await chain.claimed()

    def moved(method: str, params: tuple[object, ...], answer: object) -> object:
        if method == "eth_getTransactionReceipt" and isinstance(answer, dict):
            return {**answer, "blockHash": "0x" + "22" * 32}
        return answer

    chain.rpc.change = moved
    with pytest.raises(BadAnswer, match="not those of the block"):
        await chain.node.block_receipts(found.block_hash)
    chain.rpc.change = lambda method, params, answer: None if method == "eth_getTransactionReceipt" else answer
    with pytest.raises(BadAnswer, match="not those of the block"):
        await chain.node.receipts_of(found.block_hash, {format_data(found.tx_hash)})


async def test_logs_come_from_receipts_that_match_the_header(chain: Chain) -> None:
    found = await chain.claimed(later=0)
    streams = LogStreams(chain.node, chain.watcher)
    events = streams.logs(LogFilter(frozenset({chain.contract}), ()), 0)
    locked, claimed = [await anext(events) for _ in range(2)]
    await events.aclose()
    assert (claimed.log, claimed.block_hash) == (found.log, found.block_hash)
    assert locked.block_number == claimed.block_number - 1

    def hides(method: str, params: tuple[object, ...], answer: object) -> object:
        if method == "eth_getBlockByHash" and isinstance(answer, dict):
            return {**answer, "transactions": answer["transactions"][:-1]}
        return answer

    chain.rpc.change = hides
    events = LogStreams(chain.node, chain.watcher).logs(LogFilter(frozenset({chain.contract}), ()), 0)
    with pytest.raises(BadAnswer, match="receiptsRoot"):
        await anext(events)


async def test_evidence_shows_the_claim_with_the_work_of_later_headers(chain: Chain) -> None:
    found = await chain.claimed(later=5)
    source = evidence_source(chain.node, Layer2ProtocolType.ROOTSTOCK)
    assert isinstance(source, RootstockReceipts)
    evidence = await source.evidence(found)
    shown = shown_of(evidence, chain.lock, least_work=6)
    assert shown.outcome is LegOutcome.COLLECTED
    assert shown.header is not None
    assert (shown.header.hash, len(shown.later), shown.work) == (found.block_hash, 5, 6)
    chain.running.node.mine(20)
    assert len((await source.evidence(found)).headers) == 13


async def test_evidence_of_the_newest_block_has_its_header_alone(chain: Chain) -> None:
    evidence = await RootstockReceipts(chain.node).evidence(await chain.claimed(later=0))
    assert len(evidence.headers) == 1
    assert shown_of(evidence, chain.lock, least_work=None).later == ()


def _without(name: str) -> Change:
    return lambda method, params, answer: None if method == name else answer


def _stale(method: str, params: tuple[object, ...], answer: object) -> object:
    if method == "eth_getTransactionReceipt" and isinstance(answer, dict):
        return {**answer, "blockHash": "0x" + "22" * 32}
    return answer


def _paid_more(method: str, params: tuple[object, ...], answer: object) -> object:
    if method == "eth_getTransactionReceipt" and isinstance(answer, dict):
        return {**answer, "gasUsed": hex(int(answer["gasUsed"], 16) - 1)}
    return answer


def _nodes_of_another(method: str, params: tuple[object, ...], answer: object) -> object:
    if method == "rsk_getTransactionReceiptNodesByHash" and isinstance(answer, list):
        return [answer[-1]]
    return answer


def _no_work(method: str, params: tuple[object, ...], answer: object) -> object:
    if method == "eth_getBlockByNumber" and isinstance(answer, dict):
        return {**answer, "bitcoinMergedMiningCoinbaseTransaction": "0x" + "00" * 120}
    return answer


@pytest.mark.parametrize(
    "change",
    [
        _without("eth_getTransactionReceipt"),
        _without("rsk_getTransactionReceiptNodesByHash"),
        _without("rsk_getRawBlockHeaderByHash"),
        _without("eth_getBlockByNumber"),
        _stale,
        _paid_more,
        _nodes_of_another,
        _no_work,
    ],
)
async def test_no_evidence_is_made_from_wrong_answers(chain: Chain, change: Change) -> None:
    found = await chain.claimed()
    chain.rpc.change = change
    with pytest.raises(BadAnswer):
        await RootstockReceipts(chain.node).evidence(found)


async def test_no_evidence_is_made_of_a_block_that_left_the_chain(chain: Chain) -> None:
    found = await chain.claimed(later=1)
    chain.running.node.set_finality(0, 0)
    chain.running.node.reorganise(2, keep_transactions=False)
    with pytest.raises(BadAnswer) as caught:
        await RootstockReceipts(chain.node).evidence(found)
    assert caught.value.retryable


async def test_the_node_confirms_evidence_at_the_depth_of_its_finality(chain: Chain) -> None:
    found = await chain.claimed(later=0)
    evidence = await RootstockReceipts(chain.node).evidence(found)

    async def confirmed(finality: Finality, contract: bytes = chain.contract) -> bool:
        return await is_canonical(chain.node, chain.watcher, evidence, contract, finality)

    assert await confirmed(Finality.LATEST)
    assert not await confirmed(Finality.LATEST, bytes(20))
    with pytest.raises(ProofUndecided, match="not safe yet"):
        await confirmed(Finality.SAFE)
    chain.running.node.mine(2)
    assert await confirmed(Finality.SAFE)
    with pytest.raises(ProofUndecided, match="not finalized yet"):
        await confirmed(Finality.FINALIZED)
    chain.running.node.mine(2)
    assert await confirmed(Finality.FINALIZED)


async def test_evidence_of_an_abandoned_block_is_refused_once_another_is_final(chain: Chain) -> None:
    evidence = await RootstockReceipts(chain.node).evidence(await chain.claimed(later=0))
    chain.running.node.set_finality(0, 0)
    chain.running.node.reorganise(1, keep_transactions=False)
    with pytest.raises(ProofUndecided, match="another block"):
        await is_canonical(chain.node, chain.watcher, evidence, chain.contract, Finality.LATEST)
    chain.running.node.mine(5)
    assert not await is_canonical(chain.node, chain.watcher, evidence, chain.contract, Finality.LATEST)


async def test_the_headers_up_to_a_head_lead_from_the_evidence_to_it(chain: Chain) -> None:
    evidence = await RootstockReceipts(chain.node).evidence(await chain.claimed(later=8))
    headers = await header_chain(chain.node, chain.watcher, evidence, Finality.FINALIZED)
    final = await chain.node.head(Finality.FINALIZED)
    assert len(headers) == final.number - block_of(evidence).number
    assert reader_after(evidence)(headers[-1]).hash == final.hash
    assert [decode_header(each).number for each in headers] == list(
        range(final.number - len(headers) + 1, final.number + 1)
    )


async def _block(chain: Chain, number: int) -> NodeBlock:
    block = await chain.node.block(number)
    assert block is not None
    return block
