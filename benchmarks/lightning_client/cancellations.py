"""Cancels one call in ten at a random moment, and measures stalls, slowdowns and leaks.

One third of the calls each are payment statuses, invoice statuses, and new invoices.
"""

from __future__ import annotations

import asyncio
import random
import statistics

from figures import Figure, faster, within
from load.holdings import Holdings
from load.leftovers import left_behind
from load.storm import CHANCE, CONCURRENCY, SEED, Storm

from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning import LightningNetwork
from lightning_client.network import Bench, Effort, in_turns, opened

__all__ = ["measure_cancellations"]

PAYMENTS = 30
SATOSHI = 500
STALL_AIM = 1.0
THROUGHPUT_AIM = 0.8
"""As a share of the rate without cancellation."""
ANSWER_SECONDS = 1.5
"""Seconds until nothing may be left. The client takes the answer to a cancelled call, whose connection it then keeps,
for up to one second; the last calls were cancelled just before."""
SLICES = 10
"""The number of intervals into which the time is divided, with and without cancellations in turn."""


async def measure_cancellations(bench: Bench, effort: Effort) -> list[Figure]:
    """Rates with and without cancellations, the longest stall, and the leaks."""
    paid = [await bench.payer.submit_transaction_async(text) for text in await bench.invoices(PAYMENTS, SATOSHI)]
    for status in paid:
        await bench.payer.wait_for_status_async(status.tx_id)
    _, made = await in_turns(10, bench.payer.create_invoice_async, [SATOSHI] * PAYMENTS)
    owed = [LightningPaymentId(invoice.payment_hash.hex()) for invoice in made]
    # A payment's status, an invoice's status, and None for a new invoice.
    items = [item for payment, tx_id in zip(paid, owed, strict=True) for item in (payment.tx_id, tx_id, None)]
    wanted = dict.fromkeys(owed, TxState.PENDING) | {status.tx_id: TxState.FINAL for status in paid}

    before = Holdings.now()
    async with opened(bench.network, bench.network.taker, bench.directory / "cancellations.sqlite") as payer:

        async def call(item: LightningPaymentId | None) -> None:
            await _one(payer, item, wanted)

        numbers = random.Random(SEED)  # noqa: S311  # a repeatable load, no secret
        for _ in range(2):
            # The first one opens its connections.
            calm = Storm(call, items, 0.0, 0.0, numbers)
            rate = await calm.run(min(1.0, effort.storm_seconds / 10))
        # A cancellation may come at any time during a call.
        storm = Storm(call, items, CHANCE, CONCURRENCY / rate, numbers)
        rates: dict[str, list[float]] = {"calm": [], "storm": []}
        quiet = Holdings.now()
        for _ in range(SLICES):
            rates["calm"].append(await calm.run(effort.storm_seconds / SLICES / 4))
            rates["storm"].append(await storm.run(effort.storm_seconds / SLICES))
        await asyncio.sleep(ANSWER_SECONDS)
        settled = Holdings.now()
        share = storm.cancelled / (storm.cancelled + storm.done)
    after = Holdings.now()
    medians = {name: statistics.median(each) for name, each in rates.items()}
    what = f"{effort.storm_seconds:g} s at concurrency {CONCURRENCY}, {share:.1%} cancelled"
    calls = "statuses of payments and invoices, and invoices made: answered, against none cancelled"
    found = [
        faster(f"{what}, {calls}", "calls/s", medians["storm"], medians["calm"], aim=THROUGHPUT_AIM),
        within(f"{what}: longest stall, against none cancelled", "s", storm.slowest, peer=calm.slowest, aim=STALL_AIM),
    ]
    return found + left_behind(what, before, quiet, settled, after)


async def _one(
    payer: LightningNetwork, item: LightningPaymentId | None, wanted: dict[LightningPaymentId, TxState]
) -> None:
    if item is None:
        await payer.create_invoice_async(SATOSHI)
        return
    status = await payer.get_transaction_status_async(item)
    if status.state is not wanted[item]:
        raise SystemExit(f"{item} is {status.state}, not {wanted[item]}")
