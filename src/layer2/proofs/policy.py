"""What a verifier requires before a proof counts, and what its own nodes have confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from layer2.errors import InvalidRequest
from layer2.legs.shown import EvidencePolicy
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["FINAL", "OFFLINE", "Confirmation", "HeaderRequirement", "ProofLevel", "ProofPolicy"]


class HeaderRequirement(Enum):
    """What must be known about every header under which the end of a leg is included."""

    NOT_CHECKED = "not_checked"
    """Nothing: anyone can make a header. The report's ``level`` is then ``OFFLINE``."""
    AS_AGREED = "as_agreed"
    """Canonical at the verifier's own node at the finality that the terms name, or below a trusted header."""
    FINALIZED = "finalized"
    """Canonical at the verifier's own node at or below its finalized head, or below a trusted header."""


class ProofLevel(Enum):
    """What is known of a header's place in its chain."""

    OFFLINE = "offline"
    """Nothing. Whoever made the proof can have made the header."""
    TRUSTED_HEADER = "trusted_header"
    """It is the header that the policy trusts for this layer, or an ancestor of it."""
    AS_AGREED = "as_agreed"
    """The verifier's own node has it at the finality that the terms name."""
    FINALIZED = "finalized"
    """The verifier's own node has it at or below its finalized head."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the verifier's own nodes have confirmed."""

    headers: Mapping[tuple[Layer2ProtocolType, bytes], Finality]
    """For a layer and the hash of a header (32 bytes): the finality at which it is canonical there."""


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """What a verifier requires. Every None means: not required, and the report says that it was not checked."""

    header: HeaderRequirement
    providers: frozenset[bytes] | None = None
    """Identity keys (32 or 33 bytes) whose signed terms count. One person can be payer, payee and signer of everything:
    without this a proof shows nothing about strangers. With it, it still shows nothing of a completion while no header
    is: a provider signs terms before any money moves."""
    networks: frozenset[str] | None = None
    """``mainnet``, ``testnet``, ``regtest``: test money is no money."""
    tokens: Mapping[int, Mapping[bytes, int]] | None = None
    """By chain id, the tokens (20 bytes) that count as the asset of the terms, each with its decimals: terms that gave
    a token others would call dust a fortune."""
    contracts: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    """By chain id, HTLC contracts that count although their address does not commit to their code."""
    own_preimage_payees: frozenset[bytes] | None = None
    """Lightning node keys (33 bytes) of which the verifier declares two things: the node makes the preimages of its
    invoices itself, and it issues no hold invoices. Required, the preimage of such a node's invoice shows that the
    destination was paid, and not only that it could be. A Lightning source is always a hold invoice, so it is
    refused."""
    trusted_headers: Mapping[Layer2ProtocolType, bytes] = field(default_factory=dict)
    """By layer, the hash (32 bytes) of a block that the verifier knows to be on the chain. Required, a header of that
    layer has to be that block's or, by the headers between, one before it."""

    def __post_init__(self) -> None:
        for trusted in self.trusted_headers.values():
            if len(trusted) != 32:
                raise InvalidRequest(f"trusted_headers: a hash has 32 bytes, not {len(trusted)}")
        for tokens in ({} if self.tokens is None else self.tokens).values():
            if not isinstance(tokens, Mapping):
                raise InvalidRequest("tokens: for each chain id, a mapping from tokens to their decimals")

    @property
    def evidence(self) -> EvidencePolicy:
        """What concerns the legs and their evidence."""
        return EvidencePolicy(self.tokens, self.contracts, self.own_preimage_payees)


OFFLINE = ProofPolicy(HeaderRequirement.NOT_CHECKED)
"""For a verifier with a file and no node: what a proof shows if its headers are real, which stays open."""

FINAL = ProofPolicy(HeaderRequirement.FINALIZED)
"""Every header at or below the finalized head of the verifier's own nodes. A manager adds its providers, its network
and its tokens."""
