"""The fuzz targets of challenges and answers of holders, and their seeds: see ``fuzz.targets``."""

from __future__ import annotations

from contextlib import suppress

from layer2.errors import FormatError, ProofRefused
from layer2.formats.tagged_signature import compact_ecdsa
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.proofs.challenge import HolderAnswer, HolderChallenge, check_answer, make_challenge
from proofs import made_bitcoin
from proofs import made_proofs as made

__all__ = ["ANSWERS", "CHALLENGES", "answer", "challenge"]

_PROOFS = (made.between_chains(), made_bitcoin.from_bitcoin())
_ASKED = tuple([make_challenge(each, verifier="Example Bank", expires_at=1, nonce=bytes(32)) for each in _PROOFS])


def challenge(data: bytes) -> bool:
    """A challenge; its text has nine lines, whatever the verifier is called."""
    with suppress(FormatError):
        read = HolderChallenge.from_bytes(data)
        assert read.to_bytes() == data
        assert read.text.isascii()
        assert len(read.text.splitlines()) == 9
        return True
    return False


def answer(data: bytes) -> bool:
    """An answer, whose signature is also checked against legs with accounts and with the key of an output."""
    with suppress(FormatError):
        read = HolderAnswer.from_bytes(data)
        assert read.to_bytes() == data
        for proof, asked in zip(_PROOFS, _ASKED, strict=True):
            with suppress(ProofRefused):
                assert check_answer(proof, asked, HolderAnswer(asked, read.signature), now=0)
        return True
    return False


def _signature() -> bytes:
    key = made_bitcoin.PAYER
    digest = _ASKED[1].digest(PartyKey(KeyScheme.ECDSA, key.public_key.format()))
    return compact_ecdsa(key.sign(digest, hasher=None))


CHALLENGES = tuple([each.to_bytes() for each in _ASKED])
ANSWERS = (
    HolderAnswer(_ASKED[1], _signature()).to_bytes(),
    HolderAnswer(_ASKED[0], _signature() + b"\x1b").to_bytes(),
    HolderAnswer(_ASKED[0], b"").to_bytes(),
)
