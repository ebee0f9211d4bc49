"""The JavaScript clients viem and ethers, and the programs that call a simnet with them."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.local.network import LocalNetwork

__all__ = ["install", "run", "why_unavailable"]

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]


def why_unavailable() -> str | None:
    """The reason why the clients cannot run on this machine; None if they can."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found; install Node 20 or later" if missing else None


def install() -> None:
    """Install the clients, if they are missing or older than their lock file."""
    # The processes of a parallel run wait for one of them.
    with (_HERE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "--silent", "tests/simnet/javascript/node_modules/.ready"]
        finished = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert finished.returncode == 0, finished.stderr


def run(program: str, network: LocalNetwork) -> dict[str, str | None]:
    """Run a program against BOB's chain of a simnet; return None or the error of each check, by its name."""
    chain = network.bob
    argument = {
        "url": chain.rpc_url,
        "websocketUrl": chain.websocket_url,
        "chainId": chain.chain_id,
        "token": chain.token_address,
        "tokenCode": "0x" + token_init_code().hex(),
        "key": "0x" + Path(network.taker.evm_key_file).read_text().strip().removeprefix("0x"),
    }
    finished = subprocess.run(
        ["node", str(_HERE / f"{program}.mjs"), json.dumps(argument)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    results: dict[str, str | None] = json.loads(finished.stdout)
    return results
