"""``layer2 proof``: reads and checks proofs. Without ``--node`` it imports no network library."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layer2.cli.exit_status import ExitStatus
from layer2.cli.output import Result
from layer2.cli.proof_file import load
from layer2.cli.proof_headers import HeaderFile
from layer2.cli.proof_policy import NOTHING_DECLARED, PolicyOptions, key_of
from layer2.cli.proof_verdict import HEADER, Undeclared, checked, lacking
from layer2.cli.proof_wording import leg_lines, report_lines
from layer2.cli.session import InSession, Session
from layer2.cli.wording import at_time, fields_of, sat, short_hash
from layer2.errors import AsyncTimeout, InvalidRequest, Layer2Error, Outcome, ProofRefused, ProofUndecided
from layer2.formats.json_record import write_record
from layer2.formats.printable import printable
from layer2.legs.evidence import LegEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.check import CheckedEvidence, report_of
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import ProofPolicy, Requirement
from layer2.proofs.report import LegReport, ProofReport
from layer2.terms.signing import write_terms

if TYPE_CHECKING:
    from layer2.config import Layer2Config

__all__ = ["report_data", "show", "verify"]

_MORE_IS_OPEN = "every check of the file holds, but more is open than the policy accepts"


def verify(
    file: Path,
    *,
    node: bool = False,
    final: bool = False,
    options: PolicyOptions = NOTHING_DECLARED,
    trusted_header: tuple[str, ...] = (),
    headers: tuple[Path, ...] = (),
    session: InSession,
) -> Result | Coroutine[Any, Any, Result]:
    """Check a proof: what it shows for each leg, and what it leaves open.

    Exit status 0: it shows a completed transfer, its headers are on their chains, and your policy or your configuration
    declares its signer, its network and its tokens. 1: a check failed, and is named; or the proof shows a refund or one
    leg only. 2: your node cannot decide now. 4: every check of the file holds, but something is not declared, or the
    end of a leg is not known as well as the policy requires: the report says whom to ask, and the error names
    the option.

    Args:
        file: The proof.
        node: Ask the nodes of your configuration whether the headers are on their chains. Accept only the providers
            and tokens of the configuration.
        final: With --node: the headers must be final.
        trusted_header: The hash (64 hex digits) of a block that you know is on the chain: the proof's block must be
            this one or, with --headers, an earlier one. If both legs have a block: LAYER:HASH, for each.
        headers: The file of the headers after the proof's block, up to and including the trusted one: one per line,
            oldest first, as debug_getRawHeader returns them. If both legs have a block: LAYER:FILE, for each. A proof
            on Bitcoin has the headers of the next blocks itself.
    """
    policy = options.declared()
    is_trusted = bool(trusted_header or policy.trusted_headers)
    _check_usage(node, final, trusted=is_trusted, with_headers=bool(headers))
    proof = load(file)
    if node:
        return _verified_by_nodes(file, proof, policy, session, final=final)
    report = _report_of_file(checked(proof, policy), trusted_header, headers)
    return _verified(file, proof, report, lacking(report, policy))


async def _verified_by_nodes(
    file: Path, proof: TransferProof, policy: ProofPolicy, session: Session, *, final: bool
) -> Result:
    from layer2.manager.verification import configured_policy

    config = session.config()
    policy = configured_policy(config, replace(policy, requires=Requirement.FINALIZED) if final else policy)
    report = await _ask_nodes(checked(proof, policy), config, session)
    return _verified(file, proof, report, lacking(report, policy))


def _verified(file: Path, proof: TransferProof, report: ProofReport, missing: Sequence[Undeclared]) -> Result:
    data = report_data(report) | {"file": str(file), "proof_id": proof.proof_id.hex()}
    problem, ended = _problem(report, missing)
    is_real = all(each.code != HEADER for each in missing)
    return Result(data, report_lines(file, report, is_real=is_real), problem=problem, ended=ended)


def _check_usage(node: bool, final: bool, *, trusted: bool, with_headers: bool) -> None:
    if final and not node:
        raise InvalidRequest("--final needs --node: only a node knows what is final", code="usage")
    if node and trusted:
        raise InvalidRequest("--trusted-header is for a verifier without a node: omit --node", code="usage")
    if with_headers and not trusted:
        raise InvalidRequest("--headers needs --trusted-header: headers alone show nothing", code="usage")


def show(file: Path, *, session: InSession) -> Result:
    """Show the terms of a proof: the parties, the amounts and the deadlines. Use proof verify to check it.

    Args:
        file: The proof.
    """
    proof = load(file)
    terms = proof.terms.terms
    lines: list[str] = [
        f"transfer    {terms.swap_id}   {printable(terms.network)}",
        f"owed        the taker pays {sat(terms.source_amount)} on {terms.source.protocol.value}, "
        f"the provider pays {sat(terms.amount)} on {terms.destination.protocol.value}",
        f"fees        provider {sat(terms.provider_fee)}, network {sat(terms.network_fee)}",
        f"hash        {short_hash(terms.payment_hash.hex(), whole=session.verbose)}",
        f"provider    {short_hash(terms.provider.hex(), whole=session.verbose)} is named as the signer of the terms",
        f"agreed      {at_time(terms.issued_at)}",
        f"            the taker pays before {at_time(terms.fund_by)}, the provider before "
        f"{at_time(terms.counter_fund_by)}; to be collected before {at_time(terms.collect_by)}",
        *(
            f"{name:<11} {text}"
            for name, leg in (("source", terms.source), ("destination", terms.destination))
            for text in leg_lines(leg, whole=session.verbose)
        ),
        f"evidence    source: {_kind(proof.source_leg)}; destination: {_kind(proof.destination_leg)}",
        f"proof id    {short_hash(proof.proof_id.hex(), whole=session.verbose)}",
        f"not checked yet: layer2 proof verify {printable(str(file))}",
    ]
    return Result({"file": str(file), "terms": write_terms(terms), "proof_id": proof.proof_id.hex()}, lines)


def report_data(report: ProofReport) -> dict[str, object]:
    """The same for machines."""
    return {
        **fields_of(report, "outcome", "provider_is_known", "preimage_maker"),
        "source": _leg_data(report.source),
        "destination": _leg_data(report.destination),
        "statement": None if report.statement is None else write_record(report.statement),
        "open_points": [fields_of(matter, "point", "text") for matter in report.open_points],
        "terms": write_terms(report.terms),
    }


def _problem(report: ProofReport, missing: Sequence[Undeclared]) -> tuple[Layer2Error | None, ExitStatus | None]:
    """The reason for an exit status other than 0, and the status if it differs from that of the error."""
    match report.outcome:
        case ProofOutcome.REFUNDED:
            return Layer2Error("the proof shows a refund, not a completed transfer", code="proof_of_refund"), None
        case ProofOutcome.PARTIAL:
            return Layer2Error("the proof shows one leg, not a completed transfer", code="proof_of_one_leg"), None
        case ProofOutcome.COMPLETED if missing:
            # What is open is in the report, above the error.
            unsaid = [each.text for each in missing if each.point is None]
            problem = ProofUndecided("; and ".join(unsaid) or _MORE_IS_OPEN)
            problem.retryable = False
            problem.remedy = "; ".join(each.remedy for each in missing)
            return problem, ExitStatus.ACTION_NEEDED
        case ProofOutcome.COMPLETED:
            return None, None


def _report_of_file(
    evidence: CheckedEvidence, trusted_header: tuple[str, ...], headers: tuple[Path, ...]
) -> ProofReport:
    """The report with the headers that the options name. An option without a layer means the only one with a block."""
    trusted: dict[Layer2ProtocolType, bytes] = {}
    for text in trusted_header:
        layer, value = _of_layer(text, evidence.layers, "--trusted-header")
        try:
            trusted[layer] = key_of(value, (32,))
        except ValueError as error:
            raise InvalidRequest("--trusted-header takes 64 hex digits", code="usage") from error
    chains: dict[Layer2ProtocolType, HeaderFile] = {}
    for path in headers:
        layer, value = _of_layer(str(path), evidence.layers, "--headers")
        chains[layer] = HeaderFile.at(Path(value))
    try:
        return report_of(evidence, trusted=trusted or evidence.policy.trusted_headers, headers=chains)
    except ProofRefused as error:
        if not chains:
            error.remedy = "if the block that you trust is a later one: --headers, with the headers up to it"
        raise


async def _ask_nodes(evidence: CheckedEvidence, config: Layer2Config, session: Session) -> ProofReport:
    """The report with what the nodes of the configuration confirm.

    Raises:
        ProofRefused: a node has another block.
        ProofUndecided: a node cannot decide now.
    """
    import asyncio

    from layer2.aio.time_limit import time_limit
    from layer2.manager import Layer2Manager
    from layer2.manager.verification import legs_to_ask, report_of_nodes

    seconds = config.default_timeout_ms / 1000
    late = AsyncTimeout(f"no result within {seconds:g} s", operation="proof_verify", outcome=Outcome.NOT_SENT)
    clients: dict[Layer2ProtocolType, object] = {}
    async with Layer2Manager(config) as manager:
        for leg, _ in legs_to_ask(evidence, config.layers):
            clients[leg.protocol] = client = await manager.get_protocol_async(leg.protocol)
            with session.terminal.working(f"asking your {leg.protocol.value} node"):
                await client.initialize_async()
        async with time_limit(asyncio.timeout(seconds), lambda: late):
            return await report_of_nodes(evidence, clients, network=config.network)
    raise AssertionError("the block above returns or raises")


def _of_layer(text: str, placed: Sequence[Layer2ProtocolType], option: str) -> tuple[Layer2ProtocolType, str]:
    """The layer that an option's value names, and the rest of the value."""
    name, _, value = text.partition(":")
    if value and name.upper() in Layer2ProtocolType.__members__:
        return Layer2ProtocolType[name.upper()], value
    if len(placed) != 1:
        raise InvalidRequest(f"both legs have a block: {option} takes LAYER:VALUE", code="usage")
    return placed[0], text


def _leg_data(leg: LegReport) -> dict[str, object]:
    return {
        **fields_of(leg, "protocol", "outcome", "level"),
        "finality": None if (reached := leg.finality_reached) is None else reached.value,
        "shown": sorted(one.value for one in leg.shown),
        "block_number": None if leg.header is None else leg.header.number,
        "block_hash": None if leg.header is None else f"0x{leg.header.hash.hex()}",
    }


def _kind(evidence: LegEvidence | None) -> str:
    return "none" if evidence is None else evidence.type
