"""Evidence from the contract's storage: a claimer cannot suppress it, and it is made from the chain alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contracts.noisy_caller import claim_noisily
from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock, LockStatus
from layer2.errors import BadAnswer, InvalidRequest, NodeRefused, ProofUndecided, ProtocolNotImplemented
from layer2.formats.evm_header import decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.chain_header import read_evm
from layer2.legs.evidence import EvmReceiptEvidence, EvmStorageEvidence, LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.lock_evidence import block_of, shown_of
from layer2.legs.shown import LegOutcome
from layer2.legs.views import Side, Verb
from layer2.local.simnet.evm.arguments import RpcError
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.proofs.header_chain import check_ancestor
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.protocols.bob import BobClient
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from protocols.evm.bob_network import BobNetwork
from protocols.evm.rootstock_network import rootstock_network


def agreed(bob: BobNetwork) -> tuple[Terms, Htlc]:
    """Terms whose source is a lock from the taker to the provider on this network."""
    leg = bob.htlc(made.PREIMAGE).leg
    terms = made.terms(source=leg)
    return terms, Htlc(leg, terms.payment_hash, terms_hash(terms))


def lock_of(htlc: Htlc) -> HtlcLock:
    assert isinstance(htlc.leg, EvmLeg)
    return htlc.leg.lock(htlc.payment_hash, htlc.terms_hash)


async def fund(bob: BobNetwork, htlc: Htlc) -> None:
    taker = await bob.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))


@pytest.mark.parametrize("log_size", [10, 99_000, 110_000, 120_000])
async def test_a_claim_with_a_receipt_of_any_size_leaves_a_proof_that_can_be_read(
    bob: BobNetwork, log_size: int
) -> None:
    terms, htlc = agreed(bob)
    await fund(bob, htlc)
    await claim_noisily(await bob.client("provider"), lock_of(htlc), made.PREIMAGE, log_size)
    taker = await bob.client("taker")
    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    proof = TransferProof(made.signed(terms), evidence, LightningPaymentEvidence(made.PREIMAGE))
    assert TransferProof.from_bytes(proof.to_bytes()) == proof
    assert proof.outcome is ProofOutcome.COMPLETED


async def test_a_block_whose_receipts_are_longer_than_an_answer_may_be_hides_no_end(bob: BobNetwork) -> None:
    _, htlc = agreed(bob)
    await fund(bob, htlc)
    await claim_noisily(await bob.client("provider"), lock_of(htlc), made.PREIMAGE, 110_000)
    taker = await bob.client("taker", connection_pool=ConnectionPoolConfig(max_response_bytes=200_000))
    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    assert isinstance(evidence, EvmStorageEvidence)
    assert shown_of(evidence, lock_of(htlc)).outcome is LegOutcome.COLLECTED


async def collected(bob: BobNetwork, htlc: Htlc) -> BobClient:
    """Fund and claim the lock, and return the taker's client."""
    await fund(bob, htlc)
    provider = await bob.client("provider")
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, made.PREIMAGE))
    return await bob.client("taker")


Answer = Callable[[list[Any], Any], Any]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Answer], None]:
    """Change what the node answers to a method: a function of the arguments and of the right answer."""
    changes: dict[str, Answer] = {}
    answer = EvmMethods.answer

    def changed(self: EvmMethods, method: str, arguments: list[object]) -> object:
        right = answer(self, method, arguments)
        return changes[method](arguments, right) if method in changes else right

    monkeypatch.setattr(EvmMethods, "answer", changed)
    return changes.__setitem__


def refuse(arguments: list[Any], right: Any) -> Any:
    raise RpcError(-32000, "pruned history unavailable")


def block_named(bob: BobNetwork, evidence: EvmStorageEvidence | None) -> int:
    """How many blocks there are above the evidence's block, which must be one of the node's."""
    assert evidence is not None
    header = decode_header(evidence.header)
    block = bob.node.chain.block_by_number(header.number)
    assert block is not None
    assert block.hash == header.hash
    return bob.node.chain.head.number - header.number


