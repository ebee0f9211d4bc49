"""With an injected clock and randomness, the same seed and calls give the same proof, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from layer2 import BTC, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.config import JournalSection, Layer2Config, ProviderSection
from layer2.local import simnet
from layer2.local.parties import party_values, read_provider
from layer2.protocols.evm.fees import quotes
from layer2.provider.process import serve
from layer2.provider.settings import ProviderSettings
from networks.conftest import steering

pytestmark = pytest.mark.xdist_group("determinism")

START = 1_790_000_000
SEED = hashlib.sha256(b"the seed of two runs").digest()
BOB, LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING


class StandingClock:
    """A clock that always shows START, as on the simnet's machines."""

    def now(self) -> float:
        return START


class CountedEntropy:
    """Predictable bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def token(self, length: int) -> bytes:
        self._count += 1
        return hashlib.sha256(f"{self._name} {self._count}".encode()).digest()[:length]


def secret_file(path: Path, name: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(hashlib.sha256(name.encode()).hexdigest())
    return path


async def one_run(directory: Path) -> tuple[bytes, bytes]:
    """Create the proofs of a transfer in each direction on a new network."""
    place = directory / "simnet"
    network = await asyncio.to_thread(
        simnet.up, place, seed=SEED, automatic="transactions", clock_start=START, with_parent=True
    )
    ready = directory / "ready.json"
    provider = asyncio.create_task(
        serve(
            ProviderSettings(
                **party_values(network, network.provider),
                identity_key_file=secret_file(directory / "identity", "identity"),
                listen_port=0,
                journal=JournalSection(path=directory / "provider.sqlite"),
            ),
            ready_file=ready,
            clock=StandingClock(),
            entropy=CountedEntropy("provider"),
        )
    )
    try:
        async with asyncio.timeout(30):
            while (table := read_provider(ready)) is None:
                await asyncio.wait((provider,), timeout=0.02)
                assert not provider.done()
        config = Layer2Config(
            **party_values(network, network.taker),
            swap_seed_file=secret_file(directory / "seed", "swap seed"),
            journal=JournalSection(path=directory / "taker.sqlite"),
            providers=(ProviderSection(**table),),
        )
        async with Layer2Manager(config, clock=StandingClock(), entropy=CountedEntropy("taker")) as layers:
            await layers.initialize_all_async()
            to_lightning = await layers.cross_layer_transfer_async(BTC, 100_000, BOB, LIGHTNING, timeout=60)
            arrived = await layers.cross_layer_transfer_async(
                BTC, 100_000, LIGHTNING, BOB, until=TransferState.ARRIVED, timeout=60
            )
            # Blocks are made only for transactions. These make the collected destination final.
            async with steering(network) as control:
                await control.mine(5)
            to_bob = await layers.wait_for_transfer_async(arrived.terms.terms.swap_id, timeout=60)
            assert await layers.verify_cross_layer_proof_async(to_lightning)
            assert await layers.verify_cross_layer_proof_async(to_bob)
        return to_lightning.to_bytes(), to_bob.to_bytes()
    finally:
        provider.cancel()
        await asyncio.gather(provider, return_exceptions=True)
        await asyncio.to_thread(simnet.down, place)


async def test_two_runs_give_the_same_proof_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A price that is cached for two seconds depends on the machine's speed. Without caching it is the newest block's.
    monkeypatch.setattr(quotes, "_QUOTE_LIFE", 0.0)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = await one_run(tmp_path / "first"), await one_run(tmp_path / "second")
    assert first == second
    assert first[0] != first[1]
