"""Ten thousand subscriptions to the node's invoices: memory, sockets, and time until all are notified.

Half of them use ``wait_for_status_async``, half ``watch_transaction_async``.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from figures import Figure, alone
from load.holdings import Holdings, resident

from layer2.formats import bolt11
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning import LightningNetwork
from lightning_client.network import Bench, Effort, in_turns, opened

__all__ = ["measure_subscriptions"]

SATOSHI = 500
MAKERS = 50
"""The number of callers that create the invoices, and of payers."""
PLAIN_PAID = 20
"""The number of plain invoices that are paid; their subscribers must be notified."""
IDLE_SHARE = 0.1
"""The largest share of a core that an idle process uses."""
LONGEST_START = 120.0


@dataclass
class _Subscribers:
    """Tasks that end when they learn that their invoice is settled."""

    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    following: int = 0
    last_told: float = 0.0

    def add(self, client: LightningNetwork, tx_id: LightningPaymentId) -> None:
        way = self._wait if len(self.tasks) % 2 else self._follow
        self.tasks.append(asyncio.create_task(way(client, tx_id)))

    async def _wait(self, client: LightningNetwork, tx_id: LightningPaymentId) -> None:
        status = await client.wait_for_status_async(tx_id)
        self._told(status.state)

    async def _follow(self, client: LightningNetwork, tx_id: LightningPaymentId) -> None:
        state = None
        async for status in client.watch_transaction_async(tx_id):
            if state is None:
                self.following += 1
            state = status.state
        self._told(state)

    def _told(self, state: TxState | None) -> None:
        if state is not TxState.FINAL:
            raise SystemExit(f"a subscriber received {state}")
        self.last_told = time.perf_counter()

    async def begun(self) -> None:
        """Return when all subscribers listen and the process is idle."""
        async with asyncio.timeout(LONGEST_START):
            while not await _is_idle() or self.following < len(self.tasks) // 2:
                for task in self.tasks:
                    if task.done():
                        task.result()
                        raise SystemExit("a subscriber ended before the first payment")

    async def ended(self) -> None:
        await asyncio.gather(*self.tasks)

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _is_idle() -> bool:
    wall, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(0.5)
    return time.process_time() - used < IDLE_SHARE * (time.perf_counter() - wall)


async def measure_subscriptions(bench: Bench, effort: Effort) -> list[Figure]:
    """One subscription per plain invoice, and many per hold invoice."""
    return [*await _plain(bench, effort), *await _held(bench, effort)]


async def _plain(bench: Bench, effort: Effort) -> list[Figure]:
    count = effort.subscriptions
    _, texts = await in_turns(MAKERS, bench.plain_payee.create_invoice, [SATOSHI] * count)
    tx_ids = [LightningPaymentId(bolt11.decode(text).payment_hash.hex()) for text in texts]
    sockets = Holdings.now().sockets
    async with opened(bench.network, bench.network.provider, bench.directory / "subscriptions.sqlite") as payee:
        gc.collect()
        before = resident()
        everybody = _Subscribers()
        for tx_id in tx_ids:
            everybody.add(payee, tx_id)
        start = time.perf_counter()
        await everybody.begun()
        took = time.perf_counter() - start
        grown, held = resident() - before, len(Holdings.now().sockets - sockets)
        for text, told in zip(texts[:PLAIN_PAID], everybody.tasks, strict=False):
            await bench.plain_payer.pay(text)
            async with asyncio.timeout(LONGEST_START):
                await told
        await everybody.leave()
    what = f"{count:,} subscriptions, each to a plain invoice of its own"
    return [
        alone(f"{what}: memory, each", "bytes", grown / count),
        alone(f"{what}: sockets", "sockets", held),
        alone(f"{what}: time until all listen", "s", took),
    ]


async def _held(bench: Bench, effort: Effort) -> list[Figure]:
    count, holds = effort.subscriptions, effort.holds
    preimages = [secrets.token_bytes(32) for _ in range(holds)]
    sockets = Holdings.now().sockets
    async with opened(bench.network, bench.network.provider, bench.directory / "holds.sqlite") as payee:
        invoices = [await bench.plain_payee.create_hold_invoice(_hash(each), SATOSHI) for each in preimages]
        everybody = _Subscribers()
        for place in range(count):
            everybody.add(payee, LightningPaymentId(_hash(preimages[place // 2 % holds]).hex()))
        await everybody.begun()
        held = len(Holdings.now().sockets - sockets)
        payments = [asyncio.create_task(bench.plain_payer.pay(text)) for text in invoices]
        await _accepted(payee, preimages)
        start = time.perf_counter()
        await asyncio.gather(*[bench.plain_payee.settle(each) for each in preimages])
        settled = time.perf_counter()
        await everybody.ended()
        await asyncio.gather(*payments)
    what = f"{count:,} subscriptions to {holds} hold invoices"
    return [
        alone(f"{what}: sockets", "sockets", held),
        alone(f"{what}: from the first settled to the last subscriber told", "s", everybody.last_told - start),
        alone(f"{what}: until lnd has settled all, in the same time", "s", settled - start),
    ]


async def _accepted(payee: LightningNetwork, preimages: Sequence[bytes]) -> None:
    """Return when a lookup shows that each invoice is held."""
    tx_ids = [LightningPaymentId(_hash(preimage).hex()) for preimage in preimages]
    async with asyncio.timeout(LONGEST_START):
        for tx_id in tx_ids:
            while not (await payee.get_transaction_status_async(tx_id)).parts:
                pass


def _hash(preimage: bytes) -> bytes:
    return hashlib.sha256(preimage).digest()
