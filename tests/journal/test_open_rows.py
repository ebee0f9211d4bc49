"""The pages of open swaps that a start reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import JournalError
from layer2.journal import swap_reads
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import OpenRow, Role, SwapRecord
from layer2.provider.swap_book import SwapBook
from layer2.terms.signing import write_signed_terms
from swap_engine.two_parties import Scene
from swap_rules.example_terms import signed_terms, terms_of


async def rows(journal: SqlJournal, role: Role = Role.PROVIDER) -> list[list[OpenRow]]:
    pages: list[list[OpenRow]] = []
    before = None
    while page := await journal.open_rows(role, before):
        pages.append(list(page))
        before = page[-1].number
    return pages


async def with_six_swaps(place: str) -> SqlJournal:
    """A journal with six swaps: the second has ended, the fifth has no terms, and the sixth is a taker's."""
    scene, terms = await Scene.to_lightning(), terms_of("bob", "lightning")
    journal = await SqlJournal.open(place)
    for number in range(1, 7):
        written = write_signed_terms(signed_terms(replace(terms, collect_by=terms.collect_by + number)))
        record = replace(scene.provider.record, swap_id=SwapId(f"{number:032x}"), quote_id=None, version=0)
        role = Role.TAKER if number == 6 else Role.PROVIDER
        created = await journal.create(replace(record, role=role, terms=None if number == 5 else written))
        if number == 2:
            await journal.advance(created, state=created.state, is_final=True, event="ended", now=1)
    return journal


async def test_every_open_swap_with_terms_is_on_one_page(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap_reads, "_PAGE", 2)
    journal, terms = await with_six_swaps(place), terms_of("bob", "lightning")
    found = await rows(journal)
    assert [[row.swap_id for row in page] for page in found] == [
        [SwapId(f"{4:032x}"), SwapId(f"{3:032x}")],
        [SwapId(f"{1:032x}")],
    ]
    assert [row.collect_by - terms.collect_by for page in found for row in page] == [4, 3, 1]
    assert [len(page) for page in await rows(journal, Role.TAKER)] == [1]
    await journal.aclose()


async def test_every_open_swap_is_on_one_page_of_whole_records(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap_reads, "_PAGE", 2)
    journal = await with_six_swaps(place)
    pages, after = list[list[SwapRecord]](), 0
    while page := await journal.open_swaps(Role.PROVIDER, after):
        after = page[-1][0]
        pages.append([record for _, record in page])
    assert [[record.swap_id for record in page] for page in pages] == [
        [SwapId(f"{1:032x}"), SwapId(f"{3:032x}")],
        [SwapId(f"{4:032x}"), SwapId(f"{5:032x}")],
    ]
    assert [await journal.load(record.swap_id) for page in pages for record in page] == [
        record for page in pages for record in page
    ]
    await journal.aclose()


async def test_a_providers_book_has_the_swaps_of_every_page(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap_reads, "_PAGE", 2)
    journal = await with_six_swaps(place)
    book = await SwapBook.load(journal, REGTEST)
    assert [number for number in range(1, 7) if SwapId(f"{number:032x}") in book] == [1, 3, 4]
    # A swap that cannot be read reserves an unknown amount.
    with pytest.raises(JournalError, match="cannot read an open swap"):
        book.exposure_on(Layer2ProtocolType.BOB)
    await journal.aclose()


async def test_terms_that_this_version_cannot_read_are_first(place: str) -> None:
    scene = await Scene.to_lightning()
    journal = await SqlJournal.open(place)
    await journal.create(replace(scene.provider.record, terms={"version": 99}))
    [[row]] = await rows(journal)
    assert row.collect_by == 0
    await journal.aclose()
