"""Evidence from Bitcoin, from the forger's side: each attack is refused for its own reason."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pbk
import pytest
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact, serialize_compact
from coincurve.utils import GROUP_ORDER_INT

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import FormatError, ProofRefused, ProofUndecided
from layer2.formats.bitcoin_block import merkle_path, merkle_root
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut, double_sha256
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import BitcoinSpendEvidence, LightningPaymentEvidence, read_evidence, write_evidence
from layer2.legs.shown import EvidencePolicy, LegOutcome, LegShown, Owed, Shown
from layer2.legs.views import Side
from layer2.proofs.checking import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import OFFLINE, HeaderRequirement, ProofLevel, ProofPolicy
from proofs import made_bitcoin as btc
from proofs import made_proofs as made

OWED = Owed(Side.PAYER, btc.AMOUNT, made.PREIMAGE.payment_hash, b"\x01" * 32, made.INVOICE_TIME)
CLAIM = btc.spend()
OTHERS = (btc.other(1), btc.other(2), btc.other(3))
BLOCK = btc.block_of([OTHERS[0], CLAIM, *OTHERS[1:]])
EVIDENCE = BLOCK.evidence(CLAIM)
TYPES = (0x00, 0x01, 0x02, 0x03, 0x41, 0x81, 0x82, 0x83)


# Outputs that anyone spends with any witness: of later versions, and of version 1 with a program that is no key.
FUTURE = tuple([bytes([0x50 + version, 0x20]) + b"\x07" * 32 for version in range(2, 17)])
OF_ANYONE = (*FUTURE, b"\x51\x02\x4e\x73", b"\x51\x28" + b"\x07" * 40)


def shown(evidence: BitcoinSpendEvidence, leg: BitcoinLeg = btc.LEG) -> LegShown:
    return leg.check_evidence(read_evidence(write_evidence(evidence), "evidence"), OWED, EvidencePolicy())


def refused(check: str, problem: str, evidence: BitcoinSpendEvidence, leg: BitcoinLeg = btc.LEG) -> None:
    """Assert that the evidence is refused for this reason, and not for another."""
    with pytest.raises(ProofRefused, match=problem) as caught:
        shown(evidence, leg)
    assert caught.value.check == check


def core_accepts(transaction: Transaction, script: bytes = btc.HTLC.program) -> bool:
    """Whether Bitcoin Core's consensus code accepts the second input as a spend of an output with this script."""
    scripts = (pbk.ScriptPubkey(b"\x51"), pbk.ScriptPubkey(script))
    judged = pbk.Transaction(transaction.encode())
    spent = [pbk.TransactionOutput(script, btc.AMOUNT) for script in scripts]
    data = pbk.script.PrecomputedTransactionData(judged, spent)
    accepted: bool = scripts[1].verify(btc.AMOUNT, judged, data, 1, pbk.ScriptVerificationFlags.ALL)
    return accepted


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


# The spend of exactly the output of the terms.


def test_an_input_that_does_not_exist_is_refused() -> None:
    refused("input", "no such input", replace(EVIDENCE, input=2))


@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("script", OF_ANYONE, ids=bytes.hex)
def test_the_legs_witness_at_an_output_that_anyone_spends_shows_nothing(script: bytes, branch: Branch) -> None:
    # The payer signs its return of this output over the terms' amount, or the payee its claim.
    made_by = btc.funding(script=script)
    transaction = btc.spend(branch, made_by=made_by)
    assert core_accepts(transaction, script)
    assert not core_accepts(transaction, b"\x00" + script[1:])
    evidence = btc.evidence_of(transaction, made_by=made_by)
    refused("script", "the output has another script", evidence)
    # A transaction that did pay to the leg is not the one that made this output.
    refused("funding", "another transaction", replace(evidence, funding=btc.FUNDING.stripped))


def test_the_spend_of_another_input_is_refused() -> None:
    refused("funding", "another transaction", replace(EVIDENCE, input=0))


