"""A configuration's keys answer a verifier's challenge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from layer2 import BTC, Layer2Manager, Layer2ProtocolType
from layer2.assembly import answer_challenge, held_key
from layer2.config import BitcoinSection, BobSection, Layer2Config, RootstockSection
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import ProofRefused, SignerError
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.legs.views import Side
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import HolderChallenge, check_answer, make_challenge
from layer2.proofs.model import TransferProof
from layer2.signers import BitcoinSeed
from layer2.testing import MockLayer2Manager
from manager.fakes import BOB, NOW, ROOTSTOCK
from proofs import made_bitcoin
from proofs import made_proofs as made

LIGHTNING, BITCOIN = Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BITCOIN
WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
ACCOUNT = address_of_public_key(made.PAYEE.public_key.format())
PAYMENT_HASH = made.PREIMAGE.payment_hash


def config(directory: Path, *tables: Layer2ProtocolType) -> Layer2Config:
    """A configuration with these tables, whose keys are those of the proofs below."""
    seed = directory / "bitcoin-seed"
    seed.touch(mode=0o600)
    seed.write_text(WORDS)
    key = SecretStr(made.PAYEE.to_hex())
    sections = {
        BOB: BobSection(
            network="regtest",
            rpc_url="http://127.0.0.1:1",
            token_address=to_checksum(made.TOKEN),
            token_decimals=8,
            key=key,
        ),
        ROOTSTOCK: RootstockSection(
            network="regtest",
            rpc_url="http://127.0.0.1:2",
            chain_id=33,
            contract_address=to_checksum(HTLC_ADDRESS, 33),
            key=key,
        ),
        BITCOIN: BitcoinSection(network="regtest", esplora_url="http://127.0.0.1:3", seed_file=seed),
    }
    return Layer2Config(network="regtest", **{each.value.lower(): sections[each] for each in tables})  # type: ignore[arg-type]  # each table has its section


def asked_of(proof: TransferProof) -> HolderChallenge:
    return make_challenge(proof, verifier="Example Bank", expires_at=NOW, nonce=bytes(32))


def on_bitcoin(side: Side, payment_hash: bytes = PAYMENT_HASH) -> TransferProof:
    """Terms with a Bitcoin leg in which the taker's key is that of a seed and a hash, without evidence."""
    key, release = BitcoinSeed(WORDS).swap_keys().public_keys(payment_hash)
    other, other_release = (made_bitcoin.PAYEE.public_key.format(), made_bitcoin.PAYEE_RELEASE.public_key.format())
    leg = made_bitcoin.LEG
    keys = (key, other, other_release) if side is Side.PAYER else (other, key, release)
    amount = leg.amount if side is Side.PAYER else made.AMOUNT
    ours = replace(leg, amount=amount, payer=keys[0], payee=keys[1], payee_release=keys[2])
    terms = made.terms(ours) if side is Side.PAYER else made.terms(made.lightning_leg(amount=leg.amount), ours)
    return TransferProof(made.signed(terms), None, None)


@pytest.mark.parametrize("side", list(Side))
async def test_a_key_of_an_output_answers_as_payer_and_as_payee(tmp_path: Path, side: Side) -> None:
    proof = on_bitcoin(side)
    challenge = asked_of(proof)
    answer = await answer_challenge(config(tmp_path, BOB, BITCOIN), proof, challenge)
    (key,) = check_answer(proof, challenge, answer, now=NOW)
    assert (key.protocol, key.side, len(answer.signature)) == (BITCOIN, side, 64)


async def test_the_key_of_the_source_answers_before_that_of_the_destination(tmp_path: Path) -> None:
    both = config(tmp_path, BOB, ROOTSTOCK)
    source, destination = made.evm_leg(payer=ACCOUNT), made.rootstock_leg(payee=ACCOUNT)
    mine = made.between_chains(made.terms(source, destination))
    assert held_key(both, mine.terms.terms).side is Side.PAYER
    (key, _) = check_answer(mine, asked_of(mine), await answer_challenge(both, mine, asked_of(mine)), now=NOW)
    assert key.protocol is BOB
    to_me = made.between_chains(made.terms(made.evm_leg(), destination))
    assert held_key(both, to_me.terms.terms).protocol is ROOTSTOCK
    (key,) = check_answer(to_me, asked_of(to_me), await answer_challenge(both, to_me, asked_of(to_me)), now=NOW)
    assert key.side is Side.PAYEE


async def test_keys_that_are_not_the_taker_s_sign_nothing(tmp_path: Path) -> None:
    ours = config(tmp_path, BOB, BITCOIN)
    strangers = made.to_lightning()
    as_provider = made.to_lightning(made.terms(made.evm_leg(payee=ACCOUNT)))
    of_another_hash = on_bitcoin(Side.PAYER, b"\x05" * 32)
    on_another_layer = made.between_chains(made.terms(made.evm_leg(), made.rootstock_leg(payee=ACCOUNT)))
    for proof in (strangers, as_provider, of_another_hash, on_another_layer):
        with pytest.raises(SignerError, match="no key of the taker"):
            await answer_challenge(ours, proof, asked_of(proof))


async def test_a_challenge_about_another_transfer_is_not_signed(tmp_path: Path) -> None:
    one = made.to_lightning(made.terms(made.evm_leg(payer=ACCOUNT)))
    other = made.to_lightning(made.terms(made.evm_leg(payer=ACCOUNT), swap_id=SwapId("01" * 16)))
    with pytest.raises(ProofRefused) as caught:
        await answer_challenge(config(tmp_path, BOB), one, asked_of(other))
    assert caught.value.check == "answer_proof"


@pytest.mark.parametrize(("source", "destination"), [(BOB, LIGHTNING), (LIGHTNING, BOB)])
async def test_a_manager_answers_for_a_transfer_of_its_own(
    source: Layer2ProtocolType, destination: Layer2ProtocolType
) -> None:
    async with MockLayer2Manager() as layers:
        proof = await layers.cross_layer_transfer_async(BTC, 100_000, source, destination, max_fee=1_000)
        challenge = asked_of(proof)
        answer = await layers.answer_holder_challenge_async(proof, challenge)
    (key,) = check_answer(proof, challenge, answer, now=NOW)
    assert key.protocol is BOB


def test_the_blocking_twin_answers_as_well(tmp_path: Path) -> None:
    with MockLayer2Manager() as layers:
        proof = layers.cross_layer_transfer_sync(BTC, 100_000, BOB, LIGHTNING, max_fee=1_000)
        challenge = asked_of(proof)
        answer = layers.answer_holder_challenge_sync(proof, challenge)
    assert check_answer(proof, challenge, answer, now=NOW)


async def test_a_manager_that_is_closed_signs_nothing() -> None:
    proof = made.to_lightning()
    manager: Layer2Manager = MockLayer2Manager()
    async with manager:
        pass
    with pytest.raises(Exception, match="closed"):
        await manager.answer_holder_challenge_async(proof, asked_of(proof))
