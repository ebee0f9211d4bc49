"""Whether whoever presents a proof holds a key of the taker: a verifier's challenge, and the holder's answer. Pure.

A proof is a bearer file, and an answer binds it to a key, for one verifier and a short time. It shows that the key
signed this challenge. It does not show who used the key, or for whom: a verifier can pass the challenge of another one
on. The check does not check the proof, see ``check_proof``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Self, TypeAlias, TypeVar

from layer2.errors.base import FormatError, ProofRefused
from layer2.formats import canonical_json, json_object, personal_message
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import Bytes32, Form, hexadecimal, integer, read_record, text, write_record
from layer2.formats.tagged_signature import has_low_s, tagged_hash, verify_ecdsa
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash

__all__ = ["HolderAnswer", "HolderChallenge", "LegKey", "check_answer", "make_answer", "make_challenge", "taker_keys"]

HOLDING_VERSION: Final = 1
CHALLENGE_TAG: Final = "layer2/holder-challenge/v1"
_MAX_BYTES: Final = 4_096
_LONGEST_NAME: Final = 64
_NAME: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Printable ASCII: a name cannot look like another line of the text, and every wallet shows it."""
_LAST_SECOND: Final = 2**53 - 1
_ECDSA_LENGTH: Final = 64
_Name: TypeAlias = Annotated[str, text(_LONGEST_NAME)]
_16_BYTES: Final = json_object.hexadecimal(16)
_ID: Final = Form(lambda value: _16_BYTES(value).hex())
C = TypeVar("C", bound="HolderChallenge")


@dataclass(frozen=True, slots=True)
class LegKey:
    """A party's key in one leg."""

    protocol: Layer2ProtocolType
    """The leg's layer."""
    side: Side
    """Of the taker: ``PAYER`` in the source, ``PAYEE`` in the destination."""
    key: PartyKey


