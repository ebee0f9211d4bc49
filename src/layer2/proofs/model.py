"""The portable proof of a transfer: signed terms and the evidence of each leg, without any claim about itself."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Self

from layer2.errors.base import FormatError, InvalidRequest, ProofError, ProofRefused
from layer2.formats import canonical_json
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import read_record, write_record
from layer2.formats.tagged_signature import json_digest
from layer2.legs.evidence import LegEvidence, read_evidence, write_evidence
from layer2.legs.shown import EvidencePolicy, LegOutcome, LegShown, Owed
from layer2.legs.views import Side
from layer2.proofs.statement import (
    SignedStatement,
    check_agrees,
    check_statement,
    read_signed_statement,
    write_signed_statement,
)
from layer2.terms.documents import Signature, SignedTerms, Terms
from layer2.terms.signing import read_terms, terms_hash, write_terms

__all__ = ["PROOF_VERSION", "ProofOutcome", "TransferProof", "evidence_shown", "outcome_of", "outcomes_of", "owed_of"]

PROOF_VERSION = 1
PROOF_TAG = "layer2/proof/v1"
_MAX_BYTES = canonical_json.MAX_BYTES
_MAX_VALUES = 10_000
"""More than two legs with the longest lists have."""
_TERMS_SIGNATURE = "terms_signature"
_COMPLETION_STATEMENT = "completion_statement"


class ProofOutcome(Enum):
    """What the evidence of both legs shows together. It is computed from the evidence and never stored."""

    COMPLETED = "completed"
    """Both legs were collected."""
    PARTIAL = "partial"
    """One leg was collected, and the proof has no evidence of the other."""
    REFUNDED = "refunded"
    """A leg was refunded to its payer, and no leg was collected as far as the proof shows."""


@dataclass(frozen=True, slots=True)
class TransferProof:
    """Signed terms, the evidence of each leg, and the provider's statement of the end if there is one.

    An unchecked proof shows nothing: check it with ``layer2.proofs.check_proof`` or a manager's
    ``verify_cross_layer_proof_async``. It contains both parties' addresses, and the preimage, which is public by the
    time that a proof exists.
    """

    terms: SignedTerms
    source_leg: LegEvidence | None
    """None if the leg left nothing that a third party could check (a Lightning payment that failed)."""
    destination_leg: LegEvidence | None
    statement: SignedStatement | None = None
    """How the provider says that the transfer ended. It is not evidence."""

    @property
    def outcome(self) -> ProofOutcome:
        """What the evidence states. Headers and signatures are not checked.

        Raises:
            ProofRefused: there is no evidence, or it does not match the terms.
        """
        return outcome_of(*self._outcomes())

    def with_statement(self, statement: SignedStatement) -> Self:
        """The same proof with the provider's statement.

        Raises:
            ProofRefused: the provider of the terms did not make it about them, or it contradicts the evidence.
        """
        check_statement(statement, self.terms.terms)
        check_agrees(statement.statement, *self._outcomes())
        return replace(self, statement=statement)

    def _outcomes(self) -> tuple[LegOutcome | None, LegOutcome | None]:
        return outcomes_of(evidence_shown(self, owed_of(self.terms.terms), EvidencePolicy()))

    @property
    def proof_id(self) -> bytes:
        """The tagged hash of the canonical proof, 32 bytes."""
        return json_digest(PROOF_TAG, self._json())

    def to_bytes(self) -> bytes:
        """The proof as canonical JSON (RFC 8785).

        Raises:
            FormatError: the proof exceeds a limit of the format, so ``from_bytes`` would refuse it.
        """
        data = canonical_json.encode(self._json())
        if len(data) > _MAX_BYTES:
            raise FormatError(f"proof: {len(data)} bytes, the maximum is {_MAX_BYTES}")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the result of ``to_bytes``. Only the canonical form is accepted.

        Raises:
            FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
        """
        fields = JsonObject(canonical_json.decode_strict(data, max_bytes=_MAX_BYTES, max_values=_MAX_VALUES), "proof")
        version = fields.integer("version")
        if version != PROOF_VERSION:
            raise FormatError(f"proof version {version} is unknown; this program supports version {PROOF_VERSION}")
        terms = read_terms(fields.take("terms"))
        signature, statement = _read_attestations(fields)
        source, destination = fields.take("source_leg"), fields.take("destination_leg")
        fields.end()
        return cls(
            SignedTerms(terms, signature),
            None if source is None else read_evidence(source, "source_leg"),
            None if destination is None else read_evidence(destination, "destination_leg"),
            statement,
        )

    def save(self, path: str | Path) -> Path:
        """Write the proof to a file atomically and durably; return the path.

        A file of yours that it replaces keeps its mode. A link is replaced, and not followed.

        Raises:
            FormatError: as ``to_bytes``.
            InvalidRequest: ``path`` is not a path.
            ProofError: the file cannot be written.
        """
        target, data = _path(path), self.to_bytes()
        try:
            _replace_file(target, data)
        except OSError as error:
            raise ProofError(
                f"{target} cannot be written: {error.strerror}",
                code="unwritable_file",
                remedy="save it to another path",
            ) from error
        return target

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a proof from a file.

        Raises:
            FormatError: the file is not a proof, or it is too long.
            InvalidRequest: ``path`` is not a path, or the file cannot be read.
        """
        source = _path(path)
        try:
            with source.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise InvalidRequest(
                f"{source} cannot be read: {error.strerror}",
                code="unreadable_file",
                remedy="check the path of the proof",
            ) from error
        return cls.from_bytes(data)

    def _json(self) -> dict[str, JsonValue]:
        attestations: list[JsonValue] = [{"type": _TERMS_SIGNATURE, **write_record(self.terms.signature)}]
        if self.statement is not None:
            attestations.append({"type": _COMPLETION_STATEMENT, **write_signed_statement(self.statement)})
        return {
            "version": PROOF_VERSION,
            "terms": write_terms(self.terms.terms),
            "attestations": attestations,
            "source_leg": None if self.source_leg is None else write_evidence(self.source_leg),
            "destination_leg": None if self.destination_leg is None else write_evidence(self.destination_leg),
        }


def _read_attestations(fields: JsonObject) -> tuple[Signature, SignedStatement | None]:
    """The signature of the terms, then the completion statement if there is one."""
    items = [JsonObject(item, "attestation") for item in fields.items("attestations", max_items=2)]
    types = [item.text("type", max_length=32) for item in items]
    if types not in ([_TERMS_SIGNATURE], [_TERMS_SIGNATURE, _COMPLETION_STATEMENT]):
        raise FormatError(
            f"proof: the attestations are the {_TERMS_SIGNATURE}, and then at most one {_COMPLETION_STATEMENT}"
        )
    signature = read_record(Signature, items[0])
    statement = read_signed_statement(items[1]) if len(items) > 1 else None
    for item in items:
        item.end()
    return signature, statement


def _path(path: str | Path) -> Path:
    if not isinstance(path, str | Path):
        raise InvalidRequest(f"a {type(path).__name__} is not a path", remedy="pass a str or a pathlib.Path")
    return Path(path)


def _replace_file(path: Path, data: bytes) -> None:
    """Write a file so that the name leads to the old content or to the new one, also after a power failure."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Whoever can write to the folder does not know the name, so cannot put a link there.
        partial = f".{os.urandom(8).hex()}.partial"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o666, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                mode = _own_mode(path)
                if mode is not None:
                    os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)


