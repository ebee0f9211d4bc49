"""The report of an audit, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.cli.exit_status import ExitStatus
from layer2.cli.output import Line, table
from layer2.cli.proof_batches import NotAccepted, Why
from layer2.cli.proof_policy import policy_data
from layer2.cli.wording import at_time, fields_of, sat
from layer2.errors import Layer2Error, ProofUndecided
from layer2.formats.printable import printable
from layer2.proofs.audit import Audit, Entry, PlacedBlock, Total
from layer2.proofs.policy import ProofPolicy

__all__ = ["AuditReport"]

_LISTED: Final = 20
"""Lines of each kind that people are shown. The JSON object has all."""
_CONTESTED: Final = (
    "several swaps claim the same money, or two proofs show different ends of it: a sum has it once, the largest amount"
)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit has found."""

    policy: ProofPolicy
    audit: Audit
    not_accepted: tuple[NotAccepted, ...]
    time: int
    """Unix seconds, by the clock of this machine."""

    @property
    def reasons(self) -> dict[str, int]:
        """By reason code, the number of proofs that are not counted; the most frequent first."""
        codes = [each.code for each in self.not_accepted] + ["duplicate"] * len(self.audit.duplicates)
        return dict(sorted(Counter(codes).items(), key=lambda each: (-each[1], each[0])))

    @property
    def blocks(self) -> dict[str, dict[str, int]]:
        """By layer, and by what is known of a block, the number of legs in the proofs that count: the level, and the
        finality that a node has confirmed."""
        counts: dict[str, Counter[str]] = {}
        for entry in (*self.audit.completed, *self.audit.refunded):
            for block in entry.blocks:
                counts.setdefault(block.layer.value, Counter())[_known(block)] += 1
        return {layer: dict(sorted(of_layer.items())) for layer, of_layer in sorted(counts.items())}

    @property
    def files(self) -> int:
        """The number of proofs that were given."""
        found = self.audit
        return len(found.completed) + len(found.refunded) + len(found.duplicates) + len(self.not_accepted)

    @property
    def problem(self) -> tuple[Layer2Error | None, ExitStatus | None]:
        """Why an auditor has to look. A refusal decides the exit status before anything that is only missing."""
        reasons, kinds = self.reasons, {each.why for each in self.not_accepted}
        contested = len(self.audit.contested)
        if not reasons and not contested:
            return None, None
        parts = []
        if reasons:
            counts = ", ".join(f"{count} {code}" for code, count in reasons.items())
            parts.append(f"{sum(reasons.values())} of {self.files} proofs are not counted: {counts}")
        if contested:
            parts.append(f"{contested} leg is contested" if contested == 1 else f"{contested} legs are contested")
        message = "; ".join(parts)
        if contested or self.audit.duplicates or Why.REFUSED in kinds:
            return Layer2Error(message, code="not_all_accepted"), None
        problem = ProofUndecided(message)
        if Why.UNDECIDED in kinds:
            return problem, ExitStatus.UNKNOWN
        problem.retryable = False
        first = self.not_accepted[0]
        problem.remedy = f"{printable(first.name)}: {first.text}"
        return problem, ExitStatus.ACTION_NEEDED

    @property
    def data(self) -> dict[str, object]:
        """The report for machines."""
        found = self.audit
        return {
            "checked_at": self.time,
            "policy": policy_data(self.policy),
            "proofs": self.files,
            "reasons": self.reasons,
            "blocks": self.blocks,
            "sums": [_total_data(each) for each in found.totals],
            "completed": [_entry_data(each) for each in found.completed],
            "refunded": [_entry_data(each) for each in found.refunded],
            "duplicates": [
                {**_named(each.entry), "outcome": each.entry.outcome.value, "listed": each.listed.name}
                for each in found.duplicates
            ],
            "contested": [
                {
                    **fields_of(leg, "network", "name"),
                    "claims": [
                        {**_named(each.entry), "outcome": each.entry.outcome.value, "amount": each.leg.amount}
                        for each in leg.claims
                    ],
                }
                for leg in found.contested
            ],
            "not_accepted": [
                {
                    "file": each.name,
                    "proof_id": None if each.proof_id is None else each.proof_id.hex(),
                    "why": each.why.value,
                    "code": each.code,
                    "text": each.text,
                }
                for each in self.not_accepted
            ],
        }

    @property
    def lines(self) -> list[Line]:
        """The report for people."""
        return list(self._lines())

    def _lines(self) -> Iterator[Line]:
        found = self.audit
        noun = "proof" if self.files == 1 else "proofs"
        duplicates = "duplicate" if len(found.duplicates) == 1 else "duplicates"
        contested = "contested leg" if len(found.contested) == 1 else "contested legs"
        yield (
            f"{self.files:,} {noun}: {len(found.completed):,} completed, {len(found.refunded):,} refunded, "
            f"{len(found.duplicates):,} {duplicates}, {len(self.not_accepted):,} not accepted; "
            f"{len(found.contested):,} {contested}; {at_time(self.time)}"
        )
        for key, value in policy_data(self.policy).items():
            yield f"  {'policy':<12} {key}: {', '.join(value) if isinstance(value, list) else value}"
        for layer, known in self.blocks.items():
            yield f"  {'blocks':<12} {layer}: " + ", ".join(f"{count:,} {each}" for each, count in known.items())
        for code, count in self.reasons.items():
            yield f"  {'not counted':<12} {count:,} {code}"
        yield from _some("refunded", [f"{each.name}: {sat(each.amount)}, in no sum" for each in found.refunded])
        yield from _some(
            "duplicate",
            [
                f"{each.entry.name}: {each.entry.outcome.value}, of the swap of {each.listed.name}"
                for each in found.duplicates
            ],
        )
        if found.contested:
            yield f"  {'contested':<12} {_CONTESTED}"
        yield from _some(
            "contested",
            [
                f"{leg.name}: {each.entry.name}, {each.entry.outcome.value}, {sat(each.leg.amount)}"
                for leg in found.contested
                for each in leg.claims
            ],
        )
        yield from _some("not accepted", [f"{each.name}: [{each.code}] {each.text}" for each in self.not_accepted])
        if found.totals:
            columns = ("network", "layer", "party", "key", "asset", ">paid", ">received", ">payments")
            yield table(columns, [_row(each) for each in found.totals])


