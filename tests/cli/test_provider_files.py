"""Commands on the configuration of a provider: the file determines whose settings, balances and swaps are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.running import layer2_here

pytestmark = pytest.mark.xdist_group("cli")

MOVE = ("--from", "bob", "--to", "lightning", "--json")


@pytest.fixture(scope="module")
def file(home: Path) -> str:
    """The configuration of the provider of the running network."""
    made = layer2_here("config", "init", "--role", "provider", "--network-directory", "net", cwd=home)
    assert made.status == 0, made.err
    return "provider.toml"


def data(home: Path, *words: str, **environment: str) -> Any:
    ran = layer2_here(*words, "--json", cwd=home, **environment)
    assert ran.status == 0, ran.err
    return ran.envelope["data"]


def test_balance_and_doctor_look_at_the_nodes_of_the_provider(home: Path, file: str) -> None:
    balances = data(home, "balance", "-c", file)["balances"]
    assert {each["layer"] for each in balances} == {"BOB", "ROOTSTOCK", "LIGHTNING", "BITCOIN"}
    assert not (home / "provider-journal.sqlite").exists(), "reading creates no journal"
    findings = data(home, "doctor", "-c", file)["findings"]
    assert {"strangers", "BOB gas", "LIGHTNING outbound", "identity_key_file"} <= {each["subject"] for each in findings}
    assert not any(each["subject"].startswith("provider ") for each in findings)
    (node,) = [each["text"] for each in findings if each["subject"] == "BOB node"]
    assert node not in {each["text"] for each in data(home, "doctor")["findings"]}, "that is the taker's account"


def test_list_shows_the_swaps_of_a_provider_with_their_fees(home: Path, file: str) -> None:
    assert data(home, "list", "-c", file) == {"swaps": []}
    moved = layer2_here("transfer", "20000", *MOVE, cwd=home)
    assert moved.status == 0, moved.err
    transfer = moved.envelope["data"]["transfer"]
    journal = {"LAYER2_JOURNAL__PATH": str(home / "provider" / "provider-journal.sqlite")}
    swaps = data(home, "list", "-c", file, **journal)["swaps"]
    (swap,) = [each for each in swaps if each["swap_id"] == transfer["transfer_id"]]
    assert (swap["source"], swap["destination"]) == ("BOB", "LIGHTNING")
    assert swap["receive_amount"] - swap["pay_amount"] == swap["fee"] + swap["network_fee"] == transfer["fee"]
    # The provider may still be collecting: its swap can change between the two commands.
    (first,) = data(home, "list", "-c", file, "--limit", "1", **journal)["swaps"]
    assert first["swap_id"] == swaps[0]["swap_id"]
    people = layer2_here("list", "-c", file, cwd=home, **journal)
    assert f"{swap['fee']} sat" in people.out
    shown = data(home, "journal", "show", "-c", file, **journal)
    assert {each["role"] for each in shown["states"]} == {"provider"}


def test_list_takes_a_state_and_a_limit(home: Path) -> None:
    assert layer2_here("transfer", "20000", *MOVE, cwd=home).status == 0
    assert layer2_here("transfer", "21000", *MOVE, cwd=home).status == 0
    everything = data(home, "list")["transfers"]
    assert len(everything) >= 2
    assert data(home, "list", "--limit", "1")["transfers"] == everything[:1]
    completed = data(home, "list", "--state", "completed")["transfers"]
    assert completed == [each for each in everything if each["state"] == "completed"]
    both = data(home, "list", "--state", "completed", "--state", "abandoned")["transfers"]
    assert both == [each for each in everything if each["state"] in ("completed", "abandoned")]
    none = layer2_here("list", "--state", "lost", cwd=home)
    assert (none.status, "no transfers in" in none.out, "match" in none.out) == (0, True, True)
    for words in (("--limit", "0"), ("--limit", "many"), ("--state", "gone")):
        assert layer2_here("list", *words, "--json", cwd=home).status == 3


def test_a_worker_needs_a_journal_on_a_server(home: Path, file: str, tmp_path: Path) -> None:
    journal = {"LAYER2_JOURNAL__PATH": str(tmp_path / "journal.db")}
    ran = layer2_here("worker", "-c", file, cwd=home, **journal)
    assert ran.status != 0
    assert "workers cannot share a journal in a SQLite file" in ran.err
