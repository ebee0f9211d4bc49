"""What the same two lnd do without swaps: payments and hold invoices, by plain REST calls."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from lightning_client.network import PlainLnd, in_turns

from layer2.local.network import LocalNetwork
from whole_swaps.network import AMOUNT

__all__ = ["Bare", "plain_nodes"]

_KEPT_SECONDS: Final = 600.0
_INVOICES_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class Bare:
    """The results of one direction, by concurrency."""

    payments: Mapping[int, float]
    """Payments per second."""
    hold_invoices: Mapping[int, float]
    """Seconds until as many hold invoices exist."""

    @classmethod
    async def measure(cls, payer: PlainLnd, payee: PlainLnd, counts: Mapping[int, int]) -> Bare:
        """Measure one direction.

        Args:
            counts: the payments of a round, by concurrency.
        """
        payments: dict[int, float] = {}
        holds: dict[int, float] = {}
        for concurrency, count in counts.items():
            # New connections would cost both sides about 5 ms each for TLS, so both nodes have enough of them before.
            for node in (payer, payee):
                await in_turns(concurrency, node.create_invoice, [AMOUNT] * concurrency)
            _, invoices = await in_turns(_INVOICES_AT_ONCE, payee.create_invoice, [AMOUNT] * count)
            payments[concurrency], _ = await in_turns(concurrency, payer.pay, invoices)
            holds[concurrency] = await _hold_invoices(payee, concurrency)
        return cls(payments, holds)


@asynccontextmanager
async def plain_nodes(network: LocalNetwork) -> AsyncIterator[tuple[PlainLnd, PlainLnd]]:
    """Plain clients of the taker's and the provider's lnd, with as many connections as calls."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield PlainLnd(network.taker.lightning, session), PlainLnd(network.provider.lightning, session)


async def _hold_invoices(node: PlainLnd, count: int) -> float:
    """Seconds to create that many hold invoices at once."""

    async def create(payment_hash: bytes) -> str:
        return await node.create_hold_invoice(payment_hash, AMOUNT)

    start = time.perf_counter()
    await in_turns(count, create, [secrets.token_bytes(32) for _ in range(count)])
    return time.perf_counter() - start
