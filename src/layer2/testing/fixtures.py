"""Pytest fixtures for programs that use layer2: a whole embedded network, with a provider.

Put ``pytest_plugins = ["layer2.testing.fixtures"]`` into your ``conftest.py``. Needs the extras ``simnet`` and
``provider``. Each process of a parallel run has a network of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from layer2.config import Layer2Config
from layer2.local import simnet
from layer2.local.network import LocalNetwork
from layer2.local.parties import LocalProvider, taker_config
from layer2.manager import Layer2Manager

__all__ = ["layer2_config", "layer2_manager", "layer2_provider", "layer2_simnet"]


@pytest.fixture(scope="session")
def layer2_simnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A running embedded network; it starts in about a second and ends with the session."""
    directory = tmp_path_factory.mktemp("layer2-simnet")
    yield simnet.up(directory, with_parent=True)
    simnet.down(directory)


@pytest.fixture(scope="session")
def layer2_provider(layer2_simnet: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    """A provider on it, as a process of its own."""
    with LocalProvider(layer2_simnet, tmp_path_factory.mktemp("layer2-provider")) as provider:
        yield provider


@pytest.fixture
def layer2_config(layer2_simnet: LocalNetwork, layer2_provider: LocalProvider, tmp_path: Path) -> Layer2Config:
    """The taker's configuration, with a journal and a swap seed of this test alone."""
    return taker_config(layer2_simnet, tmp_path / "layer2", (layer2_provider.table,))


@pytest.fixture
def layer2_manager(layer2_config: Layer2Config) -> Iterator[Layer2Manager]:
    """An entered and initialized manager for blocking tests; async tests make their own from ``layer2_config``."""
    with Layer2Manager(layer2_config) as manager:
        manager.initialize_all_sync()
        yield manager
