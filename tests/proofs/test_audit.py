"""Many proofs: each payment is counted once, and the sums are of completed transfers only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import InvalidRequest, ProofRefused
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.bitcoin_transaction import decode_transaction
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_header import decode_header as decode_evm_header
from layer2.formats.tagged_signature import sign
from layer2.legs.evidence import BitcoinSpendEvidence, EvmReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.audit import Entry, audit, entry_of
from layer2.proofs.check import check_proof
from layer2.proofs.header_chain import ancestors
from layer2.proofs.model import TransferProof, owed_of
from layer2.proofs.policy import OFFLINE
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash
from proofs import made_bitcoin, made_rootstock
from proofs import made_proofs as made
from proofs.made_audits import completed, preimage_of, terms

BOB, ROOTSTOCK, BITCOIN = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.BITCOIN


def entry(name: str, proof: TransferProof) -> Entry:
    policy = replace(OFFLINE, contracts={33: frozenset({made_rootstock.CONTRACT})})
    return entry_of(name, proof, check_proof(proof, policy))


def test_the_same_terms_signed_again_are_one_payment() -> None:
    proof = completed(1)
    agreed = proof.terms.terms
    again = SignedTerms(agreed, Signature(Scheme.BIP340, sign(made.PROVIDER.secret, terms_hash(agreed), b"\x01" * 32)))
    other = replace(proof, terms=again)
    assert other.proof_id != proof.proof_id
    found = audit([entry("a", proof), entry("b", other)])
    assert [each.name for each in found.completed] == ["a"]
    (duplicate,) = found.duplicates
    assert (duplicate.entry.name, duplicate.first.name) == ("b", "a")
    assert duplicate.shared == f"payment_hash {agreed.payment_hash.hex()}"


def test_two_terms_of_one_swap_id_are_one_payment() -> None:
    agreed = terms(2, swap_id=terms(1).swap_id)
    found = audit([entry("a", completed(1)), entry("b", completed(2, agreed))])
    (duplicate,) = found.duplicates
    assert duplicate.shared == f"swap_id {agreed.swap_id}"


def test_a_swap_of_another_provider_with_the_same_id_is_another_payment() -> None:
    other = made.PAYEE
    agreed = terms(2, swap_id=terms(1).swap_id, provider=other.public_key.format()[1:])
    proof = replace(completed(2, agreed), terms=made.signed(agreed, other))
    found = audit([entry("a", proof), entry("b", completed(1))])
    assert [each.name for each in found.completed] == ["a", "b"]


def test_a_payment_on_a_local_network_does_not_take_one_on_mainnet_out_of_the_sums() -> None:
    text = made.invoice(prefix="bc", preimage=preimage_of(1))
    public = terms(1, network="mainnet", destination=made.lightning_leg(text, prefix="bc"))
    found = audit([entry("a", completed(1)), entry("b", completed(1, public))])
    assert [each.name for each in found.completed] == ["a", "b"]
    assert {each.party.network for each in found.totals} == {"regtest", "mainnet"}


def test_one_payment_hash_in_two_locks_is_one_payment() -> None:
    first, second = completed(1), completed(1, terms(1, swap_id=SwapId("ff" * 16)))
    locks = [each for one in (first, second) for each in entry("x", one).keys if each.startswith("lock_id")]
    assert len(set(locks)) == 2
    found = audit([entry("a", first), entry("b", second)])
    assert [each.shared.split()[0] for each in found.duplicates] == ["payment_hash"]
    assert sum(total.paid for total in found.totals if total.party.role == "account") == made.AMOUNT + made.FEE


def test_the_first_in_the_given_order_counts_and_later_proofs_are_compared_with_those_that_count() -> None:
    bridge = completed(1, terms(1, swap_id=terms(2).swap_id))
    one, two, both = entry("one", completed(1)), entry("two", completed(2)), entry("both", bridge)
    found = audit([one, both, two])
    assert [each.name for each in found.completed] == ["one", "two"]
    assert [each.entry.name for each in found.duplicates] == ["both"]
    found = audit([both, two, one])
    assert [each.name for each in found.completed] == ["both"]
    assert [(each.entry.name, each.shared.split()[0]) for each in found.duplicates] == [
        ("two", "swap_id"),
        ("one", "payment_hash"),
    ]


def test_a_refund_is_listed_apart_and_is_in_no_sum() -> None:
    found = audit([entry("a", made.refunded(terms(1)))])
    assert [each.name for each in found.refunded] == ["a"]
    assert (found.completed, found.totals, found.duplicates) == ((), (), ())


def test_a_refund_that_comes_first_does_not_take_a_completed_transfer_out_of_the_sums() -> None:
    agreed = terms(1, swap_id=SwapId("ff" * 16))
    found = audit([entry("refund", made.refunded(agreed)), entry("claim", completed(1))])
    assert [each.name for each in found.completed] == ["claim"]
    assert [each.entry.name for each in found.duplicates] == ["refund"]
    assert found.refunded == ()


def test_duplicates_keep_the_given_order() -> None:
    refund, again = entry("refund", made.refunded(terms(1))), entry("again", completed(1))
    found = audit([refund, entry("first", completed(1)), again])
    assert [each.entry.name for each in found.duplicates] == ["refund", "again"]


def test_the_sums_are_by_party_and_asset_in_satoshi() -> None:
    to_bob = made.to_bob()
    found = audit([entry("a", completed(1)), entry("b", completed(2)), entry("c", to_bob)])
    sums = {(each.party.layer, each.party.role, each.party.key): each for each in found.totals}
    leg = made.evm_leg()
    token, payer = to_checksum(made.TOKEN, 60808), to_checksum(leg.payer, 60808)
    paid = sums["BOB", "account", payer]
    assert (paid.asset, paid.paid, paid.received, paid.payments) == (token, 2 * 100_420 + 100_000, 0, 3)
    payee = sums["BOB", "account", to_checksum(leg.payee, 60808)]
    assert (payee.paid, payee.received) == (0, 2 * 100_420 + 100_000)
    node = sums["LIGHTNING", "account", made.PAYEE.public_key.format().hex()]
    assert (node.asset, node.paid, node.received) == ("BTC", 0, 2 * 100_000 + 100_420)
    on_bob = sums["BOB", "provider", made.PROVIDER_KEY.hex()]
    assert (on_bob.paid, on_bob.received) == (100_000, 2 * 100_420)
    on_lightning = sums["LIGHTNING", "provider", made.PROVIDER_KEY.hex()]
    assert (on_lightning.paid, on_lightning.received) == (2 * 100_000, 100_420)
    assert list(found.totals) == sorted(found.totals, key=lambda each: (each.party, each.asset))


def test_sums_of_a_local_network_are_not_added_to_those_of_mainnet() -> None:
    invoice = made.invoice(preimage=preimage_of(2), prefix="bc")
    agreed = terms(2, network="mainnet", destination=made.lightning_leg(invoice, prefix="bc"))
    found = audit([entry("a", completed(1)), entry("b", completed(2, agreed))])
    assert {each.party.network for each in found.totals} == {"mainnet", "regtest"}
    assert all(each.payments == 1 for each in found.totals)


def test_tokens_and_coins_are_assets_of_their_own() -> None:
    entries = (entry("a", made.between_chains()), entry("b", made_rootstock.from_rootstock()))
    assets = {move.asset for each in entries for move in each.movements if move.party.layer == "ROOTSTOCK"}
    assert assets == {"RBTC", to_checksum(made.TOKEN, 33)}


def test_a_bitcoin_leg_is_named_by_the_output_that_its_evidence_spends() -> None:
    proof = made_bitcoin.from_bitcoin()
    evidence = proof.source_leg
    assert isinstance(evidence, BitcoinSpendEvidence)
    spent = decode_transaction(evidence.transaction).inputs[evidence.input].prevout
    assert f"output {spent}" in entry("a", proof).keys
    assert proof.terms.terms.source.money_name(None, owed_of(proof.terms.terms)[0]) is None


def test_an_evm_leg_is_named_by_its_lock() -> None:
    proof = completed(1)
    leg = proof.terms.terms.source
    assert isinstance(leg, EvmLeg)
    lock = leg.lock(proof.terms.terms.payment_hash, terms_hash(proof.terms.terms))
    assert f"lock_id 0x{lock.lock_id.hex()}" in entry("a", proof).keys


def test_a_proof_of_one_leg_cannot_be_counted() -> None:
    with pytest.raises(InvalidRequest, match="one leg"):
        entry("a", replace(made.between_chains(), source_leg=None))


def test_the_ancestors_of_a_trusted_header_are_the_blocks_that_its_headers_link() -> None:
    proof = made_bitcoin.from_bitcoin()
    assert isinstance(proof.source_leg, BitcoinSpendEvidence)
    headers = proof.source_leg.headers
    ids = [decode_header(each).hash[::-1] for each in headers]
    assert ancestors(BITCOIN, headers[1:], ids[-1]) == set(ids)
    assert ancestors(BITCOIN, (), ids[-1]) == {ids[-1]}
    for wrong in (headers[1:-1], (headers[1], *headers[3:]), (*headers[1:], headers[1]), (b"", *headers[1:])):
        with pytest.raises(ProofRefused) as caught:
            ancestors(BITCOIN, wrong, ids[-1])
        assert caught.value.check == "header_chain"


def test_the_ancestors_are_found_on_every_layer_with_blocks() -> None:
    bob = completed(1).source_leg
    assert isinstance(bob, EvmReceiptEvidence)
    header = decode_evm_header(bob.header)
    assert ancestors(BOB, (bob.header,), header.hash) == {header.hash, header.parent_hash}
    assert ancestors(ROOTSTOCK, (bob.header,), header.hash) == {header.hash, header.parent_hash}
    values = [b"\x01" * 40, b"\x02" * 40]
    mined = made_rootstock.chain(values, later=3)
    trusted = mined[-1].hash
    assert ancestors(ROOTSTOCK, [each.short for each in mined[1:]], trusted) == {each.hash for each in mined}
    with pytest.raises(ProofRefused):
        ancestors(Layer2ProtocolType.LIGHTNING, (bob.header,), header.hash)
