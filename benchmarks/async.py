"""The async API on real nodes, compared with its blocking twins and with web3.py.

Starts a devnet (op-geth, btcd, two lnd) in a temporary directory and stops it at the end. ``QUICK=1`` runs fewer
rounds. The compared programs alternate in rounds, and each rate is that of the median round, because other programs
share the machine.

BOB's blocks are made between rounds, never during one. Every measured transaction must be in a block afterwards, so
that lost transactions do not count.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from eth_typing import HexStr
from figures import Figure, faster, machine, show
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3

from layer2 import Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.config import JournalSection
from layer2.errors import Layer2Error
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local import devnet
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party
from layer2.local.parties import party_values
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, LightningPaymentId, TxState
from layer2.ports.clock import SystemEntropy
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.lightning import LightningNetwork
from layer2.signers.software import SoftwareEvmSigner

CALLS = 100
"""Calls in a round: concurrent, sequential, or one in each thread."""
PAYMENTS = 30
SATOSHI = 100
GAS = 21_000
GWEI = 10**9
FUNDS = 10**18
"""Wei for each key with pre-signed transactions."""
NOWHERE = "0x" + "11" * 20
"""The recipient of one wei in each transaction."""

Round = Callable[[], float]
"""Runs a number of calls and returns their rate per second."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The size of a run."""

    statuses: int
    submissions: int
    lightning: int


@dataclass(frozen=True, slots=True)
class Clients:
    """The library as one party uses it."""

    bob: BobClient
    lightning: LightningNetwork
    payee: LightningNetwork
    """The other party's node, which creates the invoices."""


class Sender:
    """A funded key and its transactions, signed before the first round."""

    def __init__(self, chain_id: int) -> None:
        self._signer = SoftwareEvmSigner(SystemEntropy().token(32))
        self._chain_id = chain_id
        self._nonce = 0

    @property
    def address(self) -> str:
        return to_checksum(self._signer.address)

    async def signed(self, count: int) -> list[bytes]:
        """The next transactions of this key."""
        transactions = []
        for _ in range(count):
            transaction = Eip1559Transaction(
                chain_id=self._chain_id,
                nonce=self._nonce,
                max_priority_fee_per_gas=GWEI // 1000,
                max_fee_per_gas=GWEI,
                gas_limit=GAS,
                to=bytes.fromhex(NOWHERE[2:]),
                value=1,
            )
            signature = await self._signer.sign_digest(transaction.signing_hash())
            transactions.append(transaction.signed(signature).raw)
            self._nonce += 1
        return transactions


