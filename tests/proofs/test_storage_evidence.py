"""Evidence from a contract's storage shows the end of one lock, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import rlp  # type: ignore[import-untyped]  # a test oracle without types

from layer2.contracts.htlc import HtlcLock, status_slot
from layer2.errors import FormatError, ProofRefused
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.chain_header import block_after, reader_after
from layer2.legs.evidence import EvmStorageEvidence, LightningPaymentEvidence, read_evidence, write_evidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Leg
from layer2.legs.lock_evidence import block_of, included_block
from layer2.legs.shown import EvidencePolicy, LegOutcome, OpenPoint, Shown
from layer2.legs.storage_evidence import read_status, shown_of
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof, owed_of
from layer2.proofs.policy import OFFLINE, ProofLevel
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from proofs import made_storage as storage

TERMS = made.terms()
assert isinstance(TERMS.source, EvmLeg)
LEG = TERMS.source
LOCK = LEG.lock(TERMS.payment_hash, terms_hash(TERMS))
OWED = owed_of(TERMS)[0]
CLAIMED = storage.evidence_of(LEG, TERMS)
REFUNDED = storage.evidence_of(LEG, TERMS, storage.REFUNDED)
ELSEWHERE = bytes.fromhex("44" * 20)


def refused(evidence: EvmStorageEvidence, lock: HtlcLock = LOCK) -> str:
    with pytest.raises(ProofRefused) as caught:
        shown_of(evidence, lock)
    return caught.value.check


def with_path(name: str, nodes: tuple[bytes, ...]) -> EvmStorageEvidence:
    """The evidence with other nodes on one of its paths."""
    if name == "account_proof":
        return replace(CLAIMED, account_proof=nodes)
    return replace(CLAIMED, storage_proof=nodes)


def with_value(value: bytes) -> EvmStorageEvidence:
    """Evidence whose slot has these bytes as its value in the trie."""
    return storage.state_of(LEG.contract, {status_slot(LOCK.lock_id): value}).evidence(LEG, LOCK.lock_id)


@pytest.mark.parametrize(
    ("evidence", "outcome", "points"),
    [(CLAIMED, LegOutcome.COLLECTED, {OpenPoint.PREIMAGE}), (REFUNDED, LegOutcome.RETURNED, set())],
    ids=["claimed", "refunded"],
)
def test_the_status_of_a_lock_shows_how_it_ended_and_not_the_preimage(
    evidence: EvmStorageEvidence, outcome: LegOutcome, points: set[OpenPoint]
) -> None:
    shown = shown_of(evidence, LOCK)
    assert (shown.outcome, shown.contract) == (outcome, LEG.contract)
    assert shown.shown == {Shown.INCLUDED, Shown.GENUINE_CONTRACT}
    assert {matter.point for matter in shown.open} == points
    assert shown.header == block_of(evidence) == included_block(evidence, LEG.contract)
    assert shown.header.hash == keccak256(evidence.header)


def test_paths_have_several_nodes_below_the_root() -> None:
    assert min(len(CLAIMED.account_proof), len(CLAIMED.storage_proof)) >= 3


@pytest.mark.parametrize("status", [storage.LOCKED, 4, 128, 256 + storage.CLAIMED, 2**255 + storage.REFUNDED])
def test_a_status_that_is_no_end_is_refused(status: int) -> None:
    assert refused(storage.evidence_of(LEG, TERMS, status)) == "lock_status"


def test_a_lock_that_was_never_made_has_no_path() -> None:
    state = storage.state_of(LEG.contract, {})
    assert refused(state.evidence(LEG, LOCK.lock_id)) == "storage_inclusion"


@pytest.mark.parametrize(
    "value", [b"\x81\x02", b"\x82\x00\x02", b"\xc1\x02", b"\x02\x02", b"\x82\x02", b"\xa1\x01" + bytes(32)]
)
def test_a_value_that_is_not_the_canonical_encoding_of_a_number_is_refused(value: bytes) -> None:
    assert refused(with_value(value)) == "storage_inclusion"


def test_the_status_of_another_lock_is_refused() -> None:
    other = replace(LOCK, amount=LOCK.amount + 1)
    slots = {status_slot(lock.lock_id): rlp.encode(storage.CLAIMED) for lock in (LOCK, other)}
    state = storage.state_of(LEG.contract, slots)
    assert shown_of(state.evidence(LEG, other.lock_id), other).outcome is LegOutcome.COLLECTED
    assert refused(state.evidence(LEG, other.lock_id)) == "lock_id"
    renamed = replace(state.evidence(LEG, other.lock_id), lock_id=LOCK.lock_id)
    assert refused(renamed) == "storage_inclusion"


@pytest.mark.parametrize(
    "slot",
    [
        bytes(32),
        keccak256(LOCK.lock_id + (1).to_bytes(32, "big")),
        keccak256((2).to_bytes(32, "big") + LOCK.payment_hash),
        keccak256((2).to_bytes(32, "big") + LOCK.lock_id),
        LOCK.lock_id,
    ],
    ids=["reentrancy", "as Solidity", "spent", "another mapping", "no mapping"],
)
def test_another_slot_of_the_contract_that_holds_the_number_3_is_no_refund(slot: bytes) -> None:
    """The slot against reentrancy holds 3 after every call."""
    state = storage.state_of(LEG.contract, {slot: rlp.encode(3)})
    evidence = state.evidence(LEG, LOCK.lock_id)
    path = storage.path(state.storage, keccak256(slot))
    assert refused(replace(evidence, storage_proof=path)) == "storage_inclusion"


def test_the_storage_of_another_contract_is_refused() -> None:
    other = storage.evidence_of(replace(LEG, contract=ELSEWHERE), TERMS)
    assert refused(other) == "state_inclusion"
    mixed = replace(CLAIMED, storage_proof=storage.state_of(ELSEWHERE, {}).evidence(LEG, LOCK.lock_id).storage_proof)
    assert refused(mixed) == "storage_inclusion"


def test_a_contract_that_the_policy_lists_is_not_shown_as_genuine() -> None:
    terms = made.terms(made.evm_leg(contract=ELSEWHERE))
    assert isinstance(terms.source, EvmLeg)
    proof = TransferProof(made.signed(terms), storage.evidence_of(terms.source, terms), None)
    with pytest.raises(ProofRefused, match="contract"):
        check_proof(proof, OFFLINE)
    report = check_proof(proof, replace(OFFLINE, contracts={LEG.chain_id: frozenset({ELSEWHERE})}))
    assert report.source.shown == {Shown.INCLUDED}


def test_every_flipped_bit_of_a_path_or_of_the_root_is_refused() -> None:
    for name, check in (("account_proof", "state_inclusion"), ("storage_proof", "storage_inclusion")):
        nodes = getattr(CLAIMED, name)
        for place, node in enumerate(nodes):
            for bit in range(8 * len(node)):
                flipped = bytearray(node)
                flipped[bit // 8] ^= 1 << bit % 8
                changed = (*nodes[:place], bytes(flipped), *nodes[place + 1 :])
                assert refused(with_path(name, changed)) == check
    header = decode_header(CLAIMED.header)
    for bit in range(256):
        root = bytearray(header.state_root)
        root[bit // 8] ^= 1 << bit % 8
        assert refused(replace(CLAIMED, header=replace(header, state_root=bytes(root)).encode())) == "state_inclusion"


def test_missing_superfluous_and_exchanged_nodes_are_refused() -> None:
    for name, check in (("account_proof", "state_inclusion"), ("storage_proof", "storage_inclusion")):
        nodes = getattr(CLAIMED, name)
        changes = [(), nodes[::-1], (*nodes, nodes[-1]), (*nodes, b""), (nodes[0], *nodes)]
        changes += [nodes[:place] + nodes[place + 1 :] for place in range(len(nodes))]
        for changed in changes:
            assert refused(with_path(name, changed)) == check
    swapped = replace(CLAIMED, account_proof=CLAIMED.storage_proof, storage_proof=CLAIMED.account_proof)
    assert refused(swapped) == "state_inclusion"


@pytest.mark.parametrize(
    "account",
    [
        rlp.encode([b"\x01", b"", bytes(32)]),
        rlp.encode([b"\x01", b"", bytes(32), keccak256(b""), b""]),
        rlp.encode(b"account"),
    ],
    ids=["three fields", "five fields", "no list"],
)
def test_what_is_no_account_is_refused(account: bytes) -> None:
    accounts = storage.trie_of({keccak256(LEG.contract): account})
    header = replace(decode_header(CLAIMED.header), state_root=accounts.root_hash)
    nodes = storage.path(accounts, keccak256(LEG.contract))
    assert refused(replace(CLAIMED, header=header.encode(), account_proof=nodes)) == "state_inclusion"


def test_bytes_that_are_no_header_are_refused() -> None:
    for header in (b"", b"\xc0", CLAIMED.header[:-1], CLAIMED.header + b"\x00"):
        assert refused(replace(CLAIMED, header=header)) == "header"


def test_it_is_written_and_read_back() -> None:
    for evidence in (CLAIMED, REFUNDED):
        written = write_evidence(evidence)
        assert written["type"] == "evm_storage"
        assert read_evidence(written, "evidence") == evidence


@pytest.mark.parametrize(
    "change",
    [
        {"header": bytes(2_001)},
        {"lock_id": bytes(31)},
        {"lock_id": bytes(33)},
        {"account_proof": (bytes(533),)},
        {"storage_proof": (bytes(533),)},
        {"account_proof": (b"x",) * 65},
        {"storage_proof": (b"x",) * 65},
    ],
    ids=lambda change: f"{next(iter(change))} {len(next(iter(change.values())))}",
)
def test_what_exceeds_a_limit_is_refused_when_it_is_written(change: dict[str, bytes]) -> None:
    with pytest.raises(FormatError):
        write_evidence(replace(CLAIMED, **change))  # type: ignore[arg-type]  # the tests' own names


def test_a_full_branch_is_the_longest_node_that_is_read() -> None:
    branch = rlp.encode([bytes(32)] * 16 + [b""])
    evidence = replace(CLAIMED, account_proof=(branch,) * 64, storage_proof=(branch,) * 64)
    assert read_evidence(write_evidence(evidence), "evidence") == evidence
    assert len(branch) == 532


def test_a_receipt_that_no_reader_accepts_is_refused_when_it_is_written() -> None:
    receipt = made.evidence_of(LEG, TERMS)
    large = replace(receipt, receipt_proof=(*receipt.receipt_proof[:-1], bytes(100_001)))
    proof = TransferProof(made.signed(TERMS), large, None)
    with pytest.raises(FormatError, match="receipt_proof"):
        proof.to_bytes()
    with pytest.raises(FormatError, match="receipt_proof"):
        _ = proof.proof_id


def test_a_proof_that_is_too_long_to_be_read_is_refused_when_it_is_written() -> None:
    receipt = made.evidence_of(LEG, TERMS)
    fits = TransferProof(made.signed(TERMS), replace(receipt, receipt_proof=(bytes(99_000),) * 5), None)
    assert TransferProof.from_bytes(fits.to_bytes()) == fits
    long = replace(fits, source_leg=replace(receipt, receipt_proof=(bytes(99_000),) * 6))
    with pytest.raises(FormatError, match="maximum is 1000000"):
        long.to_bytes()


def test_a_transfer_whose_lock_is_shown_by_the_storage_is_completed() -> None:
    proof = TransferProof(made.signed(TERMS), CLAIMED, LightningPaymentEvidence(made.PREIMAGE))
    assert TransferProof.from_bytes(proof.to_bytes()) == proof
    report = check_proof(proof, OFFLINE)
    assert (report.outcome, report.source.level) == (ProofOutcome.COMPLETED, ProofLevel.OFFLINE)
    assert {OpenPoint.PREIMAGE, OpenPoint.HEADER} <= {matter.point for matter in report.open_points}
    refund = TransferProof(made.signed(TERMS), REFUNDED, None)
    assert check_proof(refund, OFFLINE).outcome is ProofOutcome.REFUNDED


def test_one_leg_may_have_a_receipt_and_the_other_the_storage() -> None:
    proof = made.between_chains()
    terms = proof.terms.terms
    assert isinstance(terms.source, EvmLeg)
    mixed = replace(proof, source_leg=storage.evidence_of(terms.source, terms))
    assert check_proof(mixed, OFFLINE).outcome is ProofOutcome.COMPLETED
    against = replace(proof, source_leg=storage.evidence_of(terms.source, terms, storage.REFUNDED))
    with pytest.raises(ProofRefused, match="outcome"):
        check_proof(against, OFFLINE)


def test_headers_lead_from_the_block_to_a_trusted_one() -> None:
    own = block_of(CLAIMED)
    later = child_of(decode_header(CLAIMED.header))
    assert block_after(own, reader_after(CLAIMED)(later.encode())).hash == later.hash
    policy = replace(OFFLINE, trusted_headers={Layer2ProtocolType.BOB: later.hash})
    proof = TransferProof(made.signed(TERMS), CLAIMED, None)
    report = check_proof(proof, policy, headers={Layer2ProtocolType.BOB: [later.encode()]})
    assert report.source.level is ProofLevel.TRUSTED_HEADER
    with pytest.raises(ProofRefused, match="header_chain"):
        check_proof(proof, policy, headers={Layer2ProtocolType.BOB: []})


def child_of(header: EvmHeader) -> EvmHeader:
    return replace(header, parent_hash=header.hash, number=header.number + 1, timestamp=header.timestamp + 2)


def test_the_evidence_fits_only_legs_of_its_layer_with_ethereums_tries() -> None:
    def outcome(evidence: EvmStorageEvidence, leg: Leg) -> LegOutcome:
        return leg.check_evidence(evidence, OWED, EvidencePolicy()).outcome

    # A local network may run another node as Rootstock.
    local = made.rootstock_leg()
    assert outcome(storage.evidence_of(local, TERMS), local) is LegOutcome.COLLECTED
    with pytest.raises(ProofRefused, match="layer"):
        outcome(CLAIMED, local)
    for chain_id in (30, 31):
        leg = made.rootstock_leg(chain_id=chain_id)
        with pytest.raises(ProofRefused, match="evidence: ROOTSTOCK has other headers and tries"):
            outcome(storage.evidence_of(leg, TERMS), leg)
    with pytest.raises(ProofRefused, match="does not fit"):
        outcome(CLAIMED, TERMS.destination)


def test_the_rule_without_terms_names_a_lock_and_its_end() -> None:
    included = read_status(CLAIMED, LEG.contract)
    assert (included.outcome, included.block) == (LegOutcome.COLLECTED, block_of(CLAIMED))
    rules: list[Callable[[EvmStorageEvidence, bytes], object]] = [read_status, included_block]
    for rule in rules:
        with pytest.raises(ProofRefused, match="state_inclusion"):
            rule(CLAIMED, ELSEWHERE)
