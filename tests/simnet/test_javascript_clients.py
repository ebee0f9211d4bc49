"""The ordinary calls of viem and ethers against a running simnet, over HTTP and a websocket.

The tests are marked ``javascript`` and need Node. ``tests/simnet/javascript`` holds a program for each client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from layer2.local import simnet
from simnet.javascript.environment import install, run

pytestmark = [pytest.mark.javascript, pytest.mark.xdist_group("javascript"), pytest.mark.timeout(400)]

CLIENTS = ("viem", "ethers")
CHECKS = (
    "chain id",
    "block",
    "balance and nonce",
    "code and storage",
    "fees",
    "estimate with an access list",
    "legacy transaction",
    "EIP-2930 transaction",
    "EIP-1559 transaction",
    "EIP-7702 transaction",
    "several transactions at once",
    "deployed contract",
    "token read and written",
    "logs",
    "filters",
    "subscriptions",
    "proof",
    "revert reason",
    "state override",
    "simulated calls",
    "errors of sending",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Mapping[str, str | None]]]:
    """By client: None or the error of each check."""
    install()
    directory = tmp_path_factory.mktemp("javascript")
    network = simnet.up(directory, automatic="transactions", with_parent=True)
    try:
        yield {client: run(client, network) for client in CLIENTS}
    finally:
        simnet.down(directory)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_makes_every_check(results: Mapping[str, Mapping[str, str | None]], client: str) -> None:
    assert tuple(results[client]) == CHECKS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_what_it_expects(
    results: Mapping[str, Mapping[str, str | None]], client: str, check: str
) -> None:
    error = results[client][check]
    assert error is None, error


def test_the_pinned_clients_name_no_registry() -> None:
    lock = (Path(__file__).parent / "javascript" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')
