"""``layer2 proof complete``: adds to a proof what was not there yet when the transfer ended."""

from __future__ import annotations

import re
from pathlib import Path

from layer2.assembly import journal_place, open_provider
from layer2.cli.journal_reading import existing_journal
from layer2.cli.output import Result
from layer2.cli.proof_commands import load
from layer2.cli.session import InSession
from layer2.cli.wording import at_time
from layer2.config import Layer2Config
from layer2.errors import ConfigurationError, Layer2Error, UnknownTransfer
from layer2.manager.statements import completed_proof
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof

__all__ = ["complete", "with_statement"]


async def complete(proof: str, *, output: Path | None = None, session: InSession) -> Result:
    """Ask the provider of one of your transfers to state how it ended, and write the proof with its statement.

    The provider states it once its end is final on both layers, for whoever has the access token of the transfer in
    the journal. Exit status 1: the provider states nothing, or nothing yet; the proof is unchanged.

    Args:
        proof: The file of the proof, or the id of the transfer.
        output: The file to write. Default: the file of the proof; for an id, transfer-ID.json.
    """
    config = session.config()
    # A file of such a name is named with its directory.
    is_id = re.fullmatch("[0-9a-f]{32}", proof) is not None
    given = None if is_id else load(Path(proof))
    swap_id = SwapId(proof) if given is None else given.terms.terms.swap_id
    async with existing_journal(journal_place(config)) as journal:
        record = await journal.load(swap_id)
        data = await journal.load_proof(swap_id) if given is None else None
    if record is None or record.role is not Role.TAKER:
        raise UnknownTransfer(
            f"the journal has no transfer {swap_id}, and only its taker can ask the provider",
            transfer_id=swap_id,
            remedy="check the id and [journal] of the configuration; layer2 list shows all transfers",
        )
    if data is not None:
        given = TransferProof.from_bytes(data)
    if given is None:
        raise Layer2Error(
            f"the journal has no proof of transfer {swap_id}: it has not ended, or it left no evidence", code="no_proof"
        )
    with session.terminal.working("asking the provider"):
        completed = given if given.statement else await with_statement(config, record, given)
    file = completed.save(output or (Path(f"transfer-{swap_id}.json") if is_id else Path(proof)))
    assert completed.statement is not None
    statement, provider = completed.statement.statement, completed.terms.terms.provider.hex()
    lines: list[str] = [
        f"{file}   the provider states at {at_time(statement.stated_at)}: {statement.outcome.value}",
        f"to check: layer2 proof verify {file} --provider {provider} --requires stated",
    ]
    return Result({"file": str(file), "transfer_id": swap_id, "outcome": statement.outcome.value}, lines)


async def with_statement(config: Layer2Config, record: SwapRecord, proof: TransferProof) -> TransferProof:
    """The proof of a transfer with its provider's statement.

    Raises:
        ConfigurationError: the provider of the transfer is not configured.
        StatementRefused, ProofRefused, NodeError: as ``completed_proof``.
    """
    section = next((each for each in config.providers if each.name == record.provider_name), None)
    if section is None:
        raise ConfigurationError(
            f"the provider {record.provider_name!r} of the transfer is not configured",
            remedy="add it to [[providers]]",
        )
    provider = open_provider(section, config.connection_pool, config.default_timeout_ms)
    try:
        return await completed_proof(record, proof, provider)
    finally:
        await provider.aclose()