async def test_evidence_of_the_storage_is_made_after_the_firmest_block_that_shows_the_end(bob: BobNetwork) -> None:
    """Five blocks later the finalized one shows it too, and no reorganisation can make the evidence useless."""
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    first = await taker.storage_evidence_async(htlc)
    assert block_named(bob, first) == 0
    bob.node.mine(5)
    later = await taker.storage_evidence_async(htlc)
    depth = block_named(bob, later)
    heads = await asyncio.gather(*[taker._node.head(finality) for finality in (Finality.LATEST, Finality.FINALIZED)])
    assert depth == heads[0].number - heads[1].number > 0
    assert later is not None
    assert await taker.verify_proof_async(later)


@pytest.mark.parametrize("status", [LockStatus.NONE, LockStatus.LOCKED])
async def test_a_lock_that_has_not_ended_has_none(bob: BobNetwork, status: LockStatus) -> None:
    _, htlc = agreed(bob)
    if status is LockStatus.LOCKED:
        await fund(bob, htlc)
    stranger = await bob.client("stranger")
    assert await stranger.storage_evidence_async(htlc) is None
    assert await stranger.legs.evidence(htlc, Side.PAYER) is None


async def test_anyone_makes_the_evidence_of_a_refund_from_the_terms_and_the_chain(bob: BobNetwork) -> None:
    terms, htlc = agreed(bob)
    await fund(bob, htlc)
    provider = await bob.client("provider")
    await provider.legs.perform(await provider.legs.prepare(Verb.RELEASE, htlc))
    bob.node.mine(5)
    stranger = await bob.client("stranger")
    evidence = await stranger.storage_evidence_async(htlc)
    assert evidence is not None
    assert shown_of(evidence, lock_of(htlc)).outcome is LegOutcome.RETURNED
    proof = TransferProof(made.signed(terms), evidence, None)
    assert TransferProof.from_bytes(proof.to_bytes()).outcome is ProofOutcome.REFUNDED
    assert await stranger.confirm_evidence(evidence, contract=HTLC_ADDRESS, finality=Finality.FINALIZED)


@pytest.mark.parametrize(
    "change", [{"chain_id": 1}, {"protocol": Layer2ProtocolType.ROOTSTOCK}], ids=["chain", "layer"]
)
async def test_a_leg_of_another_chain_or_layer_is_refused(bob: BobNetwork, change: dict[str, Any]) -> None:
    stranger = await bob.client("stranger")
    with pytest.raises(InvalidRequest, match="not a lock on BOB, chain 60808"):
        await stranger.storage_evidence_async(bob.htlc(made.PREIMAGE, **change))


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("eth_getLogs", refuse),
        ("eth_getLogs", lambda _, right: []),
        ("eth_getBlockReceipts", refuse),
        ("eth_getBlockReceipts", lambda _, right: None),
        ("eth_getBlockReceipts", lambda _, right: []),
    ],
    ids=["refuses logs", "finds no logs", "refuses receipts", "has no receipts", "answers with no receipts"],
)
async def test_a_node_without_the_receipt_proves_the_end_by_the_storage(
    bob: BobNetwork, node: Callable[[str, Answer], None], method: str, change: Answer
) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    node(method, change)
    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    assert isinstance(evidence, EvmStorageEvidence)
    assert shown_of(evidence, lock_of(htlc)).outcome is LegOutcome.COLLECTED


async def test_a_node_without_old_states_proves_the_newest_one(
    bob: BobNetwork, node: Callable[[str, Answer], None]
) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    bob.node.mine(9)

    def newest_only(arguments: list[Any], right: Any) -> Any:
        newest = "0x" + bytes(bob.node.chain.head.hash).hex()
        return right if arguments[2]["blockHash"] == newest else refuse(arguments, right)

    node("eth_getProof", newest_only)
    assert block_named(bob, await taker.storage_evidence_async(htlc)) == 0


async def test_a_node_that_makes_no_proofs_refuses_and_hides_no_other_evidence(
    bob: BobNetwork, node: Callable[[str, Answer], None]
) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    node("eth_getProof", refuse)
    with pytest.raises(NodeRefused, match="pruned"):
        await taker.storage_evidence_async(htlc)
    assert isinstance(await taker.legs.evidence(htlc, Side.PAYER), EvmReceiptEvidence)
    node("eth_getLogs", refuse)
    with pytest.raises(NodeRefused) as caught:
        await taker.legs.evidence(htlc, Side.PAYER)
    assert isinstance(caught.value.__context__, NodeRefused), "why there is no receipt"


