"""``layer2 proof audit``: checks many proofs under one policy, counts each payment once, and sums."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from layer2.cli.exit_status import ExitStatus
from layer2.cli.output import Line, Result, table
from layer2.cli.proof_batches import (
    Ask,
    Checked,
    Given,
    NotAccepted,
    Why,
    accepted,
    check_all,
    checked,
    given,
    not_accepted,
    read,
)
from layer2.cli.proof_commands import load_headers
from layer2.cli.proof_judging import undeclared
from layer2.cli.proof_policy import NOTHING_DECLARED, PolicyOptions, by_layer, policy_data
from layer2.cli.session import InSession, Session
from layer2.cli.wording import at_time, fields_of, sat
from layer2.errors import InvalidRequest, Layer2Error, ProofUndecided
from layer2.formats.printable import printable
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs import audit as auditing
from layer2.proofs.audit import Audit, Entry, Total
from layer2.proofs.header_chain import ancestors
from layer2.proofs.policy import HeaderRequirement, ProofPolicy

__all__ = ["audit"]

Ancestors: TypeAlias = Mapping[Layer2ProtocolType, frozenset[bytes]]
"""By layer, the hashes of the trusted block and of the blocks below it that are known."""

_LISTED: Final = 20
"""Lines of each kind that people are shown. The JSON object has all."""


@dataclass(frozen=True, slots=True)
class _Report:
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
    def levels(self) -> dict[str, dict[str, int]]:
        """By layer and level, the number of blocks in the proofs that count."""
        levels: dict[str, dict[str, int]] = {}
        for entry in (*self.audit.completed, *self.audit.refunded):
            for block in entry.blocks:
                of_layer = levels.setdefault(block.layer.value, {})
                of_layer[block.level.value] = of_layer.get(block.level.value, 0) + 1
        return {layer: dict(sorted(of_layer.items())) for layer, of_layer in sorted(levels.items())}

    @property
    def files(self) -> int:
        """The number of proofs that were given."""
        found = self.audit
        return len(found.completed) + len(found.refunded) + len(found.duplicates) + len(self.not_accepted)


async def audit(
    *paths: str,
    options: PolicyOptions = NOTHING_DECLARED,
    node: bool = False,
    final: bool = False,
    trusted_header: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
    session: InSession,
) -> Result:
    """Check many proofs, count each payment once, and sum what each party paid and received.

    Two proofs are of one payment if they share a payment hash, a swap id, a lock or a Bitcoin output. The first counts,
    in the order of the paths and of the names in a folder; the others are listed as duplicates. The sums, in satoshi,
    are of the completed transfers that your policy accepts. Refunds are listed apart and are in no sum.

    Exit status 0: every proof was accepted, and none is a duplicate. 1: one was refused, is not readable, shows one leg
    only, or is a duplicate. 2: none of these, but your node cannot decide now. 4: none of these, but something is not
    declared or a header is not confirmed: the message names the option.

    Args:
        paths: Files, folders, or - for standard input with one proof on each line. A folder stands for the files *.json
            in it and in its folders.
        node: Ask the nodes of your configuration whether the headers are on their chains. Accept only the providers
            and tokens of the configuration, unless the policy declares others.
        final: With --node: the headers must be final.
        trusted_header: LAYER:HASH. A block that you know is on the chain: the blocks of the proofs must be this one or,
            with --headers, earlier ones; one for each layer.
        headers: LAYER:FILE. The headers after the oldest of the blocks, up to and including the trusted one, as proof
            headers writes them; one for each layer.
    """
    if not paths:
        raise InvalidRequest("PATHS is missing: name files, folders, or -", code="usage")
    if final and not node:
        raise InvalidRequest("--final needs --node: only a node knows what is final", code="usage")
    policy = options.declared(trusted_header)
    if node and policy.trusted_headers:
        raise InvalidRequest("trusted headers are for a verifier without a node: omit --node", code="usage")
    known = {
        layer: _ancestors(policy, layer, file) for layer, file in by_layer(headers, "--headers", "LAYER:FILE").items()
    }
    began = int(time.time())
    with session.terminal.working("checking the proofs"):
        async with _asking(policy, known, session, node=node, final=final) as (policy, ask):
            offline = (
                policy if ask is None else replace(policy, header=HeaderRequirement.NOT_CHECKED, trusted_headers={})
            )
            answers = await check_all(given(paths, sys.stdin.buffer), offline, cores=_cores(), ask=ask)
    if not answers:
        raise InvalidRequest("there is no proof: a folder stands for the files *.json in it", code="usage")
    entries, rest = _parted(answers)
    report = _Report(policy, auditing.audit(entries), rest, began)
    problem, ended = _problem(report)
    return Result(_data(report), list(_lines(report)), problem=problem, ended=ended)


def _ancestors(policy: ProofPolicy, layer: Layer2ProtocolType, file: str) -> frozenset[bytes]:
    trusted = policy.trusted_headers.get(layer)
    if trusted is None:
        raise InvalidRequest(
            f"--headers needs a trusted header of {layer.value}: headers alone show nothing", code="usage"
        )
    return ancestors(layer, load_headers(Path(file)), trusted)


@asynccontextmanager
async def _asking(
    policy: ProofPolicy, known: Ancestors, session: Session, *, node: bool, final: bool
) -> AsyncIterator[tuple[ProofPolicy, Ask | None]]:
    """The policy, and what to ask about each proof that holds by itself: the nodes, or the headers that are known."""
    if node:
        async with _nodes(policy, session, final=final) as asking:
            yield asking
        return

    async def ask(one: Given, entry: Entry) -> Checked:
        placed = {block.layer: block.hash for block in entry.blocks if block.hash in known.get(block.layer, ())}
        return checked(one, replace(policy, trusted_headers={**policy.trusted_headers, **placed}))

    yield policy, ask if known else None


@asynccontextmanager
async def _nodes(policy: ProofPolicy, session: Session, *, final: bool) -> AsyncIterator[tuple[ProofPolicy, Ask]]:
    """The policy with what the configuration adds, and the question to its nodes."""
    from layer2.manager import Layer2Manager
    from layer2.manager.verification import configured_policy

    config = session.config()
    whole = configured_policy(config, replace(policy, header=HeaderRequirement.FINALIZED) if final else policy)
    async with Layer2Manager(config) as manager:
        begun: dict[Layer2ProtocolType, asyncio.Future[None]] = {}

        async def begin(layer: Layer2ProtocolType) -> None:
            await (await manager.get_protocol_async(layer)).initialize_async()

        async def ask(one: Given, entry: Entry) -> Checked:
            proof = None
            try:
                for block in entry.blocks:
                    # One attempt for each layer: a node that is down would be waited for again at each proof.
                    if block.layer not in begun:
                        begun[block.layer] = asyncio.ensure_future(begin(block.layer))
                    await begun[block.layer]
                proof = read(one)
                report = await manager.check_transfer_proof_async(proof, policy=whole)
            except Layer2Error as error:
                return not_accepted(one, proof, error)
            missing = undeclared(report)
            if missing:
                return NotAccepted(one.name, proof.proof_id, Why.UNDECLARED, missing[0].code, missing[0].text)
            return accepted(one, proof, report)

        yield whole, ask


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parted(answers: Iterable[Checked]) -> tuple[list[Entry], tuple[NotAccepted, ...]]:
    entries: list[Entry] = []
    rest: list[NotAccepted] = []
    for each in answers:
        if isinstance(each, Entry):
            entries.append(each)
        else:
            rest.append(each)
    return entries, tuple(rest)


def _problem(report: _Report) -> tuple[Layer2Error | None, ExitStatus | None]:
    """Why not every proof is counted. A refusal decides the exit status before anything that is only missing."""
    reasons, kinds = report.reasons, {each.why for each in report.not_accepted}
    if not reasons:
        return None, None
    counts = ", ".join(f"{count} {code}" for code, count in reasons.items())
    message = f"{sum(reasons.values())} of {report.files} proofs are not counted: {counts}"
    if report.audit.duplicates or Why.REFUSED in kinds:
        return Layer2Error(message, code="not_all_accepted"), None
    problem = ProofUndecided(message)
    if Why.UNDECIDED in kinds:
        return problem, ExitStatus.UNKNOWN
    problem.retryable = False
    first = report.not_accepted[0]
    problem.remedy = f"{printable(first.name)}: {first.text}"
    return problem, ExitStatus.ACTION_NEEDED


def _data(report: _Report) -> dict[str, object]:
    found = report.audit
    return {
        "checked_at": report.time,
        "policy": policy_data(report.policy),
        "proofs": report.files,
        "reasons": report.reasons,
        "levels": report.levels,
        "sums": [_total_data(each) for each in found.totals],
        "completed": [_entry_data(each) for each in found.completed],
        "refunded": [_entry_data(each) for each in found.refunded],
        "duplicates": [
            {**_named(each.entry), "shared": each.shared, "first": each.first.name} for each in found.duplicates
        ],
        "not_accepted": [
            {
                "file": each.name,
                "proof_id": None if each.proof_id is None else each.proof_id.hex(),
                "why": each.why.value,
                "code": each.code,
                "text": each.text,
            }
            for each in report.not_accepted
        ],
    }


def _named(entry: Entry) -> dict[str, object]:
    return {"file": entry.name, "proof_id": entry.proof_id.hex()}


def _entry_data(entry: Entry) -> dict[str, object]:
    return {
        **_named(entry),
        "amount": entry.amount,
        "keys": list(entry.keys),
        "levels": {block.layer.value: block.level.value for block in entry.blocks},
    }


def _total_data(total: Total) -> dict[str, object]:
    party = total.party
    return {
        **fields_of(party, "network", "layer", "role", "key"),
        **fields_of(total, "asset", "paid", "received", "payments"),
    }


def _lines(report: _Report) -> Iterator[Line]:
    found = report.audit
    yield (
        f"{report.files:,} proofs: {len(found.completed):,} completed, {len(found.refunded):,} refunded, "
        f"{len(found.duplicates):,} duplicates, {len(report.not_accepted):,} not accepted; {at_time(report.time)}"
    )
    for key, value in policy_data(report.policy).items():
        yield f"  {'policy':<12} {key}: {', '.join(value) if isinstance(value, list) else value}"
    for layer, levels in report.levels.items():
        yield f"  {'blocks':<12} {layer}: " + ", ".join(f"{count:,} {level}" for level, count in levels.items())
    for code, count in report.reasons.items():
        yield f"  {'not counted':<12} {count:,} {code}"
    yield from _some("refunded", [f"{each.name}: {sat(each.amount)}, in no sum" for each in found.refunded])
    yield from _some(
        "duplicate", [f"{each.entry.name}: has the {each.shared} of {each.first.name}" for each in found.duplicates]
    )
    yield from _some("not accepted", [f"{each.name}: [{each.code}] {each.text}" for each in report.not_accepted])
    if found.totals:
        columns = ("network", "layer", "party", "key", "asset", ">paid", ">received", ">payments")
        yield table(columns, [_row(each) for each in found.totals])


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
