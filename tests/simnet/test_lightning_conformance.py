"""The simulated nodes answer as lnd 0.21 answered in the recorded conversation.

``record_lnd.py`` made the record with real lnd and btcd. It holds exact error bodies, and for all other answers the
names of the fields and the form of each value.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from simnet.lightning_client import running
from simnet.lightning_conversations import CONVERSATIONS

RECORD: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_lnd" / "conversation.json").read_text())


async def converse(directory: Path) -> dict[str, Any]:
    async with running(directory) as network:

        async def pass_time(seconds: int) -> None:
            network.clock.advance(seconds)

        async def mine(blocks: int) -> int:
            network.simulation.reach(network.simulation.height + blocks)
            return network.simulation.height

        async def stop_provider() -> None:
            await network.simulation.stop_node("provider")

        heard: dict[str, Any] = {}
        for conversation in CONVERSATIONS:
            reached = network.wait_for_open_requests
            heard |= await conversation(network.taker, network.provider, mine, pass_time, reached, stop_provider).hold()
        return heard


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(converse(tmp_path_factory.mktemp("lightning")))


def test_the_record_is_of_the_lnd_that_is_simulated(heard: dict[str, Any]) -> None:
    assert RECORD["lnd"].startswith("0.21.2-beta")
    assert heard.keys() == RECORD["answers"].keys()


@pytest.mark.parametrize("name", RECORD["answers"])
def test_an_answer_has_the_form_of_lnds(heard: dict[str, Any], name: str) -> None:
    assert heard[name] == RECORD["answers"][name]