@pytest.mark.parametrize(
    "script",
    [
        btc.HTLC.script,
        b"",
        btc.HTLC.program[:-1],
        btc.HTLC.program + b"\x51",
        b"\x51" + btc.HTLC.program[1:],
        replace(btc.HTLC, locktime=btc.LOCKTIME + 1).program,
    ],
)
def test_an_output_of_another_script_is_refused(script: bytes) -> None:
    made_by = btc.funding(script=script)
    refused("script", "the output has another script", btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by))


def test_an_output_that_the_funding_does_not_have_is_refused() -> None:
    made_by = replace(btc.FUNDING, outputs=btc.FUNDING.outputs[1:])
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=OutPoint(made_by.hash, 1))))
    refused("funding", "no such output", btc.evidence_of(spend, made_by=made_by))


def test_another_funding_than_the_one_that_is_spent_is_refused() -> None:
    for index in range(len(EVIDENCE.funding)):
        changed = bytearray(EVIDENCE.funding)
        changed[index] ^= 1
        refused("funding", "another transaction", replace(EVIDENCE, funding=bytes(changed)))
    for wrong in (b"", EVIDENCE.funding[:-1], EVIDENCE.funding + b"\x00", btc.other(1).stripped):
        refused("funding", "another transaction", replace(EVIDENCE, funding=wrong))


def test_the_funding_has_one_encoding_the_one_without_witnesses() -> None:
    assert btc.FUNDING.encode() != btc.FUNDING.stripped
    refused("funding", "another transaction", replace(EVIDENCE, funding=btc.FUNDING.encode()))
    # An outpoint that names the hash over the witnesses, or over a length in a longer form, is no transaction's.
    longer = btc.FUNDING.stripped.replace(b"\x22" + btc.HTLC.program, b"\xfd\x22\x00" + btc.HTLC.program)
    for funding, problem in (
        (btc.FUNDING.encode(), "given with witnesses"),
        (longer, "not in its shortest form"),
        (btc.FUNDING.stripped + b"\x00", "followed by other bytes"),
        (btc.FUNDING.stripped[:-1], "ends too early"),
    ):
        prevout = OutPoint(double_sha256(funding), 1)
        spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=prevout)))
        refused("funding", problem, replace(btc.evidence_of(spend), funding=funding))


def test_two_hashes_of_a_tree_are_no_funding() -> None:
    # CVE-2017-12842: the hash of an inner node. Consensus knows no output under it, so only an invented block has this.
    node = BLOCK.hashes[2] + BLOCK.hashes[3]
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=OutPoint(double_sha256(node), 1))))
    with pytest.raises(ProofRefused) as caught:
        shown(replace(btc.evidence_of(spend), funding=node))
    assert caught.value.check == "funding"


def test_a_real_funding_of_64_bytes_is_read_as_the_transaction_that_it_is() -> None:
    # One input with a script of two bytes, one output with two bytes of script: too short for the leg's script.
    source = TxIn(OutPoint(b"\x09" * 32, 0), 0, b"\x51\x51")
    made_by = Transaction(2, (source,), (TxOut(btc.AMOUNT, b"\x51\x51"),), 0)
    assert len(made_by.stripped) == 64
    prevout = OutPoint(made_by.hash, 0)
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=prevout)))
    refused("script", "the output has another script", btc.evidence_of(spend, made_by=made_by))


def test_a_funding_of_a_miner_and_one_without_any_witness_are_as_good_as_others() -> None:
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, b"\x03\x00\x00\x0c", (bytes(32),))
    for inputs in ((source,), (replace(source, witness=()),)):
        made_by = replace(btc.FUNDING, inputs=inputs)
        assert shown(btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by)).outcome is LegOutcome.COLLECTED


