"""``layer2 config``: what is written, and what is refused before any node is asked."""

from __future__ import annotations

import json
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from cli.running import Ran, layer2_here
from layer2.cli.network_commands import described
from layer2.local.network import LightningNode, LocalBitcoin, LocalChain, LocalNetwork, Party

SECRET = "ab" * 32 + "\n"


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the description of a local network that does not run, and its parties' files."""

    def party(name: str) -> Party:
        key = written(tmp_path / f"{name}.key", SECRET)
        node = LightningNode(
            "https://127.0.0.1:1", written(tmp_path / "cert", ""), written(tmp_path / "macaroon", ""), "02" + "00" * 32
        )
        seed = written(tmp_path / f"{name}.seed", " ".join(["abandon"] * 11 + ["about"]))
        return Party("0x" + "11" * 20, key, seed, node)

    def chain(chain_id: int) -> LocalChain:
        return LocalChain("http://127.0.0.1:2", "ws://127.0.0.1:2", chain_id, "0x" + "22" * 20, "0x" + "33" * 20, 8)

    (tmp_path / "net").mkdir()
    LocalNetwork(
        name="simnet",
        directory=str(tmp_path / "net"),
        control_url="http://127.0.0.1:3",
        chains={"BOB": chain(60808), "ROOTSTOCK": chain(33)},
        bitcoin=LocalBitcoin(esplora_url="http://127.0.0.1:4"),
        taker=party("taker"),
        provider=party("provider"),
        process_ids=(1,),
    ).save()
    return tmp_path


def init(home: Path, *words: str) -> Ran:
    return layer2_here("config", "init", "--network-directory", "net", *words, cwd=home)


def add_provider(home: Path, url: str) -> None:
    with (home / "layer2.toml").open("a") as file:
        file.write(f'\n[[providers]]\nname = "other"\nurl = "{url}"\nidentity_key = "{"00" * 32}"\n')


@pytest.mark.parametrize("role", ["taker", "provider"])
def test_the_comment_of_each_table_is_whole(home: Path, role: str) -> None:
    assert init(home, "--role", role).status == 0
    lines = (home / ("layer2.toml" if role == "taker" else "provider.toml")).read_text().splitlines()
    tables = [line for line in lines if line.startswith(("# [", "# [[")) and "]: " in line]
    assert len(tables) >= 7
    assert not [line for line in tables if not line.endswith(".")]


def test_wrong_use_names_the_help_of_its_command(tmp_path: Path) -> None:
    for words, command in (
        (("transfer", "100", "--from", "bob"), "layer2 transfer"),
        (("journal", "migrate"), "layer2 journal migrate"),
        (("nothing",), "layer2"),
    ):
        used = layer2_here(*words, cwd=tmp_path)
        assert (used.status, used.err.strip().rpartition("; ")[2]) == (3, f"{command} --help shows the usage")


def test_a_local_configuration_has_all_layers_and_a_price_for_gas(home: Path) -> None:
    made = init(home)
    assert made.status == 0, made.err
    content = tomllib.loads((home / "layer2.toml").read_text())
    assert {"bob", "rootstock", "lightning", "bitcoin"} <= content.keys()
    assert content["bitcoin"]["esplora_url"] == "http://127.0.0.1:4"
    assert content["rootstock"]["chain_id"] == 33
    assert content["bob"]["native_price_sat"] > 0
    # Its coin is bitcoin, so it has no token and no price.
    assert content["rootstock"].keys() & {"contract_address", "token_address", "native_price_sat"} == {
        "contract_address"
    }
    checked = layer2_here("config", "check", "--json", cwd=home)
    assert checked.envelope["data"]["layers"] == ["BOB", "ROOTSTOCK", "LIGHTNING", "BITCOIN"], checked.err


