"""The answer of a configuration's keys to a verifier's challenge; see ``layer2.proofs.challenge``."""

from __future__ import annotations

from layer2.config import BitcoinSection, EvmSection, Layer2Config
from layer2.errors import SignerError
from layer2.formats.tagged_signature import compact_ecdsa
from layer2.proofs.challenge import HolderAnswer, HolderChallenge, LegKey, make_answer, taker_keys
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms

__all__ = ["answer_challenge", "held_key"]


def held_key(config: Layer2Config, terms: Terms) -> LegKey:
    """The first of the taker's keys in the legs that the configuration has, that of the source before the other.

    Raises:
        SignerError: it has none of them, or a file with a key cannot be read.
    """
    for each in taker_keys(terms):
        section = config.layers.get(each.protocol)
        if isinstance(section, EvmSection) and section.signer().address == each.key.data:
            return each
        if isinstance(section, BitcoinSection) and section.seed().swap_keys().owns(each.key.data, terms.payment_hash):
            return each
    raise SignerError(
        "this configuration has no key of the taker in the legs of this proof",
        remedy="sign the text of the challenge in the wallet that has the key",
    )


async def answer_challenge(config: Layer2Config, proof: TransferProof, challenge: HolderChallenge) -> HolderAnswer:
    """Sign a challenge with ``held_key``.

    Raises:
        ProofRefused: the challenge is about another transfer.
        SignerError: as ``held_key``.
    """
    challenge.check_is_of(proof)
    terms = proof.terms.terms
    held = held_key(config, terms)
    digest, section = challenge.digest(held.key), config.layers[held.protocol]
    if isinstance(section, EvmSection):
        signature = await section.signer().sign_digest(digest)
    else:
        assert isinstance(section, BitcoinSection), "held_key finds keys in these two tables only"
        signature = compact_ecdsa(section.seed().swap_keys().sign(held.key.data, terms.payment_hash, digest))
    return make_answer(proof, challenge, signature)
