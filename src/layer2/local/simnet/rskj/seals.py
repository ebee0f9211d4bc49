"""What makes an executed block a block of Rootstock: its header, receipts trie, payment to miners and Bitcoin header.

Headers have version 2, as on rskj's regtest since block 1. The Bitcoin header has the work of difficulty 1.

Sources: rskj (``BlockHeader``, ``RemascTransaction``, ``MinerUtils``, ``MinerServerImpl.compressCoinbase``); RSKIP-92.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth.abc import BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI

from layer2.formats import rlp
from layer2.formats.bitcoin_block import BitcoinHeader, root_of_path
from layer2.formats.bitcoin_transaction import double_sha256
from layer2.formats.evm_receipt import EvmReceipt, bloom_of, decode_receipt
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem
from layer2.formats.rsk_header import MergedMining, RskHeader, decode_header
from layer2.formats.rsk_receipt import encode_rsk_receipt
from layer2.formats.rsk_trie import EMPTY_ROOT, trie_root

__all__ = ["DIFFICULTY", "MINER", "REMASC", "RskSeal", "genesis_seal", "seal"]

REMASC: Final = bytes.fromhex("0000000000000000000000000000000001000008")
"""The precompiled contract that receives the fees and pays the miners."""
MINER: Final = keccak256(b"the miner of the simnet")[12:]
DIFFICULTY: Final = 1

_NO_UNCLES: Final = keccak256(rlp.encode([]))
_VERSION: Final = b"\x02"
_EXTRA_DATA: Final = b"simnet"
_TAG: Final = b"RSKBLOCK:"
_NO_BITCOIN: Final = bytes(80)
_EASIEST_BITS: Final = 0x207F_FFFF
_SHA256_START: Final = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
"""SHA-256's state before the first block: the tag is near the coinbase's start, so that no whole block precedes it."""


@dataclass(frozen=True, slots=True)
class RskSeal:
    """What a block of Rootstock has beside the results of its execution."""

    hash: bytes
    parent_hash: bytes
    """32 bytes."""
    raw_header: bytes
    """The short form: it ends with Bitcoin's header, and in the first block with a zero byte."""
    minimum_gas_price: int
    paid_fees: int
    transactions_root: bytes
    extra_data: bytes
    bitcoin: bytes
    """80 bytes, or one in the first block."""
    mining: MergedMining
    receipts: tuple[bytes, ...] = ()
    """The encoded receipts, that of the payment to miners last."""
    payment: bytes = b""
    """The encoded transaction that pays the miners, the last of the block; empty in the first block."""
    tag: bytes = b""
    """32 bytes that Bitcoin's coinbase contains."""

    @property
    def receipts_root(self) -> bytes:
        """The root of the binary trie over all receipts."""
        return trie_root(self.receipts)

    @property
    def payment_hash(self) -> bytes:
        """The hash of the payment to miners."""
        return keccak256(self.payment)


def genesis_seal(header: BlockHeaderAPI, minimum_gas_price: int) -> RskSeal:
    """Seal the first block, which was not mined: like those of Rootstock's networks, it has a zero byte instead."""
    parent_hash, nothing = bytes(32), b"\x00"
    raw = rlp.encode([*_fields(header, parent_hash, minimum_gas_price, 0, EMPTY_ROOT, EMPTY_ROOT), nothing])
    return RskSeal(
        hash=keccak256(raw),
        parent_hash=parent_hash,
        raw_header=raw,
        minimum_gas_price=minimum_gas_price,
        paid_fees=0,
        transactions_root=EMPTY_ROOT,
        extra_data=_extra_data(header),
        bitcoin=nothing,
        mining=MergedMining(nothing, nothing),
    )


