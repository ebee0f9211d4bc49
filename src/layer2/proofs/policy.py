"""What a verifier requires before it says True."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from layer2.errors import InvalidRequest

__all__ = ["FINAL", "OFFLINE", "HeaderRequirement", "ProofPolicy"]


class HeaderRequirement(Enum):
    """What must be known about the header under which an EVM leg's event is included."""

    NOT_CHECKED = "not_checked"
    """Nothing: anybody can make a header. What is shown then rests on the signed terms and on the preimage alone."""
    AS_AGREED = "as_agreed"
    """Canonical at the verifier's own node at the finality that the terms name."""
    FINALIZED = "finalized"
    """Canonical at the verifier's own node at or below its finalized head."""


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """What a verifier requires. Every None means: not required, and the report says that it was not checked."""

    header: HeaderRequirement
    providers: frozenset[bytes] | None = None
    """Identity keys (32 bytes, x-only) whose signed terms count. One person can be payer, payee and signer of
    everything: without this a proof shows nothing about strangers."""
    networks: frozenset[str] | None = None
    """``mainnet``, ``testnet``, ``regtest``: test money is no money."""
    tokens: Mapping[int, Mapping[bytes, int]] | None = None
    """By chain id, the tokens (20 bytes) that count as the asset of the terms, each with its decimals: terms that gave
    a token others would call dust a fortune."""
    contracts: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    """By chain id, HTLC contracts that count although their address does not commit to their code."""
    payees: frozenset[bytes] | None = None
    """Lightning node keys (33 bytes) that are independent of whoever made the preimage. Required, a preimage then
    shows that the payment was made, not only that it could be collected."""
    trusted_header: bytes | None = None
    """Hash (32 bytes) of a block that the verifier knows to be on the chain. Required, the proof's header has to be
    that block's or, by the headers between, one before it."""

    def __post_init__(self) -> None:
        if self.trusted_header is not None and len(self.trusted_header) != 32:
            raise InvalidRequest(f"trusted_header has {len(self.trusted_header)} bytes, expected 32")


OFFLINE = ProofPolicy(HeaderRequirement.NOT_CHECKED)
"""For who has a file and no node. The report says what stays open."""

FINAL = ProofPolicy(HeaderRequirement.FINALIZED)
"""Every header at or below the finalized head of the verifier's own node. A manager adds its providers, its network
and its tokens."""
