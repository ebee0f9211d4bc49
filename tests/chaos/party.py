"""The two programs of a chaos run: ``python -m chaos.party taker|provider DIRECTORY PARENT``.

Both use only the public interface, and a clock that a run can move: this machine's, plus the seconds in a file.

The taker is a small program like a user's, which ends with its input. A line of input requests one transfer, as JSON,
with a key. A line of output reports how the call ended, with a proof or an error. The run repeats the request until the
transfer has ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.config import ProviderSection
from layer2.errors import InitializationError, Layer2Error
from layer2.local.network import LocalNetwork
from layer2.local.parties import party_values, write_secret
from layer2.provider.process import serve
from layer2.provider.settings import ProviderSettings

__all__ = ["MAX_FEE", "SAFE_FROM", "MovedClock", "journal_path", "taker_config"]

SAFE_FROM = 150_000
"""Satoshi: the provider's limit for all swaps that rely on the latest block of a chain."""
MAX_FEE = 3_000
_CALL_SECONDS = 20.0
"""After this time the taker's call ends, and is made again; the transfer continues meanwhile."""


@dataclass(frozen=True, slots=True)
class MovedClock:
    """This machine's clock, plus the seconds in a file."""

    file: Path

    def now(self) -> float:
        return time.time() + self.offset()

    def offset(self) -> int:
        """Seconds ahead of this machine."""
        return int(self.file.read_text())

    def move(self, seconds: int) -> None:
        """Move it for every process that reads the file."""
        partial = self.file.with_suffix(".partial")
        partial.write_text(str(self.offset() + seconds))
        partial.replace(self.file)


def journal_path(directory: Path, party: str) -> Path:
    """The journal of a party."""
    return directory / party / "journal.sqlite"


def _values(directory: Path, party: str) -> dict[str, Any]:
    network = LocalNetwork.load(directory / "network")
    own = network.taker if party == "taker" else network.provider
    (directory / party).mkdir(exist_ok=True)
    return party_values(network, own) | {"journal": {"path": journal_path(directory, party)}}


def taker_config(directory: Path) -> Layer2Config:
    """The taker's configuration."""
    values, seed = _values(directory, "taker"), directory / "taker" / "swap-seed"
    if not seed.exists():
        write_secret(seed)
    announced = json.loads((directory / "provider.json").read_text())
    section = ProviderSection(name="provider", url=announced["url"], identity_key=announced["identity_key"])
    return Layer2Config(**values, swap_seed_file=seed, providers=(section,))


def _provider_settings(directory: Path) -> ProviderSettings:
    values, identity = _values(directory, "provider"), directory / "provider" / "identity"
    if not identity.exists():
        write_secret(identity)
    announced, port = directory / "provider.json", 0
    if announced.exists():
        port = int(json.loads(announced.read_text())["url"].rpartition(":")[2])
    return ProviderSettings(
        **values,
        identity_key_file=identity,
        listen_port=port,
        network_fee_sat=0,
        max_open_swaps_per_taker=100,
        safe_from_sat=SAFE_FROM,
    )


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _said(error: Layer2Error) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "code": error.code,
        "outcome": None if error.outcome is None else error.outcome.value,
        "text": str(error),
        "transfer_id": error.transfer_id,
        "funds": error.funds,
        "deadline": error.deadline,
    }


async def _transfer(layers: Layer2Manager, wanted: dict[str, Any]) -> None:
    key = str(wanted["key"])
    try:
        proof = await layers.cross_layer_transfer_async(
            BTC,
            int(wanted["amount"]),
            Layer2ProtocolType(wanted["source"]),
            Layer2ProtocolType(wanted["destination"]),
            max_fee=MAX_FEE,
            idempotency_key=key,
            timeout=_CALL_SECONDS,
        )
    except Layer2Error as error:
        _say(key=key, **_said(error))
    except Exception as error:  # noqa: BLE001 - judged: nothing but a Layer2Error may come
        _say(key=key, error="other", text=repr(error))
    else:
        _say(key=key, proof=len(proof.to_bytes()))


async def _take(directory: Path) -> None:
    async with (
        Layer2Manager(taker_config(directory), clock=MovedClock(directory / "clock")) as layers,
        asyncio.TaskGroup() as calls,
    ):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        # Calls do not wait for the start: a user's first call may be made while a node is still unreachable.
        calls.create_task(_initialize(layers))
        while line := await reader.readline():
            calls.create_task(_transfer(layers, json.loads(line)))
        raise SystemExit(0)


async def _initialize(layers: Layer2Manager) -> None:
    try:
        await layers.initialize_all_async()
    except InitializationError as error:
        _say(key=None, open_transfers=len(error.open_transfers), **_said(error))
    except Layer2Error as error:
        _say(key=None, open_transfers=0, **_said(error))
    else:
        _say(key=None, initialized=True)


def main() -> None:
    """Run one of the programs; both end with the process that started them."""
    party, directory = sys.argv[1], Path(sys.argv[2])
    if party == "taker":
        asyncio.run(_take(directory))
        return
    clock = MovedClock(directory / "clock")
    settings = _provider_settings(directory)
    ready = directory / "provider" / "ready.json"
    asyncio.run(serve(settings, ready_file=ready, parent=int(sys.argv[3]), clock=clock))


if __name__ == "__main__":
    main()
