"""Many proofs together: what each party paid and received, which proofs are of one swap, and which swaps claim the
same money. Pure.

A proof shows one swap, and nothing prevents several proofs of the same money. The provider can sign the same terms
again. The preimage of one Lightning payment, and the spend of one Bitcoin output, fit every swap under that payment
hash, and anyone can make another swap under a hash that is public. A lock on an EVM chain fits one swap only, because
its id commits to the terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from layer2.errors.base import InvalidRequest
from layer2.legs.evidence import LegEvidence
from layer2.legs.shown import Owed
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.proofs.model import ProofOutcome, TransferProof, owed_of
from layer2.proofs.policy import ProofLevel
from layer2.proofs.report import LegReport, ProofReport
from layer2.terms.documents import Terms

__all__ = [
    "Audit",
    "Claim",
    "ContestedLeg",
    "Duplicate",
    "EndedLeg",
    "Entry",
    "Party",
    "PlacedBlock",
    "Total",
    "audit",
    "entry_of",
]


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """A party, as the proofs name it."""

    network: str
    """``mainnet``, ``testnet`` or ``regtest``: a local chain can have the chain id of BOB."""
    layer: str
    """The layer of the account; for a provider, the layer of the money."""
    role: str
    """``account``, or ``provider``: the signer of the terms, who also has the accounts of one side."""
    key: str
    """The account's address, the Lightning node's key, the key of a Bitcoin leg, or the provider's key."""


_Row: TypeAlias = tuple[Party, str]
"""A party and an asset."""


@dataclass(frozen=True, slots=True)
class Total:
    """What a party paid and received of one asset, in satoshi."""

    party: Party
    asset: str
    """``BTC``, the chain's own coin, or the token's address."""
    paid: int
    received: int
    payments: int
    """The number of payments in it."""


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """The block of a leg's end, and what is known of it."""

    layer: Layer2ProtocolType
    hash: bytes
    """32 bytes."""
    level: ProofLevel
    finality: Finality | None
    """As ``LegReport.finality_reached``."""


@dataclass(frozen=True, slots=True)
class EndedLeg:
    """A leg whose end a proof shows."""

    name: str
    """``lock_id``, ``output`` or ``payment_hash``, and its value: the name of the money, as of ``Leg.money_name``."""
    side: Side
    """The taker's: ``PAYER`` for a source, ``PAYEE`` for a destination."""
    amount: int
    """Satoshi."""
    accounts: tuple[Total, ...]
    """What the leg's parties paid and received, if it was collected."""
    provider: Total
    """What the signer of the terms paid or received then."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an audit needs of one accepted proof."""

    name: str
    """The file, or the place in a stream."""
    proof_id: bytes
    network: str
    swap: bytes
    """The hash of the terms. A swap's id does not name it: the taker chooses the id, and knows those of strangers
    from their proofs."""
    swap_id: SwapId
    payment_hash: bytes
    outcome: ProofOutcome
    amount: int
    """Satoshi that the destination receives."""
    legs: tuple[EndedLeg, ...]
    blocks: tuple[PlacedBlock, ...]
    """Of the legs whose evidence names a block."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A proof of a swap that another proof shows."""

    entry: Entry
    listed: Entry
    """The proof of the swap that is listed as completed or refunded."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A proof, and the leg in it that is contested."""

    entry: Entry
    leg: EndedLeg


