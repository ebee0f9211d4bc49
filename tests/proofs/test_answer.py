"""A holder's answer: who can give it, and forgeries. Oracles: eth-account, and eth-keys' own arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from coincurve.utils import GROUP_ORDER_INT
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.main import KeyAPI
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import ProofRefused
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.views import Side
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import (
    HolderAnswer,
    LegKey,
    check_answer,
    make_answer,
    taker_keys,
)
from layer2.proofs.model import TransferProof
from proofs import made_bitcoin
from proofs import made_proofs as made
from proofs.made_challenges import (
    ACCOUNT,
    BITCOIN,
    BOB,
    LOCKER,
    NOW,
    OTHER,
    OTHER_ACCOUNT,
    ROOTSTOCK,
    TAKER,
    asked_of,
    between_chains,
    by_output_key,
    by_wallet,
    from_bob,
    refused,
    to_bob,
)

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