def test_a_configuration_without_a_provider_is_written_with_a_warning(home: Path) -> None:
    made = init(home)
    assert "warning: no provider is configured, because provider-ready.json does not exist" in made.err
    (home / "there").mkdir()
    (home / "there" / "provider-ready.json").write_text(
        json.dumps({"url": "http://127.0.0.1:8390", "identity_key": "00" * 32})
    )
    assert "warning" not in init(home, "--directory", "there").err


def test_a_provider_file_that_is_named_and_not_there_is_refused(home: Path) -> None:
    made = init(home, "--provider-file", "missing.json")
    assert made.status == 3
    assert "there is no file missing.json" in made.err
    assert not (home / "layer2.toml").exists()


def test_the_hint_after_init_addresses_the_file_that_was_written(home: Path) -> None:
    assert "next: layer2 doctor --config elsewhere/layer2.toml" in init(home, "--directory", "elsewhere").out


def test_the_hints_after_starting_a_network_elsewhere_address_that_place(home: Path) -> None:
    network = LocalNetwork.load(home / "net")
    last = described(network, Path("my net")).text[-1]
    assert last == (
        "next: layer2 config init --network simnet --network-directory 'my net'; "
        "stop it: layer2 simnet down --directory 'my net'"
    )
    assert described(network, None).text[-1] == "next: layer2 config init --network simnet; stop it: layer2 simnet down"


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
def test_a_public_configuration_has_the_layers_that_have_a_client_there(tmp_path: Path, network: str) -> None:
    made = layer2_here("config", "init", "--network", network, cwd=tmp_path)
    assert made.status == 0, made.err
    content = tomllib.loads((tmp_path / "layer2.toml").read_text())
    assert content["bob"]["chain_id"] == {"mainnet": 60808, "testnet": 808813}[network]
    assert content["rootstock"]["chain_id"] == {"mainnet": 30, "testnet": 31}[network]
    assert "lightning" in content
    assert content["bitcoin"] == {"seed_file": "bitcoin-seed.txt", "wallet_file": "bitcoin-wallet.sqlite"}
    text = (tmp_path / "layer2.toml").read_text()
    for key in ("esplora_url", "rpc_url", "filter_peer", "max_fee_rate"):
        assert f"# {key} =" in text
    assert "next: layer2 config check --config layer2.toml" in made.out


def test_each_role_has_a_bitcoin_wallet_of_its_own_that_is_never_written_twice(tmp_path: Path) -> None:
    layer2_here("config", "init", "--network", "testnet", cwd=tmp_path)
    seed = tmp_path / "bitcoin-seed.txt"
    words = seed.read_text()
    assert len(words.split()) == 24
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    refused = layer2_here("config", "init", "--network", "testnet", cwd=tmp_path)
    assert refused.status == 3
    assert "layer2.toml exists; nothing was changed" in refused.err
    (tmp_path / "layer2.toml").unlink()
    again = layer2_here("config", "init", "--network", "testnet", cwd=tmp_path)
    assert "bitcoin-seed.txt: kept" in again.out
    assert words.split()[0] not in again.out + again.err
    assert seed.read_text() == words
    layer2_here("config", "init", "--network", "testnet", "--role", "provider", cwd=tmp_path)
    assert (tmp_path / "provider-bitcoin-seed.txt").read_text() != words
    bitcoin = tomllib.loads((tmp_path / "provider.toml").read_text())["bitcoin"]
    assert bitcoin["wallet_file"] == "provider-bitcoin-wallet.sqlite"


