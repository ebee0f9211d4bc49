"""Many proofs: each leg is counted once, and the sums are of completed transfers only."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import compress, product

import pytest
from coincurve import PrivateKey

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import InvalidRequest, ProofRefused
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.bitcoin_transaction import Transaction, decode_transaction
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_header import decode_header as decode_evm_header
from layer2.formats.tagged_signature import sign
from layer2.legs.evidence import BitcoinSpendEvidence, EvmReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.audit import Audit, Entry, audit, entry_of
from layer2.proofs.check import check_proof
from layer2.proofs.header_chain import ancestors
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import OFFLINE
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash
from proofs import made_bitcoin, made_rootstock
from proofs import made_proofs as made
from proofs.made_audits import completed, from_lightning, preimage_of, terms, to_lightning
from proofs.made_statements import stated

BOB, ROOTSTOCK, BITCOIN = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK, Layer2ProtocolType.BITCOIN


def entry(name: str, proof: TransferProof) -> Entry:
    policy = replace(OFFLINE, contracts={33: frozenset({made_rootstock.CONTRACT})})
    return entry_of(name, proof, check_proof(proof, policy))


Row = tuple[str, str, str]
"""Layer, role and key."""


def sums(found: Audit) -> dict[Row, tuple[int, int, int]]:
    """What each party paid and received, and in how many payments."""
    rows = {
        (each.party.layer, each.party.role, each.party.key): (each.paid, each.received, each.payments)
        for each in found.totals
    }
    assert len(rows) == len(found.totals)
    return rows


def names(entries: Iterable[Entry]) -> list[str]:
    return [each.name for each in entries]


def contested(found: Audit) -> dict[str, list[tuple[str, int]]]:
    """For each contested leg, the proofs, and the amounts that they claim."""
    return {
        each.name.split()[0]: [(claim.entry.name, claim.leg.amount) for claim in each.claims]
        for each in found.contested
    }


def on_lightning(key: PrivateKey) -> Row:
    return ("LIGHTNING", "account", key.public_key.format().hex())


ON_BOB: Row = ("BOB", "provider", made.PROVIDER_KEY.hex())
PROVIDER_ON_LIGHTNING: Row = ("LIGHTNING", "provider", made.PROVIDER_KEY.hex())
THIEF = PrivateKey(b"\x07" * 32)


def test_the_same_terms_signed_again_are_one_swap() -> None:
    proof = completed(1)
    agreed = proof.terms.terms
    again = SignedTerms(agreed, Signature(Scheme.BIP340, sign(made.PROVIDER.secret, terms_hash(agreed), b"\x01" * 32)))
    other = replace(proof, terms=again)
    assert other.proof_id != proof.proof_id
    found = audit([entry("a", proof), entry("b", other)])
    assert (len(found.completed), found.contested) == (1, ())
    (duplicate,) = found.duplicates
    assert {duplicate.entry.name, duplicate.listed.name} == {"a", "b"}
    assert duplicate.listed.proof_id == min(proof.proof_id, other.proof_id)
    assert sums(found) == sums(audit([entry("a", proof)]))


def test_one_proof_given_twice_counts_once() -> None:
    proof = completed(1)
    found = audit([entry("line 10", proof), entry("line 9", proof), entry("line 9", proof)])
    assert names(found.completed) == ["line 9"]
    assert [(each.entry.name, each.listed.name) for each in found.duplicates] == [
        ("line 10", "line 9"),
        ("line 9", "line 9"),
    ]
    assert (sums(found), found.contested) == (sums(audit([entry("a", proof)])), ())


def test_a_swap_with_and_without_its_provider_s_statement_counts_once() -> None:
    proof = completed(1)
    found = audit([entry("plain", proof), entry("stated", stated(proof))])
    assert (len(found.completed), len(found.duplicates), found.contested) == (1, 1, ())
    assert sums(found) == sums(audit([entry("plain", proof)]))


def test_a_small_swap_under_the_payment_hash_of_a_large_one_does_not_take_it_out_of_the_sums() -> None:
    large = entry("large", to_lightning(1, 1, 90_000_000))
    small = entry("a thief's", to_lightning(1, 2, 1_000))
    for given in ([large, small], [small, large]):
        found = audit(given)
        rows = sums(found)
        assert rows[on_lightning(made.PAYEE)] == (0, 90_000_000, 1)
        assert rows[PROVIDER_ON_LIGHTNING] == (90_000_000, 0, 1)
        # Both locks were claimed, so the provider has received both.
        assert rows[ON_BOB] == (0, 90_000_000 + 1_000 + 2 * made.FEE, 2)
        assert (names(found.completed), found.duplicates) == (names(given), ())
        assert contested(found) == {"payment_hash": [(each.name, each.amount) for each in given]}


def test_a_large_swap_that_pays_a_thief_does_not_take_the_payment_of_another_node_out_of_the_sums() -> None:
    honest = entry("honest", to_lightning(1, 1, 1_000))
    large = entry("a thief's", to_lightning(1, 2, 90_000_000, payee=THIEF))
    for given in ([honest, large], [large, honest]):
        rows = sums(audit(given))
        assert rows[on_lightning(made.PAYEE)] == (0, 1_000, 1)
        assert rows[on_lightning(THIEF)] == (0, 90_000_000, 1)
        # The preimage shows one payment of the provider: the larger one is counted, and both are named.
        assert rows[PROVIDER_ON_LIGHTNING] == (90_000_000, 0, 1)
        assert len(contested(audit(given))["payment_hash"]) == 2


def test_one_payment_in_many_swaps_does_not_make_a_sum_larger_than_its_largest_claim() -> None:
    given = [entry(f"{swap}", to_lightning(1, swap, 1_000 * swap)) for swap in range(1, 9)]
    rows = sums(audit(given))
    assert rows[on_lightning(made.PAYEE)] == (0, 8_000, 1)
    assert rows[PROVIDER_ON_LIGHTNING] == (8_000, 0, 1)


def many() -> list[Entry]:
    """Proofs that share swaps, payment hashes, a lock and a Bitcoin output."""
    agreed = terms(1)
    bitcoin = made_bitcoin.from_bitcoin()
    return [
        entry("one", completed(1)),
        entry("one stated", stated(completed(1))),
        entry("one refunded", made.refunded(agreed)),
        entry("copy of one", completed(1)),
        entry("larger", to_lightning(1, 5, 700_000)),
        entry("to a thief", to_lightning(1, 6, 300_000, payee=THIEF)),
        entry("from lightning", from_lightning(1, 7, 700_000)),
        entry("two", completed(2)),
        entry("bitcoin", bitcoin),
        entry("bitcoin again", made_bitcoin.from_bitcoin(made_bitcoin.terms(swap_id=SwapId("ee" * 16)))),
    ]


def test_the_result_does_not_depend_on_the_order() -> None:
    given = many()
    expected = audit(given)
    order = random.Random(14)
    for _ in range(500):
        order.shuffle(given)
        found = audit(given)
        assert found.totals == expected.totals
        assert [each.name for each in found.contested] == [each.name for each in expected.contested]
        for mine, other in (
            (found.completed, expected.completed),
            (found.refunded, expected.refunded),
            (found.duplicates, expected.duplicates),
        ):
            assert set(mine) == set(other)
            assert len(mine) == len(other)
        for one, another in zip(found.contested, expected.contested, strict=True):
            assert sorted(names(each.entry for each in one.claims)) == sorted(
                names(each.entry for each in another.claims)
            )


def test_no_proof_makes_a_sum_smaller() -> None:
    given = many()
    rows = [sums(audit(compress(given, chosen))) for chosen in product((0, 1), repeat=len(given))]
    for index, before in enumerate(rows):
        for bit in range(len(given)):
            after = rows[index | 1 << bit]
            assert all(paid <= after[row][0] and got <= after[row][1] for row, (paid, got, _) in before.items())


def test_two_terms_of_one_swap_id_are_two_swaps_and_each_lock_counts() -> None:
    agreed = terms(2, swap_id=terms(1).swap_id)
    found = audit([entry("a", completed(1)), entry("b", completed(2, agreed))])
    assert (names(found.completed), found.duplicates, found.contested) == (["a", "b"], (), ())
    assert sums(found)[ON_BOB] == (0, 2 * (made.AMOUNT + made.FEE), 2)


def test_a_shared_payment_hash_is_nothing_remarkable_without_a_second_lightning_leg() -> None:
    legs = made.evm_leg(), made.rootstock_leg()
    swaps = [made.between_chains(made.terms(*legs, swap_id=SwapId(each * 32))) for each in "12"]
    found = audit([entry("a", swaps[0]), entry("b", swaps[1]), entry("c", made.to_lightning())])
    assert (names(found.completed), found.duplicates, found.contested) == (["a", "b", "c"], (), ())
    assert sums(found)[ON_BOB] == (0, 3 * (made.AMOUNT + made.FEE), 3)
    assert sums(found)[PROVIDER_ON_LIGHTNING] == (made.AMOUNT, 0, 1)


def test_a_payment_on_a_local_network_and_one_on_mainnet_contest_nothing() -> None:
    text = made.invoice(prefix="bc", preimage=preimage_of(1))
    public = terms(1, network="mainnet", destination=made.lightning_leg(text, prefix="bc"))
    found = audit([entry("a", completed(1)), entry("b", completed(1, public))])
    assert (names(found.completed), found.contested) == (["a", "b"], ())
    assert {each.party.network for each in found.totals} == {"regtest", "mainnet"}
    assert all(each.payments == 1 for each in found.totals)


def test_a_payment_from_one_swap_to_another_counts_once_and_is_not_contested() -> None:
    first, second = to_lightning(1, 1, 50_000, payee=THIEF), from_lightning(1, 2, 50_000, payee=THIEF)
    found = audit([entry("first", first), entry("second", second)])
    assert (names(found.completed), found.contested) == (["first", "second"], ())
    assert sums(found)[on_lightning(THIEF)] == (0, 50_000, 1)
    assert sums(found)[PROVIDER_ON_LIGHTNING] == (50_000, 50_000, 2)


@pytest.mark.parametrize("second", [from_lightning(1, 2, 50_000), from_lightning(1, 2, 50_001, payee=THIEF)])
def test_a_payment_to_another_node_or_of_another_amount_is_not_that_from_one_swap_to_another(
    second: TransferProof,
) -> None:
    found = audit([entry("first", to_lightning(1, 1, 50_000, payee=THIEF)), entry("second", second)])
    assert [each[0] for each in contested(found)["payment_hash"]] == ["first", "second"]


def test_one_bitcoin_output_counts_once() -> None:
    again = made_bitcoin.from_bitcoin(made_bitcoin.terms(swap_id=SwapId("ee" * 16)))
    found = audit([entry("a", made_bitcoin.from_bitcoin()), entry("b", again)])
    assert (names(found.completed), found.duplicates) == (["a", "b"], ())
    assert set(contested(found)) == {"output", "payment_hash"}
    assert sums(found)["BITCOIN", "provider", made.PROVIDER_KEY.hex()] == (0, made_bitcoin.AMOUNT, 1)


def second_output() -> Transaction:
    """Another transaction that funds the same script: a payer can pay twice."""
    return replace(made_bitcoin.FUNDING, locktime=1)


def test_two_outputs_that_were_collected_for_one_swap_both_count() -> None:
    funding = second_output()
    other = made_bitcoin.evidence_of(made_bitcoin.spend(made_by=funding), made_by=funding)
    found = audit([entry("a", made_bitcoin.from_bitcoin()), entry("b", made_bitcoin.from_bitcoin(evidence=other))])
    assert (len(found.completed), len(found.duplicates), found.contested) == (1, 1, ())
    assert sums(found)["BITCOIN", "provider", made.PROVIDER_KEY.hex()] == (0, 2 * made_bitcoin.AMOUNT, 2)
    assert sums(found)[PROVIDER_ON_LIGHTNING] == (made.AMOUNT, 0, 1)


def test_the_refund_of_a_second_output_is_a_duplicate_of_the_completed_swap() -> None:
    funding = second_output()
    returned = made_bitcoin.evidence_of(made_bitcoin.spend(Branch.REFUND, made_by=funding), made_by=funding)
    refund = replace(made_bitcoin.from_bitcoin(evidence=returned), destination_leg=None)
    claim = made_bitcoin.from_bitcoin()
    for given in ([entry("refund", refund), entry("claim", claim)], [entry("claim", claim), entry("refund", refund)]):
        found = audit(given)
        assert (names(found.completed), found.refunded, found.contested) == (["claim"], (), ())
        assert [(each.entry.name, each.listed.name) for each in found.duplicates] == [("refund", "claim")]
        assert sums(found) == sums(audit([entry("claim", claim)]))


def test_a_lock_that_was_claimed_in_one_proof_and_refunded_in_another_is_contested() -> None:
    for given in (("claim", "refund"), ("refund", "claim")):
        proofs = {"claim": completed(1), "refund": made.refunded(terms(1))}
        found = audit([entry(name, proofs[name]) for name in given])
        assert (names(found.completed), found.refunded) == (["claim"], ())
        assert [each.entry.name for each in found.duplicates] == ["refund"]
        assert contested(found) == {"lock_id": [(name, made.AMOUNT + made.FEE) for name in given]}
        assert sums(found) == sums(audit([entry("claim", completed(1))]))


def test_an_output_that_one_swap_collected_and_another_one_returned_is_contested() -> None:
    other = made_bitcoin.terms(swap_id=SwapId("ee" * 16))
    returned = made_bitcoin.from_bitcoin(other, made_bitcoin.evidence_of(made_bitcoin.spend(Branch.REFUND)))
    given = [entry("refund", replace(returned, destination_leg=None)), entry("claim", made_bitcoin.from_bitcoin())]
    found = audit(given)
    assert (names(found.completed), names(found.refunded), found.duplicates) == (["claim"], ["refund"], ())
    assert contested(found) == {"output": [("refund", made_bitcoin.AMOUNT), ("claim", made_bitcoin.AMOUNT)]}
    assert sums(found) == sums(audit(given[1:]))


def test_a_second_attempt_after_a_refund_is_neither_a_duplicate_nor_contested() -> None:
    refund = made.refunded(terms(1, swap_id=SwapId("ff" * 16)))
    found = audit([entry("refund", refund), entry("claim", completed(1))])
    assert (names(found.refunded), names(found.completed)) == (["refund"], ["claim"])
    assert (found.duplicates, found.contested) == ((), ())


def test_the_lists_keep_the_given_order() -> None:
    given = [entry(name, completed(int(name))) for name in ("3", "1", "2")]
    refunds = [entry(f"refund of {name}", made.refunded(terms(int(name)))) for name in ("2", "3")]
    found = audit([*refunds, *given])
    assert names(found.completed) == ["3", "1", "2"]
    assert names(each.entry for each in found.duplicates) == ["refund of 2", "refund of 3"]


def test_a_refund_is_listed_apart_and_is_in_no_sum() -> None:
    found = audit([entry("a", made.refunded(terms(1)))])
    assert names(found.refunded) == ["a"]
    assert (found.completed, found.totals, found.duplicates) == ((), (), ())


def test_the_sums_are_by_party_and_asset_in_satoshi() -> None:
    to_bob = made.to_bob()
    found = audit([entry("a", completed(1)), entry("b", completed(2)), entry("c", to_bob)])
    rows = {(each.party.layer, each.party.role, each.party.key): each for each in found.totals}
    leg = made.evm_leg()
    token, payer = to_checksum(made.TOKEN, 60808), to_checksum(leg.payer, 60808)
    paid = rows["BOB", "account", payer]
    assert (paid.asset, paid.paid, paid.received, paid.payments) == (token, 2 * 100_420 + 100_000, 0, 3)
    payee = rows["BOB", "account", to_checksum(leg.payee, 60808)]
    assert (payee.paid, payee.received) == (0, 2 * 100_420 + 100_000)
    node = rows["LIGHTNING", "account", made.PAYEE.public_key.format().hex()]
    assert (node.asset, node.paid, node.received) == ("BTC", 0, 2 * 100_000 + 100_420)
    on_bob = rows["BOB", "provider", made.PROVIDER_KEY.hex()]
    assert (on_bob.paid, on_bob.received) == (100_000, 2 * 100_420)
    on_lightning = rows["LIGHTNING", "provider", made.PROVIDER_KEY.hex()]
    assert (on_lightning.paid, on_lightning.received) == (2 * 100_000, 100_420)
    assert list(found.totals) == sorted(found.totals, key=lambda each: (each.party, each.asset))


def test_tokens_and_coins_are_assets_of_their_own() -> None:
    entries = (entry("a", made.between_chains()), entry("b", made_rootstock.from_rootstock()))
    assets = {each.asset for each in audit(entries).totals if each.party.layer == "ROOTSTOCK"}
    assert assets == {"RBTC", to_checksum(made.TOKEN, 33)}


def test_a_bitcoin_leg_is_named_by_the_output_that_its_evidence_spends() -> None:
    proof = made_bitcoin.from_bitcoin()
    evidence = proof.source_leg
    assert isinstance(evidence, BitcoinSpendEvidence)
    spent = decode_transaction(evidence.transaction).inputs[evidence.input].prevout
    assert entry("a", proof).legs[0].name == f"output {spent}"


def test_an_evm_leg_is_named_by_its_lock() -> None:
    proof = completed(1)
    leg = proof.terms.terms.source
    assert isinstance(leg, EvmLeg)
    lock = leg.lock(proof.terms.terms.payment_hash, terms_hash(proof.terms.terms))
    assert entry("a", proof).legs[0].name == f"lock_id 0x{lock.lock_id.hex()}"


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
