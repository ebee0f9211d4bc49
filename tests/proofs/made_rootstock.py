"""Rootstock's blocks made for tests: anyone who can mine at difficulty 4 can make them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from layer2.formats import rlp, rsk_trie
from layer2.formats.bitcoin_block import BitcoinHeader
from layer2.formats.bitcoin_transaction import double_sha256
from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_receipt import encode_rsk_receipt
from layer2.legs.evidence import LightningPaymentEvidence, RootstockReceiptEvidence
from layer2.legs.evm import NO_ADDRESS, EvmLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made

CONTRACT = bytes.fromhex("44" * 20)
WEI_PER_SAT = 10**10
DIFFICULTY = 4
HEIGHT = 7_000_000
PLACE = 2
"""The index of the receipt that ends the leg."""
_START = b"\x01" * 55
_FIRST_BLOCK = _START + b"\x80" + (440).to_bytes(8, "big")
"""A coinbase's first 64 bytes. They are a padded message, so its digest is the state of SHA-256 after them."""


def leg(**changes: Any) -> EvmLeg:
    """A lock of the native coin, for a source leg."""
    native = {
        "protocol": Layer2ProtocolType.ROOTSTOCK,
        "chain_id": 33,
        "contract": CONTRACT,
        "token": NO_ADDRESS,
        "token_decimals": 18,
        "amount": (made.AMOUNT + made.FEE) * WEI_PER_SAT,
    }
    return made.evm_leg(**native | changes)


def terms(of: EvmLeg | None = None, **changes: Any) -> Terms:
    """From Rootstock to Lightning."""
    return made.terms(leg() if of is None else of, **changes)


def event_log(of: EvmLeg, agreed: Terms, *, event: str = "Claimed", preimage: Preimage = made.PREIMAGE) -> EvmLog:
    """The log of the lock's end."""
    lock = of.lock(agreed.payment_hash, terms_hash(agreed))
    name, data = (
        ("Claimed(bytes32,bytes32,bytes32)", preimage.secret)
        if event == "Claimed"
        else ("Refunded(bytes32,bytes32)", b"")
    )
    return EvmLog(of.contract, (event_topic(name), lock.lock_id, lock.payment_hash), data)


def receipts_with(log: EvmLog, *, succeeded: bool = True) -> list[bytes]:
    """A block's receipts: the log is in the third; the last is of the payment to miners."""
    logs = (log,) if succeeded else ()
    values, gas = [], 0
    for index in range(5):
        own, used = (logs, 100_000) if index == PLACE else ((), 21_000)
        gas += used
        receipt = EvmReceipt(0, succeeded or index != PLACE, gas, bloom_of(own), own)
        values.append(encode_rsk_receipt(receipt, used))
    return values


@dataclass(frozen=True)
class Mined:
    """A mined header in its three forms."""

    full: bytes
    short: bytes
    hash: bytes


def mined(
    *,
    receipts_root: bytes,
    parent: bytes = bytes(32),
    number: int = HEIGHT,
    timestamp: int = made.BLOCK_TIME,
    difficulty: int = DIFFICULTY,
    worth: int | None = None,
    tag: bytes | None = None,
    before_tag: int = 10,
    after_tag: int = 0,
) -> Mined:
    """Mine a header of version 0.

    Args:
        worth: the difficulty that the Bitcoin header really has; None is the header's. If lower, the hash is above the
            header's target.
        tag: what the coinbase contains in place of the header's own hash for mining.
        before_tag: bytes of the coinbase's end before the tag.
        after_tag: bytes of it after the tag, in addition to the usual 20.
    """
    fields = [
        parent,
        bytes(32),
        bytes(20),
        bytes(32),
        bytes(32),
        receipts_root,
        bytes(256),
        rlp.encode_int(difficulty),
        rlp.encode_int(number),
        rlp.encode_int(6_800_000),
        rlp.encode_int(200_000),
        rlp.encode_int(timestamp),
        b"",
        b"",
        rlp.encode_int(60_000_000),
        b"",
        b"",
    ]
    own = keccak256(rlp.encode([*fields]))
    end = b"\x02" * before_tag + b"RSKBLOCK:" + (own if tag is None else tag) + b"\x03" * (20 + after_tag)
    sibling = hashlib.sha256(b"sibling").digest()
    root = double_sha256(double_sha256(_FIRST_BLOCK + end) + sibling)
    target = (1 << 256) // difficulty
    for nonce in range(10_000):
        bitcoin = BitcoinHeader(4, bytes(32), root, timestamp, 0x207FFFFF, nonce)
        value = int.from_bytes(bitcoin.hash, "little")
        if (value > target and value <= (1 << 256) // worth) if worth is not None else value <= target:
            break
    coinbase = len(_FIRST_BLOCK).to_bytes(8, "big") + hashlib.sha256(_START).digest() + end
    short = rlp.encode([*fields, bitcoin.encode()])
    return Mined(rlp.encode([*fields, bitcoin.encode(), sibling[::-1], coinbase]), short, keccak256(short))


def chain(
    values: Sequence[bytes], later: int = 3, *, before_tag: int = 10, after_tag: int = 0, **first: Any
) -> list[Mined]:
    """A block with these receipts, and the blocks after it.

    Args:
        before_tag, after_tag: as for ``mined``, of every block.
    """
    root = rsk_trie.trie_root(values)
    blocks = [mined(receipts_root=root, before_tag=before_tag, after_tag=after_tag, **first)]
    for place in range(1, later + 1):
        blocks.append(
            mined(
                receipts_root=rsk_trie.EMPTY_ROOT,
                parent=blocks[-1].hash,
                number=HEIGHT + place,
                timestamp=made.BLOCK_TIME + 30 * place,
                before_tag=before_tag,
                after_tag=after_tag,
            )
        )
    return blocks


def evidence_of(of: EvmLeg, agreed: Terms, **event: Any) -> RootstockReceiptEvidence:
    """The evidence of the leg's end, with three later headers."""
    succeeded = event.pop("succeeded", True)
    values = receipts_with(event_log(of, agreed, **event), succeeded=succeeded)
    return evidence_under(values, chain(values))


def evidence_under(values: Sequence[bytes], blocks: Sequence[Mined]) -> RootstockReceiptEvidence:
    """The evidence of the third of these receipts under these blocks."""
    return RootstockReceiptEvidence(
        headers=tuple(block.full for block in blocks),
        transaction_index=PLACE,
        receipt=values[PLACE],
        receipt_proof=rsk_trie.prove(values, PLACE),
        log_index=0,
    )


def from_rootstock(agreed: Terms | None = None, **event: Any) -> TransferProof:
    """A completed transfer from Rootstock to Lightning."""
    agreed = terms() if agreed is None else agreed
    assert isinstance(agreed.source, EvmLeg)
    evidence = evidence_of(agreed.source, agreed, **event)
    return TransferProof(made.signed(agreed), evidence, LightningPaymentEvidence(made.PREIMAGE))


def with_evidence(proof: TransferProof, **changes: Any) -> TransferProof:
    """The proof with other fields of its source's evidence."""
    assert isinstance(proof.source_leg, RootstockReceiptEvidence)
    return replace(proof, source_leg=replace(proof.source_leg, **changes))
