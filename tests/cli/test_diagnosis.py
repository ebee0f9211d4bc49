"""What doctor finds at a node, and what it names to be done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from layer2.cli.doctor_commands import examine
from layer2.cli.findings import Finding, Level
from layer2.config import Layer2Config
from layer2.legs.views import Verb
from layer2.local.network import LightningNode
from layer2.ports.clock import Clock
from layer2.protocols.lightning.node.permissions import BAKE_COMMAND
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, refusal, scripted
from protocols.lightning.world import World, leg_to_provider, running_world

CHECK = "POST /v1/macaroon/checkpermissions"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


async def findings_at(node: LightningNode, directory: Path, clock: Clock | None = None) -> dict[str, Finding]:
    config = Layer2Config.model_validate(
        {
            "network": "regtest",
            "journal": {"path": str(directory / "journal.db")},
            "lightning": {
                "rest_url": node.rest_url,
                "certificate_file": node.certificate_file,
                "macaroon_file": node.macaroon_file,
            },
        }
    )
    return {finding.subject: finding for finding in await examine(config, clock)}


@pytest.mark.parametrize(
    ("call", "reply", "text", "remedy"),
    [
        pytest.param(
            "GET /v1/state",
            answer({"state": "LOCKED"}),
            "[wallet_locked] lnd accepts no calls yet: its wallet is locked",
            "unlock the node's wallet: lncli unlock",
            id="locked",
        ),
        pytest.param(
            CHECK,
            refusal("permission denied"),
            "[permissions] the macaroon does not allow uri:/lnrpc.Lightning/CheckMacaroonPermissions",
            f"bake one with these permissions: {BAKE_COMMAND}",
            id="permissions",
        ),
        pytest.param(
            "GET /v1/getinfo",
            refusal("verification failed: signature mismatch after caveat verification"),
            "[macaroon] lnd at ",
            "check that ",
            id="macaroon",
        ),
    ],
)
async def test_a_node_that_cannot_be_used_is_found_with_what_is_to_be_done(
    world: World, tmp_path: Path, call: str, reply: Reply, text: str, remedy: str
) -> None:
    async with scripted(world.nodes[0]) as lnd:
        say(lnd, call, reply)
        finding = (await findings_at(lnd.node, tmp_path))["LIGHTNING node"]
    assert finding.level is Level.FAIL
    assert finding.text.startswith(text)
    assert (finding.remedy or "").startswith(remedy)


def say(lnd: ScriptedLnd, call: str, reply: Reply) -> None:
    lnd.say(call, reply)
    if "verification failed" in str(reply.chunks):
        lnd.say(CHECK, reply)


async def test_holds_are_a_finding_once_they_are_near_their_end(world: World, tmp_path: Path) -> None:
    leg = await leg_to_provider(world)
    await world.taker.legs.perform(await world.taker.legs.prepare(Verb.FUND, leg))
    (hold,) = await world.provider.holds_async()
    world.simulation.reach(world.simulation.height + hold.blocks_left - 19)
    assert "LIGHTNING holds" not in await findings_at(world.nodes[1], tmp_path, world.clock)
    world.simulation.reach(world.simulation.height + 1)
    finding = (await findings_at(world.nodes[1], tmp_path, world.clock))["LIGHTNING holds"]
    assert (finding.level, finding.text) == (Level.WARN, "1 of 1 held payments expire soon, the first in 18 blocks")


@pytest.mark.parametrize("was_used", [False, True])
async def test_a_seed_that_never_existed_is_created_and_a_lost_one_restored(tmp_path: Path, was_used: bool) -> None:
    if was_used:
        (tmp_path / "wallet.sqlite").touch()
    config = Layer2Config.model_validate(
        {
            "network": "mainnet",
            "journal": {"path": str(tmp_path / "journal.db")},
            "bitcoin": {
                "esplora_url": "http://127.0.0.1:9",
                "seed_file": str(tmp_path / "bitcoin-seed.txt"),
                "wallet_file": str(tmp_path / "wallet.sqlite"),
            },
        }
    )
    found = {finding.subject: finding for finding in await examine(config)}["[bitcoin] seed_file"]
    create = f"; if there never was one, create it: layer2 config init --network mainnet --directory {tmp_path}"
    assert found.remedy == f"restore it from your backup{'' if was_used else create}"
