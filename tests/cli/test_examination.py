"""What doctor finds on chains that run: clocks that are off, layers that are dead, accounts without gas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from layer2.assembly import reading_client
from layer2.cli.doctor_commands import examine
from layer2.cli.findings import Finding, Level
from layer2.config import JournalSection, Layer2Config
from layer2.journal.sql_journal import SqlJournal
from layer2.local import simnet
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import party_values, write_secret
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import SystemClock
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bitcoin.wallet.bdk import Wallet
from layer2.provider.settings import ProviderSettings
from layer2.signers.bitcoin import BitcoinSeed
from postgres_server import Server, server

__all__ = ["server"]

pytestmark = pytest.mark.xdist_group("cli-examination")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    directory = tmp_path_factory.mktemp("simnet")
    yield simnet.up(directory, block_time=1.0, with_parent=True)
    simnet.down(directory)


@pytest.fixture
async def control(network: LocalNetwork) -> AsyncIterator[LocalNetworkControl]:
    async with aiohttp.ClientSession() as session:
        yield LocalNetworkControl(network.control_url, session)


async def findings(network: LocalNetwork, directory: Path, **changes: Mapping[str, Any]) -> dict[str, Finding]:
    """What is found for the taker, with some keys of some tables changed; in the journal's place there is nothing."""
    values = party_values(network, network.taker)
    for table, keys in changes.items():
        values[table] = values[table] | keys
    config = Layer2Config(**values, journal=JournalSection(path=directory / "journal.sqlite"))
    found = await examine(config)
    assert not (directory / "journal.sqlite").exists()
    return {finding.subject: finding for finding in found}


async def test_every_layer_is_looked_at_by_what_its_kind_needs(network: LocalNetwork, tmp_path: Path) -> None:
    found = await findings(network, tmp_path)
    for name in ("BOB", "ROOTSTOCK"):
        for subject in ("node", "clock", "chain time", "contract", "balance", "gas"):
            assert found[f"{name} {subject}"].level is Level.OK, found[f"{name} {subject}"]
        assert f"{name} price" not in found
    assert found["ROOTSTOCK gas"].text.endswith("RBTC")
    assert found["ROOTSTOCK balance"].text.endswith(" sat")
    assert "token" in found["BOB balance"].text
    assert "BOB finality" not in found
    assert found["ROOTSTOCK finality"].text.startswith("by depth: 2 blocks for safe, 4 for finalized; these depths are")
    for subject in ("node", "clock", "outbound", "inbound"):
        assert found[f"LIGHTNING {subject}"].level is Level.OK
    for subject in ("node", "clock", "trust", "tip", "fees", "coins"):
        assert found[f"BITCOIN {subject}"].level is Level.OK, found[f"BITCOIN {subject}"]
    assert found["BITCOIN coins"].text == "100,000,000 sat confirmed and free"
    for name in ("BITCOIN", "ROOTSTOCK"):
        assert found[f"{name} not verified"].level is Level.WARN
    assert {found[subject].level for subject in ("swap seed", "provider")} == {Level.WARN}


async def test_a_dead_layer_hides_no_other(network: LocalNetwork, tmp_path: Path) -> None:
    found = await findings(network, tmp_path, bob={"rpc_url": "http://127.0.0.1:9"})
    assert found["BOB node"].level is Level.FAIL
    assert found["ROOTSTOCK balance"].level is Level.OK
    assert found["LIGHTNING outbound"].level is Level.OK


async def test_without_a_price_for_gas_every_transfer_needs_a_limit(network: LocalNetwork, tmp_path: Path) -> None:
    found = await findings(network, tmp_path, bob={"native_price_sat": None})
    assert (found["BOB price"].level, found["BOB price"].remedy) == (Level.WARN, "set native_price_sat in [bob]")


async def test_an_account_without_gas_is_named(network: LocalNetwork, tmp_path: Path) -> None:
    write_secret(tmp_path / "poor.key")
    found = await findings(network, tmp_path, rootstock={"key_file": str(tmp_path / "poor.key")})
    gas = found["ROOTSTOCK gas"]
    assert gas.level is Level.FAIL
    assert (gas.remedy or "").startswith("send RBTC on ROOTSTOCK to 0x")


