"""The demo's forged proofs: copies of valid proofs with one change each, and the check that must refuse it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from coincurve import PrivateKey

from layer2.errors import FormatError, ProofRefused
from layer2.formats.tagged_signature import sign
from layer2.legs.evidence import EvmReceiptEvidence, LightningPaymentEvidence
from layer2.model.transactions import Preimage
from layer2.proofs.checking import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash

__all__ = ["Forgery", "forgeries", "refusal"]

_STRANGER = PrivateKey(hashlib.sha256(b"layer2 demo: a stranger").digest())


@dataclass(frozen=True, slots=True)
class Forgery:
    """A copy with one change."""

    lie: str
    proof: TransferProof
    refused_by: str
    """The check that must refuse it."""


def forgeries(to_lightning: TransferProof, to_bob: TransferProof) -> tuple[Forgery, ...]:
    """Five copies of a valid proof from BOB to Lightning. The parts to exchange come from another valid proof."""
    lies: tuple[tuple[str, Callable[[], TransferProof], str], ...] = (
        ("amount changed", lambda: _amount_changed(to_lightning), "terms_signature"),
        ("signed by another", lambda: _signed_by_a_stranger(to_lightning), "provider"),
        ("another swap's lock", lambda: replace(to_lightning, source_leg=to_bob.destination_leg), "lock_id"),
        ("another preimage", lambda: _another_preimage(to_lightning), "preimage"),
        ("receipt changed", lambda: _receipt_changed(to_lightning), "receipt_inclusion"),
    )
    return tuple(Forgery(lie, make(), check) for lie, make, check in lies)


def refusal(proof: TransferProof, policy: ProofPolicy) -> ProofRefused | None:
    """The reason why a proof is refused when it is read from a file; None if it is accepted."""
    try:
        check_proof(TransferProof.from_bytes(proof.to_bytes()), policy)
    except FormatError as error:
        return ProofRefused("format", error.message)
    except ProofRefused as error:
        return error
    return None


def _amount_changed(proof: TransferProof) -> TransferProof:
    signed = proof.terms
    return replace(proof, terms=replace(signed, terms=replace(signed.terms, amount=signed.terms.amount * 10)))


def _signed_by_a_stranger(proof: TransferProof) -> TransferProof:
    terms = replace(proof.terms.terms, provider=_STRANGER.public_key.format()[1:])
    signature = Signature(Scheme.BIP340, sign(_STRANGER.secret, terms_hash(terms), bytes(32)))
    return replace(proof, terms=SignedTerms(terms, signature))


def _another_preimage(proof: TransferProof) -> TransferProof:
    return replace(proof, destination_leg=LightningPaymentEvidence(Preimage(bytes(32))))


def _receipt_changed(proof: TransferProof) -> TransferProof:
    evidence = proof.source_leg
    assert isinstance(evidence, EvmReceiptEvidence)
    leaf = bytearray(evidence.receipt_proof[-1])
    leaf[len(leaf) // 2] ^= 1
    return replace(proof, source_leg=replace(evidence, receipt_proof=(*evidence.receipt_proof[:-1], bytes(leaf))))
