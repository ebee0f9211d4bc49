from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.config.definitions import settings_of
from layer2.errors import ConfigurationError
from layer2.legs.timelock_settings import REGTEST
from layer2.provider.settings import PriceSection, ProviderSettings
from provider.made_providers import BOB, LIGHTNING, ROOTSTOCK

FILE = """
network = "regtest"
identity_key_file = "identity.key"
{more}
[bob]
rpc_url = "http://127.0.0.1:8545"
token_address = "0x1212121212121212121212121212121212121212"
token_decimals = 8
key_file = "bob.key"
[lightning]
rest_url = "https://127.0.0.1:8080"
certificate_file = "tls.cert"
macaroon_file = "admin.macaroon"
"""


def loaded(directory: Path, more: str = "", **arguments: Any) -> ProviderSettings:
    path = directory / "provider.toml"
    path.write_text(FILE.format(more=more))
    return ProviderSettings.load(path, **arguments)


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.timelocks is REGTEST
    assert settings.identity_key_file == tmp_path / "identity.key"
    assert settings.price_list.default.provider_fee(100_000) == 420
    assert set(settings.layers) == {BOB, LIGHTNING}
    assert (settings.listen_host, settings.max_open_swaps) == ("127.0.0.1", 100)


ROOTSTOCK_TABLE = """
[rootstock]
rpc_url = "http://127.0.0.1:4444"
chain_id = 33
contract_address = "0x1212121212121212121212121212121212121212"
key_file = "rootstock.key"
"""


def with_tables(directory: Path, tables: str, *, without: str = "") -> ProviderSettings:
    text = FILE.format(more="")
    if without:
        before, _, after = text.partition(f"[{without}]")
        text = before + "".join(f"[{rest}" for rest in after.split("[")[1:])
    path = directory / "provider.toml"
    path.write_text(text + tables)
    return ProviderSettings.load(path)


def test_any_two_layers_are_enough(tmp_path: Path) -> None:
    settings = with_tables(tmp_path, ROOTSTOCK_TABLE, without="lightning")
    assert set(settings.layers) == {BOB, ROOTSTOCK}


def test_one_layer_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two layers"):
        with_tables(tmp_path, "", without="lightning")


def test_a_pair_can_have_a_price_of_its_own_and_the_rest_of_it_is_the_common_one(tmp_path: Path) -> None:
    table = '[[prices]]\nsource = "BOB"\ndestination = "lightning"\nfee_ppm = 7\nmin_amount_sat = 20_000\n'
    prices = with_tables(tmp_path, table).price_list
    assert prices.price((LIGHTNING, BOB)) == prices.default
    assert prices.price((BOB, LIGHTNING)) == replace(prices.default, fee_ppm=7, min_amount=20_000)


def test_a_price_made_in_python_has_the_common_values_for_omitted_keys(tmp_path: Path) -> None:
    section = PriceSection(source="BOB", destination="LIGHTNING", base_fee_sat=7)
    prices = loaded(tmp_path, fee_ppm=50_000, max_amount_sat=90_000, prices=[section]).price_list
    assert prices.price((BOB, LIGHTNING)) == replace(prices.default, base_fee=7)
    assert prices.price((BOB, LIGHTNING)).fee_ppm == 50_000


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('source = "BOB"\ndestination = "MOON"', "not the name of a layer"),
        ('source = "BOB"\ndestination = "BOB"', "from BOB to BOB"),
        ('source = "BOB"\ndestination = "ROOTSTOCK"', "ROOTSTOCK, which has no table"),
        ('source = "BOB"\ndestination = "LIGHTNING"\nmin_amount_sat = 5_000_000', "above max_amount_sat"),
        (
            'source = "BOB"\ndestination = "LIGHTNING"\n[[prices]]\nsource = "BOB"\ndestination = "LIGHTNING"',
            "two prices",
        ),
    ],
)
def test_a_wrong_price_is_refused(tmp_path: Path, table: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        with_tables(tmp_path, f"[[prices]]\n{table}\n")


def test_the_journal_is_not_the_takers_where_both_have_their_files_in_one_place(tmp_path: Path) -> None:
    assert loaded(tmp_path).journal.path == tmp_path / "provider-journal.sqlite"
    assert loaded(tmp_path, journal={"path": tmp_path / "other"}).journal.path == tmp_path / "other"


def test_an_argument_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(tmp_path, "fee_ppm = 1").fee_ppm == 1
    monkeypatch.setenv("LAYER2_FEE_PPM", "2")
    assert loaded(tmp_path, "fee_ppm = 1").fee_ppm == 2
    assert loaded(tmp_path, "fee_ppm = 1", fee_ppm=3).fee_ppm == 3


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("fee_pmm = 1", 'did you mean "fee_ppm"'),
        ("fee_ppm = -1", '"fee_ppm"'),
        ("fee_ppm = 1.5", '"fee_ppm"'),
        ('listen_host = "0.0.0.0"', "loopback"),
        ('listen_host = "localhost"', "loopback"),
        ("listen_port = 65536", '"listen_port"'),
        ("min_amount_sat = 5_000_000", "min_amount_sat is above max_amount_sat"),
        ("safe_from_sat = 3_000_000", "safe_from_sat is above finalized_from_sat"),
        ("max_open_swaps = 0", '"max_open_swaps"'),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, more: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        loaded(tmp_path, more)
    assert reason in error.value.message
    assert "provider.toml" in error.value.message


def test_every_setting_is_described() -> None:
    settings = (*settings_of(ProviderSettings), *settings_of(PriceSection))
    assert [each.name for each in settings if each.table is None and not each.meaning] == []