@dataclass(frozen=True, slots=True)
class ContestedLeg:
    """Money that several swaps claim, or whose end two proofs show differently. It was paid once, or not at all."""

    network: str
    name: str
    """See ``EndedLeg.name``."""
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The proofs of an audit, each in one of the first three lists, and the sums."""

    completed: tuple[Entry, ...]
    """One proof for each swap."""
    refunded: tuple[Entry, ...]
    """One proof for each swap that no proof shows as completed."""
    duplicates: tuple[Duplicate, ...]
    contested: tuple[ContestedLeg, ...]
    totals: tuple[Total, ...]
    """By party and asset, of the completed transfers."""


def entry_of(name: str, proof: TransferProof, report: ProofReport) -> Entry:
    """What an audit needs of a proof that a verifier accepts.

    Args:
        name: how the audit's report names the proof.
        report: the result of ``check_proof`` for this proof.

    Raises:
        InvalidRequest: the proof shows one leg only, so it shows neither a transfer nor a refund.
    """
    if report.outcome is ProofOutcome.PARTIAL:
        raise InvalidRequest("a proof of one leg cannot be counted: it shows no completed transfer", code="one_leg")
    terms = report.terms
    source, destination = owed_of(terms)
    legs = (
        (report.source, proof.source_leg, source),
        (report.destination, proof.destination_leg, destination),
    )
    return Entry(
        name=name,
        proof_id=proof.proof_id,
        network=terms.network,
        swap=source.terms_hash,
        swap_id=terms.swap_id,
        payment_hash=terms.payment_hash,
        outcome=report.outcome,
        amount=terms.amount,
        legs=tuple([_ended(terms, leg, evidence, owed) for leg, evidence, owed in legs if evidence is not None]),
        blocks=tuple(
            [
                PlacedBlock(leg.protocol, leg.header.hash, leg.level, leg.finality_reached)
                for leg, _, _ in legs
                if leg.header is not None
            ]
        ),
    )


def _ended(terms: Terms, report: LegReport, evidence: LegEvidence, owed: Owed) -> EndedLeg:
    payer, payee = report.leg.parties
    amount, side, key = owed.amount, owed.taker_side, terms.provider.hex()
    paid = [] if payer is None else [_movement(terms, report, "account", payer, paid=amount)]
    received = _movement(terms, report, "account", payee, received=amount)
    own = {"received": amount} if side is Side.PAYER else {"paid": amount}
    provider = _movement(terms, report, "provider", key, **own)
    return EndedLeg(report.leg.money_name(evidence, owed), side, amount, (*paid, received), provider)


def _movement(terms: Terms, leg: LegReport, role: str, key: str, *, paid: int = 0, received: int = 0) -> Total:
    party = Party(terms.network, leg.protocol.value, role, key)
    return Total(party, leg.leg.asset, paid, received, payments=1)


def audit(entries: Iterable[Entry]) -> Audit:
    """List one proof of each swap, list what is contested, and sum the completed transfers.

    The order of the entries is that of the lists, and changes nothing else. Of the proofs of one swap, one that shows
    it completed is listed; of several such, the one with the smallest id.

    What a party paid, or received, counts once for each lock, Bitcoin output and payment hash. If swaps claim different
    amounts of it, the largest counts. Another proof therefore never makes a sum smaller: not a small swap that someone
    makes under the payment hash of a larger one, nor a large swap that pays someone else. Nor can several swaps with
    one payment hash make a sum larger than as many with hashes of their own.
    """
    given = tuple(entries)
    listed: dict[bytes, int] = {}
    for place in sorted(range(len(given)), key=lambda each: _rank(given[each])):
        listed.setdefault(given[place].swap, place)
    legs = _claims(given)
    chosen = [given[place] for place in sorted(listed.values())]
    return Audit(
        completed=tuple([each for each in chosen if each.outcome is ProofOutcome.COMPLETED]),
        refunded=tuple([each for each in chosen if each.outcome is ProofOutcome.REFUNDED]),
        duplicates=tuple(
            [
                Duplicate(each, given[listed[each.swap]])
                for place, each in enumerate(given)
                if listed[each.swap] != place
            ]
        ),
        contested=tuple(
            [ContestedLeg(*leg, tuple(claims)) for leg, claims in legs.items() if not _is_one_payment(claims)]
        ),
        totals=_totals(legs.values()),
    )


def _rank(entry: Entry) -> tuple[bool, bytes, int, str]:
    # Copies of one file have one id. The shorter name is that of the original more often, and of the earlier line.
    return entry.outcome is ProofOutcome.REFUNDED, entry.proof_id, len(entry.name), entry.name


def _claims(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Claim]]:
    """The claims of each leg, by network and name, in that order."""
    claims: dict[tuple[str, str], list[Claim]] = {}
    for entry in entries:
        for leg in entry.legs:
            claims.setdefault((entry.network, leg.name), []).append(Claim(entry, leg))
    return dict(sorted(claims.items(), key=lambda each: each[0]))


def _is_one_payment(claims: Sequence[Claim]) -> bool:
    """Whether one payment explains all claims.

    It can be the destination of one swap and the source of another: the first provider pays the second one's invoice.
    """
    if len(claims) == 1:
        return True
    swaps = {(claim.leg.side, claim.entry.swap) for claim in claims}
    ends = {(claim.leg.accounts, claim.entry.outcome) for claim in claims}
    return len(ends) == 1 and len(swaps) == len({side for side, _ in swaps})


def _totals(legs: Iterable[Sequence[Claim]]) -> tuple[Total, ...]:
    sums: dict[_Row, Total] = {}
    for claims in legs:
        for move in _movements(claims):
            row = (move.party, move.asset)
            sums[row] = _added(sums[row], move) if row in sums else move
    return tuple([sums[row] for row in sorted(sums)])


def _movements(claims: Sequence[Claim]) -> Iterable[Total]:
    """What each party paid and received in one leg: the largest amount that a completed swap claims."""
    completed = [claim.leg for claim in claims if claim.entry.outcome is ProofOutcome.COMPLETED]
    moves = [move for leg in completed for move in (*leg.accounts, leg.provider)]
    if len(completed) < 2:
        return moves
    moves.sort(key=lambda each: each.paid + each.received)
    return {(each.party, each.asset, each.paid > 0): each for each in moves}.values()


def _added(before: Total, move: Total) -> Total:
    return Total(
        before.party,
        before.asset,
        before.paid + move.paid,
        before.received + move.received,
        before.payments + move.payments,
    )
