"""Remedies for a shell: commands with the configuration of the run, and never a Python call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.made_transfers import NOW, transfer
from cli.running import layer2_here
from cli.test_config_commands import home, init, written
from layer2.cli import following
from layer2.cli.local_config import remedies_in
from layer2.cli.output import Terminal
from layer2.cli.parameters import Goal
from layer2.cli.session import Session, for_shell
from layer2.errors import (
    AsyncTimeout,
    ConfigurationError,
    InitializationError,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    WrongNetwork,
)
from layer2.provider.process import Stopped
from layer2.terms.transfers import Transfer, TransferEvent, TransferState
from manager.fakes import BOB, ROOTSTOCK, FakeClient, eventually

__all__ = ["home"]

PYTHON = 'wait again: await layers.wait_for_transfer_async("ab")'


def session(config: str | None = "my files/layer2.toml", *under_way: str) -> Session:
    return Session(Terminal(json=True), None if config is None else Path(config), False, set(under_way))


CASES: dict[str, tuple[Layer2Error, tuple[str, ...], str]] = {
    "wait timed out": (
        AsyncTimeout("x", code="transfer_timeout", transfer_id="ab", remedy=PYTHON),
        ("ab",),
        "it continues only while layer2 runs: layer2 wait ab --config 'my files/layer2.toml'",
    ),
    "call timed out": (
        AsyncTimeout("no result within 30 s", outcome=Outcome.NOT_SENT, remedy="call again with a longer timeout"),
        (),
        "find out which node is slow or down: layer2 doctor --config 'my files/layer2.toml'",
    ),
    "call timed out with an open transfer": (
        AsyncTimeout("x", remedy=PYTHON),
        ("ab",),
        "it continues only while layer2 runs: layer2 wait ab --config 'my files/layer2.toml'",
    ),
    "node without a remedy": (
        NodeUnreachable("connection refused"),
        (),
        "try again, or find the cause: layer2 doctor --config 'my files/layer2.toml'",
    ),
    "Python in a remedy": (
        Layer2Error("x", remedy="quote = await layers.quote_transfer_async(...)"),
        (),
        "see the open transfers: layer2 list --open --config 'my files/layer2.toml'",
    ),
    "owner": (
        ConfigurationError("x", code="journal_owner", remedy="if both are yours: layer2 journal add seed 'ff'"),
        (),
        "if both are yours: layer2 journal add --config 'my files/layer2.toml' seed 'ff'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_remedy_is_a_command_with_the_configuration_of_the_run(case: str) -> None:
    error, under_way, remedy = CASES[case]
    assert for_shell(error, session("my files/layer2.toml", *under_way)).remedy == remedy
    assert "config init" in session().addressed("layer2 config init")
    assert session(None).addressed("layer2 doctor") == "layer2 doctor"


def test_a_transfer_that_is_left_to_workers_continues_with_them(home: Path) -> None:
    init(home)
    file = home / "layer2.toml"
    error = AsyncTimeout("x", code="transfer_timeout", transfer_id="ab", remedy=PYTHON)
    alone = for_shell(error, session(str(file))).remedy
    file.write_text(file.read_text() + "\n[temporal]\n")
    remedy = for_shell(error, session(str(file))).remedy
    assert alone == f"it continues only while layer2 runs: layer2 wait ab --config {file}"
    assert remedy == (
        f"it continues while a worker runs: layer2 wait ab --config {file}; "
        f"or find out whether one does: layer2 doctor --config {file}"
    )


def test_the_failures_of_layers_have_remedies_for_the_shell_too() -> None:
    failure = NodeUnreachable("down", remedy="await something")
    for_shell(InitializationError({"BOB": failure}), session(None))
    assert failure.remedy == "see the open transfers: layer2 list --open"


@pytest.mark.parametrize(
    ("network", "directory", "remedy"),
    [
        ("devnet", None, "start one: layer2 devnet up"),
        ("simnet", Path("a b"), "start one: layer2 simnet up --directory 'a b'"),
    ],
)
def test_a_remedy_names_the_network_and_the_directory_of_the_run(
    network: Any, directory: Path | None, remedy: str
) -> None:
    with pytest.raises(ConfigurationError) as failed, remedies_in(network, directory):
        raise ConfigurationError("no local network", remedy="start one: layer2 simnet up")
    assert failed.value.remedy == remedy


def test_an_unknown_transfer_is_refused_with_the_journal_and_the_whole_command(home: Path) -> None:
    init(home)
    (home / "mine.toml").write_text((home / "layer2.toml").read_text())
    ran = layer2_here("show", "ab", "-c", "mine.toml", "--json", cwd=home)
    assert ran.envelope["error"]["remedy"].endswith("layer2 list --config mine.toml")
    assert str(home / "layer2-journal.sqlite") in ran.err
    written(home / "layer2-journal.sqlite", "")
    known = layer2_here("show", "ab", "-c", "mine.toml", "--json", cwd=home)
    assert str(home / "layer2-journal.sqlite") in known.envelope["error"]["message"]


@pytest.mark.parametrize(
    ("stopped", "text"),
    [
        (Stopped(0, None), "stopped; open swaps: 0; no money is at risk while the provider is down"),
        (Stopped(3, 2_000_000_000), "stopped; open swaps: 3; act before 18 May 03:33 UTC (in "),
    ],
)
def test_a_provider_that_stops_shows_by_when_it_must_run_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, stopped: Stopped, text: str
) -> None:
    async def serve(*_: object, **__: object) -> Stopped:
        return stopped

    monkeypatch.setattr("layer2.provider.process.serve", serve)
    made = layer2_here("config", "init", "--network-directory", "net", "--role", "provider", cwd=home)
    assert made.status == 0, made.err
    ran = layer2_here("provider", "serve", "-c", "provider.toml", cwd=home)
    assert ran.out.startswith(text)
    if stopped.must_be_back_by is not None:
        assert ran.out.rstrip().endswith("or money can be lost: layer2 provider serve --config provider.toml")


class Manager:
    """The part of a manager that the watch of the nodes uses."""

    def __init__(self) -> None:
        self.clients = {layer: FakeClient(layer) for layer in (BOB, ROOTSTOCK)}
        self.config = self
        self.layers = self.clients

    async def get_protocol_async(self, layer: Any) -> FakeClient:
        return self.clients[layer]


async def test_a_node_that_goes_down_during_a_wait_is_shown_once_and_again_when_it_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_NODE_SECONDS", 0.005)
    said: list[str] = []
    is_up = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("up "):
            is_up.set()

    manager: Any = Manager()
    watching = session(None)
    monkeypatch.setattr(watching.terminal, "say", say)
    legs = manager.clients[BOB].legs
    async with asyncio.timeout(10), following.nodes_watched(manager, watching, BOB):
        await asyncio.sleep(0.02)
        assert said == []
        legs.failures.append(NodeUnreachable("connection refused"))
        manager.clients[BOB].down = WrongNetwork("another chain")
        await eventually(lambda: manager.clients[BOB].initialized >= 2)
        assert len(said) == 1
        manager.clients[BOB].down = None
        await is_up.wait()
    assert said == ["down         BOB: connection refused; waiting for the node", "up           BOB"]
    assert manager.clients[ROOTSTOCK].legs.asked == []


class Changes:
    """The part of a manager that shows the changes of a transfer."""

    def __init__(self, *transfers: Transfer) -> None:
        self.transfers = transfers

    async def get_transfer_async(self, transfer_id: str) -> Transfer:
        return self.transfers[0]

    async def transfer_events(self, transfer_id: str) -> AsyncIterator[TransferEvent]:
        for each in self.transfers:
            yield TransferEvent(each, None)


@pytest.mark.parametrize("is_verbose", [False, True])
async def test_a_change_without_news_for_the_user_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, is_verbose: bool
) -> None:
    claims = [transfer(state=TransferState.COLLECTING, destination_tx_id=each * 32) for each in ("aa", "bb")]
    arrived = [transfer(state=TransferState.ARRIVED, final_at=NOW + each) for each in (60, 600)]
    urgent = transfer(state=TransferState.ARRIVED, attention="the BOB node cannot be read")
    manager: Any = Changes(*claims, *arrived, urgent, transfer(state=TransferState.COMPLETED))
    said: list[str] = []
    watching = Session(Terminal(json=True), None, is_verbose)
    monkeypatch.setattr(watching.terminal, "say", said.append)
    await following.show_changes(manager, "ab", Goal(), watching)
    states = ["collecting", "arrived", "arrived", "completed"]
    if is_verbose:
        states = ["collecting", *states[:2], *states[1:]]
    assert [each.split()[0] for each in said] == states
