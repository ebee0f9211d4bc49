"""Record real op-geth's answers for the conformance test of the simulated BOB node.

This is not a test. Run it with the devnet's geth when op-geth's version changes:
``PYTHONPATH=src:tests python tests/simnet/record_op_geth.py PROGRAM``
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from layer2.local.devnet.genesis import BOB_L1
from layer2.local.devnet.op_geth import OpGeth
from layer2.local.devnet.sequencer import Sequencer
from layer2.local.processes import stop
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from simnet.bob_conversation import SENDER, BobConversation

RECORD = Path(__file__).parent / "recorded_op_geth" / "conversation.json"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


async def _record(program: Path, directory: Path) -> None:
    async with aiohttp.ClientSession() as session:
        bob = OpGeth("BOB", BOB_CHAIN_ID, program, directory / "bob", _free_ports(), session, BOB_L1)
        child = await bob.start(int(time.time()) - 60, {SENDER.address: 10**19})
        try:
            async with asyncio.timeout(30):
                await bob.wait_until_answering()
            sequencer = Sequencer(bob.rpc, bob.engine, BOB_L1)
            await sequencer.start()

            async def mine(blocks: int) -> None:
                await sequencer.mine(blocks)
                # After its start the node indexes its transactions, and until then answers some calls with an error.
                async with asyncio.timeout(30):
                    while await bob.rpc.call("eth_syncing"):  # noqa: ASYNC110  # the node sends no event
                        await asyncio.sleep(0.05)

            async def reorganise(depth: int) -> None:
                await sequencer.reorganise(depth)

            heard = await BobConversation(bob.url, session, mine, reorganise).hold()
        finally:
            stop([child.record], grace=10)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(heard, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(_record(Path(sys.argv[1]), Path(scratch)))
