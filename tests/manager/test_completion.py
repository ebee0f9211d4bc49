"""Completing a proof: what is added, what is refused, and that one failure never loses the other part."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.config import Layer2Config
from layer2.errors import (
    AsyncTimeout,
    ConfigurationError,
    Layer2Error,
    NodeUnreachable,
    ProofError,
    ProofRefused,
    ProofUndecided,
    ProtocolNotConfigured,
    ProtocolNotImplemented,
    StatementRefused,
    UnknownTransfer,
)
from layer2.formats.evm_address import to_checksum
from layer2.legs.evidence import EvmReceiptEvidence, EvmStorageEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.manager import completion
from layer2.manager.completion import Completion, Part, complete
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE
from layer2.proofs.statement import SignedStatement, StatedOutcome
from layer2.terms.documents import Terms
from proofs import made_proofs as made
from proofs import made_storage
from proofs.made_statements import SETTLED, signed, statement

BOB, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK
FILE = f"""
network = "regtest"
[bob]
rpc_url = "http://127.0.0.1:1"
token_address = "{to_checksum(made.TOKEN)}"
token_decimals = 8
key_file = "key"
[[providers]]
name = "provider"
url = "http://127.0.0.1:2"
identity_key = "{made.PROVIDER_KEY.hex()}"
"""
STATED = signed(statement(made.terms()))


class FakeNode:
    """A client whose node has a state in which locks have that status; None if they are open."""

    def __init__(self, status: int | None = made_storage.CLAIMED, error: Layer2Error | None = None) -> None:
        self.status = status
        self.error = error
        self.asked = 0

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        self.asked += 1
        if isinstance(self.error, NodeUnreachable):
            raise self.error

    async def storage_evidence_async(self, htlc: Htlc, *, timeout: float | None = None) -> EvmStorageEvidence | None:
        if self.error is not None:
            raise self.error
        assert isinstance(htlc.leg, EvmLeg)
        terms = made.terms() if htlc.leg == made.evm_leg() else TERMS_TO_BOB
        return None if self.status is None else made_storage.evidence_of(htlc.leg, terms, self.status)


TERMS_TO_BOB = made.to_bob().terms.terms


class FakeProvider:
    """Answers with a statement or an error, or not at all."""

    def __init__(self, answer: SignedStatement | Layer2Error | None) -> None:
        self.answer = answer

    async def completion_statement(self, terms: Terms, access_token: bytes) -> SignedStatement:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Layer2Error):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def aclose(self) -> None:
        return


@pytest.fixture
def config(tmp_path: Path) -> Layer2Config:
    (tmp_path / "layer2.toml").write_text(FILE)
    return Layer2Config.load(tmp_path / "layer2.toml")


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the provider of the configuration give an answer."""

    def answer(given: SignedStatement | Layer2Error | None) -> None:
        monkeypatch.setattr(completion, "open_provider", lambda *_: FakeProvider(given))

    answer(STATED)
    return answer


def of_the_journal(proof: TransferProof) -> SwapRecord:
    """The transfer of a proof in its taker's journal."""
    return SwapRecord(
        swap_id=proof.terms.terms.swap_id,
        role=Role.TAKER,
        state={},
        payment_hash=proof.terms.terms.payment_hash,
        request={},
        provider_name="provider",
        quote_id="1",
        access=b"\x07" * 32,
        created_at=0,
        updated_at=0,
    )


async def completed(
    proof: TransferProof,
    config: Layer2Config,
    node: FakeNode | None = None,
    *,
    is_known: bool = True,
    from_storage: bool = False,
    seconds: float = 5.0,
) -> Completion:
    clients = {BOB: node or FakeNode()}
    record = of_the_journal(proof) if is_known else None
    return await complete(proof, record, config, clients, from_storage=from_storage, seconds=seconds)


NOTHING_OF_BOB = replace(made.to_lightning(), source_leg=None)


async def test_a_stranger_adds_the_evidence_that_a_proof_lacks(config: Layer2Config) -> None:
    with pytest.raises(ProofRefused, match="evidence"):
        check_proof(NOTHING_OF_BOB, OFFLINE)
    done = await completed(NOTHING_OF_BOB, config, is_known=False)
    assert done.added == (Part.SOURCE,)
    assert isinstance(done.problems[Part.STATEMENT], UnknownTransfer)
    assert check_proof(TransferProof.from_bytes(done.result().to_bytes()), OFFLINE).outcome is ProofOutcome.COMPLETED


async def test_the_taker_adds_both_at_once(config: Layer2Config, states: Any) -> None:
    done = await completed(NOTHING_OF_BOB, config)
    assert (done.added, done.problems) == ((Part.SOURCE, Part.STATEMENT), {})
    assert done.proof.statement == STATED


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (FakeNode(error=NodeUnreachable("down")), NodeUnreachable),
        (FakeNode(error=ProtocolNotImplemented("no proofs")), ProtocolNotImplemented),
        (FakeNode(status=None), ProofUndecided),
    ],
    ids=["down", "without proofs of storage", "lock not ended"],
)
async def test_a_node_that_gives_no_evidence_does_not_lose_the_statement(
    config: Layer2Config, states: Any, node: FakeNode, error: type[Layer2Error]
) -> None:
    half = replace(made.between_chains(), source_leg=None)
    states(signed(statement(half.terms.terms)))
    done = await completed(half, config, node)
    assert (done.added, type(done.problems[Part.SOURCE])) == ((Part.STATEMENT,), error)
    assert done.result() == replace(half, statement=done.proof.statement)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NodeUnreachable("down"), NodeUnreachable),
        (StatementRefused("later", code="end_not_final"), StatementRefused),
        (None, AsyncTimeout),
        (signed(statement(made.terms(amount=1))), ProofRefused),
        (signed(statement(made.terms(), StatedOutcome.REFUNDED, destination=SETTLED)), ProofRefused),
        (signed(statement(made.terms()), made.PAYEE), ProofRefused),
    ],
    ids=["down", "not final", "silent", "other terms", "contradicts the evidence", "another signer"],
)
async def test_a_provider_that_gives_no_statement_does_not_lose_the_evidence(
    config: Layer2Config, states: Any, answer: SignedStatement | Layer2Error | None, error: type[Layer2Error]
) -> None:
    states(answer)
    done = await completed(NOTHING_OF_BOB, config, seconds=0.5)
    assert (done.added, type(done.problems[Part.STATEMENT])) == ((Part.SOURCE,), error)
    assert done.result().statement is None