@dataclass(frozen=True, slots=True)
class HolderChallenge:
    """A verifier's question to the holder of one proof.

    Raises:
        FormatError: a value has another form.
    """

    swap_id: Annotated[SwapId, _ID]
    terms_hash: Bytes32
    verifier: _Name
    """The name under which the holder knows the verifier: 1 to 64 printable ASCII characters."""
    expires_at: Annotated[int, integer(_LAST_SECOND)]
    """Unix seconds on the verifier's clock; an answer counts until then."""
    nonce: Bytes32
    """Random, so that no answer can be made before the challenge."""

    def __post_init__(self) -> None:
        if len(self.verifier) > _LONGEST_NAME or not _NAME.fullmatch(self.verifier):
            raise FormatError(
                f"challenge: the verifier's name is not 1 to {_LONGEST_NAME} printable ASCII characters without a "
                "space at either end"
            )
        if len(self.nonce) != 32 or len(self.terms_hash) != 32:
            raise FormatError("challenge: the nonce and the hash of the terms have 32 bytes each")
        if not 0 <= self.expires_at <= _LAST_SECOND:
            raise FormatError(f"challenge: the expiry is not from 0 to {_LAST_SECOND}")

    @property
    def text(self) -> str:
        """The text that the holder signs, ASCII. It states every field, so that a wallet shows what is signed."""
        return (
            f"layer2 holder challenge, version {HOLDING_VERSION}\n"
            "\n"
            "I hold a key of the taker of this transfer. I state this to this verifier only. "
            "This signature moves no money.\n"
            "\n"
            f"Verifier: {self.verifier}\n"
            f"Transfer: {self.swap_id}\n"
            f"Terms: {self.terms_hash.hex()}\n"
            f"Valid until (unix time): {self.expires_at}\n"
            f"Challenge: {self.nonce.hex()}"
        )

    def digest(self, key: PartyKey) -> bytes:
        """The 32 bytes that this key signs."""
        message = self.text.encode("ascii")
        match key.scheme:
            case KeyScheme.EIP191:
                return personal_message.message_digest(message)
            case KeyScheme.ECDSA:
                return tagged_hash(CHALLENGE_TAG, message)

    def check_is_of(self, proof: TransferProof) -> None:
        """Check that the challenge asks about this proof's transfer.

        Raises:
            ProofRefused: check ``answer_proof``.
        """
        terms = proof.terms.terms
        if (self.swap_id, self.terms_hash) != (terms.swap_id, terms_hash(terms)):
            raise ProofRefused("answer_proof", f"the challenge is about the transfer {self.swap_id}, or other terms")

    def to_bytes(self) -> bytes:
        """The challenge as canonical JSON (RFC 8785)."""
        return canonical_json.encode(_write_challenge(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the result of ``to_bytes``. Only the canonical form is accepted.

        Raises:
            FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
        """
        return _read_challenge(cls, JsonObject(canonical_json.decode_strict(data, max_bytes=_MAX_BYTES), "challenge"))


@dataclass(frozen=True, slots=True)
class HolderAnswer:
    """A signature over a challenge, not checked yet."""

    challenge: HolderChallenge
    """The one that the holder signed. ``check_answer`` compares it with the verifier's own."""
    signature: Annotated[bytes, hexadecimal(max_length=personal_message.SIGNATURE_LENGTH)]
    """By an account: r, s, and 0, 1, 27 or 28, 65 bytes. By another key: r and s, 64 bytes."""

    def to_bytes(self) -> bytes:
        """The answer as canonical JSON (RFC 8785)."""
        return canonical_json.encode(
            {
                "version": HOLDING_VERSION,
                "challenge": _write_challenge(self.challenge),
                "signature": self.signature.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the result of ``to_bytes``. Only the canonical form is accepted.

        Raises:
            FormatError: as ``HolderChallenge.from_bytes``.
        """
        fields = JsonObject(canonical_json.decode_strict(data, max_bytes=_MAX_BYTES), "answer")
        _check_version(fields, "answer")
        challenge = _read_challenge(HolderChallenge, fields.nested("challenge"))
        signature = fields.hex("signature", max_length=personal_message.SIGNATURE_LENGTH)
        fields.end()
        return cls(challenge, signature)


def taker_keys(terms: Terms) -> tuple[LegKey, ...]:
    """The taker's keys in the legs: as payer of the source, and as payee of the destination. Some legs have none."""
    return _keys(terms, Side.PAYER, Side.PAYEE)


def make_challenge(proof: TransferProof, *, verifier: str, expires_at: int, nonce: bytes) -> HolderChallenge:
    """Ask whoever presents a proof to show that a key of the taker is theirs.

    Args:
        proof: the proof. It need not be checked yet.
        verifier: the name under which the holder knows the verifier, 1 to 64 printable ASCII characters.
        expires_at: unix seconds; a few minutes ahead.
        nonce: 32 random bytes that nobody has seen, such as ``secrets.token_bytes(32)``.

    Raises:
        FormatError: an argument has another form.
    """
    terms = proof.terms.terms
    return HolderChallenge(terms.swap_id, terms_hash(terms), verifier, expires_at, nonce)


def make_answer(proof: TransferProof, challenge: HolderChallenge, signature: bytes) -> HolderAnswer:
    """The answer that has a signature over the challenge, such as one of a wallet over ``challenge.text``.

    Args:
        proof: the holder's own copy.
        signature: as in ``HolderAnswer``.

    Raises:
        ProofRefused: the challenge is about another transfer, or no key of the taker signed it; as ``check_answer``.
    """
    challenge.check_is_of(proof)
    answer = HolderAnswer(challenge, signature)
    _signers(proof.terms.terms, answer)
    return answer


def check_answer(
    proof: TransferProof, challenge: HolderChallenge, answer: HolderAnswer, *, now: float
) -> tuple[LegKey, ...]:
    """Check that a key of the taker signed this verifier's challenge.

    It does not check the proof: anyone can make terms with keys of their own. Use a challenge once.

    Args:
        proof: the proof that was presented.
        challenge: the verifier's own copy of the challenge, and not one that came with the answer.
        answer: what the holder returned.
        now: unix seconds at which the answer arrived.

    Returns:
        The key that signed, once for each leg in which it is the taker's, the source first.

    Raises:
        ProofRefused: ``check`` is ``answer_proof`` (the challenge or the answer is about another proof),
            ``answer_verifier`` (the answer is for another verifier), ``answer_challenge`` (it answers another
            challenge), ``answer_expired``, ``answer_format`` (the signature has another form), ``answer_high_s``,
            ``answer_provider`` (a key of the provider signed) or ``answer_signature`` (no key of a party signed).
    """
    challenge.check_is_of(proof)
    answer.challenge.check_is_of(proof)
    if answer.challenge.verifier != challenge.verifier:
        raise ProofRefused(
            "answer_verifier", f"the answer is for {answer.challenge.verifier!r}, not for {challenge.verifier!r}"
        )
    if answer.challenge != challenge:
        raise ProofRefused("answer_challenge", "the answer is to another challenge")
    if not now <= challenge.expires_at:  # A time that is not a number is none.
        raise ProofRefused("answer_expired", f"the challenge was valid until {challenge.expires_at}")
    return _signers(proof.terms.terms, answer)


def _signers(terms: Terms, answer: HolderAnswer) -> tuple[LegKey, ...]:
    signature = answer.signature
    if len(signature) not in (_ECDSA_LENGTH, personal_message.SIGNATURE_LENGTH):
        raise ProofRefused("answer_format", f"a signature has 64 or 65 bytes, not {len(signature)}")
    if not has_low_s(signature):
        raise ProofRefused("answer_high_s", "s of the signature is not in the lower half of the order")
    signers = tuple([each for each in taker_keys(terms) if _signed(each.key, answer)])
    if signers:
        return signers
    if any(_signed(each.key, answer) for each in _keys(terms, Side.PAYEE, Side.PAYER)):
        raise ProofRefused("answer_provider", "a key of the provider signed, and not one of the taker")
    raise ProofRefused("answer_signature", "no key of the taker in the legs signed this challenge")


def _signed(key: PartyKey, answer: HolderAnswer) -> bool:
    digest = answer.challenge.digest(key)
    match key.scheme:
        case KeyScheme.ECDSA:
            return verify_ecdsa(key.data, digest, answer.signature)
        case KeyScheme.EIP191 if len(answer.signature) != personal_message.SIGNATURE_LENGTH:
            return False
        case KeyScheme.EIP191:
            try:
                return personal_message.signer_of(digest, answer.signature) == key.data
            except FormatError as error:
                raise ProofRefused("answer_format", error.message) from error


def _keys(terms: Terms, of_source: Side, of_destination: Side) -> tuple[LegKey, ...]:
    found = [
        (leg.protocol, side, leg.key_of(side))
        for leg, side in ((terms.source, of_source), (terms.destination, of_destination))
    ]
    return tuple([LegKey(protocol, side, key) for protocol, side, key in found if key is not None])


def _write_challenge(challenge: HolderChallenge) -> dict[str, JsonValue]:
    return {"version": HOLDING_VERSION, **write_record(challenge)}


def _read_challenge(kind: type[C], fields: JsonObject) -> C:
    _check_version(fields, "challenge")
    challenge = read_record(kind, fields)
    fields.end()
    return challenge


def _check_version(fields: JsonObject, what: str) -> None:
    version = fields.integer("version")
    if version != HOLDING_VERSION:
        raise FormatError(f"{what} version {version} is unknown; this program supports version {HOLDING_VERSION}")
