"""The commands with which a verifier asks the holder of a proof, and the holder answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cli.running import Ran, layer2_here
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.proofs.challenge import HolderAnswer, HolderChallenge
from proofs import made_proofs as made

TAKER = made.PAYEE
ACCOUNT = address_of_public_key(TAKER.public_key.format())
CONFIG = f"""
network = "regtest"
[bob]
rpc_url = "http://127.0.0.1:1"
token_address = "{to_checksum(made.TOKEN)}"
token_decimals = 8
key_file = "taker-key"
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A verifier's directory with a proof, and a challenge about it."""
    made.to_lightning(made.terms(made.evm_leg(payer=ACCOUNT))).save(tmp_path / "transfer.json")
    ran = ask(tmp_path)
    assert ran.status == 0, ran.err
    return tmp_path


def ask(desk: Path, *words: str) -> Ran:
    return layer2_here("proof", "challenge", "transfer.json", "--verifier", "Example Bank", *words, cwd=desk)


def answer(desk: Path, *words: str) -> Ran:
    return layer2_here("proof", "answer", "transfer.json", "transfer.challenge.json", *words, "--json", cwd=desk)


def check(desk: Path, *words: str, challenge: str = "transfer.challenge.json") -> Ran:
    return layer2_here("proof", "check-answer", "transfer.json", challenge, "transfer.answer.json", *words, cwd=desk)


def with_key(desk: Path, secret: str) -> None:
    (desk / "layer2.toml").write_text(CONFIG)
    (desk / "taker-key").touch(mode=0o600)
    (desk / "taker-key").write_text(secret)


def test_a_holder_with_the_key_answers_and_the_verifier_learns_the_leg(desk: Path) -> None:
    with_key(desk, TAKER.to_hex())
    first = answer(desk)
    assert (first.status, first.envelope["error"]["code"]) == (4, "needs_yes")
    assert "Example Bank" in first.envelope["error"]["remedy"]
    assert not (desk / "transfer.answer.json").exists()
    signed = answer(desk, "--yes")
    assert (signed.status, signed.envelope["data"]["signed"]) == (0, True), signed.err
    checked = check(desk, "--json")
    assert checked.status == 0, checked.err
    assert checked.envelope["data"]["keys"] == [{"leg": "source", "protocol": "BOB", "key": ACCOUNT.hex()}]
    people = check(desk)
    assert f"the payer's account {to_checksum(ACCOUNT)} in the source on BOB" in people.out
    assert "the proof itself is not checked here: layer2 proof verify transfer.json" in people.out


def test_the_holder_sees_exactly_the_text_that_is_signed(desk: Path) -> None:
    with_key(desk, TAKER.to_hex())
    ran = layer2_here("proof", "answer", "transfer.json", "transfer.challenge.json", cwd=desk)
    challenge = HolderChallenge.from_bytes((desk / "transfer.challenge.json").read_bytes())
    assert ran.out.split("-" * 40)[1] == f"\n{challenge.text}\n"
    assert answer(desk).envelope["data"]["text"] == challenge.text
    assert "for Example Bank, valid until" in ran.out


def test_a_wallet_signs_in_place_of_a_configuration(desk: Path) -> None:
    shown = answer(desk)
    assert shown.status == 3, "there is no configuration"
    text = shown.envelope["data"]["text"]
    signature = Account.sign_message(encode_defunct(text=text), TAKER.secret).signature.hex()
    for form in (signature, f"0x{signature}"):
        (desk / "transfer.answer.json").unlink(missing_ok=True)
        assert answer(desk, "--signature", form).status == 0
        assert check(desk).status == 0
    (desk / "transfer.answer.json").unlink()
    other = Account.sign_message(encode_defunct(text=text), made.PROVIDER.secret).signature.hex()
    refused = answer(desk, "--signature", other)
    assert (refused.status, refused.envelope["error"]["code"]) == (1, "proof_refused")
    assert answer(desk, "--signature", "0xzz").status == 3
    assert not (desk / "transfer.answer.json").exists()


def test_a_configuration_without_the_key_shows_who_can_answer(desk: Path) -> None:
    with_key(desk, made.PROVIDER.to_hex())
    ran = layer2_here("proof", "answer", "transfer.json", "transfer.challenge.json", "--yes", cwd=desk)
    assert ran.status == 4
    assert "no key of the taker" in ran.err
    assert to_checksum(ACCOUNT) in ran.out
    assert "--signature" in ran.out
    assert not (desk / "transfer.answer.json").exists()


def test_an_answer_to_another_challenge_or_verifier_or_too_late_is_refused_with_its_check(desk: Path) -> None:
    with_key(desk, TAKER.to_hex())
    assert answer(desk, "--yes").status == 0
    assert ask(desk, "--output", "again.json").status == 0
    assert "answer_challenge" in check(desk, challenge="again.json").err
    other = ("proof", "challenge", "transfer.json", "--verifier", "Other Bank", "--output", "theirs.json")
    assert layer2_here(*other, cwd=desk).status == 0
    assert "answer_verifier" in check(desk, challenge="theirs.json").err

    value = json.loads((desk / "transfer.challenge.json").read_text())
    value["expires_at"] = made.INVOICE_TIME
    late = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    (desk / "late.json").write_bytes(late)
    challenge = HolderChallenge.from_bytes(late)
    signature = bytes(Account.sign_message(encode_defunct(text=challenge.text), TAKER.secret).signature)
    (desk / "transfer.answer.json").write_bytes(HolderAnswer(challenge, signature).to_bytes())
    ran = check(desk, "--json", challenge="late.json")
    assert ran.status == 1
    assert ran.envelope["error"]["message"].startswith("answer_expired")


def test_a_challenge_about_another_proof_is_not_signed(desk: Path) -> None:
    with_key(desk, TAKER.to_hex())
    made.to_lightning(made.terms(made.evm_leg(payer=ACCOUNT), collect_by=made.BLOCK_TIME)).save(desk / "transfer.json")
    ran = answer(desk, "--yes")
    assert ran.status == 1
    assert ran.envelope["error"]["message"].startswith("answer_proof")


def test_no_file_is_overwritten(desk: Path) -> None:
    before = (desk / "transfer.challenge.json").read_bytes()
    again = ask(desk, "--json")
    assert (again.status, again.envelope["error"]["code"]) == (3, "unwritable_file")
    assert (desk / "transfer.challenge.json").read_bytes() == before
    with_key(desk, TAKER.to_hex())
    assert answer(desk, "--yes", "--output", "transfer.json").status == 3


def test_what_is_no_challenge_and_no_answer_is_refused(desk: Path) -> None:
    (desk / "transfer.answer.json").write_bytes(b"{}")
    for ran in (check(desk), check(desk, challenge="transfer.json")):
        assert ran.status == 1
        assert "answer_format" in ran.err
    assert check(desk, challenge="none.json").status == 3
    for minutes in ("0", "-1", "10081"):
        assert ask(desk, "--minutes", minutes, "--output", "new.json").status == 3
    name = ("proof", "challenge", "transfer.json", "--verifier", "a\nb", "--output", "new.json", "--json")
    assert layer2_here(*name, cwd=desk).envelope["error"]["code"] == "usage"
    assert not (desk / "new.json").exists()


def test_the_verifier_s_name_is_required(desk: Path) -> None:
    ran = layer2_here("proof", "challenge", "transfer.json", "--json", cwd=desk)
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage")
