"""Evidence from Bitcoin, from the forger's side: each attack is refused for its own reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact, serialize_compact
from coincurve.utils import GROUP_ORDER_INT

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import ProofRefused
from layer2.formats.bitcoin_block import merkle_path, merkle_root
from layer2.formats.bitcoin_transaction import double_sha256
from layer2.legs.shown import LegOutcome, Shown
from proofs import made_bitcoin as btc
from proofs import made_proofs as made
from proofs.checked_bitcoin import BLOCK, CLAIM, EVIDENCE, OTHERS, TYPES, core_accepts, refused, shown

# What consensus accepts is shown: a party cannot hide its own claim.


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_every_branch_with_every_signature_type_shows_the_end(branch: Branch, kind: int, outputs: int) -> None:
    # SINGLE covers no output if there is none at the place of the input.
    transaction = btc.spend(branch, kind=kind, outputs=outputs)
    assert core_accepts(transaction)
    found = shown(btc.evidence_of(transaction))
    assert found.outcome is (LegOutcome.COLLECTED if branch is Branch.CLAIM else LegOutcome.RETURNED)
    assert found.shown == {Shown.INCLUDED}


def test_a_signature_with_a_large_s_shows_the_end() -> None:
    signature, *rest = CLAIM.inputs[1].witness
    compact = serialize_compact(der_to_cdata(signature[:-1]))
    large = GROUP_ORDER_INT - int.from_bytes(compact[32:], "big")
    malleated = cdata_to_der(deserialize_compact(compact[:32] + large.to_bytes(32, "big"))) + signature[-1:]
    transaction = CLAIM.with_witness(1, (malleated, *rest))
    assert core_accepts(transaction)
    assert shown(btc.evidence_of(transaction)).outcome is LegOutcome.COLLECTED


def test_a_claim_with_another_selector_shows_the_end() -> None:
    signature, preimage, _, script = CLAIM.inputs[1].witness
    transaction = CLAIM.with_witness(1, (signature, preimage, b"\x02", script))
    assert core_accepts(transaction)
    assert shown(btc.evidence_of(transaction)).outcome is LegOutcome.COLLECTED


def test_the_result_names_the_block_as_nodes_display_it() -> None:
    found = shown(EVIDENCE)
    assert found.header is not None
    assert found.header.number == btc.HEIGHT
    assert found.header.hash.hex() == BLOCK.headers[0].id
    assert found.header.timestamp == made.BLOCK_TIME
    assert [each.hex() for each in found.later] == [each.id for each in BLOCK.headers[1:]]
    # About every second hash is below regtest's target.
    assert found.work == 2 * len(BLOCK.headers)


@pytest.mark.parametrize("others", range(9))
def test_the_place_in_a_block_of_any_size_is_shown(others: int) -> None:
    for before in range(others + 1):
        transactions = [btc.other(number + 1) for number in range(others)]
        transactions.insert(before, CLAIM)
        assert shown(btc.block_of(transactions).evidence(CLAIM, before + 1)).outcome is LegOutcome.COLLECTED


# Headers.


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ((), "no header"),
        ((EVIDENCE.headers[0][:-1],), "ends too early"),
        ((EVIDENCE.headers[0] + b"\x00",), "followed by other bytes"),
        ((EVIDENCE.headers[0], EVIDENCE.headers[2]), "not a chain"),
        ((EVIDENCE.headers[1], EVIDENCE.headers[0]), "not a chain"),
        ((EVIDENCE.headers[0], EVIDENCE.headers[0]), "not a chain"),
    ],
)
def test_headers_that_are_not_a_chain_are_refused(headers: tuple[bytes, ...], problem: str) -> None:
    refused("header", problem, replace(EVIDENCE, headers=headers))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_header_without_the_work_that_it_states_is_refused(place: int) -> None:
    headers = btc.chain(merkle_root(BLOCK.hashes))[: place + 1]
    while headers[place].has_work:
        headers[place] = replace(headers[place], nonce=headers[place].nonce + 1)
    refused("header", "without the work", replace(EVIDENCE, headers=tuple([each.encode() for each in headers])))


@pytest.mark.parametrize("bits", [0x1FFF_FFFF, 0x0492_3456, 0xFF12_3456, 0x2101_0000, 0x0000_FFFF, 0])
def test_a_negative_a_too_large_and_a_zero_target_are_refused(bits: int) -> None:
    header = replace(BLOCK.headers[0], bits=bits)
    # A hash that is low enough for the first target if that was read without its sign.
    while header.hash[-1]:
        assert not header.has_work
        header = replace(header, nonce=header.nonce + 1)
    refused("header", "without the work", replace(EVIDENCE, headers=(header.encode(),)))


@pytest.mark.parametrize("prefix", ["bc", "tb", "tbs"])
def test_regtest_blocks_show_nothing_of_another_network(prefix: str) -> None:
    refused("header", "less work than the network", EVIDENCE, replace(btc.LEG, prefix=prefix))


# The transaction's place under the header.


def test_a_coinbase_that_is_not_under_the_header_is_refused() -> None:
    invented = btc.coinbase([btc.commitment(BLOCK.witness_hashes)], witness=(bytes(32),))
    assert invented.hash == BLOCK.coinbase.hash
    refused("inclusion", "witness is not under", replace(EVIDENCE, coinbase=invented.encode()))
    invented = btc.coinbase([btc.commitment(BLOCK.witness_hashes), b"\x51"])
    refused("inclusion", "coinbase is not under", replace(EVIDENCE, coinbase=invented.encode()))


@pytest.mark.parametrize("witness", [(), (bytes(31),), (bytes(33),), (btc.RESERVED, b""), (btc.RESERVED, btc.RESERVED)])
def test_a_coinbase_without_a_reserved_value_commits_to_nothing(witness: tuple[bytes, ...]) -> None:
    first = btc.coinbase([btc.commitment(BLOCK.witness_hashes)], witness=witness)
    refused("inclusion", "commits to no witnesses", btc.evidence_of(CLAIM, first))


@pytest.mark.parametrize("scripts", [[], [b"\x51"], [btc.MARK], [btc.commitment(BLOCK.witness_hashes)[:-1]]])
def test_a_coinbase_without_a_commitment_is_refused(scripts: list[bytes]) -> None:
    refused("inclusion", "commits to no witnesses", btc.evidence_of(CLAIM, btc.coinbase(scripts)))


def test_the_last_commitment_counts_and_an_incomplete_one_is_none() -> None:
    good, bad = btc.commitment(BLOCK.witness_hashes), btc.commitment(BLOCK.witness_hashes, bytes(32))
    for scripts in ([bad, good], [good, b"\x51"], [good, bad[:-1]], [bad, good + b"\x00"], [good, btc.MARK]):
        assert shown(btc.evidence_of(CLAIM, btc.coinbase(scripts))).outcome is LegOutcome.COLLECTED
    for scripts in ([good, bad], [good, good, bad]):
        refused("inclusion", "witness is not under", btc.evidence_of(CLAIM, btc.coinbase(scripts)))


def test_another_witness_than_the_committed_one_is_refused() -> None:
    refund = btc.spend(Branch.REFUND)
    claimed = refund.with_witness(1, CLAIM.inputs[1].witness)
    assert claimed.hash == refund.hash
    evidence = btc.evidence_of(refund)
    assert shown(evidence).outcome is LegOutcome.RETURNED
    refused("inclusion", "witness is not under", replace(evidence, transaction=claimed.encode()))
    refused("inclusion", "witness is not under", replace(evidence, transaction=refund.stripped))


def test_another_index_is_refused() -> None:
    for index in (1, 3, 4, 5, 6, 7):
        refused("inclusion", "witness is not under", replace(EVIDENCE, index=index))
    for index in (8, 1 << 31):
        refused("inclusion", "does not fit its index", replace(EVIDENCE, index=index))


def test_an_index_beyond_the_tree_is_refused_though_its_path_leads_to_the_root() -> None:
    # CVE-2012-2459: the last of three leaves is hashed with itself, so place 3 has a path too.
    block = btc.block_of([OTHERS[0], CLAIM])
    evidence = block.evidence(CLAIM, 2)
    assert shown(evidence).outcome is LegOutcome.COLLECTED
    refused("inclusion", "repeats a hash", replace(evidence, index=3))


def test_the_coinbases_place_shows_no_witness() -> None:
    # A block of one transaction: an invented commitment to the claim instead of zero.
    block = btc.block_of([], btc.coinbase([btc.commitment([CLAIM.witness_hash])]))
    refused("inclusion", "is its coinbase", block.evidence(CLAIM, 0))


def test_a_transaction_of_64_bytes_does_not_stand_for_two_hashes() -> None:
    # CVE-2017-12842: a real transaction whose 64 bytes are such that the last 32 are the hash of an invented one.
    posing = b"\x02\x00\x00\x00" * 8 + CLAIM.witness_hash
    leaf = double_sha256(posing)
    witness_hashes = [bytes(32), OTHERS[0].witness_hash, leaf, OTHERS[1].witness_hash]
    first = btc.coinbase([btc.commitment(witness_hashes)])
    hashes = [first.hash, OTHERS[0].hash, leaf, OTHERS[1].hash]
    evidence = replace(
        EVIDENCE,
        headers=tuple([each.encode() for each in btc.chain(merkle_root(hashes))]),
        coinbase=first.encode(),
        coinbase_path=merkle_path(hashes, 0),
        witness_path=(posing[:32], *merkle_path(witness_hashes, 2)),
        index=5,
    )
    refused("inclusion", "different lengths", evidence)
    refused("inclusion", "coinbase is not under", replace(evidence, coinbase_path=(*evidence.coinbase_path, bytes(32))))


def test_an_inner_node_is_no_transaction() -> None:
    left = BLOCK.witness_hashes[2] + BLOCK.witness_hashes[3]
    evidence = replace(EVIDENCE, transaction=left, index=1, witness_path=EVIDENCE.witness_path[1:])
    with pytest.raises(ProofRefused) as caught:
        shown(evidence)
    assert caught.value.check == "inclusion"
    # The shortest coinbase with a commitment is longer than two hashes.
    assert len(btc.coinbase([btc.MARK + bytes(32)], starts=b"").stripped) - len(b"\x04miner") > 64


def test_a_path_of_another_length_is_refused() -> None:
    for right in (EVIDENCE.witness_path, EVIDENCE.coinbase_path):
        for wrong in ((), right[:-1], right[1:], (*right, bytes(32))):
            refused("inclusion", "different lengths", replace(EVIDENCE, witness_path=wrong))
            refused("inclusion", "different lengths", replace(EVIDENCE, coinbase_path=wrong))


def test_a_path_with_something_else_than_hashes_is_refused() -> None:
    for right in (EVIDENCE.witness_path, EVIDENCE.coinbase_path):
        for wrong in ((right[0][:-1], *right[1:]), (right[0] + b"\x00", *right[1:])):
            refused("inclusion", "something else than hashes", replace(EVIDENCE, coinbase_path=wrong))
            if right is EVIDENCE.witness_path:
                refused("inclusion", "something else than hashes", replace(EVIDENCE, witness_path=wrong))


def test_bytes_that_are_no_transaction_are_refused() -> None:
    for end, problem in ((-1, "ends too early"), (None, "followed by other bytes")):
        transaction, coinbase = EVIDENCE.transaction, EVIDENCE.coinbase
        more = b"" if end else b"\x00"
        refused("inclusion", problem, replace(EVIDENCE, transaction=transaction[:end] + more))
        refused("inclusion", problem, replace(EVIDENCE, coinbase=coinbase[:end] + more))


# The height.


@pytest.mark.parametrize(
    ("starts", "height"),
    [
        (b"\x51", 1),
        (b"\x60", 16),
        (b"\x01\x11", 17),
        (b"\x01\x7f", 127),
        (b"\x02\x80\x00", 128),
        (b"\x02\xff\x00", 255),
        (b"\x02\x00\x01", 256),
        # BIP 34's own example, and a mainnet height.
        (b"\x03\x83\x78\x03", 227_459),
        (b"\x03\x28\xf4\x0c", 848_936),
        (b"\x04\x00\x00\x00\x01", 1 << 24),
    ],
)
def test_the_height_is_read_as_bip_34_writes_it(starts: bytes, height: int) -> None:
    first = btc.coinbase([btc.commitment(BLOCK.witness_hashes)], starts=starts)
    found = shown(btc.evidence_of(CLAIM, first), replace(btc.LEG, issued_height=height))
    assert found.header is not None
    assert found.header.number == height


def test_a_block_that_is_older_than_the_terms_is_refused() -> None:
    assert shown(EVIDENCE, replace(btc.LEG, issued_height=btc.HEIGHT + 144)).outcome is LegOutcome.COLLECTED
    refused("header", "older than the terms", EVIDENCE, replace(btc.LEG, issued_height=btc.HEIGHT + 145))


@pytest.mark.parametrize(
    "starts",
    [
        b"\x00",
        b"\x01\x10",
        b"\x01\x00",
        b"\x01\x80",
        b"\x02\x7f\x00",
        b"\x02\x00\x80",
        b"\x03\x83\x78\x83",
        b"\x04\x83\x78\x03\x00",
        b"\x05\x00\x00\x00\x00\x01",
        b"\x4c\x03\x83\x78\x03",
        b"\x61",
    ],
)
def test_a_coinbase_that_begins_otherwise_states_no_height(starts: bytes) -> None:
    evidence = btc.evidence_of(CLAIM, btc.coinbase([btc.commitment(BLOCK.witness_hashes)], starts=starts))
    refused("inclusion", "does not state the block's height", evidence)


def test_a_coinbase_script_that_ends_within_its_height_states_none() -> None:
    source = replace(BLOCK.coinbase.inputs[0], script_sig=b"\x03\x83\x88")
    first = replace(BLOCK.coinbase, inputs=(source,))
    refused("inclusion", "does not state", btc.evidence_of(CLAIM, first))
