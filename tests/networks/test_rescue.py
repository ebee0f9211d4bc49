"""``layer2 rescue``: what both parties have open ends well although neither their program nor the other party runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.running import Ran, layer2
from layer2 import Layer2ProtocolType, TransferState
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.views import Verb
from layer2.local import simnet
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import Swaps, completed, until_state
from networks.waiting import until
from postgres_server import Server, server

__all__ = ["server"]

URL = "LAYER2_JOURNAL__URL"
MADE = [("sqlite", "bob_to_lightning"), ("postgres", "lightning_to_bob"), ("sqlite", "bitcoin_to_bob")]


class Parties:
    """Both parties, their journals, and the command."""

    def __init__(self, swaps: Swaps, journals: dict[str, dict[str, str]]) -> None:
        self.swaps = swaps
        self._journals = journals
        """The environment that names the journal of each role."""

    def start_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self._journals["provider"].items():
            monkeypatch.setenv(name, value)
        self.swaps.provider.start()
        for name in self._journals["provider"]:
            monkeypatch.delenv(name)

    def manager(self) -> Any:
        url = self._journals["taker"].get(URL)
        return self.swaps.manager() if url is None else self.swaps.manager(journal={"url": url})

    async def rescue(self, role: str, *words: str) -> Ran:
        file = self.swaps.config_file if role == "taker" else self.swaps.provider.directory / "provider.toml"
        arguments = ("rescue", "--config", str(file), *words, "--json")
        return await asyncio.to_thread(layer2, *arguments, cwd=file.parent, timeout=120, **self._journals[role])

    async def state(self, role: str, swap_id: str) -> str:
        """The state of a swap that the command shows, which must have ended."""
        ran = await self.rescue(role)
        assert ran.status == 0, ran.err
        assert "Traceback" not in ran.err
        (swap,) = ran.envelope["data"]["transfers" if role == "taker" else "swaps"]
        assert swap["is_final"]
        assert f"{swap_id}  {swap['state']}" in ran.err
        again = (await self.rescue(role)).envelope["data"]
        assert again["transfers" if role == "taker" else "swaps"] == [], "nothing is left"
        state: str = swap["state"]
        return state

    async def has_sent(self, swap_id: str) -> bool:
        """Whether the taker's node has its funding."""
        return [each.delivery for each in await self.fundings("taker", swap_id)] == [Delivery.TAKEN]

    async def fundings(self, role: str, swap_id: str) -> list[Intent]:
        """The intents of a party to fund."""
        place = self._journals[role].get(URL) or self._path(role)
        journal = await SqlJournal.open(place)
        try:
            return [each for each in await journal.intents(SwapId(swap_id)) if each.verb == Verb.FUND.value]
        finally:
            await journal.aclose()

    def _path(self, role: str) -> Path:
        path = self.swaps.config().journal.path
        assert path is not None
        return path if role == "taker" else self.swaps.provider.directory / "provider-journal.sqlite"


@pytest_asyncio.fixture
async def swaps(tmp_path: Path) -> AsyncIterator[Swaps]:
    """The parties, whose provider is not started."""
    network = simnet.up(tmp_path / "network", with_parent=True)
    process = ProviderProcess(network, tmp_path / "provider")
    try:
        async with steering(network) as control:
            miner = BitcoinMiner(control)
            async with miner.running():
                yield Swaps(network, control, process, tmp_path, miner)
    finally:
        process.kill()
        simnet.down(tmp_path / "network")


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def parties(request: pytest.FixtureRequest, swaps: Swaps, monkeypatch: pytest.MonkeyPatch) -> Parties:
    journals: dict[str, dict[str, str]] = {"taker": {}, "provider": {}}
    if request.param == "postgres":
        server: Server = request.getfixturevalue("server")
        journals = {role: {URL: await server.journal()} for role in journals}
    made = Parties(swaps, journals)
    made.start_provider(monkeypatch)
    return made


async def funded(parties: Parties, direction: str) -> str:
    """A transfer whose source is funded, and whose taker has ended."""
    await parties.swaps.hold_finality()
    async with parties.manager() as layers, parties.swaps.miner.quick_finality():
        transfer_id: str = await parties.swaps.begin(layers, direction)
        await until_state(layers, transfer_id, TransferState.FUNDED)
    return transfer_id


