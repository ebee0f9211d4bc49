"""``ConfirmsEvidence``: how a client asks its node about the block of evidence."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from layer2.legs.evidence import LegEvidence
from layer2.model.transactions import Finality

__all__ = ["ConfirmsEvidence"]


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
