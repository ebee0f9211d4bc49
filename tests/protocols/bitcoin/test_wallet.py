"""BDK's wallet and the coins that are held: which coins a transaction may spend, and with which fee."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import bdkpython as bdk
import pytest
import pytest_asyncio

from layer2.errors import (
    AsyncRuntimeError,
    ConfigurationError,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    InvalidAmount,
    NodeUnreachable,
)
from layer2.formats.bitcoin_transaction import OutPoint, TxOut
from layer2.journal.sql_journal import SqlJournal
from layer2.model.money import BTC
from layer2.protocols.bitcoin.client import BitcoinClient
from layer2.protocols.bitcoin.source.port import BlockId
from layer2.protocols.bitcoin.wallet import esplora
from layer2.protocols.bitcoin.wallet.bdk import Wallet
from layer2.protocols.bitcoin.wallet.coins import Coins
from layer2.protocols.bitcoin.wallet.filters import FilterSync
from layer2.protocols.bitcoin.wallet.model import Built
from protocols.bitcoin.client_world import COIN, STRANGER, STRANGER_SCRIPT, World, bitcoin_world
from protocols.bitcoin.parties import WORDS


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bitcoin_world(tmp_path) as made:
        yield made


def coins_of(client: BitcoinClient) -> Coins:
    return client.legs._parts.coins


def to_stranger(amount: int = 50_000) -> list[TxOut]:
    return [TxOut(amount, STRANGER_SCRIPT)]


def test_a_coin_is_read_back_as_it_was_written() -> None:
    coin = OutPoint(bytes(range(32)), 7)
    assert OutPoint.read(str(coin)) == coin


@pytest.mark.parametrize("rate", [1_000, 1_001, 2_000, 7_777, 30_000, 199_999])
@pytest.mark.parametrize("amount", [50_000, 25_000_000])
async def test_the_fee_is_never_below_the_rate_and_at_most_a_hundredth_above_it(
    world: World, rate: int, amount: int
) -> None:
    coins = coins_of(await world.funded(coins=4))
    await coins.bring_up_to_date()
    built = await coins.wallet.pay(to_stranger(amount), rate)
    assert rate <= built.fee * 1_000 / built.transaction.virtual_size < rate * 1.01 + 10
    world.node.set_fees(rate)
    world.node.submit(built.transaction.encode())


async def test_a_funding_spends_no_unconfirmed_coin_not_even_change(world: World) -> None:
    client = await world.funded(coins=1)
    coins = coins_of(client)
    sent = await coins.pay("swap:00", to_stranger(), 2_000)
    world.node.submit(sent.transaction.encode())
    await coins.bring_up_to_date(fresh=True)
    with pytest.raises(InsufficientFunds):
        await coins.pay("swap:01", to_stranger(), 2_000)
    world.node.mine(1)
    await coins.bring_up_to_date(fresh=True)
    assert (await coins.pay("swap:01", to_stranger(), 2_000)).coins != sent.coins


async def test_coins_that_another_program_with_the_same_seed_received_and_spent_are_not_spent_again(
    world: World, tmp_path: Path
) -> None:
    client = await world.funded(coins=1)
    await client.balances_async()
    journal = await SqlJournal.open(tmp_path / "other.db")
    other = world.client(records=journal)
    # The first payment's change is at an address that this client has not given out, and the second spends it.
    for _ in range(3):
        await other.transfer_asset_async(BTC, 50_000, STRANGER)
    world.node.mine(1)
    await client.transfer_asset_async(BTC, 50_000, STRANGER)
    await journal.aclose()


async def test_a_holder_gets_the_same_coins_again(world: World) -> None:
    coins = coins_of(await world.funded(coins=3))
    first = await coins.pay("swap:00", to_stranger(), 2_000)
    again = await coins.pay("swap:00", to_stranger(), 9_000)
    assert set(first.coins) == set(again.coins)
    assert await coins.held("swap:00") == list(first.coins)
    await coins.release("swap:00")
    await coins.release("swap:00")
    assert not await coins.held("swap:00")


async def test_holders_at_the_same_time_get_different_coins(world: World) -> None:
    coins = coins_of(await world.funded(coins=5))
    made = await asyncio.gather(*(coins.pay(f"swap:{at}", to_stranger(), 2_000) for at in range(5)))
    assert len({coin for each in made for coin in each.coins}) == 5
    with pytest.raises(InsufficientFunds):
        await coins.pay("swap:9", to_stranger(), 2_000)


async def test_a_coin_that_another_holder_has_cannot_be_held(world: World) -> None:
    coins = coins_of(await world.funded(coins=1))
    built = await coins.pay("swap:00", to_stranger(), 2_000)
    with pytest.raises(FundsRulesError) as caught:
        await coins.hold("swap:01", built)
    assert caught.value.code == "coins_held"


async def test_the_held_part_of_the_balance_is_what_confirmed_coins_hold(world: World) -> None:
    coins = coins_of(await world.funded(coins=3))
    await coins.pay("swap:00", to_stranger(), 2_000)
    balance, held = await coins.balance()
    assert (balance.confirmed, held) == (3 * COIN, COIN)


async def test_a_coin_is_taken_back_from_a_pending_transaction_and_from_one_that_was_never_sent(world: World) -> None:
    coins = coins_of(await world.funded(coins=2))
    sent = await coins.pay("swap:00", to_stranger(), 5_000)
    await coins.pay("swap:01", to_stranger(), 5_000)
    world.node.submit(sent.transaction.encode())
    await coins.wallet.note_unconfirmed(sent.transaction, 1)
    for holder in ("swap:00", "swap:01"):
        (coin,) = await coins.held(holder)
        back = await coins.take_back(coin, 1_000)
        assert back.coins == (coin,)
        world.node.submit(back.transaction.encode())
    assert sent.transaction.id not in world.pool
    assert len(world.pool) == 2


async def test_a_replacement_that_cannot_be_made_leaves_the_wallet_as_it_was(world: World) -> None:
    coins = coins_of(await world.funded(coins=1, amount=60_000))
    sent = await coins.pay("swap:00", to_stranger(), 5_000)
    await coins.wallet.note_unconfirmed(sent.transaction, 1)
    before = await coins.wallet.balance()
    with pytest.raises(InsufficientFunds):
        await coins.wallet.replacement(sent, 200_000)
    assert await coins.wallet.balance() == before
    assert await coins.wallet.pending_spender(sent.coins[0]) == sent


async def test_a_replacement_pays_for_what_was_spent_after_it(world: World) -> None:
    coins = coins_of(await world.funded(coins=1))
    parent = await coins.build(to_stranger(), 2_000, confirmed_only=False)
    for built in (parent, child := await _child(coins, parent)):
        world.node.submit(built.transaction.encode())
    newer = await coins.wallet.replacement(parent, 3_000)
    assert newer.fee > parent.fee + child.fee
    world.node.submit(newer.transaction.encode())
    assert world.pool == {newer.transaction.id}


async def _child(coins: Coins, parent: Built) -> Built:
    await coins.wallet.note_unconfirmed(parent.transaction, 1)
    child = await coins.wallet.pay(to_stranger(), 20_000)
    await coins.wallet.note_unconfirmed(child.transaction, 1)
    return child


async def test_a_sweep_that_the_fee_eats_is_refused(world: World) -> None:
    coins = coins_of(await world.funded(coins=1, amount=1_000))
    await coins.bring_up_to_date()
    (coin,) = await coins.wallet.confirmed_coins()
    with pytest.raises(InsufficientFunds):
        await coins.wallet.sweep([coin], await coins.wallet.fresh_script(), 100_000, 0)
    with pytest.raises(InsufficientFunds):
        await coins.wallet.sweep([OutPoint(bytes(32), 0)], await coins.wallet.fresh_script(), 1_000, 0)


@pytest.mark.parametrize(("amount", "is_dust"), [(293, True), (294, False)])
async def test_an_output_below_dust_is_refused(world: World, amount: int, is_dust: bool) -> None:
    coins = coins_of(await world.funded(coins=1))
    await coins.bring_up_to_date()
    if is_dust:
        with pytest.raises(InvalidAmount) as caught:
            await coins.wallet.pay(to_stranger(amount), 1_000)
        assert caught.value.code == "dust"
    else:
        world.node.submit((await coins.wallet.pay(to_stranger(amount), 1_000)).transaction.encode())


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("mainnet", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("mainnet", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
        ("mainnet", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("mainnet", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
        ("testnet", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
        ("signet", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
        ("regtest", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ],
)
async def test_addresses_of_every_kind_belong_to_their_network(network: str, address: str) -> None:
    wallet = Wallet(WORDS["taker"], network, None)
    other = Wallet(WORDS["taker"], "regtest" if network == "mainnet" else "mainnet", None)
    try:
        assert wallet.script_of(address)
        with pytest.raises(FormatError):
            other.script_of(address)
    finally:
        await wallet.aclose()
        await other.aclose()


@pytest.mark.parametrize(
    ("network", "first_block"),
    [
        ("mainnet", "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
        ("testnet", "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043"),
        ("signet", "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"),
        ("regtest", "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
    ],
)
async def test_the_wallet_begins_with_the_network_s_first_block(network: str, first_block: str) -> None:
    wallet = Wallet(WORDS["taker"], network, None)
    try:
        assert await wallet.run(lambda known: str(known.latest_checkpoint().hash)) == first_block
        assert await wallet.height() == 0
    finally:
        await wallet.aclose()


def test_words_that_are_no_mnemonic_are_refused_without_showing_them() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Wallet("abandon " * 11 + "abandon", "regtest", None)
    assert "abandon" not in str(caught.value)


async def test_the_wallet_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "wallet.db"
    wallet = Wallet(WORDS["taker"], "regtest", path)
    await wallet.fresh_script()
    await wallet.aclose()
    assert path.stat().st_mode & 0o077 == 0
    assert b"abandon" not in path.read_bytes()


async def test_a_closed_wallet_refuses_calls(tmp_path: Path) -> None:
    wallet = Wallet(WORDS["taker"], "regtest", None)
    await wallet.aclose()
    with pytest.raises(AsyncRuntimeError):
        await wallet.balance()


async def test_signatures_are_the_wallet_s_own(world: World) -> None:
    coins = coins_of(await world.funded(coins=1))
    await coins.bring_up_to_date()
    built = await coins.wallet.pay(to_stranger(), 2_000)
    other = Wallet(WORDS["provider"], "regtest", None)
    try:
        assert await other.own_outputs(built.transaction) == []
        assert len(await coins.wallet.own_outputs(built.transaction)) == 1
    finally:
        await other.aclose()
    assert {each.sequence for each in built.transaction.inputs} == {0xFFFF_FFFD}
    assert bdk.Transaction(built.transaction.encode()).is_explicitly_rbf()


async def tip() -> BlockId:
    return BlockId(1, bytes(32))


async def test_a_filter_peer_that_hangs_up_is_asked_again_at_the_next_call() -> None:
    calls = 0

    def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sync = FilterSync(f"{host}:{port}", None, tip)
    wallet = Wallet(WORDS["taker"], "regtest", None)
    try:
        for _ in range(2):
            before = calls
            with pytest.raises(NodeUnreachable):
                await sync.bring_up_to_date(wallet)
            assert calls > before
    finally:
        await sync.aclose()
        await wallet.aclose()
        server.close()


@pytest.mark.parametrize("peer", ["", "127.0.0.1", "node.example:8333", "127.0.0.1:port"])
def test_a_filter_peer_is_an_ip_address_with_a_port(peer: str) -> None:
    with pytest.raises(ConfigurationError):
        FilterSync(peer, None, tip)


async def test_a_scan_that_gets_no_answer_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    coins = coins_of(await world.funded(coins=1))
    monkeypatch.setattr(esplora, "_PATIENCE", 0.1)
    world.faults.is_mute = True
    with pytest.raises(NodeUnreachable):
        await coins.bring_up_to_date(fresh=True)


async def test_the_wallet_can_be_used_while_it_is_synchronised(world: World) -> None:
    coins = coins_of(await world.funded(coins=1))
    await coins.bring_up_to_date()
    world.faults.is_mute = True
    syncing = asyncio.create_task(coins.bring_up_to_date(fresh=True))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(2):
        assert (await coins.wallet.balance()).confirmed == COIN
    syncing.cancel()


async def test_a_reorganisation_takes_coins_back_from_the_wallet(world: World) -> None:
    coins = coins_of(await world.funded(coins=2))
    await coins.bring_up_to_date()
    world.node.reorganise(1, False, [])
    await coins.bring_up_to_date(fresh=True)
    assert (await coins.wallet.balance()).confirmed == 0
    assert await coins.wallet.confirmed_coins() == {}