@pytest.mark.parametrize(("parties", "direction"), MADE, indirect=["parties"])
async def test_what_both_have_paid_is_claimed_by_both(parties: Parties, direction: str) -> None:
    swaps = parties.swaps
    before = await swaps.money()
    transfer_id = await funded(parties, direction)
    async with swaps.quick_finality():
        await swaps.until_provider_has(transfer_id, "counter_funded")
        swaps.provider.kill()
        # At the same time, because a taker waits a while for the provider's half of its proof.
        ended = await asyncio.gather(*(parties.state(role, transfer_id) for role in ("taker", "provider")))
        assert ended == ["completed", "completed"]
    if "bitcoin" not in direction:
        # On Bitcoin the parties pay mining fees, too.
        await swaps.until_moved(before, completed(direction))


async def test_a_funding_that_the_provider_has_not_answered_is_returned_and_not_answered(parties: Parties) -> None:
    swaps, chain = parties.swaps, Layer2ProtocolType.BOB.value
    before = await swaps.money()
    await swaps.set_automatic(False, chain=chain)
    async with parties.manager() as layers:
        transfer_id: str = await swaps.begin(layers, "bob_to_lightning")
        await until(lambda: parties.has_sent(transfer_id), "the taker has sent its funding")
    swaps.provider.kill()
    await swaps.set_automatic(True, chain=chain)
    async with swaps.quick_finality():
        assert await parties.state("provider", transfer_id) == "released"
        assert await parties.fundings("provider", transfer_id) == []
        assert await parties.state("taker", transfer_id) == "refunded"
    await swaps.until_moved(before, {})


async def test_a_taker_takes_the_release_of_a_provider_that_serves_again(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = Parties(swaps, {"taker": {}, "provider": {}})
    parties.start_provider(monkeypatch)
    async with parties.manager() as layers:
        transfer_id: str = await swaps.begin(layers, "bitcoin_to_bob")
        await until(lambda: parties.has_sent(transfer_id), "the taker has sent its funding")
    swaps.provider.kill()
    async with swaps.quick_finality(), swaps.miner.quick_finality():
        assert await parties.state("provider", transfer_id) == "released"
        assert await parties.fundings("provider", transfer_id) == []
        parties.start_provider(monkeypatch)
        # Long before the lock time of its output.
        assert await parties.state("taker", transfer_id) == "refunded"


async def test_it_is_refused_beside_the_usual_program_and_with_another_seed(swaps: Swaps, tmp_path: Path) -> None:
    swaps.provider.start()
    parties = Parties(swaps, {"taker": {}, "provider": {}})
    busy = await parties.rescue("provider")
    assert (busy.status, busy.envelope["error"]["code"]) == (4, "journal_busy"), busy.err
    assert "wait until it ends, or stop it" in busy.err
    assert (await parties.rescue("taker")).envelope["error"]["code"] == "no_journal"
    await swaps.set_automatic(False, chain=Layer2ProtocolType.BOB.value)
    async with parties.manager() as layers:
        transfer_id: str = await swaps.begin(layers, "bob_to_lightning")
        await until(lambda: parties.has_sent(transfer_id), "the taker has sent its funding")
    late = await parties.rescue("taker", "--timeout", "0")
    assert (late.status, late.envelope["error"]["code"]) == (2, "still_open"), late.err
    assert late.envelope["error"]["deadline"] > 0
    assert "run it again before that time: layer2 rescue --config" in late.err
    stranger = tmp_path / "stranger"
    layer2("config", "init", "--network-directory", str(tmp_path / "network"), cwd=_made(stranger))
    seed = next(stranger.glob("*seed*"))
    refused = await asyncio.to_thread(
        layer2, "rescue", "--config", str(swaps.config_file), cwd=tmp_path, LAYER2_SWAP_SEED_FILE=str(seed)
    )
    assert refused.status == 3
    assert "[journal_owner] the journal holds transfers of the seed" in refused.err


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
