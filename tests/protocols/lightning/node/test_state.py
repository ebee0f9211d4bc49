"""States of a node that make it unusable: each is a typed error with a code and a remedy."""

from __future__ import annotations

import shutil
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    WrongNetwork,
)
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import LightningNetwork
from memory_sends import MemorySends
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, refusal
from protocols.lightning.world import World, settings_of


async def refused(client: LightningNetwork) -> Layer2Error:
    with pytest.raises(Layer2Error) as caught:
        await client.initialize_async()
    assert caught.value.protocol == "LIGHTNING"
    return caught.value


async def test_a_node_that_is_fit_is_taken(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    await client.initialize_async()
    assert {"GET /v1/state", "GET /v1/getinfo", "GET /v1/getdebuginfo"} <= set(lnd.calls())


async def test_nothing_at_the_address_is_unreachable(lnd: ScriptedLnd) -> None:
    settings = settings_of(lnd.node, rest_url="https://127.0.0.1:1")
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        error = await refused(client)
    assert (type(error), error.code, error.outcome) == (NodeUnreachable, "node_unreachable", Outcome.NOT_SENT)
    assert error.retryable


async def test_another_certificate_than_the_pinned_one_is_reported_with_its_remedy(
    world: World, lnd: ScriptedLnd, tmp_path: Path
) -> None:
    certificate = tmp_path / "pinned.cert"
    shutil.copy(world.nodes[1].certificate_file, certificate)
    settings = settings_of(lnd.node, certificate_file=str(certificate))
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        error = await refused(client)
        assert (type(error), error.code) == (AuthenticationFailed, "certificate")
        assert error.remedy == f"if the node has a new certificate, copy its tls.cert to {certificate}"

        # The owner has copied the file; the client reads it again.
        shutil.copy(lnd.node.certificate_file, certificate)
        lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
        await client.initialize_async()


@pytest.mark.parametrize(
    ("state", "code", "remedy"),
    [
        ("NON_EXISTING", "wallet_not_created", "lncli create"),
        ("LOCKED", "wallet_locked", "lncli unlock"),
        ("UNLOCKED", "node_starting", "SERVER_ACTIVE"),
        ("WAITING_TO_START", "node_starting", "SERVER_ACTIVE"),
        ("RPC_ACTIVE", "node_starting", "SERVER_ACTIVE"),
    ],
)
async def test_a_node_that_has_not_started_is_an_error_with_what_it_waits_for(
    lnd: ScriptedLnd, client: LightningNetwork, state: str, code: str, remedy: str
) -> None:
    lnd.say("GET /v1/state", answer({"state": state}))
    error = await refused(client)
    assert (type(error), error.code, error.retryable) == (NodeRefused, code, True)
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("wallet not created, create one to enable full RPC access", "wallet_not_created"),
        ("wallet locked, unlock it to enable full RPC access", "wallet_locked"),
        ("waiting to start, RPC services not available", "node_starting"),
        ("the RPC server is in the process of starting up, but not yet ready to accept calls", "node_starting"),
        ("server is still in the process of starting", "node_starting"),
    ],
)
async def test_a_restarted_node_is_reported_by_every_call(
    lnd: ScriptedLnd, client: LightningNetwork, words: str, code: str
) -> None:
    lnd.say("GET /v1/channels", refusal(words))
    with pytest.raises(NodeRefused) as caught:
        await client.balances_async()
    assert (caught.value.code, caught.value.node_message, caught.value.retryable) == (code, words, True)


async def test_a_missing_wallet_is_reported_before_the_missing_macaroon(lnd: ScriptedLnd, tmp_path: Path) -> None:
    lnd.say("GET /v1/state", answer({"state": "NON_EXISTING"}))
    settings = settings_of(lnd.node, macaroon_file=str(tmp_path / "none.macaroon"))
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        assert (await refused(client)).code == "wallet_not_created"
        lnd.say("GET /v1/state", answer({"state": "SERVER_ACTIVE"}))
        error = await refused(client)
    assert isinstance(error, ConfigurationError)
    assert error.remedy == "give a macaroon of this node (lncli bakemacaroon)"


