"""A standby that lacks the register of its journal could not take over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from layer2.errors import JournalError
from layer2.journal.sql_journal import SqlJournal
from layer2.provider.lifetime import is_active


async def test_a_standby_without_the_register_ends_at_once_and_not_when_it_should_take_over(tmp_path: Path) -> None:
    serving = await SqlJournal.open(tmp_path / "journal.db", tmp_path / "register.db")
    await serving.act()
    standby = await SqlJournal.open(tmp_path / "journal.db", tmp_path / "of_this_machine.db")
    try:
        with pytest.raises(JournalError) as refused:
            async with asyncio.timeout(5):
                await is_active(standby, asyncio.Event(), structlog.get_logger())
        assert refused.value.code == "register_missing"
    finally:
        await standby.aclose()
        await serving.aclose()
