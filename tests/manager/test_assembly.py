"""The composition root: clients from tables, whose swaps a journal holds, and layers that are away at the start."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from layer2.assembly import JoiningLegs, check_owners, open_clients, owners_of
from layer2.config import BitcoinSection, BobSection, Layer2Config, RootstockSection
from layer2.errors import (
    AsyncRuntimeError,
    BadAnswer,
    ConfigurationError,
    InsufficientFunds,
    NodeUnreachable,
    Outcome,
    SignerError,
)
from layer2.local.parties import write_secret
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, Balance
from layer2.model.transactions import SwapId
from layer2.ports.clock import SystemClock
from layer2.ports.journal import JournalOwner
from layer2.ports.legs import HtlcLayer
from layer2.signers.software import SeedPreimages
from manager.fakes import BOB, ROOTSTOCK, TAKER_ADDRESS, FakeClient, eventually
from memory_sends import MemoryRecords
from swap_engine.memory_journal import MemoryJournal

TOKEN = "0x" + "11" * 20


class Owners(MemoryJournal):
    """The part of a journal that holds owners."""

    def __init__(self, *known: JournalOwner, is_used: bool = True) -> None:
        super().__init__()
        self.known = list(known)
        self.is_used = is_used

    async def owners(self) -> Sequence[JournalOwner]:
        return tuple(self.known)

    async def add_owners(self, owners: Sequence[JournalOwner], *, known: Sequence[JournalOwner] | None = None) -> bool:
        self.known += owners
        return True

    async def release_owners(self) -> bool:
        if self.is_used:
            return False
        self.known.clear()
        return True


@pytest.fixture
def config(tmp_path: Path) -> Layer2Config:
    for name in ("bob-key", "rootstock-key"):
        write_secret(tmp_path / name)
    return Layer2Config(
        network="regtest",
        bob=BobSection(
            network="regtest",
            rpc_url="http://127.0.0.1:1",
            token_address=TOKEN,
            token_decimals=8,
            key_file=tmp_path / "bob-key",
        ),
        rootstock=RootstockSection(
            network="regtest",
            rpc_url="http://127.0.0.1:2",
            chain_id=33,
            contract_address=TOKEN,
            key_file=tmp_path / "rootstock-key",
        ),
    )


async def test_every_configured_layer_has_a_client(config: Layer2Config) -> None:
    clients = open_clients(config, MemoryRecords(), SystemClock())
    assert {layer: client.protocol_type for layer, client in clients.items()} == {BOB: BOB, ROOTSTOCK: ROOTSTOCK}
    for client in clients.values():
        await client.aclose()


def test_a_key_that_cannot_be_read_is_named_before_anything_is_asked(config: Layer2Config, tmp_path: Path) -> None:
    (tmp_path / "bob-key").chmod(0o644)
    with pytest.raises(SignerError, match="bob-key"):
        open_clients(config, MemoryRecords(), SystemClock())


def test_the_owners_of_a_configuration_are_its_network_accounts_and_seed(config: Layer2Config) -> None:
    seed = SeedPreimages(b"\x01" * 32)
    owners = owners_of(config, seed.fingerprint)
    assert [owner.kind for owner in owners] == ["network", "account", "account", "seed"]
    assert owners[0].value == "regtest"
    assert owners[1].value.startswith("BOB 0x")
    assert owners[2].value.startswith("ROOTSTOCK 0x")
    assert len(owners[3].value) == 16


def test_a_bitcoin_wallet_is_an_owner_that_shows_nothing_of_its_seed(tmp_path: Path) -> None:
    def owner(words: str) -> str:
        file = tmp_path / "seed"
        file.write_text(words)
        file.chmod(0o600)
        section = BitcoinSection(network="regtest", esplora_url="http://127.0.0.1:1", seed_file=file)
        (_, wallet) = owners_of(Layer2Config(network="regtest", bitcoin=section))
        assert wallet.kind == "account"
        return wallet.value

    first, other = (" ".join(["abandon"] * 11 + [last]) for last in ("about", "actual"))
    assert owner(first) == owner(first) != owner(other)
    assert re.fullmatch("BITCOIN 0[23][0-9a-f]{64}", owner(first))


NETWORK, ACCOUNT, SEED = (
    JournalOwner("network", "regtest"),
    JournalOwner("account", "BOB 0xaa"),
    JournalOwner("seed", "01" * 8),
)


async def test_a_new_journal_adopts_its_owners() -> None:
    journal = Owners()
    await check_owners(journal, [NETWORK, ACCOUNT, SEED])
    assert journal.known == [NETWORK, ACCOUNT, SEED]
    await check_owners(journal, [NETWORK, ACCOUNT, SEED])
    assert len(journal.known) == 3


@pytest.mark.parametrize(
    "stranger",
    [JournalOwner("network", "mainnet"), JournalOwner("account", "BOB 0xbb"), JournalOwner("seed", "02" * 8)],
    ids=lambda owner: owner.kind,
)
async def test_a_journal_of_others_is_refused_with_the_command_that_adds_an_owner(stranger: JournalOwner) -> None:
    journal = Owners(NETWORK, ACCOUNT, SEED)
    with pytest.raises(ConfigurationError) as refused:
        await check_owners(journal, [stranger])
    assert refused.value.code == "journal_owner"
    assert f"layer2 journal add {stranger.kind} '{stranger.value}'" in str(refused.value)
    assert journal.known == [NETWORK, ACCOUNT, SEED]
    await journal.add_owners([stranger])
    await check_owners(journal, [stranger])


async def test_a_journal_without_any_swap_or_send_belongs_to_the_last_that_opened_it() -> None:
    journal = Owners(JournalOwner("network", "mainnet"), SEED, is_used=False)
    await check_owners(journal, [NETWORK, ACCOUNT])
    assert journal.known == [NETWORK, ACCOUNT]


async def test_a_first_account_on_another_layer_is_adopted() -> None:
    journal = Owners(NETWORK, ACCOUNT)
    added = [JournalOwner("account", "ROOTSTOCK 0xbb"), SEED]
    await check_owners(journal, [NETWORK, ACCOUNT, *added])
    assert journal.known == [NETWORK, ACCOUNT, *added]


# Layers that are away at the start.


async def test_a_layer_joins_before_its_first_use_and_once() -> None:
    client = FakeClient(BOB)
    legs = JoiningLegs(client)
    await asyncio.gather(*(legs.read_clock() for _ in range(5)))
    await legs.join()
    assert client.initialized == 1


async def test_while_a_node_is_away_surely_nothing_is_sent() -> None:
    client = FakeClient(BOB)
    client.down = BadAnswer("nonsense", outcome=Outcome.UNKNOWN)
    legs = JoiningLegs(client)
    with pytest.raises(NodeUnreachable, match="BOB cannot be used yet: nonsense") as refused:
        await legs.perform({})
    assert (refused.value.outcome, refused.value.protocol) == (Outcome.NOT_SENT, "BOB")
    client.down = None
    assert (await legs.read_clock()).height == 1


@pytest.mark.parametrize("code", ["clock", "not_synced"])
async def test_a_node_whose_clock_or_sync_is_wrong_at_the_start_still_settles_what_is_held(code: str) -> None:
    client = FakeClient(BOB)
    client.down = BadAnswer("it is an hour ahead", code=code)
    legs = JoiningLegs(client)
    assert (await legs.read_clock()).height == 1
    with pytest.raises(BadAnswer, match="an hour ahead"):
        await legs.join()
    assert not legs.has_joined


async def test_after_closing_nothing_is_asked_of_the_node() -> None:
    client = FakeClient(BOB)
    legs = JoiningLegs(client)
    await legs.aclose()
    with pytest.raises(AsyncRuntimeError, match="the client of BOB is closed"):
        await legs.read_clock()
    assert client.initialized == 0


async def test_joining_is_tried_until_the_node_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.assembly.joining._FIRST_RETRY_SECONDS", 0.001)
    client = FakeClient(BOB)
    client.down = NodeUnreachable("away")
    legs = JoiningLegs(client)
    joining = asyncio.create_task(legs.keep_joining())
    await eventually(lambda: client.initialized >= 3)
    client.down = None
    await joining
    assert legs.has_joined


async def test_a_party_that_cannot_pay_is_named_with_its_account_and_the_amounts() -> None:
    client = FakeClient(BOB)
    client.balances = {BTC: Balance(99_999)}
    legs = JoiningLegs(client)
    with pytest.raises(InsufficientFunds) as refused:
        await legs.check_can_pay(100_000)
    assert refused.value.protocol == "BOB"
    assert refused.value.message == (
        f"your account {TAKER_ADDRESS} on BOB can spend 99999 sat; the transfer needs 100000 sat"
    )
    client.balances = {BTC: Balance(100_000)}
    await legs.check_can_pay(100_000)


def test_every_method_of_a_layer_is_passed_on() -> None:
    methods = {name for name, value in vars(HtlcLayer).items() if inspect.isfunction(value)}
    assert methods <= set(vars(JoiningLegs))


# The seed.


def test_an_access_token_never_changes_and_reveals_nothing_of_the_preimage() -> None:
    seed, swap_id = SeedPreimages(b"\x01" * 32), SwapId("ab" * 16)
    assert seed.access_token(swap_id) == SeedPreimages(b"\x01" * 32).access_token(swap_id)
    tokens = {seed.access_token(swap_id), seed.access_token(SwapId("cd" * 16)), seed.preimage(swap_id).secret}
    assert {len(token) for token in tokens} == {32}
    assert len(tokens) == 3


def test_a_fingerprint_distinguishes_seeds() -> None:
    fingerprints = {SeedPreimages(bytes([number]) * 32).fingerprint for number in range(8)}
    assert len(fingerprints) == 8
    assert all(len(each) == 16 for each in fingerprints)


def test_layers_without_a_table_have_no_client() -> None:
    assert Layer2ProtocolType.BITCOIN not in Layer2Config(network="regtest").layers
