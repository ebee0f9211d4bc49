"""Challenges to the holders of made proofs, and their signatures: eth-account for accounts, eth-keys for other keys."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_defunct

from layer2.errors import ProofRefused
from layer2.formats.evm_address import address_of_public_key
from layer2.formats.tagged_signature import compact_ecdsa
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.challenge import (
    HolderAnswer,
    HolderChallenge,
    check_answer,
    make_challenge,
)
from layer2.proofs.model import TransferProof
from proofs import made_proofs as made

__all__ = [
    "ACCOUNT",
    "BITCOIN",
    "BOB",
    "LOCKER",
    "NONCE",
    "NOW",
    "OTHER",
    "OTHER_ACCOUNT",
    "PROVIDER_ACCOUNT",
    "ROOTSTOCK",
    "TAKER",
    "asked_of",
    "between_chains",
    "by_output_key",
    "by_wallet",
    "from_bob",
    "refused",
    "to_bob",
]

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
