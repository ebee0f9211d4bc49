"""What is required of a leg's evidence, and what the evidence shows. Each kind of leg checks its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from layer2.legs.views import Side

__all__ = ["BlockRef", "EvidencePolicy", "LegOutcome", "LegShown", "OpenMatter", "OpenPoint", "Owed", "Shown"]


class LegOutcome(Enum):
    """How a leg ended."""

    COLLECTED = "collected"
    """The payee has the money, or has shown what it collects with."""
    RETURNED = "returned"
    """The payer has it back."""


class Shown(Enum):
    """One thing that a leg's evidence shows."""

    INCLUDED = "included"
    """The end of the leg's lock is included under the header of the report."""
    GENUINE_CONTRACT = "genuine_contract"
    """The contract's address commits to the genuine HTLC code."""
    PREIMAGE = "preimage"
    """The preimage of exactly the invoice in the terms: the payment could be collected."""
    INDEPENDENT_PAYEE = "independent_payee"
    """The policy declares that the invoice's signer makes its own preimages and issues no hold invoices: so the payment
    was made."""


class OpenPoint(Enum):
    """What a proof can leave open."""

    HEADER = "header"
    """That a header is on its chain."""
    LEG = "leg"
    """What became of a leg without evidence."""
    PROVIDER = "provider"
    """Who signed the terms."""
    ASSET = "asset"
    """That the token is the bitcoin that the verifier means."""
    PAYMENT = "payment"
    """That a Lightning payment was made, and not only that it could be collected."""
    TEST_MONEY = "test_money"
    """That anything of value moved."""


@dataclass(frozen=True, slots=True)
class OpenMatter:
    """Something that was not shown."""

    point: OpenPoint
    text: str
    """What it is, and what to ask of whom."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block that evidence names."""

    number: int
    hash: bytes
    """32 bytes."""
    timestamp: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class EvidencePolicy:
    """What a verifier requires of legs and their evidence. None means: not required."""

    tokens: Mapping[int, Mapping[bytes, int]] | None = None
    """By chain id, the tokens that count, each with its decimals."""
    contracts: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    """By chain id, contracts that count besides the genuine one."""
    own_preimage_payees: frozenset[bytes] | None = None
    """Lightning nodes that make their own preimages and issue no hold invoices."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What the terms state about a leg, besides the leg."""

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
    """Of the block that includes it, where there is one. Nothing is known yet of that block's place in a chain."""
    contract: bytes | None = None
    """The contract that emitted the event, where there is one."""
    open: tuple[OpenMatter, ...] = ()
