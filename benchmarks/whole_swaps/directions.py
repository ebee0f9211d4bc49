"""The rows of one direction: swaps against bare lnd, acceptance, requests, and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from figures import Figure, alone, at_most, faster, within
from load.holdings import resident
from load.rounds import progress

from layer2 import Layer2ProtocolType
from whole_swaps.bare import Bare
from whole_swaps.network import NODES, Effort, Parties
from whole_swaps.rounds import Direction, Round, accepted, completed, run_round

__all__ = ["DIRECTIONS", "measure_direction"]

DIRECTIONS: Final[tuple[Direction, ...]] = (
    (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING),
    (Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB),
)
_AIMED_FROM: Final = 100
"""The smallest concurrency with aims."""
_PAYMENTS_AIM: Final = 0.25
_CPU_AIM: Final = 10.0
_ACCEPTED_WITHIN_AIM: Final = 1.0
_HOLDS_AIM: Final = 1.3
_REQUESTS_AIM: Final = 1.2
_SETTLE_SECONDS: Final = 2.0
_STARTING_SECONDS: Final = 45.0
"""Shorter than the time after which a chain without a new block is stale and no swap starts."""


async def measure_direction(parties: Parties, direction: Direction, effort: Effort, bare: Bare) -> list[Figure]:
    """Measure every row of one direction."""
    name = " to ".join(layer.value for layer in direction)
    found: list[Figure] = []
    await run_round(parties, direction, concurrency=1, count=1, seconds=effort.seconds)
    if direction[0] is Layer2ProtocolType.BOB:
        progress(f"{name}: memory ...")
        found.append(await _memory(parties, direction, effort))
    rounds: dict[int, Round] = {}
    for concurrency, count in effort.swaps.items():
        progress(f"{name}: {count} swaps at concurrency {concurrency} ...")
        rounds[concurrency] = one = await run_round(
            parties, direction, concurrency=concurrency, count=count, seconds=effort.seconds
        )
        found += _speed(f"{name} at concurrency {concurrency}", one, bare.payments[concurrency], concurrency)
    most = rounds[effort.most]
    found += _acceptance(f"{name} at concurrency {effort.most}", most, direction, bare.hold_invoices[effort.most])
    return found + _requests(name, effort, rounds)


def _speed(what: str, one: Round, payments: float, concurrency: int) -> list[Figure]:
    has_aims = concurrency >= _AIMED_FROM
    rate_aim = _PAYMENTS_AIM if has_aims else None
    return [
        faster(f"{what}: whole swaps, against payments of bare lnd", "per s", one.rate, payments, aim=rate_aim),
        within(f"{what}: did not complete, of {one.asked}", "swaps", one.asked - one.completed, aim=0),
        within(
            f"{what}: processor time of both parties, each swap",
            "ms",
            one.each(one.cpu_seconds) * 1_000,
            aim=_CPU_AIM if has_aims else None,
        ),
    ]


def _acceptance(what: str, one: Round, direction: Direction, hold_seconds: float) -> list[Figure]:
    name, seconds = f"{what}: acceptance, 99th percentile", one.acceptance(0.99)
    median = alone(f"{what}: acceptance, median", "s", one.acceptance(0.5))
    if direction[0] is Layer2ProtocolType.BOB:
        return [median, within(name, "s", seconds, aim=_ACCEPTED_WITHIN_AIM)]
    name += ", against bare lnd for as many hold invoices"
    return [median, at_most(name, "s", seconds, hold_seconds, aim=_HOLDS_AIM)]


def _requests(name: str, effort: Effort, rounds: Mapping[int, Round]) -> list[Figure]:
    few, most = rounds[effort.few], rounds[effort.most]
    found: list[Figure] = []
    for number, node in enumerate(NODES):
        what = f"{name}: requests to {node}, each swap, {effort.most} open against {effort.few}"
        (ours, peer) = (one.each(one.requests[number].http) for one in (most, few))
        found.append(at_most(what, "requests", ours, peer, aim=_REQUESTS_AIM))
        if most.requests[number].calls:
            (ours, peer) = (one.each(one.requests[number].calls) for one in (most, few))
            found.append(at_most(f"{what}: JSON-RPC calls", "calls", ours, peer, aim=_REQUESTS_AIM))
    return found


async def _memory(parties: Parties, direction: Direction, effort: Effort) -> Figure:
    """The growth of the provider's memory while swaps wait for the block with their funding."""
    transfers: list[str] = []

    async def start() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STARTING_SECONDS):
                transfers.append((await accepted(parties, direction)).transfer_id)

    await parties.control.set_automatic(False)
    before = resident(parties.provider_process)
    await asyncio.gather(*[start() for _ in range(effort.waiting)])
    await asyncio.sleep(_SETTLE_SECONDS)
    growth = resident(parties.provider_process) - before
    await parties.control.set_automatic(True)
    if not transfers:
        raise SystemExit(f"no swap was accepted within {_STARTING_SECONDS:g} s")
    if await completed(parties, transfers) < len(transfers):
        progress("    some did not complete")
    name = f"memory of the provider for each of {len(transfers)} swaps that wait for a block"
    return alone(name, "KiB", growth / len(transfers) / 1024)