class Bench:
    """The shared resources of all rounds: a running network, both forms of the library, and an event loop."""

    def __init__(
        self,
        network: LocalNetwork,
        runner: asyncio.Runner,
        ours: Clients,
        twins: Clients,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.network = network
        self.runner = runner
        self.ours = ours
        self.twins = twins
        self.threads = threads

    def concurrently(self, call: Callable[[Any], Awaitable[Any]], arguments: Sequence[Any]) -> tuple[float, list[Any]]:
        """Run all calls concurrently in the loop; return calls per second and the results in order."""

        async def measured() -> tuple[float, list[Any]]:
            start = time.perf_counter()
            results = await asyncio.gather(*[call(argument) for argument in arguments])
            return len(arguments) / (time.perf_counter() - start), results

        return self.runner.run(measured())

    def in_turn(self, call: Callable[[Any], Any], arguments: Sequence[Any]) -> tuple[float, list[Any]]:
        """Run blocking calls sequentially."""
        start = time.perf_counter()
        results = [call(argument) for argument in arguments]
        return len(arguments) / (time.perf_counter() - start), results

    def in_threads(self, call: Callable[[Any], Any], arguments: Sequence[Any]) -> tuple[float, list[Any]]:
        """Run each blocking call in its own thread. The threads have been started before."""
        start = time.perf_counter()
        results = list(self.threads.map(call, arguments))
        return len(arguments) / (time.perf_counter() - start), results

    def make_block(self) -> None:
        """Put all pending transactions at BOB into a block."""

        async def mine() -> None:
            async with aiohttp.ClientSession() as session:
                await LocalNetworkControl(self.network.control_url, session).mine()

        self.runner.run(mine())

    def automatic_blocks(self, enabled: bool) -> None:
        """Enable or disable automatic blocks at BOB."""

        async def switch() -> None:
            async with aiohttp.ClientSession() as session:
                await LocalNetworkControl(self.network.control_url, session).set_automatic(enabled)

        self.runner.run(switch())

    def check_mined(self, tx_ids: Sequence[EvmTxId]) -> None:
        """Make a block, and check that it contains all of these transactions."""
        self.make_block()
        _, statuses = self.concurrently(self.ours.bob.get_transaction_status_async, tx_ids)
        missing = [status for status in statuses if status.state not in {TxState.INCLUDED, TxState.FINAL}]
        if missing or len(set(tx_ids)) != len(tx_ids):
            raise SystemExit(f"{len(missing)} of {len(tx_ids)} transactions are not in a block, first: {missing[:1]}")


def medians(rounds: int, ways: Mapping[str, Round]) -> dict[str, float]:
    """The rate of each contender in its median round. Each has one warm-up round; then they alternate."""
    for way in ways.values():
        way()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(way())
    return {name: statistics.median(found) for name, found in rates.items()}


def measure_statuses(bench: Bench, web3: AsyncWeb3[Any], blocking_web3: Web3, rounds: int) -> list[Figure]:
    """Statuses of 100 transactions. Ours reads each receipt and the three heads; web3.py reads only receipts."""
    request = EvmTransactionRequest(to=NOWHERE, value=1, gas_limit=GAS)
    _, sent = bench.concurrently(bench.ours.bob.submit_transaction_async, [request] * CALLS)
    tx_ids = [status.tx_id for status in sent]
    bench.check_mined(tx_ids)
    ours, twins = bench.ours.bob, bench.twins.bob

    async def receipt(tx_id: str) -> Any:
        return await web3.eth.get_transaction_receipt(HexStr(tx_id))

    rates = medians(
        rounds,
        {
            "ours": lambda: bench.concurrently(ours.get_transaction_status_async, tx_ids)[0],
            "in turn": lambda: bench.in_turn(twins.get_transaction_status_sync, tx_ids)[0],
            "threads": lambda: bench.in_threads(twins.get_transaction_status_sync, tx_ids)[0],
            "web3": lambda: bench.concurrently(receipt, tx_ids)[0],
            "blocking web3": lambda: bench.in_turn(
                lambda tx_id: blocking_web3.eth.get_transaction_receipt(HexStr(tx_id)), tx_ids
            )[0],
        },
    )
    what = f"BOB: {CALLS} statuses at once, against"
    return [
        faster(f"{what} our blocking twin in turn", "statuses/s", rates["ours"], rates["in turn"], aim=10),
        faster(f"{what} our blocking twin in {CALLS} threads", "statuses/s", rates["ours"], rates["threads"]),
        faster(f"{what} web3.py async, receipts only", "statuses/s", rates["ours"], rates["web3"]),
        faster(f"{what} web3.py blocking in turn, receipts only", "statuses/s", rates["ours"], rates["blocking web3"]),
    ]


def measure_requests(bench: Bench, rounds: int) -> list[Figure]:
    """100 unsigned requests: nonce, prices, signature, durable record, and the node's answer for each."""
    requests = [EvmTransactionRequest(to=NOWHERE, value=1, gas_limit=GAS)] * CALLS
    ours, twins = bench.ours.bob, bench.twins.bob

    def checked(measured: tuple[float, list[Any]]) -> float:
        rate, statuses = measured
        bench.check_mined([status.tx_id for status in statuses])
        return rate

    rates = medians(
        rounds,
        {
            "ours": lambda: checked(bench.concurrently(ours.submit_transaction_async, requests)),
            "in turn": lambda: checked(bench.in_turn(twins.submit_transaction_sync, requests)),
            "threads": lambda: checked(bench.in_threads(twins.submit_transaction_sync, requests)),
        },
    )
    what = f"BOB: {CALLS} unsigned requests submitted at once, against"
    return [
        faster(f"{what} our blocking twin in turn", "submissions/s", rates["ours"], rates["in turn"], aim=3.5),
        faster(f"{what} our blocking twin in {CALLS} threads", "submissions/s", rates["ours"], rates["threads"]),
    ]


def measure_signed(bench: Bench, web3: AsyncWeb3[Any], blocking_web3: Web3, rounds: int) -> list[Figure]:
    """100 pre-signed transactions. Ours stores a durable record of each; web3.py only submits them."""
    chain_id = bench.network.bob.chain_id
    senders = {name: Sender(chain_id) for name in ("ours", "in turn", "threads", "web3", "blocking web3")}
    bench.check_mined([bench.twins.bob.transfer_asset_sync(ETH, FUNDS, sender.address) for sender in senders.values()])
    ours, twins = bench.ours.bob, bench.twins.bob

    async def send(raw: bytes) -> Any:
        return await web3.eth.send_raw_transaction(raw)

    def way(name: str, measure: Callable[[list[bytes]], tuple[float, list[Any]]]) -> Round:
        def measured() -> float:
            rate, results = measure(bench.runner.run(senders[name].signed(CALLS)))
            bench.check_mined([EvmTxId(result.to_0x_hex() if "web3" in name else result.tx_id) for result in results])
            return rate

        return measured

    rates = medians(
        rounds,
        {
            "ours": way("ours", lambda raw: bench.concurrently(ours.submit_transaction_async, raw)),
            "in turn": way("in turn", lambda raw: bench.in_turn(twins.submit_transaction_sync, raw)),
            "threads": way("threads", lambda raw: bench.in_threads(twins.submit_transaction_sync, raw)),
            "web3": way("web3", lambda raw: bench.concurrently(send, raw)),
            "blocking web3": way(
                "blocking web3", lambda raw: bench.in_turn(blocking_web3.eth.send_raw_transaction, raw)
            ),
        },
    )
    what = f"BOB: {CALLS} signed transactions submitted at once, against"
    unit = "submissions/s"
    return [
        faster(f"{what} our blocking twin in turn", unit, rates["ours"], rates["in turn"], aim=3.5),
        faster(f"{what} our blocking twin in {CALLS} threads", unit, rates["ours"], rates["threads"]),
        faster(f"{what} web3.py async, without a record", unit, rates["ours"], rates["web3"]),
        faster(f"{what} web3.py blocking in turn, without a record", unit, rates["ours"], rates["blocking web3"]),
    ]


def measure_lightning(bench: Bench, rounds: int) -> list[Figure]:
    """Invoices created and payments completed, over one channel between two lnd nodes."""
    ours, twins = bench.ours, bench.twins
    amounts = [SATOSHI] * CALLS

    async def pay(invoice: str) -> TxState:
        tx_id = (await ours.lightning.submit_transaction_async(invoice)).tx_id
        return (await ours.lightning.wait_for_status_async(tx_id)).state

    def pay_blocking(invoice: str) -> TxState:
        tx_id: LightningPaymentId = twins.lightning.submit_transaction_sync(invoice).tx_id
        return twins.lightning.wait_for_status_sync(tx_id).state

    def paid(measure: Callable[[list[str]], tuple[float, list[Any]]]) -> Round:
        def measured() -> float:
            _, invoices = bench.concurrently(ours.payee.create_invoice_async, amounts[:PAYMENTS])
            rate, states = measure([invoice.text for invoice in invoices])
            if set(states) != {TxState.FINAL}:
                raise SystemExit(f"not all payments arrived: {states}")
            return rate

        return measured

    rates = medians(
        rounds,
        {
            "invoices": lambda: bench.concurrently(ours.payee.create_invoice_async, amounts)[0],
            "invoices in turn": lambda: bench.in_turn(twins.payee.create_invoice_sync, amounts)[0],
            "payments": paid(lambda invoices: bench.concurrently(pay, invoices)),
            "payments in turn": paid(lambda invoices: bench.in_turn(pay_blocking, invoices)),
        },
    )
    twin = "at once, against our blocking twin in turn"
    return [
        faster(f"lnd: {CALLS} invoices made {twin}", "invoices/s", rates["invoices"], rates["invoices in turn"]),
        faster(f"lnd: {PAYMENTS} payments made {twin}", "payments/s", rates["payments"], rates["payments in turn"]),
    ]


def config(network: LocalNetwork, party: Party, journal: Path) -> Layer2Config:
    """One party's configuration, with its own journal file."""
    return Layer2Config(**party_values(network, party), journal=JournalSection(path=journal))


async def enter_async(network: LocalNetwork, directory: Path, stack: AsyncExitStack) -> Clients:
    """The taker through the async API, and the provider's Lightning node."""
    layers, others = [
        await stack.enter_async_context(Layer2Manager(config(network, party, directory / f"async-{name}.sqlite")))
        for name, party in (("taker", network.taker), ("provider", network.provider))
    ]
    await layers.initialize_all_async()
    return Clients(
        await layers.get_protocol_async(Layer2ProtocolType.BOB),
        await layers.get_protocol_async(Layer2ProtocolType.LIGHTNING),
        await others.get_protocol_async(Layer2ProtocolType.LIGHTNING),
    )


def enter_blocking(network: LocalNetwork, directory: Path, stack: ExitStack) -> Clients:
    """The provider's BOB account and the taker's Lightning node through the twins, so each account has one user."""
    taker, provider = [
        stack.enter_context(Layer2Manager(config(network, party, directory / f"blocking-{name}.sqlite")))
        for name, party in (("taker", network.taker), ("provider", network.provider))
    ]
    provider.initialize_all_sync()
    return Clients(
        provider.get_protocol_sync(Layer2ProtocolType.BOB),
        taker.get_protocol_sync(Layer2ProtocolType.LIGHTNING),
        provider.get_protocol_sync(Layer2ProtocolType.LIGHTNING),
    )


@contextmanager
def benching(network: LocalNetwork, directory: Path) -> Iterator[Bench]:
    """Both forms of the library on that network."""
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(CALLS))
        runner = stack.enter_context(asyncio.Runner())
        closing = AsyncExitStack()
        ours = runner.run(enter_async(network, directory, closing))
        stack.callback(lambda: runner.run(closing.aclose()))
        yield Bench(network, runner, ours, enter_blocking(network, directory, stack), threads)


