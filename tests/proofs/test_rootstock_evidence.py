"""Evidence from Rootstock: what it shows, and each way in which it can be wrong or incomplete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.contracts.htlc import CLAIMED, HTLC_ADDRESS, HtlcLock
from layer2.errors import FormatError, ProofRefused
from layer2.formats import rlp, rsk_trie
from layer2.formats.evm_receipt import EvmLog
from layer2.formats.rsk_header import decode_full_header
from layer2.legs.chain_header import block_after, read_rootstock
from layer2.legs.evidence import EvmReceiptEvidence, RootstockReceiptEvidence, read_evidence, write_evidence
from layer2.legs.rootstock_evidence import read_event, shown_of
from layer2.legs.shown import BlockRef, LegOutcome, Shown
from layer2.model.layers import Layer2ProtocolType
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from proofs import made_rootstock as rsk

LEG = rsk.leg()
TERMS = rsk.terms(LEG)
LOCK = LEG.lock(TERMS.payment_hash, terms_hash(TERMS))
VALUES = rsk.receipts_with(rsk.event_log(LEG, TERMS))
BLOCKS = rsk.chain(VALUES)
EVIDENCE = rsk.evidence_under(VALUES, BLOCKS)
WORK = rsk.DIFFICULTY * len(BLOCKS)


def refused(evidence: RootstockReceiptEvidence, lock: HtlcLock = LOCK) -> str:
    with pytest.raises(ProofRefused) as caught:
        shown_of(evidence, lock, least_work=None)
    return caught.value.check


def test_it_shows_the_claim_of_exactly_the_lock_under_headers_with_work() -> None:
    shown = shown_of(EVIDENCE, LOCK, least_work=WORK)
    assert shown.outcome is LegOutcome.COLLECTED
    assert shown.shown == {Shown.INCLUDED, Shown.WORK}
    assert shown.header == BlockRef(rsk.HEIGHT, BLOCKS[0].hash, made.BLOCK_TIME)
    assert shown.later == tuple(block.hash for block in BLOCKS[1:])
    assert (shown.work, shown.contract) == (WORK, rsk.CONTRACT)


def test_too_little_work_or_no_stated_work_shows_no_work() -> None:
    assert Shown.WORK not in shown_of(EVIDENCE, LOCK, least_work=WORK + 1).shown
    assert Shown.WORK not in shown_of(EVIDENCE, LOCK, least_work=None).shown


def test_a_refund_is_a_return() -> None:
    evidence = rsk.evidence_of(LEG, TERMS, event="Refunded")
    assert shown_of(evidence, LOCK, least_work=None).outcome is LegOutcome.RETURNED


def test_only_the_address_of_the_genuine_contract_commits_to_its_code() -> None:
    genuine = rsk.leg(contract=HTLC_ADDRESS)
    agreed = rsk.terms(genuine)
    lock = genuine.lock(agreed.payment_hash, terms_hash(agreed))
    shown = shown_of(rsk.evidence_of(genuine, agreed), lock, least_work=None)
    assert Shown.GENUINE_CONTRACT in shown.shown


def test_it_is_written_and_read_back() -> None:
    assert read_evidence(write_evidence(EVIDENCE), "leg") == EVIDENCE
    with pytest.raises(FormatError, match="protocol"):
        read_evidence({**write_evidence(EVIDENCE), "protocol": "ROOTSTOCK"}, "leg")


@pytest.mark.parametrize("place", range(4))
def test_a_header_without_the_work_that_it_states_is_refused(place: int) -> None:
    """Anyone can make a header; only its work costs something."""
    block = decode_full_header(BLOCKS[place].full)[0]
    cheap = rsk.mined(
        receipts_root=block.receipts_root,
        parent=block.parent_hash,
        number=block.number,
        timestamp=block.timestamp,
        difficulty=2**20,
        worth=4,
    )
    headers = [each.full for each in BLOCKS]
    headers[place] = cheap.full
    assert refused(replace(EVIDENCE, headers=tuple(headers[: place + 1]))) == "header"


def test_work_for_another_header_is_refused() -> None:
    """The Merkle path and the coinbase of one block do not show the work of another."""
    other = rlp.decode(rsk.chain(VALUES, 0, timestamp=made.BLOCK_TIME + 1)[0].full)
    own = rlp.decode(BLOCKS[0].full)
    assert isinstance(own, list)
    assert isinstance(other, list)
    for stolen in (other[-2:], [own[-2], other[-1]]):
        assert refused(replace(EVIDENCE, headers=(rlp.encode([*own[:-2], *stolen]),))) == "header"
    # Bitcoin's header with them belongs to the other block too.
    assert refused(replace(EVIDENCE, headers=(rlp.encode([*own[:-3], *other[-3:]]),))) == "header"


def test_a_coinbase_with_the_tag_of_another_header_is_refused() -> None:
    block = rsk.mined(receipts_root=rsk_trie.trie_root(VALUES), tag=b"\x07" * 32)
    assert refused(replace(EVIDENCE, headers=(block.full,))) == "header"


def test_headers_that_do_not_connect_are_refused() -> None:
    full = [block.full for block in BLOCKS]
    for wrong in ([full[0], full[2]], [full[0], full[1], full[1]], [full[1], full[0]], [full[0], full[0]]):
        assert refused(replace(EVIDENCE, headers=tuple(wrong))) == "header"
    stranger = rsk.mined(receipts_root=rsk_trie.EMPTY_ROOT, number=rsk.HEIGHT + 1, timestamp=made.BLOCK_TIME + 30)
    assert refused(replace(EVIDENCE, headers=(full[0], stranger.full))) == "header"


@pytest.mark.parametrize(
    ("number", "later"), [(rsk.HEIGHT, 30), (rsk.HEIGHT + 2, 30), (rsk.HEIGHT + 1, 0), (rsk.HEIGHT + 1, -1)]
)
def test_a_child_at_a_wrong_height_or_not_later_is_refused(number: int, later: int) -> None:
    child = rsk.mined(
        receipts_root=rsk_trie.EMPTY_ROOT, parent=BLOCKS[0].hash, number=number, timestamp=made.BLOCK_TIME + later
    )
    assert refused(replace(EVIDENCE, headers=(BLOCKS[0].full, child.full))) == "header"


def test_a_header_in_its_short_form_or_none_at_all_is_refused() -> None:
    assert refused(replace(EVIDENCE, headers=())) == "header"
    assert refused(replace(EVIDENCE, headers=(BLOCKS[0].short,))) == "header"
    assert refused(replace(EVIDENCE, headers=(BLOCKS[0].full, BLOCKS[1].short))) == "header"


def test_the_receipts_of_another_block_are_refused() -> None:
    other = rsk.receipts_with(rsk.event_log(LEG, TERMS, preimage=type(made.PREIMAGE)(bytes(32))))
    stolen = rsk.evidence_under(other, BLOCKS)
    assert refused(stolen) == "receipt_inclusion"
    assert refused(replace(EVIDENCE, headers=(BLOCKS[1].full,))) == "receipt_inclusion"


def test_another_receipt_or_another_place_is_refused() -> None:
    assert refused(replace(EVIDENCE, receipt=VALUES[0])) == "receipt_inclusion"
    assert refused(replace(EVIDENCE, transaction_index=rsk.PLACE + 1)) == "receipt_inclusion"
    for proof in (EVIDENCE.receipt_proof[:-1], EVIDENCE.receipt_proof[::-1], (*EVIDENCE.receipt_proof, b"\x40")):
        assert refused(replace(EVIDENCE, receipt_proof=proof)) == "receipt_inclusion"


def test_a_receipt_in_ethereums_format_is_refused() -> None:
    items = rlp.decode(VALUES[rsk.PLACE])
    assert isinstance(items, list)
    values = [*VALUES[: rsk.PLACE], rlp.encode(items[:4]), *VALUES[rsk.PLACE + 1 :]]
    assert refused(rsk.evidence_under(values, rsk.chain(values))) == "receipt_inclusion"


def test_a_failed_transaction_is_refused() -> None:
    assert refused(rsk.evidence_of(LEG, TERMS, succeeded=False)) == "receipt_status"


def test_a_log_that_the_receipt_does_not_have_is_refused() -> None:
    assert refused(replace(EVIDENCE, log_index=1)) == "log_index"


def test_the_event_of_another_contract_is_refused() -> None:
    log = rsk.event_log(LEG, TERMS)
    values = rsk.receipts_with(replace(log, address=HTLC_ADDRESS))
    stolen = rsk.evidence_under(values, rsk.chain(values))
    assert refused(stolen) == "event"
    with pytest.raises(ProofRefused, match="contract of the terms"):
        read_event(EVIDENCE, HTLC_ADDRESS)


def test_an_event_that_ends_no_lock_is_refused() -> None:
    log = EvmLog(LEG.contract, (CLAIMED[::-1], LOCK.lock_id, LOCK.payment_hash), made.PREIMAGE.secret)
    values = rsk.receipts_with(log)
    assert refused(rsk.evidence_under(values, rsk.chain(values))) == "event"


@pytest.mark.parametrize("chain_id", [30, 31])
def test_the_claim_of_the_same_lock_on_another_network_is_refused(chain_id: int) -> None:
    """The lock's id commits to the chain id, so a lock on the testnet ends none on mainnet."""
    elsewhere = replace(LEG, chain_id=chain_id)
    assert refused(rsk.evidence_of(elsewhere, TERMS)) == "lock_id"


