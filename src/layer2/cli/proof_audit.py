"""``layer2 proof audit``: checks many proofs under one policy, counts each leg once, and sums."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from layer2.cli.output import Result
from layer2.cli.proof_audit_report import AuditReport
from layer2.cli.proof_batches import Ask, Checked, NotAccepted, Why, accepted, check_all, checked, not_accepted
from layer2.cli.proof_file import Given, given, read
from layer2.cli.proof_headers import HeaderFile
from layer2.cli.proof_policy import NOTHING_DECLARED, PolicyOptions, by_layer
from layer2.cli.proof_verdict import undeclared
from layer2.cli.session import InSession, Session
from layer2.errors import InvalidRequest, Layer2Error
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs import audit as auditing
from layer2.proofs.audit import Entry
from layer2.proofs.header_chain import ancestors
from layer2.proofs.policy import ProofPolicy, Requirement

__all__ = ["audit"]

Ancestors: TypeAlias = Mapping[Layer2ProtocolType, frozenset[bytes]]
"""By layer, the hashes of the trusted block and of the blocks below it that are known."""


async def audit(
    *paths: Path,
    stdin: bool = False,
    options: PolicyOptions = NOTHING_DECLARED,
    node: bool = False,
    final: bool = False,
    trusted_header: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
    session: InSession,
) -> Result:
    """Check many proofs, count each leg once, and sum what each party paid and received.

    One proof of each swap is listed; the others are listed as duplicates. A leg is contested if several swaps claim the
    same Lightning payment or Bitcoin output, or if two proofs show different ends of it. The sums, in satoshi, are of
    the completed transfers that your policy accepts. They have each lock, Bitcoin output and payment hash once; if
    swaps claim different amounts, the largest. Refunds are listed apart and are in no sum.

    Exit status 0: every proof was accepted, none is a duplicate, and no leg is contested. 1: one was refused, is not
    readable, shows one leg only or is a duplicate, or a leg is contested. 2: none of these, but your node cannot decide
    now. 4: none of these, but something is not declared or a header is not confirmed: the message names the option.

    Args:
        paths: Files and folders. Of a folder, the files *.json in it and in its folders are checked, but not
            *.challenge.json and *.answer.json.
        stdin: Read standard input too, after the paths: one proof on each line, as it is in its file.
        node: Ask the nodes of your configuration whether the headers are on their chains. Accept only the providers
            and tokens of the configuration, unless the policy declares others.
        final: With --node: the headers must be final.
        trusted_header: LAYER:HASH. A block that you know is on the chain: the blocks of the proofs must be this one or,
            with --headers, earlier ones; one for each layer.
        headers: LAYER:FILE. The headers after the oldest of the blocks, up to and including the trusted one, as proof
            headers writes them; one for each layer.
    """
    if not paths and not stdin:
        raise InvalidRequest("PATHS is missing: name files or folders, or use --stdin", code="usage")
    if final and not node:
        raise InvalidRequest("--final needs --node: only a node knows what is final", code="usage")
    policy = options.declared(trusted_header)
    if node and policy.trusted_headers:
        raise InvalidRequest("trusted headers are for a verifier without a node: omit --node", code="usage")
    known = {
        layer: _ancestors(policy, layer, file) for layer, file in by_layer(headers, "--headers", "LAYER:FILE").items()
    }
    proofs = given(paths, sys.stdin.buffer if stdin else None)
    began = int(time.time())
    with session.terminal.working("checking the proofs"):
        async with _asking(policy, known, session, node=node, final=final) as (policy, ask):
            first = policy
            if ask is not None:
                first = replace(policy, requires=Requirement.NOTHING, trusted_headers={})
            answers = await check_all(proofs, first, cores=_cores(), ask=ask)
    if not answers:
        raise InvalidRequest("there is no proof: of a folder, only the files *.json are checked", code="usage")
    entries = [each for each in answers if isinstance(each, Entry)]
    rest = tuple([each for each in answers if isinstance(each, NotAccepted)])
    report = AuditReport(policy, auditing.audit(entries), rest, began)
    problem, ended = report.problem
    return Result(report.data, report.lines, problem=problem, ended=ended)


def _ancestors(policy: ProofPolicy, layer: Layer2ProtocolType, file: str) -> frozenset[bytes]:
    trusted = policy.trusted_headers.get(layer)
    if trusted is None:
        raise InvalidRequest(
            f"--headers needs a trusted header of {layer.value}: headers alone show nothing", code="usage"
        )
    return ancestors(layer, HeaderFile.at(Path(file)), trusted)


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
    whole = configured_policy(config, replace(policy, requires=Requirement.FINALIZED) if final else policy)
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
