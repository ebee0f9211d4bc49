"""The requirements for a leg's evidence, and what the evidence shows. Each kind of leg checks its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType

__all__ = [
    "BlockRef",
    "EvidencePolicy",
    "LegOutcome",
    "LegShown",
    "OpenMatter",
    "OpenPoint",
    "Owed",
    "PreimageMaker",
    "Shown",
]


class LegOutcome(Enum):
    """How a leg ended."""

    COLLECTED = "collected"
    """The payee has the money, or has shown the preimage for it."""
    RETURNED = "returned"
    """The payer has the money back."""


class Shown(Enum):
    """One thing that a leg's evidence shows."""

    INCLUDED = "included"
    """The claim or refund of the lock, or the status that it left in the contract's storage, is included under the
    header of the report."""
    GENUINE_CONTRACT = "genuine_contract"
    """The contract's address commits to the genuine HTLC code."""
    PREIMAGE = "preimage"
    """The preimage of exactly the invoice in the terms: the payment could be collected."""
    INDEPENDENT_PAYEE = "independent_payee"
    """The policy declares that the invoice's signer makes its own preimages and issues no hold invoices. Therefore the
    payment was made."""
    WORK = "work"
    """The evidence's headers have at least the work that the policy accepts."""


class PreimageMaker(Enum):
    """Whoever made the preimage of a transfer, and knew it before anyone paid. The same preimage opens both legs."""

    TAKER = "taker"
    """The taker named the payment hash: the destination pays its own account."""
    DECLARED_PAYEE = "declared_payee"
    """The signer of the destination's invoice, about which the policy declares this."""
    UNKNOWN = "unknown"
    """The destination pays an invoice, whose preimage anyone may have made."""


class OpenPoint(Enum):
    """What a proof can leave open."""

    HEADER = "header"
    """Whether a header is on its chain."""
    LEG = "leg"
    """The outcome of a leg without evidence. A known provider may have stated it."""
    PROVIDER = "provider"
    """The identity of the terms' signer."""
    ASSET = "asset"
    """Whether the token is the bitcoin that the verifier means."""
    PREIMAGE = "preimage"
    """With which preimage a lock was claimed; the contract's storage shows only that it was."""
    PAYMENT = "payment"
    """Whether a Lightning payment was made; the proof shows that it could be collected."""
    TEST_MONEY = "test_money"
    """Whether anything of value moved."""


@dataclass(frozen=True, slots=True)
class OpenMatter:
    """Something that the proof does not show."""

    point: OpenPoint
    text: str
    """What is not shown, and where to find it out."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block that evidence names."""

    number: int
    hash: bytes
    """32 bytes, in the order in which the layer's nodes display it."""
    timestamp: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePolicy:
    """A verifier's requirements for legs and their evidence. None means not required."""

    tokens: Mapping[int, Mapping[bytes, int]] | None = None
    """By chain id, the tokens (20 bytes) that are accepted as the asset of the terms, each with its decimals. Wrong
    decimals in the terms would turn a tiny amount into a large one."""
    contracts: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    """By chain id, accepted HTLC contracts whose address does not commit to their code."""
    own_preimage_payees: frozenset[bytes] | None = None
    """Lightning node keys (33 bytes) about which the verifier declares that the node makes the preimages of its
    invoices itself, and issues no hold invoices. The preimage of such a node's invoice shows that the destination was
    paid, and not only that it could be. If set, a Lightning source is refused: it is always a hold invoice."""
    work: Mapping[Layer2ProtocolType, int] = field(default_factory=dict)
    """By layer, the expected number of hashes with which a block counts as agreed: its header and those above it in the
    proof must have this work together. Anyone who spends that much can invent them. So choose more than a forgery can
    be worth, such as the work of six blocks of today. Choose more for a layer with merged mining: miners can spend the
    work on an invented header and keep their reward on the other chain. Without an entry, no work is enough."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What the terms state about a leg, in addition to the leg itself."""

    taker_side: Side
    """``PAYER`` for the source, ``PAYEE`` for the destination."""
    amount: int
    """Satoshi."""
    payment_hash: bytes
    terms_hash: bytes
    issued_at: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class LegShown:
    """What a leg's evidence shows."""

    outcome: LegOutcome
    shown: frozenset[Shown]
    header: BlockRef | None = None
    """The block that includes it, if there is one. That block's place in a chain is not checked yet."""
    contract: bytes | None = None
    """The contract whose event or storage it is, if there is one."""
    later: tuple[bytes, ...] = ()
    """The hashes of blocks above it, oldest first: the evidence has their headers."""
    work: int = 0
    """Expected number of hashes to make the evidence's headers; 0 on layers without proof of work."""
    open: tuple[OpenMatter, ...] = ()
