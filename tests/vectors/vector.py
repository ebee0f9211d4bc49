"""One test vector: a file, a policy, and what a verifier must answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vectors.documents import Document, canonical

__all__ = ["Vector", "refused", "undecided", "valid"]


@dataclass(frozen=True, slots=True)
class Vector:
    """A case for every verifier."""

    name: str
    """``class/case``."""
    proof: bytes
    verdict: str
    """``valid``, ``refused`` or ``undecided``."""
    result: str
    """The outcome of a valid proof, the reason of a refused one, empty if undecided."""
    policy: Document = field(default_factory=dict)
    """The requirements that are set, by the names of the page."""
    headers: dict[str, Sequence[bytes]] = field(default_factory=dict)
    """By layer, the given headers up to the trusted one."""

    def line(self) -> Document:
        """The vector as a JSON value."""
        try:
            written: Document = {"proof": self.proof.decode()}
        except UnicodeDecodeError:
            written = {"proof_hex": self.proof.hex()}
        return {
            "name": self.name,
            **written,
            "policy": self.policy,
            "headers": {layer: [each.hex() for each in given] for layer, given in self.headers.items()},
            "verdict": self.verdict,
            "result": self.result,
        }


def valid(name: str, proof: Document, outcome: str = "completed", **given: Document) -> Vector:
    return Vector(name, canonical(proof), "valid", outcome, **given)


def refused(name: str, reason: str, proof: Document | bytes, **given: Document) -> Vector:
    return Vector(name, proof if isinstance(proof, bytes) else canonical(proof), "refused", reason, **given)


def undecided(name: str, proof: Document, **given: Document) -> Vector:
    return Vector(name, canonical(proof), "undecided", "", **given)