def without_last(arguments: list[Any], right: Any) -> Any:
    right["storageProof"][0]["proof"].pop()
    return right


def refunded(arguments: list[Any], right: Any) -> Any:
    *upper, leaf = right["storageProof"][0]["proof"]
    right["storageProof"][0] |= {"value": "0x3", "proof": [*upper, leaf[:-1] + "3"]}
    return right


def with_long_node(arguments: list[Any], right: Any) -> Any:
    right["accountProof"].append("0x" + "00" * 533)
    return right


@pytest.mark.parametrize("lie", [without_last, refunded, with_long_node])
async def test_a_proof_that_proves_nothing_is_a_bad_answer_and_worth_another_try(
    bob: BobNetwork, node: Callable[[str, Answer], None], lie: Answer
) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    bob.node.mine(9)
    node("eth_getProof", lie)
    with pytest.raises(BadAnswer, match="the node's proof of the lock's status") as caught:
        await taker.storage_evidence_async(htlc)
    assert (caught.value.retryable, caught.value.operation) == (True, "eth_getProof")


async def test_an_invented_end_is_not_believed(bob: BobNetwork, node: Callable[[str, Answer], None]) -> None:
    _, htlc = agreed(bob)
    await fund(bob, htlc)
    bob.node.mine(9)
    node("eth_getProof", refunded)
    with pytest.raises(BadAnswer, match="storage_inclusion"):
        await (await bob.client("taker")).storage_evidence_async(htlc)


async def test_headers_lead_from_the_block_of_the_storage_to_a_later_one(bob: BobNetwork) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    evidence = await taker.storage_evidence_async(htlc)
    assert evidence is not None
    with pytest.raises(ProofUndecided):
        await taker.header_chain_async(evidence)
    bob.node.mine(7)
    headers = await taker.header_chain_async(evidence)
    check_ancestor(block_of(evidence), headers, keccak256(headers[-1]), read_evm)


async def test_storage_of_a_block_that_was_reorganised_away_is_undecided_and_then_refused(bob: BobNetwork) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    evidence = await taker.storage_evidence_async(htlc)
    assert evidence is not None
    with pytest.raises(ProofUndecided, match="not finalized yet"):
        await taker.verify_proof_async(evidence)
    bob.node.reorganise(1, keep_transactions=False)
    with pytest.raises(ProofUndecided, match="another block"):
        await taker.verify_proof_async(evidence)
    bob.node.mine(4)
    assert not await taker.verify_proof_async(evidence)


async def test_storage_evidence_that_was_tampered_with_is_false(bob: BobNetwork) -> None:
    _, htlc = agreed(bob)
    taker = await collected(bob, htlc)
    bob.node.mine(5)
    evidence = await taker.storage_evidence_async(htlc)
    assert evidence is not None
    assert await taker.verify_proof_async(evidence)
    for changed in (
        replace(evidence, lock_id=bytes(32)),
        replace(evidence, storage_proof=evidence.storage_proof[:-1]),
        replace(evidence, account_proof=evidence.storage_proof),
        replace(evidence, header=evidence.header[:-1] + b"\x00"),
    ):
        assert not await taker.verify_proof_async(changed)


async def test_a_rootstock_node_has_no_proofs_of_storage() -> None:
    async with rootstock_network() as rootstock:
        client, htlc = await rootstock.client("taker"), rootstock.htlc(made.PREIMAGE)
        with pytest.raises(ProtocolNotImplemented, match="ROOTSTOCK"):
            await client.storage_evidence_async(htlc)


async def test_a_receipt_on_rootstock_that_does_not_fit_leaves_no_evidence() -> None:
    async with rootstock_network() as rootstock:
        taker, provider = await rootstock.client("taker"), await rootstock.client("provider")
        htlc = rootstock.htlc(made.PREIMAGE)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        await claim_noisily(provider, lock_of(htlc), made.PREIMAGE, 101_000)
        with pytest.raises(BadAnswer, match="does not fit into a proof"):
            await taker.legs.evidence(htlc, Side.PAYER)
