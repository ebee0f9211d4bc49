"""Completing a proof after the transfer: evidence that a node still has, and the provider's completion statement.

The two do not depend on each other, and a failure of one never loses the other. What is added to a proof passes the
same check as the whole file, so the result shows nothing less than the given proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from layer2.aio.time_limit import time_limit
from layer2.assembly import open_provider
from layer2.config import Layer2Config
from layer2.errors import (
    AsyncTimeout,
    ConfigurationError,
    Layer2Error,
    Outcome,
    ProofError,
    ProofRefused,
    ProofUndecided,
    UnknownTransfer,
)
from layer2.legs.evidence import EvmStorageEvidence, LegEvidence, LightningPaymentEvidence
from layer2.legs.leg import Htlc, Leg
from layer2.legs.shown import LegOutcome
from layer2.manager.arguments import not_configured
from layer2.manager.statements import statement_of
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.evidence import ProvesStorage
from layer2.ports.journal import SwapRecord
from layer2.proofs.check import CheckedEvidence, check_evidence
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy, Requirement
from layer2.proofs.statement import SignedStatement
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash

__all__ = ["Completion", "Part", "complete", "legs_to_prove"]


class Part(Enum):
    """What can be added to a proof."""

    SOURCE = "source"
    """Evidence of the source."""
    DESTINATION = "destination"
    """Evidence of the destination."""
    STATEMENT = "statement"
    """The provider's completion statement."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A proof with what could be added."""

    proof: TransferProof
    added: tuple[Part, ...]
    problems: Mapping[Part, Layer2Error]
    """Why the others could not be added."""

    def result(self) -> TransferProof:
        """The proof, if something was added or nothing is missing; otherwise raises the first problem."""
        if self.problems and not self.added:
            raise next(iter(self.problems.values()))
        return self.proof


async def complete(
    given: TransferProof,
    record: SwapRecord | None,
    config: Layer2Config,
    clients: Mapping[Layer2ProtocolType, object],
    *,
    from_storage: bool,
    seconds: float,
) -> Completion:
    """Add to a proof the evidence of locks from the party's own nodes, and the provider's statement.

    Args:
        given: of any transfer; it may have no evidence.
        record: the transfer in the taker's journal, which has the access token; None if it has none.
        clients: of the party's layers.
        from_storage: make the evidence of each lock, also of one that has some.
        seconds: the time limit of each part.

    Raises:
        ProofRefused: a check of the given proof fails. That it lacks evidence is no failure.
    """
    terms = given.terms.terms
    policy = _structural(terms, config.network)
    known = _checked(given, policy)
    work: dict[Part, Awaitable[LegEvidence | SignedStatement]] = {
        part: _limited(_evidence(leg, terms, clients.get(leg.protocol)), seconds)
        for part, leg in legs_to_prove(given, from_storage=from_storage).items()
    }
    if given.statement is None:
        work[Part.STATEMENT] = _limited(_statement(record, terms, config), seconds)
    results = dict(zip(work, await asyncio.gather(*work.values(), return_exceptions=True), strict=True))
    proof, added, problems = given, list[Part](), dict[Part, Layer2Error]()
    for part, result in results.items():
        try:
            if isinstance(result, BaseException):
                raise result
            if isinstance(result, SignedStatement):
                proof = _with_statement(proof, result, known)
            else:
                known = _with_evidence(proof, part, result, known, policy)
                proof = known.proof
        except Layer2Error as error:
            problems[part] = error
        else:
            added.append(part)
    return Completion(proof, tuple(added), problems)


def legs_to_prove(proof: TransferProof, *, from_storage: bool) -> Mapping[Part, Leg]:
    """The locks whose evidence a node can make: those without evidence, or with ``from_storage`` all."""
    terms = proof.terms.terms
    ends = ((Part.SOURCE, terms.source, proof.source_leg), (Part.DESTINATION, terms.destination, proof.destination_leg))
    return {part: leg for part, leg, had in ends if leg.contracts and (from_storage or had is None)}


def _structural(terms: Terms, network: str) -> ProofPolicy:
    """What a proof must show before something is added: its own consistency. Whom to trust is its reader's choice."""
    contracts: dict[int, frozenset[bytes]] = {}
    for leg in (terms.source, terms.destination):
        for chain_id, named in leg.contracts.items():
            contracts[chain_id] = contracts.get(chain_id, frozenset()) | named
    return ProofPolicy(Requirement.NOTHING, networks=frozenset({network}), contracts=contracts)