def measure(directory: Path, rounds: Rounds) -> list[Figure]:
    """Start the nodes, measure, stop them."""
    network = devnet.up(directory / "devnet", with_parent=True, progress=progress)
    try:
        with benching(network, directory) as bench:
            url = network.bob.rpc_url
            web3, blocking_web3 = AsyncWeb3(AsyncHTTPProvider(url)), Web3(HTTPProvider(url))
            bench.automatic_blocks(False)
            progress("statuses ...")
            found = measure_statuses(bench, web3, blocking_web3, rounds.statuses)
            progress("submissions ...")
            found += measure_requests(bench, rounds.submissions)
            found += measure_signed(bench, web3, blocking_web3, rounds.submissions)
            progress("invoices and payments ...")
            found += measure_lightning(bench, rounds.lightning)
            return found
    finally:
        devnet.down(directory / "devnet")


def progress(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    rounds = Rounds(3, 2, 1) if os.environ.get("QUICK") == "1" else Rounds(15, 9, 5)
    try:
        with tempfile.TemporaryDirectory(prefix="layer2-bench-") as directory:
            found = measure(Path(directory), rounds)
    except Layer2Error as error:
        raise SystemExit(f"bench-async: {error}") from error
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    show(f"{machine('aiohttp', 'web3')}; load {load} (1, 5 and 15 minutes)", found)


if __name__ == "__main__":
    main()
