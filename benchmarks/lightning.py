"""The Lightning client compared with plain REST calls to the same lnd, and its codec with ``bolt11``, in one run.

Starts a devnet in a temporary directory and stops it at the end. ``QUICK=1`` runs fewer and shorter rounds. The
compared programs alternate in rounds, and each rate is that of the median round, because other programs share the
machine.

Where the time goes: a single payment takes lnd and its peer about 90 ms, and 10 ms of both cores if many are in flight.
A plain call takes 0.5 ms. The client adds 1 to 2 ms, mostly to decode and check the invoice, and to read the messages
of its stream, of which the plain call requests only the last. Both send one request. lnd creates an invoice in 1 to
2 ms; the client reads it back and checks it in 0.2 ms, which is visible only at concurrency 1. The client reads the
answer of a cancelled call, because a new connection would cost both sides about 5 ms for TLS.
"""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
from figures import Figure
from lightning_client.cancellations import measure_cancellations
from lightning_client.codec import codec_figures
from lightning_client.network import CONNECTIONS, Bench, Effort, opened
from lightning_client.payments import measure_invoices, measure_payments
from lightning_client.subscriptions import measure_subscriptions
from load.network import run_on_devnet
from load.rounds import progress

from layer2.local.network import LocalNetwork

PACKAGES = ("aiohttp", "orjson", "coincurve", "bolt11")
"""The packages whose versions are printed: our dependencies and the peer."""


async def measure(network: LocalNetwork, directory: Path, effort: Effort) -> list[Figure]:
    """Measure every row of the table."""
    async with (
        # One pool holds the connections to both nodes; each node has its own limit.
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS)) as session,
        opened(network, network.taker, directory / "payer.sqlite") as payer,
        opened(network, network.provider, directory / "payee.sqlite") as payee,
    ):
        bench = Bench(network, directory, payer, payee, session)
        progress("BOLT 11 ...")
        found: list[Figure] = await codec_figures(effort.is_quick)
        for what, rows in (
            ("subscriptions", measure_subscriptions),
            ("invoices", measure_invoices),
            ("payments", measure_payments),
            ("cancellations", measure_cancellations),
        ):
            progress(f"{what} ...")
            found += await rows(bench, effort)
        return found


def effort_asked() -> Effort:
    """Read the effort from the environment."""
    if os.environ.get("QUICK") == "1":
        payments = {1: 4, 10: 20, 100: 60}
        return Effort(1, 150, payments, subscriptions=500, holds=10, storm_seconds=4, is_quick=True)
    payments = {1: 20, 10: 60, 100: 200}
    return Effort(7, 400, payments, subscriptions=10_000, holds=100, storm_seconds=60, is_quick=False)


def main() -> None:
    effort = effort_asked()
    run_on_devnet("bench-lightning", PACKAGES, lambda network, directory: measure(network, directory, effort))


if __name__ == "__main__":
    main()