def test_the_claim_of_a_lock_with_another_amount_or_under_another_hash_is_refused() -> None:
    assert refused(rsk.evidence_of(replace(LEG, amount=LEG.amount - 1), TERMS)) == "lock_id"
    log = rsk.event_log(LEG, TERMS)
    other = type(made.PREIMAGE)(bytes(32))
    forged = EvmLog(log.address, (log.topics[0], log.topics[1], other.payment_hash), other.secret)
    values = rsk.receipts_with(forged)
    assert refused(rsk.evidence_under(values, rsk.chain(values))) == "payment_hash"


def test_a_following_header_leads_to_the_next_block() -> None:
    block = BlockRef(rsk.HEIGHT, BLOCKS[0].hash, made.BLOCK_TIME)
    assert block_after(block, read_rootstock(BLOCKS[1].short)) == BlockRef(
        rsk.HEIGHT + 1, BLOCKS[1].hash, made.BLOCK_TIME + 30
    )
    with pytest.raises(FormatError, match="another parent"):
        block_after(block, read_rootstock(BLOCKS[2].short))
    with pytest.raises(FormatError):
        read_rootstock(BLOCKS[1].full)


def test_the_evidence_of_each_layer_fits_only_its_own_legs() -> None:
    proof = rsk.from_rootstock(TERMS)
    ethereum = EvmReceiptEvidence(Layer2ProtocolType.ROOTSTOCK, b"", 0, (), 0)
    for chain_id, network in ((30, "mainnet"), (31, "testnet")):
        agreed = rsk.terms(rsk.leg(chain_id=chain_id), network=network)
        # Rootstock has no such receipts, so it can only be an invention.
        with pytest.raises(ProofRefused, match="evidence: ROOTSTOCK has other headers and tries"):
            _ = replace(proof, terms=made.signed(agreed), source_leg=ethereum, destination_leg=None).outcome
    with pytest.raises(ProofRefused, match="layer"):
        _ = replace(proof, terms=made.signed(made.terms()), destination_leg=None).outcome


def test_every_flipped_bit_is_refused_or_is_other_work_for_another_block() -> None:
    header = bytearray(EVIDENCE.headers[0])
    accepted, refusals = 0, set()
    for place in range(0, len(header) * 8, 7):
        header[place // 8] ^= 1 << place % 8
        try:
            shown = shown_of(replace(EVIDENCE, headers=(bytes(header),)), LOCK, least_work=None)
        except ProofRefused as error:
            refusals.add(error.check)
        else:
            # Another time or nonce in Bitcoin's header is work at difficulty 4 by chance. It makes another block.
            assert shown.header is not None
            assert shown.header.hash != BLOCKS[0].hash
            accepted += 1
        header[place // 8] ^= 1 << place % 8
    assert accepted < 40
    assert refusals == {"header"}
    receipt = bytearray(EVIDENCE.receipt)
    for place in range(0, len(receipt) * 8, 11):
        receipt[place // 8] ^= 1 << place % 8
        assert refused(replace(EVIDENCE, receipt=bytes(receipt))) == "receipt_inclusion"
        receipt[place // 8] ^= 1 << place % 8
