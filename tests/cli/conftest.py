"""A running simnet with a provider, and the directory of a user of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.running import layer2
from layer2.local import simnet
from layer2.local.network import LocalNetwork
from layer2.local.parties import LocalProvider


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which ``config init`` has written the configuration of a running simnet with a provider."""
    directory = tmp_path_factory.mktemp("cli")
    started = layer2("simnet", "up", "--directory", "net", "--json", cwd=directory)
    assert started.status == 0, started.err
    network = LocalNetwork.load(directory / "net")
    try:
        with LocalProvider(network, directory / "provider") as provider:
            (directory / "provider-ready.json").write_text(
                json.dumps({"url": provider.table["url"], "identity_key": provider.table["identity_key"]})
            )
            made_config = layer2("config", "init", "--network-directory", "net", "--json", cwd=directory)
            assert made_config.status == 0, made_config.err
            yield directory
    finally:
        assert layer2("simnet", "down", "--directory", "net", "--json", cwd=directory).envelope["data"]["was_running"]
        simnet.down(directory / "net")
