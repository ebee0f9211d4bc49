"""``layer2 proof complete``: adds to a proof what was not there yet when the transfer ended."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from layer2.assembly import journal_place, reading_client
from layer2.cli.journal_reading import existing_journal
from layer2.cli.output import Result
from layer2.cli.proof_file import load
from layer2.cli.session import InSession
from layer2.cli.wording import at_time, fields_of
from layer2.config import Layer2Config
from layer2.errors import JournalError, StatementRefused, UnknownTransfer
from layer2.legs.evidence import EvmStorageEvidence
from layer2.legs.lock_evidence import block_of
from layer2.manager.completion import Completion, Part, legs_to_prove
from layer2.manager.completion import complete as complete_proof
from layer2.model.transactions import SwapId
from layer2.ports.clock import SystemClock
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.records import record_terms

__all__ = ["complete"]

_NAMES: Final = {
    Part.SOURCE: "evidence of the source",
    Part.DESTINATION: "evidence of the destination",
    Part.STATEMENT: "the completion statement",
}


async def complete(proof: str, *, storage: bool = False, output: Path | None = None, session: InSession) -> Result:
    """Add to a proof what can be shown after the transfer, and write it.

    For a lock on BOB without evidence, your own node makes evidence from the storage of the contract. Anyone who has
    the file can do this. And if your journal has the transfer, its provider is asked to state how it ended, once its
    end is final on both layers. Each is added without the other, and nothing that the proof shows is lost.

    Exit status 0: something was added, or nothing is missing; the output names what could not be added. Otherwise the
    status of the first reason, and nothing is written.

    Args:
        proof: The file of the proof, or the id of a transfer in your journal.
        storage: Make the evidence of every lock on BOB, also of one that has some.
        output: The file to write. Default: the file of the proof; for an id, transfer-ID.json.
    """
    config = session.config()
    record: SwapRecord | None
    # A file of such a name is named with its directory.
    if re.fullmatch("[0-9a-f]{32}", proof):
        record, given = await _recorded(config, SwapId(proof))
        file = output or Path(f"transfer-{proof}.json")
    else:
        given = load(Path(proof))
        record = await _record(config, given.terms.terms.swap_id)
        file = output or Path(proof)
    async with AsyncExitStack() as stack:
        layers = {leg.protocol for leg in legs_to_prove(given, from_storage=storage).values()}
        clients = {
            layer: await stack.enter_async_context(reading_client(config, layer, SystemClock()))
            for layer in layers & config.layers.keys()
        }
        with session.terminal.working("asking your nodes and the provider"):
            completion = await complete_proof(
                given, record, config, clients, from_storage=storage, seconds=config.default_timeout_ms / 1000
            )
    return _result(completion, file)


async def _record(config: Layer2Config, swap_id: SwapId) -> SwapRecord | None:
    """The transfer in the taker's journal; None without it, or without a journal."""
    try:
        async with existing_journal(journal_place(config)) as journal:
            record = await journal.load(swap_id)
    except JournalError as error:
        if error.code == "no_journal":
            return None
        raise
    return record if record is not None and record.role is Role.TAKER else None


async def _recorded(config: Layer2Config, swap_id: SwapId) -> tuple[SwapRecord, TransferProof]:
    """A transfer of the journal with its proof, which has no evidence if the journal has none.

    Raises:
        UnknownTransfer: the journal does not have it.
        StatementRefused: it has no terms.
    """
    async with existing_journal(journal_place(config)) as journal:
        record, data = await journal.load(swap_id), await journal.load_proof(swap_id)
    if record is None or record.role is not Role.TAKER:
        raise UnknownTransfer(
            f"the journal has no transfer {swap_id}",
            transfer_id=swap_id,
            remedy="check the id and [journal] of the configuration; layer2 list shows all transfers",
        )
    signed = record_terms(record)
    if signed is None:
        raise StatementRefused("no terms were agreed with the provider", transfer_id=swap_id)
    return record, TransferProof(signed, None, None) if data is None else TransferProof.from_bytes(data)


def _result(completion: Completion, file: Path) -> Result:
    proof, added, problems = completion.proof, completion.added, completion.problems
    problem = None if added else next(iter(problems.values()), None)
    outcome = None if problem is not None else proof.outcome.value
    if problem is None:
        proof.save(file)
    lines: list[str] = [f"{file}   {_verdict(completion)}"]
    lines += [f"  {'added':<10} {_added(part, proof)}" for part in added]
    lines += [f"  {'not added':<10} {_NAMES[part]}: {error.message}" for part, error in problems.items()]
    if problem is None:
        lines.append(f"to check: layer2 proof verify {file} --node")
    data = {
        "file": str(file) if problem is None else None,
        "transfer_id": proof.terms.terms.swap_id,
        "outcome": outcome,
        "added": [part.value for part in added],
        "not_added": {part.value: fields_of(error, "code", "message", "retryable") for part, error in problems.items()},
    }
    return Result(data, lines, problem=problem)


def _verdict(completion: Completion) -> str:
    if completion.added:
        return "written"
    return "not written: nothing could be added" if completion.problems else "written: nothing was missing"


def _added(part: Part, proof: TransferProof) -> str:
    if part is Part.STATEMENT:
        assert proof.statement is not None
        statement = proof.statement.statement
        outcome = statement.outcome.value
        return f"{_NAMES[part]}: that the transfer was {outcome}, at {at_time(statement.stated_at)}"
    evidence = proof.source_leg if part is Part.SOURCE else proof.destination_leg
    assert isinstance(evidence, EvmStorageEvidence), "no other evidence is added"
    block = block_of(evidence)
    return f"{_NAMES[part]}: from the storage on {evidence.protocol.value} after block {block.number}"
