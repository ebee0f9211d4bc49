"""For tests of programs that use layer2: mocks that need no network, local networks, and simnet as pytest fixtures.

Fixtures: put ``pytest_plugins = ["layer2.testing.fixtures"]`` into your ``conftest.py``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layer2.local import devnet, simnet
    from layer2.local.network import LocalNetwork, LocalNetworkControl
    from layer2.testing.mock import (
        Expectation,
        MockBitcoinClient,
        MockBobClient,
        MockClient,
        MockLayer2Protocol,
        MockLightningNetwork,
        MockRootstockClient,
        UnmetExpectations,
    )
    from layer2.testing.mock_manager import MockLayer2Manager

__all__ = [
    "Expectation",
    "LocalNetwork",
    "LocalNetworkControl",
    "MockBitcoinClient",
    "MockBobClient",
    "MockClient",
    "MockLayer2Manager",
    "MockLayer2Protocol",
    "MockLightningNetwork",
    "MockRootstockClient",
    "UnmetExpectations",
    "devnet",
    "simnet",
]

_HOMES = {
    "LocalNetwork": "layer2.local.network",
    "LocalNetworkControl": "layer2.local.network",
    "MockLayer2Manager": "layer2.testing.mock_manager",
}


def __getattr__(name: str) -> object:
    # Loaded when first used (PEP 562): the explorer, which is a module of this package, needs no client.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("devnet", "simnet"):
        return importlib.import_module(f"layer2.local.{name}")
    return getattr(importlib.import_module(_HOMES.get(name, "layer2.testing.mock")), name)
