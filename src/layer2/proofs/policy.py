"""A verifier's requirements for a proof, and the headers that its nodes have confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from layer2.errors.base import InvalidRequest
from layer2.legs.shown import EvidencePolicy
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["FINAL", "OFFLINE", "Confirmation", "ProofLevel", "ProofPolicy", "Requirement"]


class Requirement(Enum):
    """What a verifier requires to know of the end of a leg."""

    NOTHING = "nothing"
    """No requirement: anyone can make a header. The report says what is known of each leg."""
    STATED = "stated"
    """Of each of the two legs: a provider that the policy names states how it ended, or its block is known better."""
    AS_AGREED = "as_agreed"
    """Of each leg whose evidence names a block: the block is canonical at the verifier's node at the finality of the
    terms, or an ancestor of a trusted header, or has the work that the policy accepts."""
    FINALIZED = "finalized"
    """Of each leg whose evidence names a block: the block is canonical at the verifier's node at or below its finalized
    head, or an ancestor of a trusted header."""


class ProofLevel(Enum):
    """What is known of the end of one leg. No level is computed for a proof: those of its legs have other sources."""

    OFFLINE = "offline"
    """Nothing. The author of the proof may have made what it shows."""
    STATED = "stated"
    """A provider that the policy names signed a completion statement with the leg's outcome."""
    WORK = "work"
    """The block's header and the headers above it in the proof have the work that the policy accepts."""
    TRUSTED_HEADER = "trusted_header"
    """The block's header is the one that the policy trusts for this layer, or an ancestor of it."""
    AS_AGREED = "as_agreed"
    """The block is canonical at the verifier's node at the finality of the terms."""
    FINALIZED = "finalized"
    """The block is canonical at the verifier's node at or below its finalized head."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the verifier's nodes have confirmed."""

    headers: Mapping[tuple[Layer2ProtocolType, bytes], Finality]
    """By layer and header hash (32 bytes): the finality at which the header is canonical."""


@dataclass(frozen=True, slots=True)
class ProofPolicy(EvidencePolicy):
    """A verifier's requirements for a proof: those for its legs, and those for its signer, its network and its blocks.

    None means not required; the report then lists the point as open.
    """

    requires: Requirement
    providers: frozenset[bytes] | None = None
    """Identity keys (32 or 33 bytes) whose signed terms are accepted. Without this requirement one person may be payer,
    payee and signer, so a proof shows nothing about strangers. With it, a proof without checked headers and
    without a completion statement still does not show completion: a provider signs terms before any money moves."""
    networks: frozenset[str] | None = None
    """Accepted networks: ``mainnet``, ``testnet``, ``regtest``. Coins of test networks have no value."""
    trusted_headers: Mapping[Layer2ProtocolType, bytes] = field(default_factory=dict)
    """By layer, the hash (32 bytes) of a block that the verifier knows to be on the chain. A header of that layer must
    be that block's header, or its ancestor through the proof's own headers or those that are passed to the check."""

    def __post_init__(self) -> None:
        _check_forms(self.requires, self.networks, self.trusted_headers)
        with_work = {layer: layer.value for layer, facts in LAYERS.items() if facts.headers_have_work}
        if not self.work.keys() <= with_work.keys():
            raise InvalidRequest(f"work: only the headers of {' and '.join(sorted(with_work.values()))} show work")
        for hashes in self.work.values():
            if isinstance(hashes, bool) or not isinstance(hashes, int) or hashes <= 0:
                raise InvalidRequest("work: for each layer, a positive number of hashes")
        _check_bytes("trusted_headers", self.trusted_headers.values(), 32)
        if self.tokens is not None and not (
            isinstance(self.tokens, Mapping) and all(isinstance(each, Mapping) for each in self.tokens.values())
        ):
            raise InvalidRequest("tokens: for each chain id, a mapping from tokens to their decimals")
        for tokens in (self.tokens or {}).values():
            _check_bytes("tokens", tokens, 20)
        for contracts in self.contracts.values():
            _check_bytes("contracts", contracts, 20)
        _check_bytes("providers", self.providers or (), 32, 33)
        _check_bytes("own_preimage_payees", self.own_preimage_payees or (), 33)


def _check_forms(requires: object, networks: object, trusted_headers: Mapping[Any, bytes]) -> None:
    """Types are not checked at run time. Text in place of these values would change what a policy requires."""
    if not isinstance(requires, Requirement):
        raise InvalidRequest(f"requires: a Requirement, not {requires!r}")
    if isinstance(networks, str):
        raise InvalidRequest(f"networks: a set of names, not one text: {networks!r}")
    for layer in trusted_headers:
        if not isinstance(layer, Layer2ProtocolType):
            raise InvalidRequest(f"trusted_headers: each layer is a Layer2ProtocolType, not {layer!r}")


def _check_bytes(name: str, values: Iterable[object], *sizes: int) -> None:
    for value in values:
        if not isinstance(value, bytes) or len(value) not in sizes:
            given = f"{len(value)} bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"
            raise InvalidRequest(f"{name}: each one is {' or '.join(map(str, sizes))} bytes, not {given}")


OFFLINE = ProofPolicy(Requirement.NOTHING)
"""For a verifier without a node: what a proof shows if its headers are real, which stays open."""

FINAL = ProofPolicy(Requirement.FINALIZED)
"""Every header must be at or below the finalized head of the verifier's nodes. A manager adds its providers, its
network and its tokens."""
