"""The answers of this package's verifier to vectors."""

from __future__ import annotations

from layer2.errors.base import FormatError, ProofRefused, ProofUndecided
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.check import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy, Requirement
from vectors.documents import Document
from vectors.vector import Vector

__all__ = ["answer"]


def answer(vector: Vector) -> tuple[str, str]:
    """The verdict, and the outcome or the reason."""
    headers = {Layer2ProtocolType[layer]: given for layer, given in vector.headers.items()}
    try:
        proof = TransferProof.from_bytes(vector.proof)
        return "valid", check_proof(proof, _policy(vector.policy), headers=headers).outcome.value
    except FormatError:
        return "refused", "format"
    except ProofRefused as error:
        return "refused", error.check
    except ProofUndecided:
        return "undecided", ""


def _policy(given: Document) -> ProofPolicy:
    def keys(name: str) -> frozenset[bytes] | None:
        return frozenset(map(bytes.fromhex, given[name])) if name in given else None

    tokens = given.get("tokens")
    return ProofPolicy(
        Requirement(given.get("requires", "nothing")),
        providers=keys("providers"),
        networks=frozenset(given["networks"]) if "networks" in given else None,
        tokens=None
        if tokens is None
        else {
            int(chain): {bytes.fromhex(token): decimals for token, decimals in listed.items()}
            for chain, listed in tokens.items()
        },
        contracts={
            int(chain): frozenset(map(bytes.fromhex, listed)) for chain, listed in given.get("contracts", {}).items()
        },
        own_preimage_payees=keys("own_preimage_payees"),
        trusted_headers={
            Layer2ProtocolType[layer]: bytes.fromhex(trusted)
            for layer, trusted in given.get("trusted_headers", {}).items()
        },
        work={Layer2ProtocolType[layer]: hashes for layer, hashes in given.get("work", {}).items()},
    )
