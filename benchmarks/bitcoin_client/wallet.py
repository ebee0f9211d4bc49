"""Synchronising the wallet and paying from it, against BDK called directly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import bdkpython as bdk
from figures import Figure, faster
from load.rounds import medians

from bitcoin_client.network import Bench, Effort, client_of
from layer2 import BTC
from layer2.journal.sql_journal import SqlJournal

__all__ = ["measure_payments", "measure_sync"]

SYNC_AIM = 0.9
GAP = 20
REQUESTS = 4
"""Both sides ask Esplora as often, and as much at once."""
AT_ONCE = 10
SATOSHI = 1_000
RATE = 1
"""sat/vB."""


class Peer:
    """BDK with its own Esplora client, as its documentation uses it: without a durable record.

    Args:
        words: the mnemonic of the wallet.
        url: the Esplora server.
    """

    def __init__(self, words: str, url: str) -> None:
        kind = bdk.NetworkKind.TEST
        secret = bdk.DescriptorSecretKey(kind, bdk.Mnemonic.from_string(words), None)
        descriptors = [bdk.Descriptor.new_bip84(secret, each, kind) for each in bdk.KeychainKind]
        self.wallet = bdk.Wallet(*descriptors, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
        self.client = bdk.EsploraClient(url, None)

    def scan(self) -> int:
        """Look for every address, and return the confirmed satoshi."""
        request = self.wallet.start_full_scan().build()
        self.wallet.apply_update(self.client.full_scan(request, GAP, REQUESTS))
        return int(self.wallet.balance().confirmed.to_sat())

    def sync(self) -> int:
        """Ask again for the known addresses, and return the confirmed satoshi."""
        request = self.wallet.start_sync_with_revealed_spks().build()
        self.wallet.apply_update(self.client.sync(request, REQUESTS))
        return int(self.wallet.balance().confirmed.to_sat())

    def pay(self, script: bdk.Script) -> None:
        """Build, sign and broadcast a payment."""
        builder = bdk.TxBuilder().add_recipient(script, bdk.Amount.from_sat(SATOSHI))
        psbt = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(RATE)).finish(self.wallet)
        self.wallet.sign(psbt)
        transaction = psbt.extract_tx()
        self.client.broadcast(transaction)
        self.wallet.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=transaction, last_seen=int(time.time()))])


async def measure_sync(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure a first synchronisation and a later one, each with the balance."""
    await bench.spread(effort.addresses)
    words, url = _seed(bench), bench.network.bitcoin.esplora_url
    assert url is not None
    wanted = (await bench.taker.balances_async())[BTC].spendable
    peer = Peer(words, url)
    journal = await SqlJournal.open(bench.directory / "sync.sqlite")
    warm = client_of(bench.network, bench.network.taker, journal, poll_interval_ms=1)
    await warm.initialize_async()

    async def first() -> float:
        async with client_of(bench.network, bench.network.taker, journal) as client:
            began = time.perf_counter()
            await client.initialize_async()
            found = (await client.balances_async())[BTC].spendable
            taken = time.perf_counter() - began
        return _rate(found, wanted, taken)

    async def later() -> float:
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        found = (await warm.balances_async())[BTC].spendable
        return _rate(found, wanted, time.perf_counter() - began)

    async def peer_first() -> float:
        return await _timed(Peer(words, url).scan, wanted)

    async def peer_later() -> float:
        return await _timed(peer.sync, wanted)

    await peer_first()
    await _timed(peer.scan, wanted)
    what = f"of {effort.addresses} addresses, against BDK alone"
    rates = await medians(effort.rounds, {"ours": first, "peer": peer_first})
    again = await medians(effort.rounds, {"ours": later, "peer": peer_later})
    await warm.aclose()
    await journal.aclose()
    return [
        faster(f"first synchronisation and balance, {what}", "wallets/s", *rates.values(), aim=SYNC_AIM),
        faster(f"later synchronisation and balance, {what}", "wallets/s", *again.values(), aim=SYNC_AIM),
    ]


async def measure_payments(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure payments one after another, and some at once; a block confirms them after each round."""
    url = bench.network.bitcoin.esplora_url
    assert url is not None
    # Of neither wallet: an Esplora server lists every payment to an address again at each synchronisation.
    script = bdk.Script(b"\x00\x14" + bytes(20))
    address = str(bdk.Address.from_script(script, bdk.Network.REGTEST))

    async def paid(at_once: int) -> float:
        await bench.taker.balances_async()
        waiting = iter(range(effort.payments))

        async def caller() -> None:
            for _ in waiting:
                await bench.taker.transfer_asset_async(BTC, SATOSHI, address)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        rate = effort.payments / (time.perf_counter() - began)
        await _settle(bench)
        return rate

    async def peer_paid() -> float:
        peer = Peer(_seed(bench), url)
        peer.scan()

        def work() -> None:
            for _ in range(effort.payments):
                peer.pay(script)

        began = time.perf_counter()
        await asyncio.to_thread(work)
        rate = effort.payments / (time.perf_counter() - began)
        await _settle(bench)
        return rate

    rounds = min(3, effort.rounds)
    rates = await medians(rounds, {"ours": lambda: paid(1), "many": lambda: paid(AT_ONCE), "peer": peer_paid})
    against = "with a durable record, against BDK alone without one"
    return [
        faster(f"payments one after another, {against}", "payments/s", rates["ours"], rates["peer"]),
        faster(f"payments, {AT_ONCE} at once, {against}", "payments/s", rates["many"], rates["peer"]),
    ]


async def _settle(bench: Bench) -> None:
    await bench.control.mine_bitcoin(1)
    await asyncio.sleep(0.2)
    await bench.taker.balances_async()


def _seed(bench: Bench) -> str:
    return Path(bench.network.taker.bitcoin_seed_file).read_text()


async def _timed(work: Callable[[], int], wanted: int) -> float:
    began = time.perf_counter()
    found = await asyncio.to_thread(work)
    return _rate(found, wanted, time.perf_counter() - began)


def _rate(found: int, wanted: int, taken: float) -> float:
    if found != wanted:
        raise SystemExit(f"a wallet shows {found} sat, and has {wanted}")
    return 1 / taken
