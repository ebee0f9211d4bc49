"""Reads transfers from the journal."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.errors import UnknownTransfer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.records import describe
from layer2.terms.transfers import Transfer

__all__ = ["TransferRecords"]


class TransferRecords:
    """Reads transfers from a journal. Reading needs no guard.

    Args:
        journal_name: for messages.
    """

    def __init__(self, journal: SwapJournal, rules: TimelockSettings, *, journal_name: str = "the journal") -> None:
        self._journal = journal
        self._rules = rules
        self.journal_name = journal_name
        """The journal in messages."""

    def described(self, record: SwapRecord) -> Transfer:
        """A record as a ``Transfer``."""
        return describe(record, self._rules)

    async def load(self, swap_id: SwapId) -> SwapRecord:
        """The record of a transfer.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
        """
        record = await self.find_id(swap_id)
        if record is None:
            raise UnknownTransfer(
                f"{self.journal_name} has no transfer {swap_id!r}",
                transfer_id=swap_id,
                remedy="check the id and [journal] of the configuration; layer2 list shows all transfers",
            )
        return record

    async def find_id(self, swap_id: SwapId) -> SwapRecord | None:
        """The record of a transfer, or None."""
        record = await self._journal.load(swap_id)
        return None if record is None or record.role is not Role.TAKER else record

    async def get(self, swap_id: SwapId) -> Transfer:
        """A transfer. Raises: as ``load``."""
        return self.described(await self.load(swap_id))

    async def find(self, key: str) -> Transfer | None:
        """The transfer under an idempotency key, including an abandoned one; or None."""
        record = await self._journal.find(Role.TAKER, key)
        return None if record is None else self.described(record)

    async def list(self, *, open_only: bool) -> Sequence[Transfer]:
        """All transfers, newest first."""
        records = await self._journal.list(role=Role.TAKER, open_only=open_only)
        return [self.described(record) for record in records]

    async def proof(self, swap_id: SwapId) -> TransferProof | None:
        """The proof of a transfer, or None without one."""
        data = await self._journal.load_proof(swap_id)
        return None if data is None else TransferProof.from_bytes(data)
