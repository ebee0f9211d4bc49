"""Settings: argument over environment over file over default. Errors name the key, the file and the allowed values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr, ValidationError

from layer2.config import BobSection, Layer2Config
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import ConfigurationError, SignerError
from layer2.formats.evm_address import to_checksum
from layer2.model.layers import LAYERS, HeadDepths, Layer2ProtocolType
from layer2.net.client_settings import ClientSettings, ConnectionPoolConfig
from layer2.protocols.bob import BobSettings
from layer2.protocols.rootstock import RootstockSettings
from layer2.provider.settings import ProviderSettings

TOKEN = "0x" + "11" * 20
KEY = "ab" * 32
IDENTITY = "cd" * 32
MINIMAL = 'network = "regtest"\n'
BOB = f"""
[bob]
rpc_url = "http://127.0.0.1:8545"
token_address = "{TOKEN}"
token_decimals = 8
key_file = "keys/bob"
"""
LIGHTNING = """
[lightning]
rest_url = "https://127.0.0.1:8080"
certificate_file = "tls.cert"
macaroon_file = "/secrets/macaroon"
"""

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("LAYER2_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str, name: str = "layer2.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


def refusal(path: Path, **arguments: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        Layer2Config.load(path, **arguments)
    return caught.value


# The source of a value.


def test_a_default_holds_where_nothing_is_said(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL))
    assert (config.default_timeout_ms, config.max_concurrency, config.bob, config.providers) == (30_000, 100, None, ())


def test_the_file_wins_over_the_default(write: Write) -> None:
    assert Layer2Config.load(write(MINIMAL + "default_timeout_ms = 1")).default_timeout_ms == 1


def test_the_environment_wins_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER2_DEFAULT_TIMEOUT_MS", "2")
    assert Layer2Config.load(write(MINIMAL + "default_timeout_ms = 1")).default_timeout_ms == 2


def test_an_argument_wins_over_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER2_DEFAULT_TIMEOUT_MS", "2")
    path = write(MINIMAL + "default_timeout_ms = 1")
    assert Layer2Config.load(path, default_timeout_ms=3).default_timeout_ms == 3


def test_one_key_of_a_table_can_be_replaced_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER2_BOB__RPC_URL", "http://127.0.0.1:2")
    config = Layer2Config.load(write(MINIMAL + BOB), bob={"chain_id": 808813})
    assert config.bob is not None
    assert (config.bob.rpc_url, config.bob.chain_id, config.bob.token_decimals) == ("http://127.0.0.1:2", 808813, 8)


def test_a_table_can_come_from_the_environment_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("RPC_URL", "http://127.0.0.1:1"),
        ("TOKEN_ADDRESS", TOKEN),
        ("TOKEN_DECIMALS", "18"),
        ("KEY", KEY),
    ):
        monkeypatch.setenv(f"LAYER2_BOB__{name}", value)
    config = Layer2Config.load(write(MINIMAL))
    assert config.bob is not None
    assert config.bob.token_decimals == 18


def test_providers_can_come_from_the_environment_as_json(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = {"name": "one", "url": "https://one.example", "identity_key": IDENTITY}
    monkeypatch.setenv("LAYER2_PROVIDERS", json.dumps([provider]))
    assert [each.name for each in Layer2Config.load(write(MINIMAL)).providers] == ["one"]


def test_the_file_is_found_by_argument_then_environment_then_name(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(MINIMAL)
    other = write('network = "testnet"', "other.toml")
    assert Layer2Config.load().network == "regtest"
    monkeypatch.setenv("LAYER2_CONFIG", str(other))
    assert Layer2Config.load().network == "testnet"
    assert Layer2Config.load(tmp_path / "layer2.toml").network == "regtest"


def test_the_origin_of_each_given_value_can_be_asked(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER2_BOB__RPC_URL", "http://127.0.0.1:2")
    path = write(MINIMAL + BOB)
    origins = Layer2Config.origins(path)
    assert origins["network"] == str(path)
    assert origins["bob.token_address"] == str(path)
    assert origins["bob.rpc_url"] == "environment"
    assert "default_timeout_ms" not in origins


def test_settings_can_be_made_without_a_file() -> None:
    config = Layer2Config(network="regtest", default_timeout_ms=5)
    assert config.default_timeout_ms == 5


def test_settings_do_not_change_after_loading(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL))
    with pytest.raises(ValidationError, match="frozen"):
        config.network = "mainnet"


# Paths.


def test_paths_in_a_file_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    path = write(MINIMAL + 'swap_seed_file = "seed"\n' + BOB + LIGHTNING, "away/layer2.toml")
    config = Layer2Config.load(path)
    assert config.swap_seed_file == tmp_path / "away" / "seed"
    assert config.bob is not None
    assert config.bob.key_file == tmp_path / "away" / "keys" / "bob"
    assert config.lightning is not None
    assert config.lightning.certificate_file == str(tmp_path / "away" / "tls.cert")
    assert config.lightning.macaroon_file == "/secrets/macaroon"
    assert config.journal.path == tmp_path / "away" / "layer2-journal.sqlite"


def test_a_home_directory_is_expanded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = Layer2Config.load(write(MINIMAL + 'swap_seed_file = "~/seed"'))
    assert config.swap_seed_file == Path("/home/someone/seed")


def test_taker_and_provider_in_one_place_have_journals_of_their_own(write: Write, tmp_path: Path) -> None:
    taker = Layer2Config.load(write(MINIMAL))
    provider = ProviderSettings.load(
        write(MINIMAL + 'identity_key_file = "identity"\n' + BOB + LIGHTNING, "provider.toml")
    )
    assert taker.journal.path != provider.journal.path
    assert provider.journal.path.parent == tmp_path


# Secrets.


def test_a_secret_given_itself_is_masked_everywhere(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL + BOB.replace('key_file = "keys/bob"', f'key = "{KEY}"')))
    assert config.bob is not None
    for text in (repr(config), str(config), config.model_dump_json(), repr(config.bob), repr(config.bob.signer())):
        assert KEY not in text


def test_a_secret_by_file_is_read_when_it_is_used(write: Write, tmp_path: Path) -> None:
    config = Layer2Config.load(write(MINIMAL + BOB))
    assert config.bob is not None
    with pytest.raises(SignerError):
        config.bob.signer()
    file = tmp_path / "keys" / "bob"
    file.parent.mkdir()
    file.touch(mode=0o600)
    file.write_text(KEY)
    assert len(config.bob.signer().address) == 20


def test_a_password_in_an_address_is_not_shown(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL + BOB.replace("http://", "http://user:hunter2@")))
    assert "hunter2" not in repr(config)


def test_a_wrong_secret_is_not_repeated_in_the_error(write: Write) -> None:
    text = MINIMAL + BOB + f'key = "{KEY}"'
    error = refusal(write(text))
    assert "exactly one of key_file and key" in str(error)
    assert KEY not in str(error)


@pytest.mark.parametrize("key", ["zz" * 32, "ab" * 31, "0x"])
def test_a_key_that_is_none_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match='"key": must be a SecretStr with 64 hex digits') as caught:
        BobSection(
            network="mainnet",
            rpc_url="http://127.0.0.1:1",
            token_address=TOKEN,
            token_decimals=8,
            key=SecretStr(key),
        )
    assert key not in str(caught.value) or key == "0x"


# Errors name the fault.


def test_a_misspelt_key_is_named_with_its_file_and_what_was_meant(write: Write) -> None:
    path = write(MINIMAL + BOB.replace("rpc_url", "rpc_ulr"))
    error = refusal(path)
    assert error.code == "unknown_key"
    assert error.message == f'{path}: [bob] has no key "rpc_ulr"; did you mean "rpc_url"?'


def test_a_key_like_no_other_lists_those_that_are_known(write: Write) -> None:
    error = refusal(write(MINIMAL + "[journal]\nxyz = 1"))
    assert "known keys: path" in error.message


def test_every_problem_of_a_file_is_named_at_once(write: Write) -> None:
    path = write(MINIMAL + BOB.replace("rpc_url", "rpc_ulr").replace("token_decimals = 8", 'token_decimals = "x"'))
    error = refusal(path)
    assert error.code == "unknown_key"
    assert error.message == (
        f'{path}: 2 problems: (1) [bob] has no key "rpc_ulr"; did you mean "rpc_url"?; '
        '(2) [bob] "token_decimals": input should be a valid integer, unable to parse string as an integer'
    )


def test_an_unknown_table_is_named(write: Write) -> None:
    error = refusal(write(MINIMAL + "[lightening]\nrest_url = 1"))
    assert 'did you mean "lightning"?' in error.message


@pytest.mark.parametrize(
    ("text", "named", "allowed"),
    [
        ('network = "main"', '"network"', "'mainnet', 'testnet' or 'regtest'"),
        (MINIMAL + "default_timeout_ms = 0", '"default_timeout_ms"', "greater than or equal to 1"),
        (MINIMAL + 'default_timeout_ms = "soon"', '"default_timeout_ms"', "valid integer"),
        (MINIMAL + "max_concurrency = 1.5", '"max_concurrency"', "valid integer"),
        (MINIMAL + BOB.replace("= 8", "= 99"), '[bob] "token_decimals"', "must be from 0 to 36"),
        (MINIMAL + BOB.replace("0x11", "0x1"), '[bob] "token_address"', "40 hex"),
        (MINIMAL + BOB.replace("0x" + "11" * 20, "0x" + "aB" * 20), '[bob] "token_address"', ": EVM address: the EIP"),
        (MINIMAL + BOB.replace("http://", "ws://"), '[bob] "rpc_url"', "http:// or https://"),
        (MINIMAL + BOB + '\nfallback_rpc_urls = "http://a"', '[bob] "fallback_rpc_urls"', 'not a list; write ["'),
        (MINIMAL + LIGHTNING.replace("https://", "http://"), '[lightning] "rest_url"', "https://"),
        (MINIMAL + "[connection_pool]\nkeepalive_seconds = nan", '[connection_pool] "keepalive_seconds"', "finite"),
    ],
)
def test_a_wrong_value_names_key_file_and_what_is_allowed(write: Write, text: str, named: str, allowed: str) -> None:
    path = write(text)
    error = refusal(path)
    assert error.code == "wrong_value"
    assert error.message.startswith(f"{path}: {named}")
    assert allowed in error.message


def test_a_missing_key_is_named(write: Write) -> None:
    error = refusal(write("default_timeout_ms = 1"))
    assert (error.code, error.message.rpartition(": ")[2]) == ("missing_key", 'needs the key "network"')


def test_a_missing_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.toml")
    assert error.code == "no_configuration"
    assert "none.toml" in error.message
    assert "layer2 config init" in str(error)


def test_a_file_that_is_not_toml_is_named_with_the_line(write: Write) -> None:
    path = write("network = \n")
    error = refusal(path)
    assert error.code == "not_toml"
    assert error.message.startswith(f"{path}: ")
    assert "line 1" in error.message


@pytest.mark.parametrize("same", ["name", "identity_key"])
def test_two_providers_that_cannot_be_distinguished_are_refused(write: Write, same: str) -> None:
    one = {"name": "one", "url": "https://one.example", "identity_key": IDENTITY}
    other = {"name": "other", "url": "https://other.example", "identity_key": "ef" * 32, same: one[same]}
    tables = "".join(
        "[[providers]]\n" + "".join(f'{key} = "{value}"\n' for key, value in each.items()) for each in (one, other)
    )
    assert f"two providers have the same {same}" in refusal(write(MINIMAL + tables)).message


def test_a_wrong_provider_is_named_by_its_place(write: Write) -> None:
    error = refusal(write(MINIMAL + '[[providers]]\nname = "one"\nurl = "https://one.example"\nidentity_key = "xy"'))
    assert "[providers.0]" in error.message
    assert '"identity_key"' in error.message


def test_a_provider_serves_on_the_loopback_only(write: Write) -> None:
    path = write(MINIMAL + 'identity_key_file = "identity"\nlisten_host = "0.0.0.0"\n' + BOB + LIGHTNING)
    with pytest.raises(ConfigurationError, match='"listen_host": must be a loopback address'):
        ProviderSettings.load(path)


# Layers.

ROOTSTOCK = f"""
[rootstock]
rpc_url = "http://127.0.0.1:4444"
chain_id = 33
contract_address = "0x{HTLC_ADDRESS.hex()}"
key_file = "keys/rootstock"
"""


def test_the_layers_of_a_configuration_are_those_with_a_table(write: Write) -> None:
    assert dict(Layer2Config.load(write(MINIMAL)).layers) == {}
    config = Layer2Config.load(write(MINIMAL + BOB + ROOTSTOCK + LIGHTNING))
    assert list(config.layers) == [Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.LIGHTNING]
    assert config.layers[Layer2ProtocolType.ROOTSTOCK] is config.rootstock


def test_every_table_of_a_layer_is_in_the_one_list_of_layers() -> None:
    tables = {
        name
        for name, field in Layer2Config.model_fields.items()
        if any(isinstance(kind, type) and issubclass(kind, ClientSettings) for kind in get_args(field.annotation))
    }
    assert tables == {layer.value.lower() for layer in LAYERS if LAYERS[layer].clients_on}


def test_rootstock_has_a_chain_id_for_each_network_and_refuses_that_of_another(write: Write) -> None:
    for network, chain_id in (("mainnet", 30), ("testnet", 31), ("regtest", 33)):
        text = f'network = "{network}"\n' + ROOTSTOCK
        config = Layer2Config.load(write(text.replace("chain_id = 33", f"chain_id = {chain_id}")))
        assert isinstance(config.rootstock, RootstockSettings)
        assert (config.rootstock.chain_id, config.rootstock.network) == (chain_id, network)
        wrong = refusal(write(text.replace("chain_id = 33", "chain_id = 60808")))
        assert wrong.message.endswith(f'[rootstock] "chain_id": must be {chain_id} on {network}')


def test_rootstock_has_no_token_and_needs_the_address_of_the_contract(write: Write) -> None:
    assert refusal(write(MINIMAL + ROOTSTOCK + 'token_address = "0x00"\n')).code == "unknown_key"
    assert "contract_address" in refusal(write(MINIMAL + ROOTSTOCK.replace("contract_address", "# "))).message
    # Mixed case is a checksum, and on Rootstock another one than on other chains (EIP-1191).
    misread = ROOTSTOCK.replace("0x" + HTLC_ADDRESS.hex(), to_checksum(HTLC_ADDRESS))
    assert '"contract_address": EVM address: it has the EIP-55 checksum' in refusal(write(MINIMAL + misread)).message


def test_the_depths_of_finality_are_in_order_and_the_dialect_is_for_regtest(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL + ROOTSTOCK + 'dialect = "ethereum"\nsafe_depth = 2\nfinal_depth = 4\n'))
    assert config.rootstock is not None
    facts = config.rootstock.facts()
    assert (facts.depths, facts.receipts) == (HeadDepths(2, 4), "ethereum")
    assert (
        '"final_depth": must be at least safe_depth'
        in refusal(write(MINIMAL + ROOTSTOCK + "final_depth = 11\n")).message
    )
    public = 'network = "testnet"\n' + ROOTSTOCK.replace("33", "31") + 'dialect = "ethereum"\n'
    assert '"dialect": must be rskj on testnet' in refusal(write(public)).message


def test_the_values_for_all_layers_reach_each_client(write: Write) -> None:
    pool = "[connection_pool]\nmax_connections = 3\n"
    config = Layer2Config.load(write(MINIMAL + "default_timeout_ms = 7\n" + pool + BOB + ROOTSTOCK + LIGHTNING))
    assert len(config.layers) == 3
    for settings in config.layers.values():
        assert (settings.network, settings.default_timeout_ms) == ("regtest", 7)
        assert settings.connection_pool == ConnectionPoolConfig(max_connections=3)


def test_the_values_for_all_layers_reach_clients_whose_settings_are_made_in_python() -> None:
    made: dict[str, Any] = {"rpc_url": "http://127.0.0.1:8545", "token_address": TOKEN, "token_decimals": 8}
    bob = BobSection(network="regtest", key=SecretStr("ab" * 32), **made)
    pool = ConnectionPoolConfig(ca_file="ca.pem")
    config = Layer2Config(network="regtest", default_timeout_ms=7, connection_pool=pool, bob=bob)
    assert config.bob == replace(bob, default_timeout_ms=7, connection_pool=pool)
    slow = Layer2Config(network="regtest", default_timeout_ms=7, bob=replace(bob, default_timeout_ms=9)).bob
    assert slow is not None
    assert slow.default_timeout_ms == 9


def test_a_value_for_all_layers_is_refused_in_the_table_of_one(write: Write) -> None:
    error = refusal(write(MINIMAL + BOB + "default_timeout_ms = 7\n"))
    assert error.code == "unknown_key"
    assert '[bob] has no key "default_timeout_ms"; it is for all layers' in error.message


def test_settings_made_in_python_are_those_of_the_file_and_have_the_same_rules(write: Write) -> None:
    fields: dict[str, Any] = {"rpc_url": "http://127.0.0.1:8545", "token_address": TOKEN, "token_decimals": 8}
    made = BobSection(network="regtest", key_file=Path("keys/bob").absolute(), **fields)
    assert Layer2Config.load(write(MINIMAL + BOB)).bob == made
    assert Layer2Config(network="regtest", bob=made).bob is made
    with pytest.raises(ConfigurationError, match=r"\[bob\] is for regtest, not for mainnet"):
        Layer2Config(network="mainnet", bob=made)
    for key, value in (("poll_interval_ms", 0), ("native_price_sat", 0), ("websocket_url", "http://a")):
        with pytest.raises(ConfigurationError, match=f'"{key}": must be') as caught:
            BobSettings(network="regtest", **fields | {key: value})
        text = f"{key} = {json.dumps(value)}\n"
        assert refusal(write(MINIMAL + BOB + text)).message.endswith(f"[bob] {caught.value.message}")


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"max_connections": 0}, "from 1 to 1000"),
        ({"max_connections": "16"}, "from 1 to 1000"),
        ({"keepalive_seconds": float("nan")}, "at least 0"),
        ({"max_response_bytes": 10}, "at least 1024"),
        ({"max_calls_per_second": 0}, "above 0"),
        ({"max_batch_calls": None}, "from 1 to 10000"),
    ],
)
def test_the_settings_of_connections_have_rules_too(changes: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ConfigurationError, match=f'"{next(iter(changes))}": must be {allowed}'):
        ConnectionPoolConfig(**changes)


def test_the_price_of_the_coin_that_pays_gas_is_that_of_its_table(write: Write) -> None:
    config = Layer2Config.load(write(MINIMAL + BOB + "native_price_sat = 3_500_000\n" + ROOTSTOCK))
    assert config.bob is not None
    assert config.rootstock is not None
    assert config.bob.asset.coin_price_sat == 3_500_000
    # Its coin is bitcoin.
    assert config.rootstock.asset.coin_price_sat == 100_000_000


def test_lists_and_tables_in_the_environment_are_json(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER2_BOB__FALLBACK_RPC_URLS", '["http://127.0.0.1:2"]')
    monkeypatch.setenv("LAYER2_JOURNAL", '{"path": "/journal"}')
    config = Layer2Config.load(write(MINIMAL + BOB))
    assert config.bob is not None
    assert config.bob.fallback_rpc_urls == ("http://127.0.0.1:2",)
    assert config.journal.path == Path("/journal")
    monkeypatch.setenv("LAYER2_BOB__FALLBACK_RPC_URLS", "[http://127.0.0.1:2")
    assert "not a list" in refusal(write(MINIMAL + BOB)).message


@pytest.mark.parametrize("key", [IDENTITY, "02" + IDENTITY, "03" + IDENTITY])
def test_a_provider_s_key_is_of_bip_340_or_of_ecdsa(write: Write, key: str) -> None:
    table = f'[[providers]]\nname = "one"\nurl = "https://one.example"\nidentity_key = "{key}"\n'
    assert Layer2Config.load(write(MINIMAL + table)).providers[0].identity_key == key


@pytest.mark.parametrize("key", ["04" + IDENTITY, IDENTITY[:-2], "02" + IDENTITY.upper()])
def test_a_key_of_no_scheme_is_refused(write: Write, key: str) -> None:
    table = f'[[providers]]\nname = "one"\nurl = "https://one.example"\nidentity_key = "{key}"\n'
    assert '"identity_key"' in refusal(write(MINIMAL + table)).message