async def test_a_key_file_that_others_can_read_is_found(network: LocalNetwork, tmp_path: Path) -> None:
    write_secret(tmp_path / "open.key")
    (tmp_path / "open.key").chmod(0o644)
    found = await findings(network, tmp_path, bob={"key_file": str(tmp_path / "open.key")})
    assert found["[bob] key_file"].level is Level.FAIL
    assert (found["[bob] key_file"].remedy or "").startswith("run: chmod 600")
    assert found["[rootstock] key_file"].level is Level.OK


async def test_a_chain_without_new_blocks_fails(
    network: LocalNetwork, control: LocalNetworkControl, tmp_path: Path
) -> None:
    await control.set_automatic(False, chain="BOB")
    try:
        await asyncio.sleep(3)
        found = await findings(network, tmp_path, bob={"stale_after_seconds": 1})
    finally:
        await control.set_automatic(True, chain="BOB")
    assert found["BOB clock"].level is Level.FAIL
    assert "it is not synced" in found["BOB clock"].text
    assert found["ROOTSTOCK clock"].level is Level.OK


async def test_what_strangers_can_bind_on_a_provider_is_shown(network: LocalNetwork, tmp_path: Path) -> None:
    write_secret(tmp_path / "identity")
    settings = ProviderSettings(
        **party_values(network, network.provider),
        identity_key_file=tmp_path / "identity",
        journal=JournalSection(path=tmp_path / "journal.sqlite"),
        max_open_swaps=7,
        max_open_swaps_per_taker=2,
    )
    found = [finding.text for finding in await examine(settings) if finding.subject == "strangers"]
    assert len(found) == 12
    assert all("swaps that are never funded reserve at most 7 places (2 for one account) for" in text for text in found)


async def test_reading_leaves_the_wallet_s_file_to_the_program_that_runs(network: LocalNetwork, tmp_path: Path) -> None:
    file = tmp_path / "wallet.sqlite"
    seed = BitcoinSeed.from_file(network.taker.bitcoin_seed_file)
    wallet = Wallet(seed.words, "regtest", file)
    await wallet.fresh_script()
    await wallet.aclose()
    before = file.read_bytes()
    nodes = [(await findings(network, tmp_path, bitcoin={"wallet_file": str(file)}))["BITCOIN node"] for _ in range(2)]
    assert nodes[0].level is Level.OK
    assert nodes[0].text == nodes[1].text, "it gives out no address"
    assert file.read_bytes() == before


async def test_workers_are_named_and_not_advised_to_use_a_register(network: LocalNetwork, server: Server) -> None:
    url = await server.journal()
    config = Layer2Config(**party_values(network, network.taker), journal=JournalSection(url=SecretStr(url)))
    journal = await SqlJournal.open(url)

    async def register() -> Finding:
        return next(each for each in await examine(config) if each.subject == "journal register")

    assert (await register()).remedy == "set journal.register_url or register_file"
    await journal.act(shared=True)
    workers = await register()
    assert workers.level is Level.WARN
    assert workers.remedy == "workers cannot use a register: let the server replicate synchronously"
    await journal.aclose()


async def test_coins_that_the_journal_holds_are_not_free(network: LocalNetwork, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    config = Layer2Config(**party_values(network, network.taker), journal=JournalSection(path=path))
    async with reading_client(config, Layer2ProtocolType.BITCOIN, SystemClock()) as client:
        assert isinstance(client, BitcoinClient)
        await client.initialize_async()
        (coin, *_) = await client._parts.coins.wallet.confirmed_coins()
    journal = await SqlJournal.open(path)
    await journal.hold_coins("BITCOIN", "swap:00", [str(coin)])
    await journal.aclose()
    found = {finding.subject: finding for finding in await examine(config)}
    assert found["BITCOIN coins"].text == "80,000,000 sat confirmed and free"
    assert found["BITCOIN held"].text == "20,000,000 sat in 1 coin: 1 for swaps"


# Last: the chain stays ahead.
async def test_a_chain_whose_time_is_too_far_ahead_fails(
    network: LocalNetwork, control: LocalNetworkControl, tmp_path: Path
) -> None:
    await control.advance_chain_time(3001, chain="ROOTSTOCK")
    found = await findings(network, tmp_path)
    ahead = found["ROOTSTOCK chain time"]
    assert ahead.level is Level.FAIL
    assert "[chain_ahead] it is 5" in ahead.text or "[chain_ahead] it is 49 min" in ahead.text
    assert "no transfer starts" in ahead.text
    assert found["BOB chain time"].level is Level.OK
