"""A release by a signature leaves when a taker reads it, so the register has it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from journal.test_register import full_disk
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.journal import Delivery, Intent
from layer2.swap_rules.states import ProviderReleasing, write_state
from provider.made_providers import LIGHTNING, token_of, world

ACT = {"kind": "release"}


async def test_a_signature_is_shown_only_after_the_register_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = (Layer2ProtocolType.BITCOIN, LIGHTNING)
    async with world(tmp_path, layers, register=tmp_path / "register.sqlite") as made:
        request = await made.accept(1, Layer2ProtocolType.BITCOIN)
        record = await made.journal.load(request.swap_id)
        assert record is not None
        await made.journal.advance(
            record,
            state=write_state(ProviderReleasing("aa:0", None, "too late")),
            is_final=False,
            event="releasing",
            now=20,
            intents=[Intent(1, "release", "source", {"act": ACT})],
        )
        with full_disk(monkeypatch, made.journal):
            status = await made.provider.status(request.swap_id, token_of(1))
            assert (status["state"], status["release"]) == ("releasing", None)
        for _ in range(2):
            assert (await made.provider.status(request.swap_id, token_of(1)))["release"] == ACT
        assert [each.delivery for each in await made.journal.intents(request.swap_id)] == [Delivery.TAKEN]
        assert made.journal._register is not None
        found = await made.journal._register.read()
        assert found is not None
        assert [(swap_id, each.verb) for swap_id, each in found.intents] == [(request.swap_id, "release")]
        # The second reading wrote nothing, and the first two tries of the first one counted.
        assert found.lineage.epoch == 2
