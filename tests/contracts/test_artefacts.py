"""The committed artefacts match their sources and the fixed addresses."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from coincurve import PublicKey
from eth_utils.crypto import keccak

from contracts.chain import STRANGER, Reverted
from contracts.world import World
from layer2.contracts import htlc, test_token
from layer2.contracts.artefact import load_artefact
from layer2.contracts.factory import (
    DETERMINISTIC_FACTORY,
    FACTORY_CODE,
    deployed_address,
    deployment_call,
)
from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    HTLC_INIT_CODE_HASH,
    HTLC_SALT,
    htlc_address,
    htlc_init_code,
    status_slot,
)
from layer2.errors import FormatError
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.rlp import encode

ROOT = Path(__file__).parents[2]


def test_the_status_of_a_lock_is_in_the_slot_that_the_compiler_states() -> None:
    command = [sys.executable, "-m", "vyper", "-f", "layout", str(ROOT / "src/layer2/contracts/htlc.vy")]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    place = json.loads(answer.stdout)["storage_layout"]["status"]
    assert (place["type"], place["n_slots"]) == ("HashMap[bytes32, uint8]", 1)
    lock_id = bytes(range(32))
    assert status_slot(lock_id) == keccak(place["slot"].to_bytes(32, "big") + lock_id)


@pytest.mark.parametrize("name", ["htlc", "test_token"])
def test_the_source_compiles_to_the_committed_bytes(name: str) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "compile_contracts.py"))
    assert tool["compile_artefact"](name) == tool["artefact_path"](name).read_text()


def test_salt_code_hash_and_address_of_the_htlc_are_frozen() -> None:
    assert bytes(32) == HTLC_SALT
    assert HTLC_INIT_CODE_HASH.hex() == "4d0e37722d249745bb3fae8bfc7588efaa96f5e5d26fdac312edcce0a328c4df"
    assert HTLC_ADDRESS.hex() == "c59f2adb373bd4ce8e6a872fb39c997ffdaab552"
    assert keccak(htlc_init_code()) == HTLC_INIT_CODE_HASH
    assert htlc_address() == HTLC_ADDRESS


def test_the_address_is_the_factorys_arithmetic_and_nothing_else() -> None:
    preimage = b"\xff" + DETERMINISTIC_FACTORY + HTLC_SALT + HTLC_INIT_CODE_HASH
    assert keccak(preimage)[12:] == HTLC_ADDRESS


def test_the_address_of_the_test_token_is_frozen() -> None:
    assert test_token.TEST_TOKEN_ADDRESS.hex() == "0ccb112f746bb53cacffc523f3a6ce1b42aef479"
    assert (
        deployed_address(test_token.TEST_TOKEN_SALT, test_token.test_token_init_code()) == test_token.TEST_TOKEN_ADDRESS
    )


def test_the_code_needs_no_instruction_newer_than_paris() -> None:
    assert load_artefact("htlc").evm_version == "paris"
    assert load_artefact("htlc").compiler.startswith("vyper 0.4.3+")


def test_the_creation_code_carries_the_runtime_code_and_no_metadata() -> None:
    for name in ("htlc", "test_token"):
        artefact = load_artefact(name)
        assert artefact.init_code.endswith(artefact.runtime_code)


def test_the_factory_code_is_that_of_the_transaction_without_a_key() -> None:
    """The factory's address results from the invented signature of its deployment, which covers this code."""
    copy_and_return_the_rest = bytes.fromhex("604580600e600039806000f350fe")
    transaction = [b"", (100 * 10**9).to_bytes(5, "big"), (100_000).to_bytes(3, "big"), b"", b""]
    digest = keccak(encode([*transaction, copy_and_return_the_rest + FACTORY_CODE]))
    signature = b"\x22" * 64 + b"\x00"
    key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    sender = address_of_public_key(key.format())
    assert keccak(encode([sender, b""]))[12:] == DETERMINISTIC_FACTORY


def test_the_factory_creates_a_contract_once(world: World) -> None:
    with pytest.raises(Reverted):
        world.chain.deploy(htlc_init_code(), HTLC_SALT)
    assert world.chain.deploy(htlc_init_code(), b"\x01" * 32) != HTLC_ADDRESS


def test_deployment_arguments_are_checked() -> None:
    with pytest.raises(FormatError):
        deployment_call(bytes(31), b"\x00")
    with pytest.raises(FormatError):
        deployment_call(bytes(32), b"")
    with pytest.raises(FormatError):
        deployed_address(bytes(31), b"\x00")


def test_importing_the_contracts_loads_no_artefact_and_no_json_of_it() -> None:
    program = (
        "import layer2.contracts.htlc as htlc, layer2.contracts.artefact as artefact;"
        "assert artefact.load_artefact.cache_info().currsize == 0;"
        "htlc.htlc_init_code();"
        "assert artefact.load_artefact.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env={"PYTHONPATH": str(ROOT / "src")})


def test_a_stranger_can_send_the_deployment(world: World) -> None:
    salt = b"\x02" * 32
    world.chain.send(STRANGER, DETERMINISTIC_FACTORY, deployment_call(salt, htlc_init_code()), gas=2_000_000)
    assert world.chain.code(deployed_address(salt, htlc_init_code())) == load_artefact("htlc").runtime_code


def test_the_documentation_names_the_address_the_code_and_the_gas_limits_that_are_used() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    assert to_checksum(HTLC_ADDRESS) in text
    assert to_checksum(DETERMINISTIC_FACTORY) in text
    assert f"0x{HTLC_INIT_CODE_HASH.hex()}" in text
    for name in ("LOCK_GAS_ERC20", "CLAIM_GAS", "REFUND_GAS"):
        assert f"`{name}` {getattr(htlc, name):,} " in text
