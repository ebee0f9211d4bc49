"""What ``layer2 proof verify`` accepts: nothing that the policy does not declare."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from cli.running import Ran, layer2_here
from layer2.cli.proof_policy import PolicyFile, PolicyOptions
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.proofs.model import TransferProof
from proofs import made_proofs as made
from proofs import made_rootstock
from proofs.made_audits import preimage_of, terms

KEY, TOKEN = made.PROVIDER_KEY.hex(), f"60808:0x{made.TOKEN.hex()}:8"
WHOLE = {"--network": "regtest", "--token": TOKEN, "--provider": KEY}
KEYS = {"--network": "networks", "--token": "tokens", "--provider": "providers", "--trusted-header": "trusted_headers"}


def block_of(proof: TransferProof) -> str:
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    return keccak256(proof.source_leg.header).hex()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return made.to_lightning().save(tmp_path / "one.json")


def verify(file: Path, *options: str) -> Ran:
    return layer2_here("proof", "verify", file.name, *options, "--json", cwd=file.parent)


def words(options: dict[str, str]) -> list[str]:
    return [word for pair in options.items() for word in pair]


def test_what_is_declared_by_options_is_accepted(file: Path) -> None:
    header = {"--trusted-header": block_of(TransferProof.load(file))}
    ran = verify(file, *words(WHOLE | header))
    assert ran.status == 0, ran.err


@pytest.mark.parametrize("missing", [*WHOLE, "--trusted-header"])
def test_each_thing_that_is_not_declared_is_named_with_its_option_and_key(file: Path, missing: str) -> None:
    options = WHOLE | {"--trusted-header": block_of(TransferProof.load(file))}
    value = options.pop(missing)
    ran = verify(file, *words(options))
    assert ran.status == 4
    remedy = ran.envelope["error"]["remedy"]
    assert missing in remedy
    if missing != "--trusted-header":
        assert f'{missing} {value}, or {KEYS[missing]} = ["{value}"]' in remedy
    assert all(other not in remedy for other in options)


def test_a_policy_file_declares_the_same_as_the_options(file: Path) -> None:
    header = block_of(TransferProof.load(file))
    declared = WHOLE | {"--trusted-header": f"BOB:{header}"}
    lines = [f'{KEYS[option]} = ["{value}"]' for option, value in declared.items()]
    (file.parent / "policy.toml").write_text("\n".join(lines))
    assert verify(file, "--policy", "policy.toml").status == 0
    for missing in range(len(lines)):
        (file.parent / "less.toml").write_text("\n".join(lines[:missing] + lines[missing + 1 :]))
        assert verify(file, "--policy", "less.toml").status == 4, lines[missing]


def test_an_option_replaces_its_key_of_the_file(file: Path) -> None:
    header = block_of(TransferProof.load(file))
    (file.parent / "policy.toml").write_text(f'networks = ["mainnet"]\ntokens = ["{TOKEN}"]\nproviders = ["{KEY}"]\n')
    options = ("--policy", "policy.toml", "--trusted-header", header)
    ran = verify(file, *options)
    assert (ran.status, ran.envelope["error"]["code"]) == (1, "proof_refused")
    assert verify(file, *options, "--network", "regtest").status == 0


def test_a_key_without_values_declares_nothing(file: Path) -> None:
    (file.parent / "policy.toml").write_text("networks = []\ntokens = []\nproviders = []\n")
    ran = verify(file, "--policy", "policy.toml", "--trusted-header", block_of(TransferProof.load(file)))
    assert ran.status == 4
    assert all(option in ran.envelope["error"]["remedy"] for option in WHOLE)


def test_a_worthless_token_and_wrong_decimals_are_refused_if_tokens_are_declared(file: Path) -> None:
    header = ("--trusted-header", block_of(TransferProof.load(file)), "--network", "regtest", "--provider", KEY)
    for token in (f"60808:0x{'99' * 20}:8", f"60808:0x{made.TOKEN.hex()}:18"):
        ran = verify(file, "--token", token, *header)
        assert (ran.status, ran.envelope["error"]["code"]) == (1, "proof_refused")


def test_mainnet_needs_no_declaration_and_its_tokens_do(tmp_path: Path) -> None:
    invoice = made.invoice(preimage=preimage_of(1), prefix="bc")
    agreed = terms(1, network="mainnet", destination=made.lightning_leg(invoice, prefix="bc"))
    proof = made.to_lightning(agreed, payment=preimage_of(1), preimage=preimage_of(1))
    file = proof.save(tmp_path / "one.json")
    options = ("--provider", KEY, "--trusted-header", block_of(proof))
    ran = verify(file, *options)
    assert ran.status == 4
    assert "--token" in ran.envelope["error"]["remedy"]
    assert "--network" not in ran.envelope["error"]["remedy"]
    assert verify(file, *options, "--token", TOKEN).status == 0


def test_rootstock_s_own_coin_needs_no_token(tmp_path: Path) -> None:
    file = made_rootstock.from_rootstock().save(tmp_path / "one.json")
    contract = f"33:0x{made_rootstock.CONTRACT.hex()}"
    declared = ("--network", "regtest", "--provider", KEY, "--contract", contract, "--work", "ROOTSTOCK:16")
    assert verify(file, *declared).status == 0
    unknown = verify(file, "--network", "regtest", "--provider", KEY)
    assert (unknown.status, unknown.envelope["error"]["remedy"].endswith(f"--contract {contract}")) == (1, True)
    ran = verify(file, *declared, "--requires", "finalized")
    assert ran.status == 4
    assert "finalized" in ran.envelope["error"]["message"]
    (tmp_path / "policy.toml").write_text('requires = "finalized"\n')
    assert verify(file, *declared, "--policy", "policy.toml").status == 4
    assert verify(file, *declared, "--policy", "policy.toml", "--requires", "as_agreed").status == 0


WRONG = {
    "an unknown key": (
        'provider = ["ab"]',
        'has no key "provider"; did you mean "providers"? known keys: networks, tokens',
    ),
    "a text": ('networks = "mainnet"', 'networks has a value of another type; write networks = ["...", "..."]'),
    "numbers": ("providers = [1]", "providers has a value of another type"),
    "an unknown network": ('networks = ["moon"]', "networks takes mainnet or testnet or regtest, not moon"),
    "a short key": ('providers = ["ab"]', "providers takes 64 or 66 hex digits, not ab"),
    "spaces in a key": (f'providers = ["{" " * 2}{KEY[:-2]}"]', "providers takes 64 or 66 hex digits"),
    "a payee of 32 bytes": (f'own_preimage_payees = ["{KEY}"]', "own_preimage_payees takes 66 hex digits"),
    "a token without decimals": (f'tokens = ["60808:0x{made.TOKEN.hex()}"]', "tokens takes CHAIN_ID:ADDRESS:DECIMALS"),
    "two decimals": (f'tokens = ["{TOKEN}", "{TOKEN[:-1]}18"]', "two numbers of decimals"),
    "a signed number": (f'tokens = ["{TOKEN[:-1]}+8"]', "tokens takes CHAIN_ID:ADDRESS:DECIMALS"),
    "no layer": (f'trusted_headers = ["{KEY}"]', "trusted_headers takes LAYER:HASH"),
    "an unknown layer": ('work = ["MARS:1"]', "work takes LAYER:HASHES, not MARS:1"),
    "a layer without work": ('work = ["BOB:1"]', "work: only the headers of"),
    "no work": ('work = ["BITCOIN:0"]', "work: for each layer, a positive number"),
    "no requirement": ('requires = "nothing"', "requires takes stated or as_agreed or finalized, not nothing"),
    "a list of requirements": ('requires = ["finalized"]', 'write requires = "..."'),
    "no TOML": ("networks =", "not TOML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_policy_file_is_refused_with_the_key_that_is_wrong(file: Path, name: str) -> None:
    text, message = WRONG[name]
    (file.parent / "policy.toml").write_text(text)
    ran = verify(file, "--policy", "policy.toml")
    assert ran.status == 3, ran.err
    assert ran.envelope["error"]["message"].startswith("policy.toml")
    assert message in ran.envelope["error"]["message"]


def test_an_absent_policy_file_is_wrong_use_and_not_an_empty_policy(file: Path) -> None:
    ran = verify(file, "--policy", "absent.toml")
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "unreadable_file")
    (file.parent / "bytes.toml").write_bytes(b"\xff\xfe")
    assert verify(file, "--policy", "bytes.toml").status == 3


def test_a_wrong_option_names_its_form(file: Path) -> None:
    ran = verify(file, "--token", "60808")
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage")
    assert "--token takes CHAIN_ID:ADDRESS:DECIMALS, not 60808" in ran.err


def test_the_template_is_a_policy_that_declares_nothing(file: Path) -> None:
    ran = layer2_here("proof", "policy", cwd=file.parent)
    assert ran.status == 0
    assert tomllib.loads(ran.out) == {}
    fields = PolicyFile.__dataclass_fields__
    assert all(f"# {name} =" in ran.out for name in fields)
    (file.parent / "policy.toml").write_text(ran.out)
    assert verify(file, "--policy", "policy.toml").status == 4


def test_the_template_of_a_configuration_accepts_what_the_configuration_does(file: Path) -> None:
    (file.parent / "layer2.toml").write_text(
        f'network = "regtest"\n[bob]\nrpc_url = "http://127.0.0.1:1"\ntoken_address = "0x{made.TOKEN.hex()}"\n'
        f'token_decimals = 8\nkey = "{"01" * 32}"\n'
        f'[[providers]]\nname = "one"\nurl = "https://swaps.example.org"\nidentity_key = "{KEY}"\n'
    )
    ran = layer2_here("proof", "policy", cwd=file.parent)
    assert ran.status == 0, ran.err
    values = tomllib.loads(ran.out)
    assert values == {"networks": ["regtest"], "tokens": [TOKEN], "providers": [KEY], "requires": "as_agreed"}
    (file.parent / "policy.toml").write_text(ran.out)
    header = ("--trusted-header", block_of(TransferProof.load(file)))
    assert verify(file, "--policy", "policy.toml", *header).status == 0
    stranger = made.signed(made.terms(), made.PAYEE)
    replace(TransferProof.load(file), terms=stranger).save(file)
    assert verify(file, "--policy", "policy.toml", *header).status == 1


def test_every_key_of_the_file_has_an_option_and_the_other_way_round() -> None:
    options = {name for name in PolicyOptions.__dataclass_fields__ if name != "policy"} | {"trusted_header"}
    keys = set(PolicyFile.__dataclass_fields__)
    named = {"network": "networks", "token": "tokens", "provider": "providers", "payee": "own_preimage_payees"}
    named |= {"contract": "contracts", "trusted_header": "trusted_headers"}
    assert {named.get(option, option) for option in options} == keys