@pytest.fixture
def without_bitcoin(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The extra ``layer2[bitcoin]`` is not installed, until the test undoes this."""
    monkeypatch.delitem(sys.modules, "layer2.protocols.bitcoin.wallet.mnemonic", raising=False)
    monkeypatch.setitem(sys.modules, "bdkpython", None)
    return monkeypatch


def test_a_seed_that_was_not_created_without_the_extra_is_created_by_the_same_command(
    tmp_path: Path, without_bitcoin: pytest.MonkeyPatch
) -> None:
    command = ("config", "init", "--network", "mainnet")
    made = layer2_here(*command, cwd=tmp_path)
    assert made.status == 0
    assert "bitcoin-seed.txt: not created, because layer2[bitcoin] is not installed" in made.out
    assert "run this command again" in made.out
    file = tmp_path / "layer2.toml"
    file.write_text(file.read_text().replace("# esplora_url =", 'esplora_url = "http://127.0.0.1:9"'))
    config, secret = ((tmp_path / name).read_text() for name in ("layer2.toml", "swap-seed.hex"))
    refused = layer2_here(*command, cwd=tmp_path)
    assert refused.status == 3
    assert "install layer2[bitcoin]" in refused.err
    without_bitcoin.undo()
    again = layer2_here(*command, cwd=tmp_path)
    assert again.status == 0, again.err
    assert "layer2.toml: kept" in again.out
    assert "bitcoin-seed.txt: created, mode 0600" in again.out
    assert len((tmp_path / "bitcoin-seed.txt").read_text().split()) == 24
    assert [(tmp_path / name).read_text() for name in ("layer2.toml", "swap-seed.hex")] == [config, secret]


@pytest.mark.parametrize("sign", ["a wallet", "a journal", "another name"])
def test_a_seed_that_was_lost_is_not_replaced_by_a_new_one(tmp_path: Path, sign: str) -> None:
    layer2_here("config", "init", "--network", "testnet", cwd=tmp_path)
    (tmp_path / "bitcoin-seed.txt").unlink()
    match sign:
        case "a wallet":
            (tmp_path / "bitcoin-wallet.sqlite").touch()
        case "a journal":
            (tmp_path / "layer2-journal.sqlite").touch()
        case _:
            text = (tmp_path / "layer2.toml").read_text().replace("bitcoin-seed.txt", "mine.txt")
            (tmp_path / "layer2.toml").write_text(text)
    refused = layer2_here("config", "init", "--network", "testnet", cwd=tmp_path)
    assert refused.status == 3
    assert "layer2.toml exists; nothing was changed" in refused.err
    assert not (tmp_path / "bitcoin-seed.txt").exists()


def test_a_seed_that_others_can_read_is_refused_before_any_node_is_asked(home: Path) -> None:
    init(home)
    (home / "taker.seed").chmod(0o644)
    checked = layer2_here("config", "check", "--json", cwd=home)
    assert checked.status == 4
    assert "is open to others (mode 0644)" in checked.err


def test_a_wallet_file_is_made_by_the_wallet_and_not_missed(home: Path) -> None:
    init(home)
    file = home / "layer2.toml"
    file.write_text(file.read_text().replace("# wallet_file =", 'wallet_file = "wallet.sqlite"'))
    checked = layer2_here("config", "check", "--json", cwd=home)
    assert checked.status == 0, checked.err


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        pytest.param(SECRET, 0o644, "is open to others (mode 0644)", id="readable by others"),
        pytest.param("f00d", 0o600, "does not hold 64 hex digits", id="four digits"),
        pytest.param("zz" * 32, 0o600, "does not hold 64 hex digits", id="no digits"),
    ],
)
@pytest.mark.parametrize("file", ["taker.key", "swap-seed.hex"])
def test_a_key_file_that_is_not_one_is_refused_before_any_node_is_asked(
    home: Path, file: str, text: str, mode: int, complaint: str
) -> None:
    init(home)
    written(home / file, text, mode)
    checked = layer2_here("config", "check", "--json", cwd=home)
    assert checked.status == 4, checked.err
    assert complaint in checked.err
    assert text.strip() not in checked.out + checked.err


def test_a_missing_file_is_named_with_its_key(home: Path) -> None:
    init(home)
    (home / "macaroon").unlink()
    checked = layer2_here("config", "check", "--json", cwd=home)
    assert checked.status == 3
    assert "[lightning] macaroon_file: there is no file" in checked.err


def test_a_provider_elsewhere_is_asked_over_https_only(home: Path) -> None:
    init(home)
    add_provider(home, "http://provider.example")
    refused = layer2_here("config", "check", "--json", cwd=home)
    assert refused.status == 3
    assert "plain http is allowed on this machine only" in refused.err


def test_a_providers_file_is_checked_and_shown_as_one(home: Path) -> None:
    made = init(home, "--role", "provider")
    assert made.status == 0, made.err
    text = (home / "provider.toml").read_text()
    assert "layer2 config check --config provider.toml" in text
    assert "next: layer2 provider serve --config provider.toml" in made.out
    assert stat.S_IMODE((home / "provider.toml").stat().st_mode) == 0o600
    named = ("--config", "provider.toml", "--json")
    checked = layer2_here("config", "check", *named, cwd=home)
    assert checked.status == 0, checked.err
    assert checked.envelope["data"]["role"] == "provider"
    shown = layer2_here("config", "show", *named, cwd=home)
    assert shown.envelope["data"]["settings"]["fee_ppm"] == 3_000
    # The keys of the file show the role, whatever its name.
    (home / "provider.toml").rename(home / "mine.toml")
    assert layer2_here("config", "check", "--config", "mine.toml", "--json", cwd=home).envelope["data"] == {
        **checked.envelope["data"],
        "config_file": "mine.toml",
    }
    written(home / "identity.hex", SECRET, 0o640)
    assert layer2_here("config", "check", "--config", "mine.toml", "--json", cwd=home).status == 4


def test_a_command_for_takers_refuses_the_file_of_a_provider_with_the_remedy(home: Path) -> None:
    init(home, "--role", "provider")
    refused = layer2_here("quote", "20000", "--from", "bob", "--to", "lightning", "-c", "provider.toml", cwd=home)
    assert refused.status == 3
    assert "[provider_file] provider.toml is the configuration of a provider" in refused.err
    assert "--config layer2.toml" in refused.err


def test_a_table_that_is_a_comment_has_one_mark_in_each_line(home: Path) -> None:
    init(home, "--role", "provider")
    assert "# #" not in (home / "provider.toml").read_text()


def test_the_remedy_for_a_missing_network_starts_that_network(tmp_path: Path) -> None:
    for network, directory, remedy in (
        ("simnet", "some net", "layer2 simnet up --directory 'some net'"),
        ("devnet", "other", "layer2 devnet up --directory other"),
    ):
        refused = layer2_here(
            "config", "init", "--network", network, "--network-directory", directory, "--json", cwd=tmp_path
        )
        assert refused.status == 3
        assert refused.envelope["error"]["remedy"].endswith(remedy)


def test_the_environment_alone_configures_a_command(home: Path) -> None:
    init(home)
    (home / "empty").mkdir()
    bob = tomllib.loads((home / "layer2.toml").read_text())["bob"]
    environment = {f"LAYER2_BOB__{name.upper()}": str(value) for name, value in bob.items()}
    checked = layer2_here("config", "check", "--json", cwd=home / "empty", LAYER2_NETWORK="regtest", **environment)
    assert checked.status == 0, checked.err
    assert checked.envelope["data"]["layers"] == ["BOB"]
    without = layer2_here("config", "check", "--json", cwd=home / "empty", **environment)
    assert (without.status, without.envelope["error"]["code"]) == (3, "no_configuration")
    assert "LAYER2_NETWORK" in without.err
    named = layer2_here("config", "check", "-c", "none.toml", "--json", cwd=home / "empty", LAYER2_NETWORK="regtest")
    assert (named.status, named.envelope["error"]["code"]) == (3, "no_configuration")


def test_a_layer_that_has_no_client_is_refused_with_the_nearest_name(home: Path) -> None:
    ran = layer2_here("quote", "20000", "--from", "bob", "--to", "lightening", "--json", cwd=home)
    assert ran.status == 3
    assert 'did you mean "lightning"?' in ran.err
    other = layer2_here("quote", "20000", "--from", "bob", "--to", "stacks", "--json", cwd=home)
    assert "use one of bob, rootstock, lightning, bitcoin" in other.err
