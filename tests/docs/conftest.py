"""What the documentation's examples find where they run: a network, a provider, a configuration and a proof."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from forked_simnet import running_simnet
from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType
from networks.parties import ProviderProcess, write_lightning_config, write_taker_config


@pytest.fixture(scope="session")
def taker_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with ``layer2.toml`` of a simnet's taker, and the proof of a transfer that it made.

    ``customer.toml`` is of someone with whose Lightning node the taker's has a channel.
    """
    directory = tmp_path_factory.mktemp("taker")
    with running_simnet(directory / "simnet") as network:
        provider = ProviderProcess(network, directory / "provider")
        try:
            provider.start()
            config = write_taker_config(directory / "layer2.toml", network, provider)
            write_lightning_config(directory / "customer.toml", network, network.provider)
            with Layer2Manager(Layer2Config.load(config)) as layers:
                layers.initialize_all_sync()
                bob, lightning = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
                proof = layers.cross_layer_transfer_sync(BTC, 100_000, bob, lightning, max_fee=1_000, timeout=60)
            proof.save(directory / "transfer.json")
            yield directory
        finally:
            provider.stop()


@pytest.fixture
def reader(taker_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of someone who reads the documentation, with a journal of its own."""
    for name in ("layer2.toml", "customer.toml", "transfer.json"):
        shutil.copy(taker_files / name, tmp_path / name)
    (tmp_path / "simnet").symlink_to(taker_files / "simnet")
    monkeypatch.chdir(tmp_path)
    return tmp_path
