"""Transfers by command line: keys, amounts, what arrived, layers that are down, and another process on the journal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cli.running import Ran, layer2, layer2_here
from layer2.cli.journal_reading import guard_holders
from layer2.journal.file_guard import FileGuard
from layer2.journal.place import JournalPlace

pytestmark = pytest.mark.xdist_group("cli")

JOURNAL = "layer2-journal.sqlite"
DEAD = "http://127.0.0.1:9"


def config(home: Path, name: str, *changes: tuple[str, str, str]) -> str:
    """A copy of the configuration with the value of some keys changed, each in one table; its name."""
    lines, table = [], ""
    for line in (home / "layer2.toml").read_text().splitlines():
        table = line.strip("[]") if line.startswith("[") else table
        for changed_table, key, value in changes:
            if table == changed_table and line.startswith(f"{key} = "):
                line = f"{key} = {value}" if value else f"# {key}"
        lines.append(line)
    (home / name).write_text("\n".join(lines))
    return name


def begun(home: Path, amount: str, source: str, destination: str, *words: str) -> str:
    """Begin a transfer and leave it at once; its id."""
    ran = layer2_here(
        "transfer", amount, "--from", source, "--to", destination, "--timeout", "0", *words, "--json", cwd=home
    )
    assert ran.status == 2, ran.err
    error = ran.envelope["error"]
    assert error["code"] == "transfer_timeout"
    assert "nothing was sent" not in ran.err
    transfer_id: str = error["transfer_id"]
    assert error["remedy"] == f"it continues only while layer2 runs: layer2 wait {transfer_id}"
    return transfer_id


def data(ran: Ran, status: int = 0) -> Any:
    assert ran.status == status, ran.err
    assert "Traceback" not in ran.err
    return ran.envelope["data"]


def test_a_known_key_is_looked_up_before_any_provider_is_asked_for_a_price(home: Path) -> None:
    words = ("transfer", "20000", "--from", "bob", "--to", "lightning", "--idempotency-key", "rent")
    transfer_id = begun(home, *words[1:2], "bob", "lightning", *words[-2:])
    no_provider = config(home, "no-provider.toml", ("providers", "url", f'"{DEAD}"'))
    again = layer2_here(*words, "--config", no_provider, "--json", cwd=home)
    assert data(again)["transfer"]["transfer_id"] == transfer_id
    assert f"the key belongs to transfer {transfer_id}" in again.err
    assert "nothing was sent" not in again.err
    assert data(layer2_here("show", "--key", "rent", "--json", cwd=home))["transfer_id"] == transfer_id
    other = layer2_here(*words[:1], "20001", *words[2:], "--json", cwd=home)
    assert (other.status, other.envelope["error"]["transfer_id"]) == (1, transfer_id)
    unknown = layer2_here("show", "--key", "rend", "--json", cwd=home)
    assert unknown.status == 1
    assert JOURNAL in unknown.err


def test_an_amount_can_be_what_leaves(home: Path) -> None:
    quote = data(layer2_here("quote", "--send", "50000", "--from", "bob", "--to", "rootstock", "--json", cwd=home))
    assert quote["send_amount"] == 50_000
    assert quote["receive_amount"] + quote["fee"] == 50_000
    for amounts in (("50000", "--send", "50000"), ()):
        both = layer2_here("transfer", *amounts, "--from", "bob", "--to", "rootstock", "--json", cwd=home)
        assert both.status == 3
        assert "exactly one of AMOUNT" in both.err


def test_a_transfer_can_be_left_once_it_has_arrived(home: Path) -> None:
    words = ("--send", "50000", "--from", "lightning", "--to", "rootstock", "--until", "arrived", "--json")
    ran = layer2_here("transfer", *words, cwd=home)
    transfer = data(ran)["transfer"]
    assert transfer["state"] in ("arrived", "completed")
    assert (transfer["send_amount"], transfer["requested_send_amount"]) == (50_000, 50_000)
    if transfer["state"] == "arrived":
        (warning,) = ran.envelope["warnings"]
        assert warning.endswith(f"layer2 wait {transfer['transfer_id']}")
    assert (home / f"transfer-{transfer['transfer_id']}.json").exists()


def test_beside_a_process_that_acts_a_transfer_is_watched_and_none_is_begun(home: Path) -> None:
    transfer_id = begun(home, "20000", "bob", "lightning", "--idempotency-key", "watched")
    guard = FileGuard(home / JOURNAL)
    asyncio.run(guard.take())
    try:
        holder = guard_holders(JournalPlace(home / JOURNAL))
        assert holder is not None
        for words in (
            ("wait", transfer_id),
            ("wait", "--key", "watched"),
            ("transfer", "20000", "--from", "bob", "--to", "lightning", "--idempotency-key", "watched"),
        ):
            watched = layer2(*words, "--timeout", "3", "--json", cwd=home)
            assert (watched.status, watched.envelope["error"]["code"]) == (2, "transfer_timeout"), watched.err
            assert str(holder) in watched.err
            assert "nothing was sent" not in watched.err
        fresh = layer2("transfer", "20000", "--from", "bob", "--to", "lightning", "--json", cwd=home)
        assert (fresh.status, fresh.envelope["error"]["code"]) == (4, "journal_busy")
        assert str(holder) in fresh.err
        assert "wait until it ends, or stop it" in fresh.err
        assert layer2_here("list", "--open", "--json", cwd=home).status == 0
    finally:
        asyncio.run(guard.give_back())
    resumed = layer2_here("resume", "--json", cwd=home)
    assert data(resumed)["down"] == {}
    assert f"{transfer_id}  completed" in resumed.err


def test_resume_continues_without_a_layer_that_is_down_and_not_needed(home: Path) -> None:
    # What another test left open may need the layer that is down here.
    assert layer2_here("resume", "--timeout", "100", "--json", cwd=home).status == 0
    transfer_id = begun(home, "20000", "bob", "lightning")
    no_rootstock = config(home, "no-rootstock.toml", ("rootstock", "rpc_url", f'"{DEAD}"'))
    resumed = layer2_here("resume", "--config", no_rootstock, "--timeout", "60", "--json", cwd=home)
    assert data(resumed)["down"].keys() == {"ROOTSTOCK"}
    assert "down         ROOTSTOCK" in resumed.err
    assert f"{transfer_id}  completed" in resumed.err
    others = [line for line in resumed.err.splitlines() if transfer_id not in line]
    assert all(line.startswith(("down ", "connecting ", "warning: ROOTSTOCK")) for line in others), others


def test_resume_without_a_layer_that_is_needed_ends_open_and_the_transfer_continues_later(home: Path) -> None:
    # What another test left open would be listed too.
    assert layer2_here("resume", "--timeout", "100", "--json", cwd=home).status == 0
    transfer_id = begun(home, "20000", "lightning", "bob")
    no_bob = config(home, "no-bob.toml", ("bob", "rpc_url", f'"{DEAD}"'))
    away = layer2_here("resume", "--config", no_bob, "--timeout", "2", "--json", cwd=home)
    assert [each["transfer_id"] for each in data(away, 2)["transfers"]] == [transfer_id]
    assert "nothing was sent" not in away.err
    wrong = config(home, "wrong-bob.toml", ("bob", "chain_id", "1"))
    needs_me = layer2_here("resume", "--config", wrong, "--timeout", "2", "--json", cwd=home)
    assert data(needs_me, 4)["down"]["BOB"]["code"] in ("wrong_network", "chain_id")
    ended = layer2_here("resume", "--json", cwd=home)
    assert data(ended)["transfers"][0]["state"] in ("completed", "refunded")


def test_a_new_transfer_needs_its_own_two_layers_only(home: Path) -> None:
    no_bob = config(home, "no-bob.toml", ("bob", "rpc_url", f'"{DEAD}"'))
    refused = layer2_here("transfer", "20000", "--from", "bob", "--to", "lightning", "-c", no_bob, "--json", cwd=home)
    assert (refused.status, refused.envelope["error"]["code"]) == (5, "node_unreachable"), refused.err
    moved = layer2_here(
        "transfer", "20000", "--from", "rootstock", "--to", "lightning", "-c", no_bob, "--json", cwd=home
    )
    assert data(moved)["transfer"]["state"] == "completed"


def test_without_a_price_for_gas_the_remedy_is_an_option(home: Path) -> None:
    no_price = config(home, "no-price.toml", ("bob", "native_price_sat", ""))
    words = ("quote", "20000", "--from", "bob", "--to", "lightning", "-c", no_price, "--json")
    refused = layer2_here(*words, cwd=home)
    assert (refused.status, refused.envelope["error"]["code"]) == (3, "max_fee_required")
    assert "--max-fee" in refused.envelope["error"]["remedy"]
    assert data(layer2_here(*words, "--max-fee", "500", cwd=home))["max_fee"] == 500


def test_a_dead_layer_hides_no_other_balance(home: Path) -> None:
    no_bob = config(home, "no-bob.toml", ("bob", "rpc_url", f'"{DEAD}"'))
    ran = layer2_here("balance", "-c", no_bob, "--json", cwd=home)
    found = data(ran, 5)
    assert {each["layer"] for each in found["balances"]} == {"ROOTSTOCK", "LIGHTNING", "BITCOIN"}
    assert found["failures"].keys() == {"BOB"}
    assert {each["asset"] for each in found["balances"]} == {"BTC", "RBTC"}


def test_the_pairs_of_each_provider_have_fees_limits_and_durations(home: Path) -> None:
    found = data(layer2_here("pairs", "--json", cwd=home))["pairs"]
    assert {(each["source"], each["destination"]) for each in found} == {
        (source, destination)
        for source in ("BOB", "ROOTSTOCK", "LIGHTNING", "BITCOIN")
        for destination in ("BOB", "ROOTSTOCK", "LIGHTNING", "BITCOIN")
        if source != destination
    }
    for each in found:
        assert each["provider"] == "local"
        assert 0 < each["min_amount"] < each["max_amount"]
        assert 0 < each["collect_by_seconds"] < each["worst_seconds"]
    people = layer2_here("pairs", cwd=home)
    assert "collect within" in people.out
