"""A full disk: one sentence, nothing half written, and the journal works again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from journal.test_journal import a_record, advance, to_fund
from layer2.errors import JournalError
from layer2.journal.sql_journal import SqlJournal


async def test_a_full_disk_refuses_a_write_and_keeps_what_was_written(tmp_path: Path) -> None:
    journal = await SqlJournal.open(tmp_path / "journal.db")
    record = await journal.create(a_record())

    def fill(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await journal._database.read(fill)
    with pytest.raises(JournalError, match="database or disk is full"):
        await advance(journal, record, to_fund(1, {"raw": "00" * 100_000}))
    assert await journal.load(record.swap_id) == record
    assert await journal.intents(record.swap_id) == ()
    await journal._database.read(lambda connection: connection.execute(text("PRAGMA max_page_count = 1000000")).close())
    assert (await advance(journal, record, to_fund())).version == 2
    await journal.aclose()