def _own_mode(path: Path) -> int | None:
    """The permissions of a file of this user; None if there is no such file, or it is not a regular one."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() else None


def owed_of(terms: Terms) -> tuple[Owed, Owed]:
    """What the terms state about source and destination."""
    digest = terms_hash(terms)
    return (
        Owed(Side.PAYER, terms.source_amount, terms.payment_hash, digest, terms.issued_at),
        Owed(Side.PAYEE, terms.amount, terms.payment_hash, digest, terms.issued_at),
    )


def evidence_shown(
    proof: TransferProof, owed: tuple[Owed, Owed], policy: EvidencePolicy
) -> tuple[LegShown | None, LegShown | None]:
    """What the evidence of source and destination shows; None without evidence. Headers are not placed in a chain.

    Args:
        owed: what the proof's terms state about them.

    Raises:
        ProofRefused: evidence does not match the terms or the policy.
    """
    terms = proof.terms.terms
    source, destination = [
        None if evidence is None else leg.check_evidence(evidence, of_leg, policy)
        for leg, evidence, of_leg in zip(
            (terms.source, terms.destination), (proof.source_leg, proof.destination_leg), owed, strict=True
        )
    ]
    return source, destination


def outcomes_of(shown: tuple[LegShown | None, LegShown | None]) -> tuple[LegOutcome | None, LegOutcome | None]:
    """How source and destination ended; None without evidence."""
    source, destination = shown
    return None if source is None else source.outcome, None if destination is None else destination.outcome


def outcome_of(source: LegOutcome | None, destination: LegOutcome | None) -> ProofOutcome:
    """What the outcomes of both legs show together.

    Raises:
        ProofRefused: neither is known, or one was collected and the other was refunded.
    """
    outcomes = {source, destination} - {None}
    if not outcomes:
        raise ProofRefused("evidence", "no leg shows how the transfer ended")
    if len(outcomes) > 1:
        raise ProofRefused("outcome", "one leg was collected and the other was refunded")
    if outcomes == {LegOutcome.RETURNED}:
        return ProofOutcome.REFUNDED
    return ProofOutcome.PARTIAL if source is None or destination is None else ProofOutcome.COMPLETED
