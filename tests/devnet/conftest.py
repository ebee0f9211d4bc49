"""One devnet for all tests here, if the nodes are built, and stand-ins for the build."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path

import aiohttp
import pytest

from layer2.local import devnet
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalNetwork, LocalNetworkControl

# Replaces Go: prints its version, and "builds" a program by writing a script. It fails for one package.
GO = """#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo "$FAKE_GO_VERSION" ;;
"env "*) echo "$FAKE_GO_CACHE" ;;
"build "*)
    echo "$GOFLAGS $CGO_ENABLED $GOTOOLCHAIN" >> "$FAKE_GO_CACHE/environments"
    while [ "$1" != "-o" ]; do shift; done
    target="$2"; shift 2; mkdir -p "$target"
    for package in "$@"; do
        case "$package" in *"$FAKE_GO_FAILS_AT"*) echo "no route to host"; exit 1 ;; esac
        echo "${package##*/}" >> "$FAKE_GO_CACHE/built"
        printf "%s" "$FAKE_PROGRAM" > "$target${package##*/}"
        chmod +x "$target${package##*/}"
    done ;;
esac
"""

# Replaces a node: it runs for ten minutes, unless its command line contains FAKE_BROKEN.
PROGRAM = """#!/bin/sh
case "$0 $*" in *"$FAKE_BROKEN"*) exit 1 ;; *" init "*) exit 0 ;; esac
exec sleep 600
"""


@pytest.fixture
def go_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, a fake Go that builds at once, and no other Go."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(GO)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_GO_CACHE", str(tmp_path))
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.26.8")
    monkeypatch.setenv("FAKE_GO_FAILS_AT", "nothing")
    monkeypatch.setenv("FAKE_PROGRAM", PROGRAM)
    monkeypatch.setenv("FAKE_BROKEN", "nothing")

    def no_distribution(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", no_distribution)
    return tmp_path


@pytest.fixture(scope="session")
def built_nodes() -> None:
    """Skips the test if the nodes are not built. In CI, which must build them, it fails instead."""
    reason = devnet.why_unavailable()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def network(built_nodes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A shared running devnet. Tests must not rely on its blocks, clock or balances."""
    directory = tmp_path_factory.mktemp("devnet")
    yield devnet.up(directory, with_parent=True)
    devnet.down(directory)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def control(network: LocalNetwork, session: aiohttp.ClientSession) -> AsyncIterator[LocalNetworkControl]:
    """The controls. After the test they are reset to their usual state."""
    control = LocalNetworkControl(network.control_url, session)
    yield control
    for chain in network.chains:
        await control.set_finality(chain=chain)
        await control.set_automatic(True, chain=chain)


@pytest.fixture
def bob(network: LocalNetwork, session: aiohttp.ClientSession) -> JsonRpc:
    return JsonRpc("op-geth", network.bob.rpc_url, session)
