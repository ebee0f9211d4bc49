"""The demo's forged proofs: copies of valid proofs with one change each, and the check that must refuse it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from coincurve import PrivateKey

from layer2.errors import FormatError, ProofRefused
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.bitcoin_transaction import decode_transaction
from layer2.formats.tagged_signature import sign
from layer2.legs.evidence import (
    BitcoinSpendEvidence,
    EvmReceiptEvidence,
    EvmStorageEvidence,
    LegEvidence,
    LightningPaymentEvidence,
)
from layer2.model.transactions import Preimage
from layer2.proofs.check import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash

__all__ = ["Forgery", "forgeries", "refusal"]

_STRANGER = PrivateKey(hashlib.sha256(b"layer2 demo: a stranger").digest())
_FIRST_DIFFICULTY = 0x1D00_FFFF


@dataclass(frozen=True, slots=True)
class Forgery:
    """A copy with one change."""

    lie: str
    proof: TransferProof
    refused_by: str
    """The check that must refuse it."""


def forgeries(proof: TransferProof, other: TransferProof | None = None) -> tuple[Forgery, ...]:
    """Copies of a valid proof: two with changed terms, and at least one with changed evidence of each leg.

    Args:
        other: another valid proof, of a transfer in the other direction: its evidence is put into one more copy.
    """
    lies: list[Forgery] = [
        Forgery("amount changed", _amount_changed(proof), "terms_signature"),
        Forgery("signed by another", _signed_by_a_stranger(proof), "provider"),
    ]
    if other is not None:
        lies.append(Forgery("another swap's lock", replace(proof, source_leg=other.destination_leg), "lock_id"))
    is_pair_of_one_kind = type(proof.source_leg) is type(proof.destination_leg)
    for evidence in (proof.source_leg, proof.destination_leg):
        for lie, changed, check in _changes(evidence):
            place = f" on {changed.protocol.value}" if is_pair_of_one_kind else ""
            is_source = evidence is proof.source_leg
            copy = replace(proof, source_leg=changed) if is_source else replace(proof, destination_leg=changed)
            lies.append(Forgery(lie + place, copy, check))
    return tuple(lies)


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


def _changes(evidence: LegEvidence | None) -> Iterator[tuple[str, LegEvidence, str]]:
    """Copies of a leg's evidence with one change each, and the check that must refuse it."""
    match evidence:
        case LightningPaymentEvidence():
            yield "another preimage", LightningPaymentEvidence(Preimage(bytes(32))), "preimage"
        case EvmReceiptEvidence():
            leaf = bytearray(evidence.receipt_proof[-1])
            leaf[len(leaf) // 2] ^= 1
            changed = replace(evidence, receipt_proof=(*evidence.receipt_proof[:-1], bytes(leaf)))
            yield "receipt changed", changed, "receipt_inclusion"
        case EvmStorageEvidence():
            yield "another lock", replace(evidence, lock_id=bytes(32)), "storage_inclusion"
        case BitcoinSpendEvidence():
            yield "transaction changed", replace(evidence, transaction=_pays_more(evidence.transaction)), "inclusion"
            yield "funding changed", replace(evidence, funding=_pays_more(evidence.funding)), "funding"
            yield "header without work", replace(evidence, headers=_without_work(evidence.headers)), "header"


def _pays_more(raw: bytes) -> bytes:
    transaction = decode_transaction(raw)
    first = transaction.outputs[0]
    return replace(transaction, outputs=(replace(first, amount=first.amount + 1), *transaction.outputs[1:])).encode()


def _without_work(headers: Sequence[bytes]) -> tuple[bytes, ...]:
    """The headers, the first with the difficulty at which Bitcoin's main network began, and without that work."""
    return (replace(decode_header(headers[0]), bits=_FIRST_DIFFICULTY).encode(), *headers[1:])