def _checked(proof: TransferProof, policy: ProofPolicy) -> CheckedEvidence | None:
    """The evidence of a proof; None if it names no block, which is the reason to complete it."""
    try:
        return check_evidence(proof, policy)
    except ProofRefused as error:
        # The check of evidence is the last one without evidence.
        had = (proof.source_leg, proof.destination_leg)
        if error.check != "evidence" or any(not isinstance(each, LightningPaymentEvidence | None) for each in had):
            raise
        return None


async def _limited(work: Awaitable[LegEvidence | SignedStatement], seconds: float) -> LegEvidence | SignedStatement:
    late = AsyncTimeout(f"no result within {seconds:g} s", operation="complete_proof", outcome=Outcome.NOT_SENT)
    async with time_limit(asyncio.timeout(seconds), lambda: late):
        return await work
    raise AssertionError("the block above returns or raises")


async def _evidence(leg: Leg, terms: Terms, client: object | None) -> EvmStorageEvidence:
    if client is None:
        raise not_configured(leg.protocol)
    assert isinstance(client, ProvesStorage), "the clients of layers with locks have the call"
    await client.initialize_async()
    evidence = await client.storage_evidence_async(Htlc(leg, terms.payment_hash, terms_hash(terms)))
    if evidence is None:
        raise ProofUndecided(
            f"your {leg.protocol.value} node shows no end of the lock: it is still open, or was never made"
        )
    return evidence


async def _statement(record: SwapRecord | None, terms: Terms, config: Layer2Config) -> SignedStatement:
    if record is None:
        raise UnknownTransfer(
            f"the journal has no transfer {terms.swap_id}, and only its taker can ask the provider for the statement",
            transfer_id=terms.swap_id,
            remedy="check the id and [journal] of the configuration; layer2 list shows all transfers",
        )
    section = next((each for each in config.providers if each.name == record.provider_name), None)
    if section is None:
        raise ConfigurationError(
            f"the provider {record.provider_name!r} of the transfer is not configured",
            remedy="add it to [[providers]]",
        )
    provider = open_provider(section, config.connection_pool, config.default_timeout_ms)
    try:
        return await statement_of(record, terms, provider)
    finally:
        await provider.aclose()


def _with_statement(proof: TransferProof, new: SignedStatement, known: CheckedEvidence | None) -> TransferProof:
    """The proof with the provider's statement.

    Raises:
        ProofRefused: the statement contradicts the evidence or does not belong to the terms, or there is no evidence.
    """
    if known is None:
        raise ProofRefused("evidence", "a completion statement alone is not a proof: no leg has evidence of a block")
    return proof.with_statement(new)


def _with_evidence(
    proof: TransferProof, part: Part, new: LegEvidence, known: CheckedEvidence | None, policy: ProofPolicy
) -> CheckedEvidence:
    """The proof with the evidence of one leg.

    Raises:
        ProofRefused: the evidence contradicts the other leg or the statement, or it does not belong to the terms.
        ProofError: code ``only_preimage``: it would replace the only evidence that has the preimage.
    """
    completed = replace(proof, source_leg=new) if part is Part.SOURCE else replace(proof, destination_leg=new)
    after = check_evidence(completed, policy)
    if known is not None:
        _check_shows_no_less(known, after)
    return after


def _check_shows_no_less(before: CheckedEvidence, after: CheckedEvidence) -> None:
    terms = before.proof.terms.terms
    for leg, old, new in zip((terms.source, terms.destination), before.shown, after.shown, strict=True):
        if old is None:
            continue
        assert new is not None, "no evidence is removed"
        if old.outcome is not new.outcome:
            raise ProofRefused(
                "outcome",
                f"the proof shows that the leg on {leg.protocol.value} was {old.outcome.value}, and your node that it "
                f"was {new.outcome.value}",
            )
    if _has_preimage(before) and not _has_preimage(after):
        raise ProofError(
            "no other evidence of the proof has the preimage, which the storage does not show: the evidence stays",
            code="only_preimage",
        )


def _has_preimage(evidence: CheckedEvidence) -> bool:
    """Whether evidence of the proof has the preimage: that of every collected leg, but for the storage."""
    legs = zip((evidence.proof.source_leg, evidence.proof.destination_leg), evidence.shown, strict=True)
    return any(
        shown is not None and shown.outcome is LegOutcome.COLLECTED and not isinstance(had, EvmStorageEvidence)
        for had, shown in legs
    )
