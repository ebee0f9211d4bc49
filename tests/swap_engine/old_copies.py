"""Every version of a party's journal, and the restore of one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, SwapRecord
from swap_engine.memory_journal import MemoryJournal
from swap_engine.two_parties import Party


class Copy(NamedTuple):
    records: Mapping[SwapId, SwapRecord]
    intents: Mapping[SwapId, Sequence[Intent]]


class Copies:
    """Keeps a copy after every write.

    Args:
        stop_after: the number of the write after which the party hangs, as if its machine stopped; None for never.
    """

    def __init__(self, party: Party, stop_after: int | None = None) -> None:
        self.stopped = asyncio.Event()
        self._party, self._journal = party, party.journal
        self.kept = [self._copy(self._journal)]
        fault = self._journal.fault

        async def keep(when: str, what: str) -> None:
            await fault(when, what)
            if when == "after":
                self.kept.append(self._copy(self._journal))
            if stop_after is not None and len(self.kept) > stop_after:
                self.stopped.set()
                await asyncio.Event().wait()

        self._fault, self._journal.fault = fault, keep

    @staticmethod
    def _copy(journal: MemoryJournal) -> Copy:
        return Copy(dict(journal.records), {swap_id: tuple(ones) for swap_id, ones in journal._intents.items()})

    async def restore(self, number: int) -> None:
        """Stop the party, replace its journal, and start it again."""
        await self._party.runner.aclose()
        journal, copy = self._journal, self.kept[number]
        journal.fault = self._fault
        for swap_id, record in copy.records.items():
            version = journal.records[swap_id].version + 1
            journal.records[swap_id] = replace(record, version=version, from_old_copy=True)
            journal._intents[swap_id] = list(copy.intents[swap_id])
        # A copy knows no later attempts.
        journal._attempts.clear()
        await self._party.restart()
