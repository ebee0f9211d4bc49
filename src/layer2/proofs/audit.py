"""Many proofs together: which of them are of one payment, and what each party paid and received. Pure.

A proof shows one transfer, and nothing prevents several proofs of one payment: the provider can sign the same terms
again, two terms can have one swap id, and several locks can have one payment hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from layer2.errors.base import InvalidRequest
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.model import ProofOutcome, TransferProof, owed_of
from layer2.proofs.policy import ProofLevel
from layer2.proofs.report import LegReport, ProofReport
from layer2.terms.documents import Terms

__all__ = ["Audit", "Duplicate", "Entry", "Party", "PlacedBlock", "Total", "audit", "entry_of"]

_SWAP_ID: Final = "swap_id"


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
class Entry:
    """What an audit needs of one accepted proof."""

    name: str
    """The file, or the place in a stream."""
    proof_id: bytes
    network: str
    provider: bytes
    """The key that signed the terms."""
    outcome: ProofOutcome
    amount: int
    """Satoshi that the destination receives."""
    blocks: tuple[PlacedBlock, ...]
    """Of the legs whose evidence names a block."""
    keys: tuple[str, ...]
    """What names the payment: ``payment_hash``, ``swap_id``, ``lock_id`` or ``output``, and its value."""
    movements: tuple[Total, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A proof of a payment that an earlier proof has shown."""

    entry: Entry
    first: Entry
    """The proof that counts."""
    shared: str
    """The first of the keys that both have."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The proofs of an audit, each in one of three lists, and the sums of the first one."""

    completed: tuple[Entry, ...]
    refunded: tuple[Entry, ...]
    duplicates: tuple[Duplicate, ...]
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
    owed = owed_of(terms)
    legs = ((terms.source, proof.source_leg), (terms.destination, proof.destination_leg))
    names = [leg.money_name(evidence, of_leg) for (leg, evidence), of_leg in zip(legs, owed, strict=True)]
    keys = [f"payment_hash {terms.payment_hash.hex()}", f"{_SWAP_ID} {terms.swap_id}", *filter(None, names)]
    return Entry(
        name=name,
        proof_id=proof.proof_id,
        network=terms.network,
        provider=terms.provider,
        outcome=report.outcome,
        amount=terms.amount,
        blocks=tuple(
            [
                PlacedBlock(leg.protocol, leg.header.hash, leg.level, leg.finality_reached)
                for leg in (report.source, report.destination)
                if leg.header is not None
            ]
        ),
        keys=tuple(dict.fromkeys(keys)),
        movements=(
            *_movements(terms, report.source, terms.source_amount),
            *_movements(terms, report.destination, terms.amount),
            _movement(terms, report.source, "provider", terms.provider.hex(), received=terms.source_amount),
            _movement(terms, report.destination, "provider", terms.provider.hex(), paid=terms.amount),
        ),
    )


def audit(entries: Iterable[Entry]) -> Audit:
    """Count each payment once, and sum the completed transfers.

    Two proofs are of one payment if they share a key on one network, and a swap id also of one provider: the taker
    chooses the id, and knows those of strangers from their proofs. The first in the given order counts. A refund counts
    only if it shares no key with a completed transfer, wherever that one is in the order: a refund that a stranger adds
    cannot take a transfer out of the sums.
    """
    counted: dict[tuple[str, bytes, str], Entry] = {}
    lists: dict[ProofOutcome, list[Entry]] = {ProofOutcome.COMPLETED: [], ProofOutcome.REFUNDED: []}
    duplicates: list[tuple[int, Duplicate]] = []
    # A stable sort: the order within each outcome stays.
    for place, entry in sorted(enumerate(entries), key=lambda each: each[1].outcome is ProofOutcome.REFUNDED):
        scoped = {(entry.network, entry.provider if key.startswith(_SWAP_ID) else b"", key): key for key in entry.keys}
        shared = next((each for each in scoped if each in counted), None)
        if shared is not None:
            duplicates.append((place, Duplicate(entry, counted[shared], scoped[shared])))
            continue
        counted.update(dict.fromkeys(scoped, entry))
        lists[entry.outcome].append(entry)
    completed = lists[ProofOutcome.COMPLETED]
    return Audit(
        completed=tuple(completed),
        refunded=tuple(lists[ProofOutcome.REFUNDED]),
        duplicates=tuple([each for _, each in sorted(duplicates, key=lambda pair: pair[0])]),
        totals=_totals(completed),
    )


def _totals(completed: Iterable[Entry]) -> tuple[Total, ...]:
    sums: dict[tuple[Party, str], Total] = {}
    for entry in completed:
        for move in entry.movements:
            place = (move.party, move.asset)
            before = sums.get(place)
            sums[place] = move if before is None else _added(before, move)
    return tuple([sums[place] for place in sorted(sums)])


def _added(before: Total, move: Total) -> Total:
    return replace(
        before,
        paid=before.paid + move.paid,
        received=before.received + move.received,
        payments=before.payments + move.payments,
    )


def _movements(terms: Terms, leg: LegReport, amount: int) -> list[Total]:
    payer, payee = leg.leg.parties
    paid = [] if payer is None else [_movement(terms, leg, "account", payer, paid=amount)]
    return [*paid, _movement(terms, leg, "account", payee, received=amount)]


def _movement(terms: Terms, leg: LegReport, role: str, key: str, *, paid: int = 0, received: int = 0) -> Total:
    party = Party(terms.network, leg.protocol.value, role, key)
    return Total(party, leg.leg.asset, paid, received, payments=1)
