"""Every command: one envelope, one sentence for an error, and its documented status."""

from __future__ import annotations

import importlib.util
import stat
from pathlib import Path

import pytest

from cli.running import layer2, layer2_here, no_traceback
from layer2.cli.app import COMMANDS

pytestmark = pytest.mark.xdist_group("cli")

ROOT = Path(__file__).parents[2]


def test_config_init_makes_secrets_of_mode_0600_and_overwrites_nothing(home: Path) -> None:
    assert stat.S_IMODE((home / "layer2.toml").stat().st_mode) == 0o600
    (seed,) = [path for path in home.iterdir() if path.name.startswith("swap")]
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    before = seed.read_text()
    again = layer2("config", "init", "--network-directory", "net", "--json", cwd=home)
    assert again.status == 3
    assert again.envelope["error"]["code"] == "exists"
    no_traceback(again)
    assert seed.read_text() == before


def test_config_check_and_show_mask_secrets_and_show_origins(home: Path) -> None:
    assert layer2("config", "check", "--json", cwd=home).status == 0
    shown = layer2(
        "config",
        "show",
        "--origin",
        "--json",
        cwd=home,
        LAYER2_BOB__RPC_URL="http://me:secret@127.0.0.1:1/key",
        LAYER2_BOB__FALLBACK_RPC_URLS='["http://me:secret@127.0.0.1:2"]',
    )
    assert shown.status == 0, shown.err
    assert shown.envelope["data"]["origins"]["bob.rpc_url"] == "environment"
    assert shown.envelope["data"]["settings"]["bob.fallback_rpc_urls"] == ["http://***@127.0.0.1:2"]
    assert "secret" not in shown.out + shown.err
    wrong = layer2("config", "check", "--json", cwd=home, LAYER2_BOB__TOKEN_DECIMALS="99")
    assert wrong.status == 3
    assert "token_decimals" in wrong.err


def test_doctor_finds_a_good_configuration_good_and_a_dead_node_unreachable(home: Path) -> None:
    good = layer2_here("doctor", "--json", cwd=home)
    assert good.status == 0, good.err
    dead = layer2_here("doctor", "--json", cwd=home, LAYER2_BOB__RPC_URL="http://127.0.0.1:9")
    assert dead.status == 5
    assert "127.0.0.1:9" in dead.out
    no_traceback(dead)


REFUSED: dict[str, tuple[tuple[str, ...], int]] = {
    "unknown command": (("nothing",), 3),
    "no command": ((), 3),
    "fraction": (("quote", "1.5", "--from", "bob", "--to", "lightning"), 3),
    "amount zero": (("quote", "0", "--from", "bob", "--to", "lightning"), 3),
    "same layer": (("quote", "100000", "--from", "bob", "--to", "bob"), 3),
    "fee too high": (("quote", "100000", "--from", "bob", "--to", "lightning", "--max-fee", "1"), 1),
    "unknown transfer": (("show", "00" * 16), 1),
    "no transfer to complete": (("proof", "complete", "00" * 16), 1),
    "no proof to complete": (("proof", "complete", "none.json"), 3),
    "no such proof": (("proof", "verify", "none.json"), 3),
    "no such file": (("balance", "--config", "none.toml"), 3),
    "no source": (("transfer", "20000", "--to", "lightning"), 3),
    "no destination": (("quote", "20000", "--from", "bob"), 3),
    "no transfer named": (("show",), 3),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_sentence_with_its_status(home: Path, case: str) -> None:
    words, status = REFUSED[case]
    ran = layer2_here(*words, "--json", cwd=home)
    assert (ran.status, ran.envelope["ok"]) == (status, False), ran.err
    no_traceback(ran)


def test_a_node_on_another_chain_needs_action(home: Path) -> None:
    ran = layer2_here("balance", "--json", cwd=home, LAYER2_BOB__CHAIN_ID="1")
    assert ran.status == 4
    assert "60808" in ran.err
    no_traceback(ran)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str, tmp_path: Path) -> None:
    ran = layer2_here(*name.split(), "--help", cwd=tmp_path)
    assert ran.status == 0
    assert f"Usage: layer2 {name}" in ran.out
    assert "[default: False]" not in ran.out


def test_the_page_of_the_command_line_is_what_the_program_says() -> None:
    place = ROOT / "tools" / "write_cli_docs.py"
    spec = importlib.util.spec_from_file_location("write_cli_docs", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python tools/write_cli_docs.py"


WRONG_VALUES: dict[str, tuple[tuple[str, ...], str]] = {
    "network": (("proof", "verify", "one.json", "--network", "moon"), '"mainnet", "testnet", "regtest"'),
    "negative timeout": (("wait", "00", "--timeout=-1"), "--timeout. Must be >= 0"),
    "limit of none": (("list", "--limit", "0"), "--limit. Must be >= 1"),
    "no provider's file": (("provider", "serve"), "create one: layer2 config init --role provider; or"),
    "proof in no directory": (
        ("transfer", "20000", "--from", "bob", "--to", "lightning", "--proof", "none/one.json"),
        "none; nothing was sent; name another file: --proof",
    ),
    "proof that cannot be read": (("proof", "show", "none.json"), "No such file or directory; check the path"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_wrong_value_is_refused_before_a_file_or_a_node_is_used(tmp_path: Path, case: str) -> None:
    words, text = WRONG_VALUES[case]
    ran = layer2_here(*words, cwd=tmp_path)
    assert (ran.status, ran.out) == (3, "")
    assert text in ran.err
    no_traceback(ran)
