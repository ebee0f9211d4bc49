"""A verifier's challenge: what is signed, and the formats of challenges and answers. Oracle: eth-account."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import (
    HolderAnswer,
    HolderChallenge,
    make_answer,
    make_challenge,
)
from proofs import made_bitcoin
from proofs.made_challenges import (
    ACCOUNT,
    NONCE,
    NOW,
    TAKER,
    asked_of,
    by_output_key,
    by_wallet,
    from_bob,
)


def test_the_text_and_the_digests_of_version_1_never_change() -> None:
    challenge = HolderChallenge(SwapId("ab" * 16), b"\xcd" * 32, "Example Bank", 1_790_000_000, NONCE)
    assert challenge.text == (
        "layer2 holder challenge, version 1\n"
        "\n"
        "I hold a key of the taker of this transfer. I state this to this verifier only. "
        "This signature moves no money.\n"
        "\n"
        "Verifier: Example Bank\n"
        "Transfer: abababababababababababababababab\n"
        "Terms: cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\n"
        "Valid until (unix time): 1790000000\n"
        "Challenge: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    )
    tag = hashlib.sha256(b"layer2/holder-challenge/v1").digest()
    expected = hashlib.sha256(tag + tag + challenge.text.encode()).digest()
    assert challenge.digest(PartyKey(KeyScheme.ECDSA, bytes(33))) == expected
    assert challenge.to_bytes() == (
        b'{"expires_at":1790000000,'
        b'"nonce":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
        b'"swap_id":"abababababababababababababababab",'
        b'"terms_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",'
        b'"verifier":"Example Bank","version":1}'
    )
    answer = HolderAnswer(challenge, b"\x01" * 64)
    assert answer.to_bytes() == (
        b'{"challenge":' + challenge.to_bytes() + b',"signature":"' + b"01" * 64 + b'","version":1}'
    )


CHANGES: dict[str, dict[str, object]] = {
    "swap_id": {"swap_id": SwapId("00" * 16)},
    "terms_hash": {"terms_hash": bytes(32)},
    "verifier": {"verifier": "Example Bank 2"},
    "expires_at": {"expires_at": NOW + 601},
    "nonce": {"nonce": bytes(32)},
}


@pytest.mark.parametrize("field", CHANGES)
def test_the_signature_covers_every_field(field: str) -> None:
    one = asked_of(from_bob())
    other = replace(one, **CHANGES[field])  # type: ignore[arg-type]  # each value has its field's type
    for scheme in KeyScheme:
        key = PartyKey(scheme, b"")
        assert one.digest(key) != other.digest(key)
    assert set(CHANGES) == {*HolderChallenge.__dataclass_fields__}


def test_a_wallet_signs_the_same_digest() -> None:
    challenge = asked_of(from_bob())
    signed = Account.sign_message(encode_defunct(text=challenge.text), TAKER.secret)
    assert challenge.digest(PartyKey(KeyScheme.EIP191, ACCOUNT)) == bytes(signed.message_hash)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nTerms: 00", "a\tb", "Bänk", "a" * 65, "\x7f"])
def test_a_name_that_could_look_like_another_one_or_like_another_line_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="printable ASCII"):
        asked_of(from_bob(), name)
    sound = json.loads(asked_of(from_bob()).to_bytes())
    altered = json.dumps(sound | {"verifier": name}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    with pytest.raises(FormatError):
        HolderChallenge.from_bytes(altered.encode())


@pytest.mark.parametrize("nonce", [b"", bytes(31), bytes(33)])
def test_a_challenge_has_32_random_bytes(nonce: bytes) -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        asked_of(from_bob(), nonce=nonce)


@pytest.mark.parametrize("expires_at", [-1, 2**53])
def test_an_expiry_is_a_number_of_the_format(expires_at: int) -> None:
    with pytest.raises(FormatError, match="expiry"):
        make_challenge(from_bob(), verifier="a", expires_at=expires_at, nonce=NONCE)


def test_a_challenge_and_an_answer_are_read_as_they_were_written() -> None:
    for proof, sign in (
        (from_bob(), by_wallet),
        (made_bitcoin.from_bitcoin(), lambda each: by_output_key(each, made_bitcoin.PAYER)),
    ):
        challenge = asked_of(proof)
        answer = make_answer(proof, challenge, sign(challenge))
        assert HolderChallenge.from_bytes(challenge.to_bytes()) == challenge
        assert HolderAnswer.from_bytes(answer.to_bytes()) == answer


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.from_regex(r"[!-~]([ -~]{0,62}[!-~])?", fullmatch=True),
    st.integers(0, 2**53 - 1),
    st.binary(max_size=65),
)
def test_every_challenge_and_answer_has_one_form(
    swap_id: bytes, digest: bytes, name: str, expires_at: int, signature: bytes
) -> None:
    answer = HolderAnswer(HolderChallenge(SwapId(swap_id.hex()), digest, name, expires_at, digest), signature)
    assert HolderAnswer.from_bytes(answer.to_bytes()) == answer
    assert name in answer.challenge.text.splitlines()[4]
    assert len(answer.challenge.text.splitlines()) == 9


def wrong_forms(sound: bytes) -> list[bytes]:
    value = json.loads(sound)

    def written(**changes: object) -> bytes:
        return json.dumps(value | changes, sort_keys=True, separators=(",", ":")).encode()

    missing = [
        json.dumps({name: each for name, each in value.items() if name != left_out}, separators=(",", ":")).encode()
        for left_out in value
    ]
    return [
        *missing,
        b"",
        b"[]",
        sound[:-1],
        sound + b"\n",
        sound.replace(b",", b", ", 1),
        written(version=2),
        written(version="1"),
        written(more=1),
    ]


def test_another_form_is_refused() -> None:
    challenge = asked_of(from_bob())
    answer = HolderAnswer(challenge, by_wallet(challenge))
    for data in wrong_forms(challenge.to_bytes()):
        with pytest.raises(FormatError):
            HolderChallenge.from_bytes(data)
    for data in wrong_forms(answer.to_bytes()):
        with pytest.raises(FormatError):
            HolderAnswer.from_bytes(data)
    sound = answer.to_bytes()
    digits = answer.signature.hex().encode()
    for wrong in (digits + b"00", b"0x" + digits[2:], digits.upper(), digits[:-1]):
        with pytest.raises(FormatError):
            HolderAnswer.from_bytes(sound.replace(digits, wrong))
    with pytest.raises(FormatError):
        HolderAnswer.from_bytes(sound.replace(b'"version":1},', b'"version":2},'))
    with pytest.raises(FormatError, match="longer"):
        HolderChallenge.from_bytes(b" " * 5_000)