def test_a_funding_and_a_spend_have_a_largest_size() -> None:
    # The largest ones are read, and then refused for what they are.
    refused("funding", "another transaction", replace(EVIDENCE, funding=bytes(400_000)))
    refused("inclusion", "no inputs", replace(EVIDENCE, transaction=bytes(400_000)))
    with pytest.raises(FormatError, match="'funding'"):
        shown(replace(EVIDENCE, funding=bytes(400_001)))
    with pytest.raises(FormatError, match="'transaction'"):
        shown(replace(EVIDENCE, transaction=bytes(400_001)))


def test_both_transactions_fit_into_one_file_up_to_a_size() -> None:
    for size in (85_000, 100_000):
        proof = btc.from_bitcoin(evidence=replace(EVIDENCE, transaction=bytes(400_000), funding=bytes(size)))
        with nullcontext() if size == 85_000 else pytest.raises(FormatError, match="1000000"):
            assert TransferProof.from_bytes(proof.to_bytes()) == proof


def test_a_batch_of_payments_that_nodes_relay_is_a_funding() -> None:
    # Nodes relay 400,000 units of weight, so 100,000 bytes without witnesses.
    many = tuple([TxOut(1_000 + number, b"\x00\x14" + bytes(20)) for number in range(3_200)])
    made_by = replace(btc.FUNDING, outputs=(*btc.FUNDING.outputs, *many))
    assert 390_000 < made_by.weight <= 400_000
    evidence = btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by)
    assert shown(evidence).outcome is LegOutcome.COLLECTED
    proof = btc.from_bitcoin(evidence=evidence)
    assert TransferProof.from_bytes(proof.to_bytes()) == proof


@pytest.mark.parametrize(
    "leg",
    [
        replace(btc.LEG, locktime=btc.LOCKTIME + 1),
        replace(btc.LEG, payment_hash=b"\x07" * 32),
        replace(btc.LEG, payer=btc.PAYEE_RELEASE.public_key.format()),
        replace(btc.LEG, payee=btc.PAYER.public_key.format()),
        replace(btc.LEG, payee_release=btc.PAYER.public_key.format()),
    ],
)
def test_another_script_is_refused(leg: BitcoinLeg) -> None:
    refused("script", "the output has another script", EVIDENCE, leg)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("amount", [btc.AMOUNT - 1, btc.AMOUNT + 1, 546])
def test_an_output_of_another_amount_is_refused(amount: int, branch: Branch, kind: int) -> None:
    made_by = btc.funding(amount)
    evidence = btc.evidence_of(btc.spend(branch, kind=kind, made_by=made_by), made_by=made_by)
    refused("amount", "another amount", evidence)


def test_a_witness_that_fits_no_branch_of_the_script_is_refused() -> None:
    signature, preimage, selector, script = CLAIM.inputs[1].witness
    for witness in (
        (signature, b"\x08" * 32, selector, script),
        (signature, preimage, selector, b"", script),
        (preimage, selector, script),
        (signature, preimage, selector, b"\x51"),
        (),
    ):
        transaction = CLAIM.with_witness(1, witness)
        assert not core_accepts(transaction)
        refused("script", "the witness spends another script", btc.evidence_of(transaction))


def test_a_signature_that_consensus_would_refuse_is_only_in_invented_blocks_which_no_node_confirms() -> None:
    signature, preimage, selector, script = CLAIM.inputs[1].witness
    for unsigned in ((b"", preimage, selector, script), (signature[:-1] + b"\x02", preimage, selector, script)):
        transaction = CLAIM.with_witness(1, unsigned)
        assert not core_accepts(transaction)
        proof = btc.from_bitcoin(evidence=btc.evidence_of(transaction))
        assert check_proof(proof, OFFLINE).level is ProofLevel.OFFLINE
        with pytest.raises(ProofUndecided):
            check_proof(proof, ProofPolicy(HeaderRequirement.AS_AGREED))


def test_evidence_of_another_kind_is_refused() -> None:
    with pytest.raises(ProofRefused) as caught:
        btc.LEG.check_evidence(LightningPaymentEvidence(made.PREIMAGE), OWED, EvidencePolicy())
    assert caught.value.check == "evidence"


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
