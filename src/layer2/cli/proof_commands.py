"""``layer2 proof``: read a proof, and check it. Without ``--node`` nothing here loads a network library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layer2.cli.envelope import Line, Result
from layer2.cli.session import InSession, Session
from layer2.cli.wording import at_time, sat, short_hash
from layer2.errors import ConfigurationError, FormatError, InvalidRequest, Layer2Error, ProofRefused
from layer2.foreign_text import printable
from layer2.formats.evm_address import to_checksum
from layer2.formats.keccak import keccak256
from layer2.proofs.checking import LegReport, ProofReport, Shown, check_proof
from layer2.proofs.header_chain import read_headers, write_headers
from layer2.proofs.model import EvmReceiptEvidence, ProofOutcome, TransferProof
from layer2.proofs.policy import FINAL, OFFLINE, ProofPolicy
from layer2.terms import EvmLeg, Leg, LightningLeg, Terms

__all__ = ["headers", "load", "report_data", "report_lines", "show", "verify"]

# The trusted header is told with the block itself.
_WORDS = {
    Shown.INCLUDED: "its end is included under the header",
    Shown.GENUINE_CONTRACT: "by the contract that keeps the promises",
    Shown.PREIMAGE: "the preimage of the invoice in the terms is shown",
    Shown.INDEPENDENT_PAYEE: "its payee is independent: so it was paid",
}


async def verify(
    file: Path,
    *,
    node: bool = False,
    final: bool = False,
    provider: tuple[str, ...] = (),
    trusted_header: str | None = None,
    headers: Path | None = None,
    session: InSession,
) -> Result:
    """Check a proof, and say what it shows for each leg and what it leaves open.

    Exit status 0: it holds. 1: it is refused, and the failed check is named; or it shows a refund and no completed
    transfer. 2: it cannot be decided now.

    Args:
        file: The proof.
        node: Ask your own node, from the configuration, whether the header is on the chain, and count only
            providers and tokens of the configuration.
        final: With --node: the header must be final.
        provider: Count only terms signed by this key (64 hex digits); can be given more than once.
        trusted_header: Hash of a block (64 hex digits) that you know to be on the chain: the proof's block must be
            that one or, by --headers, one before it.
        headers: File of the headers after that of the proof, up to the trusted one and with it: one in a line,
            oldest first, as debug_getRawHeader gives them.
    """
    if final and not node:
        raise InvalidRequest("--final needs --node: only a node can say what is final", code="usage")
    if node and trusted_header is not None:
        raise InvalidRequest("--trusted-header is for who has no node: leave --node away", code="usage")
    if headers is not None and trusted_header is None:
        raise InvalidRequest("--headers needs --trusted-header: by themselves headers show nothing", code="usage")
    proof = load(file)
    keys = frozenset(_key(text, "--provider") for text in provider) or None
    if node:
        report = await _ask_node(proof, keys, session, final=final)
        # The first is the header's place, which the node has told.
        open_points = list(report.open_points[1:])
    else:
        trusted = None if trusted_header is None else _key(trusted_header.removeprefix("0x"), "--trusted-header")
        policy = ProofPolicy(OFFLINE.header, providers=keys, trusted_header=trusted)
        report = check_proof(proof, policy, headers=() if headers is None else _load_headers(headers))
        open_points = list(report.open_points)
    lines = report_lines(file, report, open_points, is_canonical=node)
    data = report_data(report, open_points) | {"file": str(file), "header_is_canonical": True if node else None}
    problem = None
    if report.outcome is not ProofOutcome.COMPLETED:
        problem = Layer2Error(
            "the proof holds, and what it shows is a refund: the transfer was not completed", code="proof_of_refund"
        )
    return Result(data, lines, problem=problem)


async def headers(file: Path, output: Path, *, final: bool = False, session: InSession) -> Result:
    """Write the headers after a proof's block, for who has no node: for proof verify with --headers.

    They are your own node's, up to its safe block.

    Args:
        file: The proof.
        output: The file to write.
        final: Up to the finalized block.
    """
    from layer2.layers import Layer2ProtocolType
    from layer2.manager import Layer2Manager
    from layer2.transactions import Finality

    proof = load(file)
    _check_is_another(output, file)
    evidence = next(
        (leg for leg in (proof.source_leg, proof.destination_leg) if isinstance(leg, EvmReceiptEvidence)), None
    )
    if evidence is None:
        raise ProofRefused("evidence", "no leg has a header")
    async with Layer2Manager(session.config()) as manager:
        bob = await manager.get_protocol_async(Layer2ProtocolType.BOB)
        with session.terminal.working("asking your BOB node"):
            await bob.initialize_async()
            chain = await bob.header_chain_async(evidence, until=Finality.FINALIZED if final else Finality.SAFE)
    _write(output, write_headers(chain))
    last = "0x" + keccak256(chain[-1] if chain else evidence.header).hex()
    lines: list[Line] = [
        f"{output}   {len(chain)} headers, up to block {last}",
        f"to check: layer2 proof verify {file} --trusted-header {last} --headers {output}",
    ]
    return Result({"file": str(output), "headers": len(chain), "trusted_header": last}, lines)


def show(file: Path, *, session: InSession) -> Result:
    """Say who owed what to whom under which terms. Nothing is checked: that is for proof verify.

    Args:
        file: The proof.
    """
    proof = load(file)
    terms = proof.terms.terms
    lines: list[Line] = [
        f"transfer   {terms.swap_id}   {printable(terms.network)}",
        f"owed       the taker pays {sat(terms.source_amount)} on {terms.source.protocol.value}, "
        f"the provider pays {sat(terms.amount)} on {terms.destination.protocol.value}",
        f"fees       provider {sat(terms.provider_fee)}, network {sat(terms.network_fee)}",
        f"hash       {short_hash(terms.payment_hash.hex(), whole=session.verbose)}",
        f"provider   {short_hash(terms.provider.hex(), whole=session.verbose)} is said to have signed the terms",
        f"agreed     {at_time(terms.issued_at)}",
        f"           the taker pays by {at_time(terms.fund_by)}, the provider by {at_time(terms.counter_fund_by)}, "
        f"collected by {at_time(terms.collect_by)}",
        *(f"{name:<10} {text}" for name, leg in _legs(terms) for text in _leg_lines(leg, whole=session.verbose)),
        f"evidence   source: {_kind(proof.source_leg)}; destination: {_kind(proof.destination_leg)}",
        f"not checked yet: layer2 proof verify {file}",
    ]
    return Result({"file": str(file), "terms": _terms_data(terms), "proof_id": proof.proof_id.hex()}, lines)


def load(file: Path) -> TransferProof:
    """Read a proof from a file.

    Raises:
        ConfigurationError: the file cannot be read.
        ProofRefused: it is not a proof; check ``format``.
    """
    try:
        return TransferProof.load(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error
    except FormatError as error:
        raise ProofRefused("format", error.message) from error


def report_lines(file: Path, report: ProofReport, open_points: list[str], *, is_canonical: bool = False) -> list[Line]:
    """What a proof shows, leg by leg, and what it leaves open."""
    completed = report.outcome is ProofOutcome.COMPLETED
    lines: list[Line] = [
        f"{file}   holds: {'a completed transfer' if completed else 'a refund, no completed transfer'}"
    ]
    for name, leg in (("source", report.source), ("destination", report.destination)):
        lines.append(f"  {name:<12} {leg.protocol.value:<10} {_shown(leg, is_canonical=is_canonical)}")
    known = "whom you named" if report.provider_is_known else "whoever that is"
    lines.append(f"  {'terms':<12} signed by {report.terms.provider.hex()[:10]}.., {known}")
    return [*lines, *(f"  {'open':<12} {point}" for point in open_points)]


def report_data(report: ProofReport, open_points: list[str]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "outcome": report.outcome.value,
        "source": _leg_data(report.source),
        "destination": _leg_data(report.destination),
        "provider_is_known": report.provider_is_known,
        "open_points": open_points,
        "terms": _terms_data(report.terms),
    }


async def _ask_node(
    proof: TransferProof, keys: frozenset[bytes] | None, session: Session, *, final: bool
) -> ProofReport:
    """What the proof shows under the configuration's policy; its header is on the own node's chain.

    Raises:
        ProofRefused: a check failed, or the node has another block; a proof of a refund is asked for like any other.
        ProofUndecided: the node cannot tell now.
    """
    from layer2.layers import Layer2ProtocolType
    from layer2.manager import Layer2Manager
    from layer2.manager.verification import configured_policy, is_canonical
    from layer2.proofs.policy import HeaderRequirement

    asked = FINAL.header if final else HeaderRequirement.AS_AGREED
    config = session.config()
    policy = configured_policy(config, ProofPolicy(asked, providers=keys))
    report = check_proof(proof, policy)
    async with Layer2Manager(config) as manager:
        bob = await manager.get_protocol_async(Layer2ProtocolType.BOB)
        with session.terminal.working("asking your BOB node"):
            await bob.initialize_async()
            holds = await is_canonical(proof, policy, bob)
    if not holds:
        raise ProofRefused("header", "your node's chain has another block at that height")
    return report


def _key(text: str, option: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InvalidRequest(f"{option} takes 64 hex digits", code="usage")
    return key


def _check_is_another(output: Path, file: Path) -> None:
    if output.exists() and output.samefile(file):
        raise InvalidRequest("the headers would be written over the proof: name another file", code="usage")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}", code="unwritable_file") from error


def _load_headers(file: Path) -> tuple[bytes, ...]:
    try:
        return read_headers(file.read_text("ascii"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error
    except (FormatError, UnicodeDecodeError) as error:
        raise ProofRefused("header_chain", f"{file} is not a file of headers") from error


def _shown(leg: LegReport, *, is_canonical: bool) -> str:
    if not leg.shown:
        return "nothing is shown, and nothing was owed here any more"
    words = [_WORDS[one] for one in Shown if one in leg.shown and one in _WORDS]
    if leg.header is not None:
        words.append(f"block {leg.header.number} 0x{leg.header.hash.hex()[:8]}.., {_place(leg, is_canonical)}")
    return "; ".join(words)


def _place(leg: LegReport, is_canonical: bool) -> str:
    if is_canonical:
        return "on your node's chain"
    if Shown.TRUSTED_HEADER in leg.shown:
        return "on the chain of the header that you trust"
    return "its place in the chain is not checked offline"


def _leg_data(leg: LegReport) -> dict[str, Any]:
    return {
        "protocol": leg.protocol.value,
        "shown": sorted(one.value for one in leg.shown),
        "block_number": None if leg.header is None else leg.header.number,
        "block_hash": None if leg.header is None else f"0x{leg.header.hash.hex()}",
    }


def _terms_data(terms: Terms) -> dict[str, Any]:
    from layer2.formats.signed_terms import write_terms

    return dict(write_terms(terms))


def _legs(terms: Terms) -> tuple[tuple[str, Leg], tuple[str, Leg]]:
    return ("source", terms.source), ("to", terms.destination)


def _leg_lines(leg: Leg, *, whole: bool) -> list[str]:
    match leg:
        case EvmLeg():
            return [
                f"{leg.protocol.value}, chain {leg.chain_id}: a lock of {leg.amount} units "
                f"({leg.token_decimals} decimals) of the token {to_checksum(leg.token)}",
                f"from {to_checksum(leg.payer)} to {to_checksum(leg.payee)}, "
                f"in the contract {to_checksum(leg.contract)}",
                f"anyone may refund it from {at_time(leg.deadline)}; it counts when it is {leg.finality.value}",
            ]
        case LightningLeg():
            return [
                f"LIGHTNING, {printable(leg.network)}: a payment of {leg.amount_msat} msat "
                f"to {short_hash(leg.payee.hex(), whole=whole)}",
                f"by the invoice {_invoice(leg.invoice, whole=whole)}",
            ]


def _invoice(text: str, *, whole: bool) -> str:
    """The invoice, if it may be one: the file is somebody else's, and nothing of it is checked yet."""
    if not (text.isascii() and text.isalnum()):
        return "that is none"
    return text if whole else text[:24] + ".."


def _kind(evidence: object) -> str:
    return "none" if evidence is None else type(evidence).__name__.removesuffix("Evidence")