async def test_if_nothing_could_be_added_the_first_reason_is_raised(config: Layer2Config) -> None:
    done = await completed(NOTHING_OF_BOB, config, FakeNode(status=None), is_known=False)
    assert done.proof == NOTHING_OF_BOB
    with pytest.raises(ProofUndecided, match="still open, or was never made"):
        done.result()


async def test_a_statement_alone_is_no_proof(config: Layer2Config, states: Any) -> None:
    bare = TransferProof(made.to_bob().terms, None, None)
    states(signed(statement(bare.terms.terms, StatedOutcome.REFUNDED)))
    done = await completed(bare, config, FakeNode(status=None))
    assert (done.added, done.proof) == ((), bare)
    assert "alone is not a proof" in done.problems[Part.STATEMENT].message
    with pytest.raises(ProofUndecided):
        done.result()


async def test_the_lock_of_a_refunded_payment_is_the_evidence(config: Layer2Config, states: Any) -> None:
    bare = TransferProof(made.to_bob().terms, None, None)
    states(signed(statement(bare.terms.terms, StatedOutcome.REFUNDED, destination=STATED.statement.source)))
    done = await completed(bare, config, FakeNode(made_storage.REFUNDED))
    assert (done.added, done.problems) == ((Part.DESTINATION, Part.STATEMENT), {})
    assert check_proof(done.proof, OFFLINE).outcome is ProofOutcome.REFUNDED


async def test_evidence_that_contradicts_the_proof_is_reported_and_not_stored(config: Layer2Config) -> None:
    done = await completed(NOTHING_OF_BOB, config, FakeNode(made_storage.REFUNDED), is_known=False)
    stated = replace(
        made.refunded(), source_leg=None, statement=signed(statement(made.terms(), StatedOutcome.REFUNDED))
    )
    against_the_statement = await completed(stated, config, FakeNode(made_storage.CLAIMED), is_known=False)
    for each, check in ((done, "outcome"), (against_the_statement, "statement")):
        problem = each.problems[Part.SOURCE]
        assert isinstance(problem, ProofRefused)
        assert (problem.check, each.added) == (check, ())


async def test_evidence_is_replaced_on_request_only(config: Layer2Config) -> None:
    proof, node = made.to_lightning(), FakeNode()
    assert (await completed(proof, config, node, is_known=False)).added == ()
    assert node.asked == 0
    done = await completed(proof, config, node, is_known=False, from_storage=True)
    assert done.added == (Part.SOURCE,)
    assert isinstance(done.proof.source_leg, EvmStorageEvidence)


async def test_the_only_evidence_with_the_preimage_stays(config: Layer2Config) -> None:
    proof = replace(made.to_lightning(), destination_leg=None)
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    done = await completed(proof, config, is_known=False, from_storage=True)
    problem = done.problems[Part.SOURCE]
    assert (type(problem), problem.code, done.proof) == (ProofError, "only_preimage", proof)


async def test_another_end_than_that_of_the_proof_is_reported(config: Layer2Config) -> None:
    done = await completed(made.refunded(), config, FakeNode(), is_known=False, from_storage=True)
    assert (done.added, done.proof) == ((), made.refunded())
    assert "your node that it was collected" in done.problems[Part.SOURCE].message


@pytest.mark.parametrize(
    ("proof", "check"),
    [
        (
            replace(NOTHING_OF_BOB, terms=replace(NOTHING_OF_BOB.terms, signature=made.to_bob().terms.signature)),
            "terms",
        ),
        (made.to_lightning(made.terms(network="mainnet")), "network"),
        (made.to_lightning(succeeded=False), "receipt_status"),
        (replace(NOTHING_OF_BOB, destination_leg=made.to_lightning().source_leg), "evidence"),
    ],
    ids=["forged terms", "another network", "wrong evidence", "evidence of another kind"],
)
async def test_nobody_is_asked_about_a_proof_that_is_wrong(
    config: Layer2Config, proof: TransferProof, check: str
) -> None:
    node = FakeNode()
    with pytest.raises(ProofRefused, match=check):
        await completed(proof, config, node)
    assert node.asked == 0


async def test_a_layer_or_a_provider_that_is_not_configured_is_named(config: Layer2Config) -> None:
    half = replace(made.between_chains(), destination_leg=None)
    record = replace(of_the_journal(half), provider_name="gone")
    done = await complete(half, record, config, {}, from_storage=False, seconds=5)
    assert isinstance(done.problems[Part.DESTINATION], ProtocolNotConfigured)
    assert isinstance(done.problems[Part.STATEMENT], ConfigurationError)
    assert "'gone'" in done.problems[Part.STATEMENT].message
