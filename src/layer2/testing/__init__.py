"""For tests of programs that use layer2: a mock protocol that needs no network, and simnet as pytest fixtures.

Fixtures: put ``pytest_plugins = ["layer2.testing.fixtures"]`` into your ``conftest.py``.
"""

from layer2.testing.mock import Expectation, MockLayer2Protocol, UnmetExpectations

__all__ = ["Expectation", "MockLayer2Protocol", "UnmetExpectations"]
