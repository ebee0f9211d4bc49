"""Evidence from the contract's storage: a claimer cannot suppress it, and it is made from the chain alone."""

from __future__ import annotations

import pytest

from contracts.noisy_caller import claim_noisily
from layer2.contracts.htlc import HtlcLock
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import Side, Verb
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from protocols.evm.bob_network import BobNetwork


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
