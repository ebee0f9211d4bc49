"""Challenges and answers of holders. Oracles: eth-account for accounts, eth-keys' own arithmetic for other keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey
from coincurve.utils import GROUP_ORDER_INT
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.main import KeyAPI
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError, ProofRefused
from layer2.formats.evm_address import address_of_public_key
from layer2.formats.tagged_signature import compact_ecdsa
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import (
    HolderAnswer,
    HolderChallenge,
    LegKey,
    check_answer,
    make_answer,
    make_challenge,
    taker_keys,
)
from layer2.proofs.model import TransferProof
from proofs import made_bitcoin
from proofs import made_proofs as made

TAKER, OTHER, LOCKER = (PrivateKey(hashlib.sha256(name).digest()) for name in (b"taker", b"other", b"locker"))
ACCOUNT, OTHER_ACCOUNT, PROVIDER_ACCOUNT = (
    address_of_public_key(key.public_key.format()) for key in (TAKER, OTHER, LOCKER)
)
NOW = 1_790_000_500
NONCE = bytes(range(32))
BOB, ROOTSTOCK, BITCOIN = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.BITCOIN


def from_bob(**changes: Any) -> TransferProof:
    """A transfer from BOB to Lightning: the taker locks."""
    return made.to_lightning(made.terms(made.evm_leg(payer=ACCOUNT, payee=PROVIDER_ACCOUNT), **changes))


def to_bob() -> TransferProof:
    """A transfer from Lightning to BOB: the provider locks."""
    leg = made.evm_leg(amount=made.AMOUNT, payer=PROVIDER_ACCOUNT, payee=ACCOUNT)
    return made.to_bob(made.terms(made.lightning_leg(amount=made.AMOUNT + made.FEE), leg))


def between_chains(payee: bytes = ACCOUNT) -> TransferProof:
    """A transfer from BOB to Rootstock."""
    source = made.evm_leg(payer=ACCOUNT, payee=PROVIDER_ACCOUNT)
    return made.between_chains(made.terms(source, made.rootstock_leg(payer=PROVIDER_ACCOUNT, payee=payee)))


def asked_of(proof: TransferProof, verifier: str = "Example Bank", nonce: bytes = NONCE) -> HolderChallenge:
    return make_challenge(proof, verifier=verifier, expires_at=NOW + 600, nonce=nonce)


def by_wallet(challenge: HolderChallenge, key: PrivateKey = TAKER) -> bytes:
    """What a wallet returns for the text of a challenge (``personal_sign``)."""
    return bytes(Account.sign_message(encode_defunct(text=challenge.text), key.secret).signature)


def by_output_key(challenge: HolderChallenge, key: PrivateKey) -> bytes:
    digest = challenge.digest(PartyKey(KeyScheme.ECDSA, key.public_key.format()))
    return compact_ecdsa(key.sign(digest, hasher=None))


def refused(proof: TransferProof, challenge: HolderChallenge, answer: HolderAnswer, now: float = NOW) -> str:
    with pytest.raises(ProofRefused) as caught:
        check_answer(proof, challenge, answer, now=now)
    return caught.value.check


# What is signed.


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


# Who can answer.


def test_the_payer_of_the_source_and_the_payee_of_the_destination_can_answer() -> None:
    account = PartyKey(KeyScheme.EIP191, ACCOUNT)
    assert taker_keys(from_bob().terms.terms) == (LegKey(BOB, Side.PAYER, account),)
    assert taker_keys(to_bob().terms.terms) == (LegKey(BOB, Side.PAYEE, account),)
    assert taker_keys(between_chains(OTHER_ACCOUNT).terms.terms) == (
        LegKey(BOB, Side.PAYER, account),
        LegKey(ROOTSTOCK, Side.PAYEE, PartyKey(KeyScheme.EIP191, OTHER_ACCOUNT)),
    )
    key = PartyKey(KeyScheme.ECDSA, made_bitcoin.PAYER.public_key.format())
    assert taker_keys(made_bitcoin.from_bitcoin().terms.terms) == (LegKey(BITCOIN, Side.PAYER, key),)


@pytest.mark.parametrize(("make", "side"), [(from_bob, Side.PAYER), (to_bob, Side.PAYEE)])
def test_an_answer_by_the_taker_s_account_names_its_leg(make: Callable[[], TransferProof], side: Side) -> None:
    proof = make()
    challenge = asked_of(proof)
    answer = make_answer(proof, challenge, by_wallet(challenge))
    assert check_answer(proof, challenge, answer, now=NOW) == (LegKey(BOB, side, PartyKey(KeyScheme.EIP191, ACCOUNT)),)


def test_an_account_that_is_the_taker_s_in_both_legs_is_named_for_both() -> None:
    proof = between_chains()
    challenge = asked_of(proof)
    keys = check_answer(proof, challenge, HolderAnswer(challenge, by_wallet(challenge)), now=NOW)
    assert [(each.protocol, each.side) for each in keys] == [(BOB, Side.PAYER), (ROOTSTOCK, Side.PAYEE)]


def test_either_of_two_accounts_can_answer_for_its_leg() -> None:
    proof = between_chains(OTHER_ACCOUNT)
    challenge = asked_of(proof)
    for signer, layer in ((TAKER, BOB), (OTHER, ROOTSTOCK)):
        (key,) = check_answer(proof, challenge, HolderAnswer(challenge, by_wallet(challenge, signer)), now=NOW)
        assert key.protocol is layer


def test_an_answer_by_the_taker_s_key_of_an_output_holds() -> None:
    proof = made_bitcoin.from_bitcoin()
    challenge = asked_of(proof)
    answer = make_answer(proof, challenge, by_output_key(challenge, made_bitcoin.PAYER))
    (key,) = check_answer(proof, challenge, answer, now=NOW)
    assert (key.protocol, key.side) == (BITCOIN, Side.PAYER)
    oracle = KeyAPI(NativeECCBackend)
    r, s = (int.from_bytes(part, "big") for part in (answer.signature[:32], answer.signature[32:]))
    assert oracle.ecdsa_verify(
        challenge.digest(key.key),
        oracle.NonRecoverableSignature(rs=(r, s)),
        oracle.PublicKey.from_compressed_bytes(key.key.data),
    )


@pytest.mark.parametrize("forms", [(27, 28), (0, 1)])
def test_the_last_byte_is_a_wallet_s_or_a_signer_s(forms: tuple[int, int]) -> None:
    proof = from_bob()
    seen: set[int] = set()
    for at in range(20):
        challenge = asked_of(proof, nonce=bytes([at]) * 32)
        signature = by_wallet(challenge)
        last = forms[signature[64] - 27]
        seen.add(last)
        assert check_answer(proof, challenge, HolderAnswer(challenge, signature[:64] + bytes([last])), now=NOW)
    assert seen == set(forms)


def test_an_answer_counts_until_the_expiry_and_no_longer() -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    answer = make_answer(proof, challenge, by_wallet(challenge))
    assert check_answer(proof, challenge, answer, now=challenge.expires_at)
    for late in (challenge.expires_at + 0.1, float("inf"), float("nan")):
        assert refused(proof, challenge, answer, now=late) == "answer_expired"


# Forgeries.


def test_an_answer_for_another_verifier_is_refused() -> None:
    proof = from_bob()
    theirs, mine = asked_of(proof, "Other Bank"), asked_of(proof)
    answer = make_answer(proof, theirs, by_wallet(theirs))
    assert refused(proof, mine, answer) == "answer_verifier"
    assert refused(proof, mine, replace(answer, challenge=mine)) == "answer_signature"


@pytest.mark.parametrize("changes", [{"nonce": bytes(32)}, {"expires_at": NOW + 601}], ids=["nonce", "expiry"])
def test_an_answer_to_another_challenge_is_refused(changes: dict[str, object]) -> None:
    proof = from_bob()
    mine = asked_of(proof)
    old = replace(mine, **changes)  # type: ignore[arg-type]  # each value has its field's type
    answer = make_answer(proof, old, by_wallet(old))
    assert refused(proof, mine, answer) == "answer_challenge"
    assert refused(proof, mine, replace(answer, challenge=mine)) == "answer_signature"


def test_an_answer_for_other_terms_of_the_same_taker_is_refused() -> None:
    proof, other = from_bob(), from_bob(swap_id=SwapId("12" * 16))
    mine, old = asked_of(proof), asked_of(other)
    answer = make_answer(other, old, by_wallet(old))
    assert refused(proof, mine, answer) == "answer_proof"
    assert refused(proof, old, answer) == "answer_proof"
    assert refused(proof, old, HolderAnswer(mine, by_wallet(mine))) == "answer_proof"
    assert refused(proof, mine, replace(answer, challenge=mine)) == "answer_signature"
    altered = from_bob(collect_by=made.INVOICE_TIME + 3601)
    assert refused(altered, mine, HolderAnswer(mine, by_wallet(mine))) == "answer_proof"
    with pytest.raises(ProofRefused, match="answer_proof"):
        make_answer(proof, old, by_wallet(old))


def test_the_key_of_a_stranger_is_refused() -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    assert refused(proof, challenge, HolderAnswer(challenge, by_wallet(challenge, OTHER))) == "answer_signature"
    with pytest.raises(ProofRefused, match="answer_signature"):
        make_answer(proof, challenge, by_wallet(challenge, OTHER))


@pytest.mark.parametrize("make", [from_bob, to_bob, between_chains])
def test_the_provider_s_account_is_refused_by_name(make: Callable[[], TransferProof]) -> None:
    proof = make()
    challenge = asked_of(proof)
    assert refused(proof, challenge, HolderAnswer(challenge, by_wallet(challenge, LOCKER))) == "answer_provider"


def test_the_provider_s_key_of_an_output_is_refused_by_name_and_so_is_its_key_of_releases() -> None:
    proof = made_bitcoin.from_bitcoin()
    challenge = asked_of(proof)
    for key, check in ((made_bitcoin.PAYEE, "answer_provider"), (made_bitcoin.PAYEE_RELEASE, "answer_signature")):
        assert refused(proof, challenge, HolderAnswer(challenge, by_output_key(challenge, key))) == check


def test_the_second_form_of_a_signature_is_refused() -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    signature = by_wallet(challenge)
    s = (GROUP_ORDER_INT - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    high = signature[:32] + s + bytes([55 - signature[64]])
    recovered = Account.recover_message(encode_defunct(text=challenge.text), signature=high)
    assert bytes.fromhex(recovered[2:]) == ACCOUNT, "the second form is otherwise a valid one"
    assert refused(proof, challenge, HolderAnswer(challenge, high)) == "answer_high_s"

    proof = made_bitcoin.from_bitcoin()
    challenge = asked_of(proof)
    signature = by_output_key(challenge, made_bitcoin.PAYER)
    s = (GROUP_ORDER_INT - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert refused(proof, challenge, HolderAnswer(challenge, signature[:32] + s)) == "answer_high_s"


@pytest.mark.parametrize("length", [0, 1, 63, 66, 130])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    signature = (by_wallet(challenge) + bytes(65))[:length]
    assert refused(proof, challenge, HolderAnswer(challenge, signature)) == "answer_format"


@pytest.mark.parametrize("last", [2, 26, 29, 255])
def test_a_last_byte_that_no_wallet_writes_is_refused(last: int) -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    signature = by_wallet(challenge)[:64] + bytes([last])
    assert refused(proof, challenge, HolderAnswer(challenge, signature)) == "answer_format"


def test_a_signature_of_the_other_scheme_is_refused() -> None:
    account, output = from_bob(), made_bitcoin.from_bitcoin()
    challenge = asked_of(account)
    assert refused(account, challenge, HolderAnswer(challenge, by_output_key(challenge, TAKER))) == "answer_signature"
    challenge = asked_of(output)
    signature = by_wallet(challenge, made_bitcoin.PAYER)
    assert refused(output, challenge, HolderAnswer(challenge, signature)) == "answer_signature"
    assert refused(output, challenge, HolderAnswer(challenge, signature[:64])) == "answer_signature"


@given(at=st.integers(0, 65 * 8 - 1))
def test_a_flipped_bit_voids_an_answer(at: int) -> None:
    proof = from_bob()
    challenge = asked_of(proof)
    flipped = bytearray(by_wallet(challenge))
    flipped[at // 8] ^= 1 << at % 8
    assert refused(proof, challenge, HolderAnswer(challenge, bytes(flipped))) in {
        "answer_signature",
        "answer_format",
        "answer_high_s",
    }


# The formats.


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