async def test_a_node_that_syncs_for_the_first_time_is_not_synced_rather_than_starting(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say("GET /v1/state", answer({"state": "RPC_ACTIVE"}))
    lnd.say("GET /v1/getinfo", answer(script.information(synced_to_chain=False)))
    assert (await refused(client)).code == "not_synced"


@pytest.mark.parametrize(
    ("changes", "kind", "code", "problem"),
    [
        pytest.param({"version": "unknown"}, BadAnswer, "bad_answer", "version of unknown format", id="version"),
        pytest.param(
            {"version": "0.18.5-beta"}, ConfigurationError, "node_version", "0.18.5-beta is older than 0.19.0", id="old"
        ),
        pytest.param(
            {"chains": [{"chain": "bitcoin", "network": "mainnet"}]},
            WrongNetwork,
            "wrong_network",
            "lnd is on mainnet, but the configuration has regtest",
            id="network",
        ),
        pytest.param({"synced_to_chain": False}, BadAnswer, "not_synced", "height 800", id="not synced"),
        pytest.param({"synced_to_chain": "yes"}, BadAnswer, "bad_answer", "field synced_to_chain", id="no boolean"),
        pytest.param({"chains": []}, BadAnswer, "bad_answer", "field chains", id="no chain"),
        pytest.param({"block_height": -1}, BadAnswer, "bad_answer", "field block_height", id="height"),
        pytest.param({"identity_pubkey": "02"}, BadAnswer, "bad_answer", "field identity_pubkey", id="key"),
    ],
)
async def test_a_node_that_is_not_fit_for_use_is_refused(
    lnd: ScriptedLnd,
    client: LightningNetwork,
    changes: dict[str, object],
    kind: type[Layer2Error],
    code: str,
    problem: str,
) -> None:
    lnd.say("GET /v1/getinfo", answer(script.information(**changes)))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    error = await refused(client)
    assert (type(error), error.code) == (kind, code)
    assert problem in error.message


async def test_an_old_node_is_accepted_if_the_setting_allows_it(lnd: ScriptedLnd) -> None:
    lnd.say("GET /v1/getinfo", answer(script.information(version="0.18.5-beta")))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    settings = settings_of(lnd.node, minimum_version="0.18.0")
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        await client.initialize_async()
    assert lnd.calls()[-1] == "GET /v1/getdebuginfo"


async def test_a_node_with_another_time_is_refused(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    date = formatdate(time.time() - 90, usegmt=True)
    lnd.say("GET /v1/getinfo", answer(script.information(), Date=date))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    error = await refused(client)
    assert (type(error), error.code) == (BadAnswer, "clock")
    assert "NTP" in (error.remedy or "")


async def test_an_answer_without_a_readable_date_gives_no_clock(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("GET /v1/getinfo", answer(script.information(), Date="yesterday"))
    with pytest.raises(BadAnswer, match="the Date header is missing"):
        await client.legs.read_clock()


@pytest.mark.parametrize(("delta", "problem"), [("0", "never returns"), ("19", "returns a held payment 19 blocks")])
async def test_a_node_that_would_lose_held_payments_is_refused(
    lnd: ScriptedLnd, client: LightningNetwork, delta: str, problem: str
) -> None:
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": delta}}))
    error = await refused(client)
    assert (type(error), error.code) == (ConfigurationError, "hold_expiry")
    assert problem in error.message


@pytest.mark.parametrize(
    ("reply", "delta"),
    [
        pytest.param(answer({"config": {}, "log": []}), None, id="not said"),
        pytest.param(answer({"config": {}, "log": ["x" * 1_000_000]}), None, id="too long a log"),
        pytest.param(answer({"config": {"invoices.holdexpirydelta": "12"}, "log": []}), 12, id="an older node's"),
    ],
)
async def test_a_node_that_does_not_show_its_expiry_delta_counts_with_the_margins(
    lnd: ScriptedLnd, client: LightningNetwork, reply: Reply, delta: int | None
) -> None:
    lnd.say("GET /v1/getdebuginfo", reply)
    await client.initialize_async()
    allowed = settings_of(lnd.node).timelocks.hold_expiry_blocks
    assert await client._parts.node.hold_expiry_delta() == (allowed if delta is None else delta)


async def test_a_missing_channel_is_not_an_error_when_connecting(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say("GET /v1/channels", answer({"channels": []}))
    lnd.say("GET /v1/getdebuginfo", answer({"config": {"invoices.holdexpirydelta": "12"}}))
    await client.initialize_async()
    assert [call for call, _, _ in lnd.requests if call == "GET /v1/channels"] == []
