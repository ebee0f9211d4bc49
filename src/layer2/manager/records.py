"""Reads transfers from the journal: lookup, list, and following them while another process drives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from layer2.errors import JournalError, TaskCancelled, UnknownTransfer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.manager.store import TransferStore
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.records import describe
from layer2.terms.transfers import Transfer

__all__ = ["TransferRecords"]


class TransferRecords:
    """Reads transfers from a journal. Reading needs no guard.

    Args:
        path: the journal's file, for messages.
        poll_seconds: the interval at which ``follow`` reads a journal that another process writes.
    """

    def __init__(
        self, journal: TransferStore, rules: TimelockSettings, *, path: Path | None = None, poll_seconds: float = 1.0
    ) -> None:
        self._journal = journal
        self._rules = rules
        self.journal_name = "the journal" if path is None else f"the journal {path}"
        """The journal in messages."""
        self._poll_seconds = poll_seconds
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End every ``follow``."""
        self._closed.set()

    def check_open(self, swap_id: SwapId) -> None:
        """Check that the manager is still open.

        Raises:
            TaskCancelled: ``close`` was called.
        """
        if self._closed.is_set():
            raise self._cancelled(swap_id)

    def described(self, record: SwapRecord) -> Transfer:
        return describe(record, self._rules)

    async def load(self, swap_id: SwapId) -> SwapRecord:
        """The record of a transfer.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
        """
        record = await self._journal.load(swap_id)
        if record is None or record.role is not Role.TAKER:
            raise UnknownTransfer(
                f"{self.journal_name} has no transfer {swap_id!r}",
                transfer_id=swap_id,
                remedy="check the id and journal.path of the configuration; layer2 list shows all transfers",
            )
        return record

    async def find(self, key: str) -> Transfer | None:
        """The transfer under an idempotency key, including an abandoned one; or None."""
        record = await self._journal.find(Role.TAKER, key)
        return None if record is None else self.described(record)

    async def list(self, *, open_only: bool) -> Sequence[Transfer]:
        records = await self._journal.list(role=Role.TAKER, open_only=open_only)
        return [self.described(record) for record in records]

    async def proof(self, swap_id: SwapId) -> TransferProof | None:
        data = await self._journal.load_proof(swap_id)
        return None if data is None else TransferProof.from_bytes(data)

    async def follow(self, swap_id: SwapId) -> AsyncGenerator[SwapRecord, None]:
        """The current record, then each new version that a poll finds, until the final one.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
            TaskCancelled: ``close`` was called.
        """
        version: int | None = None
        while True:
            try:
                record = await self.load(swap_id)
            except JournalError:
                if self._closed.is_set():
                    raise self._cancelled(swap_id) from None
                raise
            if record.version != version:
                version = record.version
                yield record
            if record.is_final:
                return
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._closed.wait()
            except TimeoutError:
                continue
            raise self._cancelled(swap_id)

    @staticmethod
    def _cancelled(swap_id: SwapId) -> TaskCancelled:
        return TaskCancelled("the manager was closed; the transfer resumes at the next start", transfer_id=swap_id)
