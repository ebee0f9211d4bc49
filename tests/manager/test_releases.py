"""Asking providers for release signatures: only for transfers that need one, however many others are open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.journal.sql_journal import SqlJournal
from layer2.manager.releases import Releases
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_rules.states import TakerAgreed, write_state
from layer2.terms.signing import write_signed_terms
from manager.fakes import eventually
from swap_rules.example_terms import NOW, signed_terms, terms_of

RELEASE = {"signature": "00"}


class CountingJournal(SqlJournal):
    """A journal that notes what is loaded, and reads no list."""

    loaded: list[SwapId]

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        self.loaded.append(swap_id)
        return await super().load(swap_id)

    async def list(self, **_: Any) -> Any:
        raise AssertionError("every open transfer is read")


class FakeProvider:
    def __init__(self) -> None:
        self.asked: list[SwapId] = []

    async def release_of(self, swap_id: SwapId, _: bytes) -> dict[str, str]:
        self.asked.append(swap_id)
        return RELEASE


class FakeLayer:
    def __init__(self) -> None:
        self.taken: list[object] = []

    async def take_release(self, _: object, release: object) -> None:
        self.taken.append(release)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[CountingJournal]:
    journal = await CountingJournal.open(tmp_path / "journal.sqlite")
    journal.loaded = []
    yield journal
    await journal.aclose()


async def agreed(journal: SqlJournal, number: int, source: str, destination: str) -> SwapRecord:
    """An open transfer of the taker, with terms."""
    return await journal.create(
        SwapRecord(
            swap_id=SwapId(f"{number:032x}"),
            role=Role.TAKER,
            state=write_state(TakerAgreed()),
            payment_hash=bytes([number]) * 32,
            terms=write_signed_terms(signed_terms(terms_of(source, destination))),
            request={},
            provider_name="provider",
            quote_id=f"{number}",
            access=bytes(32),
            created_at=NOW,
            updated_at=NOW,
        )
    )


async def test_only_transfers_whose_payee_cannot_release_alone_are_read_and_asked_for(journal: CountingJournal) -> None:
    alone = [await agreed(journal, number, "bob", "lightning") for number in range(1, 6)]
    cosigned = await agreed(journal, 6, "bitcoin", "bob")
    provider, layer = FakeProvider(), FakeLayer()
    legs: Any = {Layer2ProtocolType.BITCOIN: layer, Layer2ProtocolType.BOB: layer}
    providers: Any = {"provider": provider}
    releases = Releases(journal, legs, providers, 0.0)
    ended = await agreed(journal, 7, "bitcoin", "bob")
    for record in (*alone, cosigned, ended, replace(ended, is_final=True)):
        releases.note(record)
    journal.loaded.clear()
    releases.background.start()
    await eventually(lambda: layer.taken)
    await releases.background.aclose()
    assert layer.taken[0] == RELEASE
    assert set(journal.loaded) == {cosigned.swap_id} == set(provider.asked)


async def test_a_transfer_that_is_reopened_is_asked_for_again(journal: CountingJournal) -> None:
    record = await agreed(journal, 1, "bitcoin", "bob")
    provider = FakeProvider()
    legs: Any = {Layer2ProtocolType.BITCOIN: FakeLayer()}
    providers: Any = {"provider": provider}
    releases = Releases(journal, legs, providers, 0.0)
    releases.note(record)
    releases.background.start()
    await eventually(lambda: provider.asked)
    releases.note(replace(record, is_final=True))
    releases.note(record)
    asked = len(provider.asked)
    await eventually(lambda: len(provider.asked) > asked + 1)
    await releases.background.aclose()
