"""What a client asks its node about evidence: its block, and the storage of a contract."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from layer2.legs.evidence import EvmStorageEvidence, LegEvidence
from layer2.legs.leg import Htlc
from layer2.model.transactions import Finality

__all__ = ["ConfirmsEvidence", "ProvesStorage"]


@runtime_checkable
class ConfirmsEvidence(Protocol):
    """A client that can ask its node about the header of evidence."""

    async def confirm_evidence(self, evidence: LegEvidence, *, contract: bytes | None, finality: Finality) -> bool:
        """Whether the evidence is canonical at this client's node at that finality.

        Args:
            contract: the contract of the leg; None if its layer has none.

        Raises:
            ProofUndecided: the node cannot tell now.
        """
        ...


@runtime_checkable
class ProvesStorage(Protocol):
    """A client that can make evidence of a lock's end from the storage of its contract."""

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``."""
        ...

    async def storage_evidence_async(self, htlc: Htlc, *, timeout: float | None = None) -> EvmStorageEvidence | None:
        """The evidence of a lock's end; None if the lock has not ended.

        Raises:
            ProtocolNotImplemented: the nodes of this layer have no proofs of storage.
        """
        ...
