"""The measured node and our client for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from layer2 import Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.config import JournalSection
from layer2.contracts.erc20 import transfer_call
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import party_values
from layer2.model.transactions import EvmTxId, TxState
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.requests import EvmTransactionRequest

__all__ = ["GAS", "NOWHERE", "Bench", "Effort", "at_concurrency", "opened"]

NOWHERE = "0x" + "11" * 20
"""The recipient of all transfers."""
GAS = 21_000
_TOKEN_GAS = 100_000
_MOST_BLOCKS = 10
_MOST_CALLS = 10_000
_HEAD_LIFE_MS = 200
"""The library's default. The local network's own settings have 0, because its blocks come on demand."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The size of a run."""

    rounds: int
    seconds: float
    """Seconds for a round of calls."""
    sends: int
    """Transactions in a round of submissions."""
    storm_seconds: float
    """Seconds with cancellations, in total."""
    soak_seconds: float
    """Seconds of the soak; zero omits it."""
    is_quick: bool
    """Whether to omit the slowest measurements without an aim."""


class Bench:
    """A running network without automatic blocks, and a client for it."""

    def __init__(self, network: LocalNetwork, directory: Path, bob: BobClient, session: aiohttp.ClientSession) -> None:
        self.network = network
        self.directory = directory
        self.bob = bob
        self.url = network.bob.rpc_url
        self._session = session
        self._control = LocalNetworkControl(network.control_url, session)

    async def ask(self, method: str, *params: object) -> Any:
        """Call a method of the node that the library does not offer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._session.post(self.url, json=body) as response:
            answer: dict[str, Any] = await response.json()
            if "result" not in answer:
                raise SystemExit(f"{method}: {answer}")
            return answer["result"]

    async def automatic_blocks(self, enabled: bool) -> None:
        """Enable or disable automatic blocks."""
        await self._control.set_automatic(enabled)

    async def mine(self, tx_ids: Sequence[EvmTxId]) -> None:
        """Make blocks until all of these transactions are mined. A lost transaction is an error."""
        if len(set(tx_ids)) != len(tx_ids):
            raise SystemExit("a transaction was counted twice")
        missing: Sequence[EvmTxId] = tx_ids
        for _ in range(_MOST_BLOCKS):
            await self._control.mine()
            statuses = await self.bob.get_transaction_statuses_async(missing)
            missing = [each.tx_id for each in statuses if each.state not in {TxState.INCLUDED, TxState.FINAL}]
            if not missing:
                return
        raise SystemExit(f"{len(missing)} of {len(tx_ids)} transactions are not in a block")

    async def full_block(self, count: int) -> list[EvmTxId]:
        """Transactions of one block: half of them send ETH, half the token, which emits a log."""
        plain = EvmTransactionRequest(to=NOWHERE, value=1, gas_limit=GAS)
        data = transfer_call(bytes.fromhex(NOWHERE[2:]), 1)
        token = EvmTransactionRequest(to=self.network.bob.token_address, data=data, gas_limit=_TOKEN_GAS)
        sent = await asyncio.gather(
            *[self.bob.submit_transaction_async(token if number % 2 else plain) for number in range(count)]
        )
        tx_ids = [status.tx_id for status in sent]
        await self.mine(tx_ids)
        return tx_ids


@asynccontextmanager
async def opened(network: LocalNetwork, journal: Path) -> AsyncIterator[BobClient]:
    """Open a client for the taker as a user does, with its own journal."""
    values = party_values(network, network.taker)
    values["bob"]["head_life_ms"] = _HEAD_LIFE_MS
    # With the default of 100, most of a thousand callers would wait in the manager, not at the node.
    config = Layer2Config(**values, journal=JournalSection(path=journal), max_concurrency=_MOST_CALLS)
    async with Layer2Manager(config) as layers:
        bob: BobClient = await layers.get_protocol_async(Layer2ProtocolType.BOB)
        await bob.initialize_async()
        yield bob


async def at_concurrency(
    concurrency: int, seconds: float, call: Callable[[EvmTxId], Awaitable[object]], tx_ids: Sequence[EvmTxId]
) -> float:
    """Calls per second with that many callers, each calling sequentially until the time is over."""
    done = 0
    start = time.perf_counter()
    end = start + seconds

    async def caller(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call(tx_ids[number % len(tx_ids)])
            number += 1
            done += 1

    await asyncio.gather(*[caller(number) for number in range(concurrency)])
    return done / (time.perf_counter() - start)
