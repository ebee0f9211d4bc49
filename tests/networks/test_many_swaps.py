"""Many transfers at once, in both directions: all complete, and the money adds up. No time is measured."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from layer2 import BTC, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.local import simnet
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import DIRECTIONS, Swaps, completed

AT_ONCE: Final = 1_000
"""In both directions together."""
CHANNELS: Final = 4
"""lnd allows 483 payments in flight in one channel, and 1,000 swaps can be under way in a direction."""
BOTH: Final = ("bob_to_lightning", "lightning_to_bob")
SATOSHI: Final = 10_000
FEE: Final = 250
"""The provider's fee for SATOSHI: 0.3 % and 120, and 100 for its network costs."""
PLACES: Final = 10_000
BLOCK_SECONDS: Final = 1.0
SECONDS: Final = 600
"""The limit of all transfers. It is long, because no time is measured; it ends a test that hangs."""


@pytest.fixture
async def many_swaps(tmp_path: Path) -> AsyncIterator[Swaps]:
    """Taker and provider whose limits allow all transfers at once, on a simnet with blocks by the timer.

    A block for each transaction would move the chains' clocks ahead, and deadlines of locks would be too early.
    """
    network = simnet.up(
        tmp_path / "network", automatic="timer", block_time=BLOCK_SECONDS, channels=CHANNELS, with_parent=True
    )
    limits = ("max_open_swaps", "max_open_swaps_per_taker", "max_unfinished_swaps")
    process = ProviderProcess(network, tmp_path / "provider", dict.fromkeys(limits, PLACES))
    try:
        process.start()
        async with steering(network) as control:
            yield Swaps(network, control, process, tmp_path, BitcoinMiner(control))
    finally:
        process.kill()
        simnet.down(tmp_path / "network")


@pytest.mark.timeout(SECONDS + 120)
async def test_many_transfers_at_once_all_complete_and_the_money_adds_up(many_swaps: Swaps) -> None:
    before = await many_swaps.money()
    limits = {"max_concurrency": PLACES, "default_timeout_ms": SECONDS * 1_000}
    async with many_swaps.manager(**limits) as layers, many_swaps.quick_finality():
        directions = [BOTH[number % 2] for number in range(AT_ONCE)]
        await asyncio.gather(*[_transfer(layers, direction) for direction in directions])
        states = Counter(transfer.state for transfer in await layers.list_transfers_async())
        # A call that found the provider busy until its quote expired has abandoned that attempt before any terms.
        assert states.pop(TransferState.COMPLETED) == AT_ONCE
        assert states.keys() <= {TransferState.ABANDONED}
    changes: Counter[tuple[str, Layer2ProtocolType]] = Counter()
    for direction in directions:
        changes.update(completed(direction, SATOSHI, FEE))
    await many_swaps.until_moved(before, {key: change for key, change in changes.items() if change})


async def _transfer(layers: Layer2Manager, direction: str) -> None:
    await layers.cross_layer_transfer_async(BTC, SATOSHI, *DIRECTIONS[direction], max_fee=2 * FEE, timeout=SECONDS)
