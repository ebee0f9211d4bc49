"""Completed payments and new invoices, through our client and by plain calls to the same nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from figures import Figure, faster
from load.rounds import Round, medians

from layer2.model.transactions import TxState
from lightning_client.network import Bench, Effort, in_turns

__all__ = ["measure_invoices", "measure_payments"]

CONCURRENCIES = (1, 10, 100)
AIM = 0.9
SATOSHI = 500
"""The amount of each payment. It is above the dust limit, so that both nodes sign an HTLC, and thousands fit."""


async def measure_payments(bench: Bench, effort: Effort) -> list[Figure]:
    """Pay existing invoices; each call ends when the payer knows that the payment has succeeded."""

    async def ours(invoice: str) -> None:
        tx_id = (await bench.payer.submit_transaction_async(invoice)).tx_id
        status = await bench.payer.wait_for_status_async(tx_id)
        if status.state is not TxState.FINAL:
            raise SystemExit(f"a payment ended {status.state}: {status.reason}")

    async def recorded(invoice: str) -> None:
        tx_id = (await bench.payer.submit_transaction_async(invoice, idempotency_key=invoice[-40:])).tx_id
        status = await bench.payer.wait_for_status_async(tx_id)
        if status.state is not TxState.FINAL:
            raise SystemExit(f"a payment ended {status.state}: {status.reason}")

    async def rate(concurrency: int, count: int, call: Callable[[str], Awaitable[None]]) -> float:
        return (await in_turns(concurrency, call, await bench.invoices(count, SATOSHI)))[0]

    found: list[Figure] = []
    for concurrency in CONCURRENCIES:
        count = effort.payments[concurrency]
        calls = {"plain": bench.plain_payer.pay, "ours": ours}
        if concurrency == CONCURRENCIES[-1]:
            calls["recorded"] = recorded
        ways: dict[str, Round] = {name: partial(rate, concurrency, count, call) for name, call in calls.items()}
        rates = await medians(effort.rounds, ways)
        what = f"payments at concurrency {concurrency}, against plain REST calls"
        found.append(faster(what, "payments/s", rates["ours"], rates["plain"], aim=AIM))
        if "recorded" in rates:
            name = f"{what}, ours with a durable record"
            found.append(faster(name, "payments/s", rates["recorded"], rates["plain"]))
    return found


async def measure_invoices(bench: Bench, effort: Effort) -> list[Figure]:
    """Create invoices. Our client decodes and checks each before it returns it."""

    async def rate(concurrency: int, call: Callable[[int], Awaitable[object]], amounts: Sequence[int]) -> float:
        return (await in_turns(concurrency, call, amounts))[0]

    found: list[Figure] = []
    for concurrency in CONCURRENCIES:
        amounts = [SATOSHI] * (effort.invoices if concurrency > 1 else effort.invoices // 2)
        calls: dict[str, Callable[[int], Awaitable[object]]] = {
            "plain": bench.plain_payee.create_invoice,
            "ours": bench.payee.create_invoice_async,
        }
        ways: dict[str, Round] = {name: partial(rate, concurrency, call, amounts) for name, call in calls.items()}
        rates = await medians(effort.rounds, ways)
        what = f"invoices at concurrency {concurrency}, against plain REST calls"
        found.append(faster(what, "invoices/s", rates["ours"], rates["plain"], aim=AIM))
    return found