def seal(
    header: BlockHeaderAPI,
    transactions: Sequence[SignedTransactionAPI],
    receipts: Sequence[ReceiptAPI],
    parent_hash: bytes,
    minimum_gas_price: int,
) -> RskSeal:
    """Add the payment to miners, compute the roots, and mine the block together with a block of Bitcoin.

    Args:
        header: of the execution; state root, bloom filter, height, time and gas are taken from it.
        transactions: all of them legacy.
        receipts: of the transactions.
        parent_hash: the sealed one.
        minimum_gas_price: wei.
    """
    number = int(header.block_number)
    payment = _payment(number)
    encoded, fees = _receipts(transactions, receipts)
    # rskj's trie over short values is not needed for anything else, and no client reads this root.
    hashes = [*[bytes(transaction.hash) for transaction in transactions], keccak256(payment)]
    transactions_root = keccak256(b"".join(hashes))
    fields = _fields(header, parent_hash, minimum_gas_price, fees, transactions_root, trie_root(encoded))
    fields += [b"", _VERSION, b"", b""]  # no umm root, no edges, no base event
    unmined = decode_header(rlp.encode([*fields, _NO_BITCOIN]))
    tag = unmined.hash_for_merged_mining + bytes(8) + number.to_bytes(4, "big")
    bitcoin, mining = _mine(unmined, tag)
    raw = rlp.encode([*fields, bitcoin])
    return RskSeal(
        hash=decode_header(raw).hash,
        parent_hash=parent_hash,
        raw_header=raw,
        minimum_gas_price=minimum_gas_price,
        paid_fees=fees,
        transactions_root=transactions_root,
        extra_data=_extra_data(header),
        receipts=tuple(encoded),
        payment=payment,
        tag=tag,
        bitcoin=bitcoin,
        mining=mining,
    )


def _fields(
    header: BlockHeaderAPI,
    parent_hash: bytes,
    minimum_gas_price: int,
    paid_fees: int,
    transactions_root: bytes,
    receipts_root: bytes,
) -> list[RlpItem]:
    return [
        parent_hash,
        _NO_UNCLES,
        MINER,
        bytes(header.state_root),
        transactions_root,
        receipts_root,
        header.bloom.to_bytes(256, "big"),
        bytes((DIFFICULTY,)),
        rlp.encode_int(int(header.block_number)),
        rlp.encode_int(int(header.gas_limit)),
        rlp.encode_int(int(header.gas_used)),
        rlp.encode_int(int(header.timestamp)),
        _extra_data(header),
        rlp.encode_int(paid_fees),
        _signed(minimum_gas_price),
        b"",  # no uncles
    ]


def _extra_data(header: BlockHeaderAPI) -> bytes:
    # The number makes equal blocks of two branches differ.
    return _EXTRA_DATA + bytes(header.mix_hash[:8])


def _signed(value: int) -> bytes:
    """A number in two's complement; zero is one byte."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _payment(number: int) -> bytes:
    """The unsigned transaction to the contract that pays the miners. Some of its zeros are a byte, as in rskj."""
    return rlp.encode([rlp.encode_int(number - 1), b"\x00", b"\x00", REMASC, b"", b"", b"", b"", b""])


def _receipts(transactions: Sequence[SignedTransactionAPI], receipts: Sequence[ReceiptAPI]) -> tuple[list[bytes], int]:
    encoded, fees, before = [], 0, 0
    for transaction, receipt in zip(transactions, receipts, strict=True):
        used = receipt.gas_used - before
        encoded.append(encode_rsk_receipt(decode_receipt(receipt.encode()), used))
        fees += used * transaction.max_fee_per_gas
        before = receipt.gas_used
    paying = EvmReceipt(0, succeeded=True, cumulative_gas_used=before, logs_bloom=bloom_of(()), logs=())
    return [*encoded, encode_rsk_receipt(paying, 0)], fees


def _mine(unmined: RskHeader, tag: bytes) -> tuple[bytes, MergedMining]:
    """A header of Bitcoin with enough work, over two transactions, the first of which contains the tag."""
    mark = _TAG + tag
    script = bytes((len(mark),)) + mark
    spent = bytes(32) + b"\xff" * 4 + bytes((len(script),)) + script + b"\xff" * 4
    output = (50 * 10**8).to_bytes(8, "little") + b"\x19\x76\xa9\x14" + MINER + b"\x88\xac"
    coinbase = (1).to_bytes(4, "little") + b"\x01" + spent + b"\x01" + output + bytes(4)
    sibling = double_sha256(tag)
    root = root_of_path(double_sha256(coinbase), 0, [sibling])
    nonce = 0
    while True:
        bitcoin = BitcoinHeader(
            version=0x2000_0000,
            parent=double_sha256(unmined.parent_hash),
            merkle_root=root,
            time=unmined.timestamp,
            bits=_EASIEST_BITS,
            nonce=nonce,
        )
        if int.from_bytes(bitcoin.hash, "little") <= unmined.target:
            return bitcoin.encode(), MergedMining(sibling[::-1], bytes(8) + _SHA256_START + coinbase)
        nonce += 1