def _known(block: PlacedBlock) -> str:
    return block.level.value if block.finality is None else f"{block.level.value}:{block.finality.value}"


def _named(entry: Entry) -> dict[str, object]:
    return {"file": entry.name, "proof_id": entry.proof_id.hex()}


def _entry_data(entry: Entry) -> dict[str, object]:
    return {
        **_named(entry),
        "amount": entry.amount,
        "payment_hash": entry.payment_hash.hex(),
        "swap_id": str(entry.swap_id),
        "legs": [leg.name for leg in entry.legs],
        "blocks": {block.layer.value: _known(block) for block in entry.blocks},
    }


def _total_data(total: Total) -> dict[str, object]:
    party = total.party
    return {
        **fields_of(party, "network", "layer", "role", "key"),
        **fields_of(total, "asset", "paid", "received", "payments"),
    }


def _row(total: Total) -> tuple[str, ...]:
    party = total.party
    numbers = (sat(total.paid), sat(total.received), f"{total.payments:,}")
    return (party.network, party.layer, party.role, party.key, total.asset, *numbers)


def _some(name: str, texts: Sequence[str]) -> Iterator[str]:
    """The first lines of a kind, which files of strangers can name."""
    for text in texts[:_LISTED]:
        yield f"  {name:<12} {printable(text)}"
    if len(texts) > _LISTED:
        yield f"  {name:<12} and {len(texts) - _LISTED:,} more: --json lists all"
