"""Keeps the proofs of whole transfers on real nodes as files, for the test vectors of the class ``real``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from layer2 import Layer2Manager, Layer2ProtocolType, TransferProof
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, Leg
from layer2.local.network import LocalNetwork
from layer2.model.transactions import SwapId
from layer2.terms.signing import terms_hash
from networks.parties import clients_of
from networks.waiting import until

__all__ = ["Recorder", "stated"]


async def stated(layers: Layer2Manager, transfer_id: str) -> TransferProof:
    """The proof in the journal, once it has the statement."""
    seen: list[TransferProof] = []

    async def has_it() -> bool:
        proof = await layers._entered().records.proof(SwapId(transfer_id))
        seen.extend([] if proof is None or proof.statement is None else [proof])
        return bool(seen)

    await until(has_it, "the provider has stated how the transfer ended")
    return seen[0]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes proofs into a directory if one is given (``pytest --record-proofs``)."""

    directory: Path | None

    async def keep(self, name: str, network: LocalNetwork, layers: Layer2Manager, transfer_id: str) -> None:
        """Keep the proof with its statement, and a second one with the storage of locks on BOB in place of receipts."""
        if self.directory is None or network.name != "devnet":
            return
        proof = await stated(layers, transfer_id)
        self._write(name, proof)
        of_storage = await _with_storage(proof, network)
        if of_storage != proof:
            self._write(f"{name}_storage", of_storage)

    def _write(self, name: str, proof: TransferProof) -> None:
        assert self.directory is not None
        (self.directory / f"{name}.json").write_bytes(proof.to_bytes())


async def _with_storage(proof: TransferProof, network: LocalNetwork) -> TransferProof:
    terms = proof.terms.terms

    async def of(leg: Leg, evidence: LegEvidence | None) -> LegEvidence | None:
        if evidence is None or leg.protocol is not Layer2ProtocolType.BOB:
            return evidence
        return await clients.bob.storage_evidence_async(Htlc(leg, terms.payment_hash, terms_hash(terms)))

    async with clients_of(network, network.taker) as clients:
        return replace(
            proof,
            source_leg=await of(terms.source, proof.source_leg),
            destination_leg=await of(terms.destination, proof.destination_leg),
        )
