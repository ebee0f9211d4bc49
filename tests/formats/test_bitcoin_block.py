"""Blocks: targets and work, Merkle trees and witnesses, against real blocks and Bitcoin Core's own numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import pbk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.bitcoin_block import (
    BitcoinBlock,
    BitcoinHeader,
    decode_block,
    decode_header,
    merkle_path,
    merkle_root,
    root_of_path,
    witness_commitment,
)
from layer2.formats.bitcoin_transaction import (
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
    decode_transaction,
    double_sha256,
)


class Real(TypedDict):
    height: int
    hash: str
    block: str


BLOCKS: dict[int, Real] = {
    each["height"]: each
    for each in json.loads((Path(__file__).parent / "bip158_blocks.json").read_text("ascii"))["blocks"]
}
PLAIN, WITH_WITNESSES = 180_480, 926_485
"""Each of five transactions; the second commits to witnesses."""
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a"
    "51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
"""Mainnet's first header. Source: Bitcoin Core, kernel/chainparams.cpp (time 1231006505, nonce 2083236893)."""
MARK = bytes.fromhex("6a24aa21a9ed")


def real(height: int) -> bytes:
    return bytes.fromhex(BLOCKS[height]["block"])


def encoded(block: BitcoinBlock) -> bytes:
    transactions = b"".join(each.encode() for each in block.transactions)
    return block.header.encode() + compact_size(len(block.transactions)) + transactions


def core_accepts(data: bytes) -> bool:
    """Whether Bitcoin Core's consensus code accepts the block, without its place in a chain and its witnesses."""
    state = pbk.Block(data).check(pbk.ChainParameters(pbk.ChainType.TESTNET).consensus_params)
    return state.validation_mode is pbk.ValidationMode.VALID


def with_transactions(block: BitcoinBlock, transactions: tuple[Transaction, ...]) -> bytes:
    """A block of other transactions, under the Merkle root that they have."""
    root = merkle_root([each.hash for each in transactions])
    return encoded(BitcoinBlock(replace(block.header, merkle_root=root), transactions))


def header(bits: int) -> BitcoinHeader:
    return replace(decode_header(GENESIS), bits=bits)


@pytest.mark.parametrize("height", BLOCKS)
def test_real_blocks_are_read_and_have_their_hash_and_work(height: int) -> None:
    block = decode_block(real(height))
    assert encoded(block) == real(height)
    assert block.header.id == BLOCKS[height]["hash"]
    assert block.header.has_work
    assert core_accepts(real(height))
    other = replace(block.header, nonce=block.header.nonce ^ 1)
    assert not other.has_work
    assert not core_accepts(encoded(replace(block, header=other)))
    assert str(pbk.Block(real(height)).block_hash) == block.header.id


def test_mainnets_first_header_has_the_work_of_difficulty_one() -> None:
    first = decode_header(GENESIS)
    assert first.id == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert first.has_work
    # Bitcoin Core shows the same as "chainwork" of block 0.
    assert first.work == 0x1_0001_0001
    assert first.encode() == GENESIS


@pytest.mark.parametrize("data", [b"", GENESIS[:-1], GENESIS + b"\x00"])
def test_a_header_has_80_bytes(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_header(data)


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x0000_0000, 0),
        (0x0012_3456, 0),
        (0x0100_3456, 0),
        (0x0200_0056, 0),
        (0x0300_0000, 0),
        (0x0112_3456, 0x12),
        (0x0212_3456, 0x1234),
        (0x0312_3456, 0x123456),
        (0x0412_3456, 0x12345600),
        (0x0500_9234, 0x92340000),
        (0x2012_3456, 0x123456 << 232),
        # Negative.
        (0x01FE_DCBA, 0),
        (0x0492_3456, 0),
        # More than 256 bits.
        (0xFF12_3456, 0),
        (0x2101_0000, 0),
        (0x2200_0100, 0),
        (0x2300_0001, 0),
        (0x2100_FFFF, 0xFFFF << 240),
        (0x2200_00FF, 0xFF << 248),
    ],
)
def test_targets_are_those_of_bitcoin_core(bits: int, target: int) -> None:
    # Source: Bitcoin Core, src/test/arith_uint256_tests.cpp (bignum_SetCompact), and the bounds of SetCompact.
    assert header(bits).target == target
    assert header(bits).work == ((1 << 256) // (target + 1) if target else 0)
    assert target or not header(bits).has_work


@given(st.integers(0, 2**32 - 1))
def test_every_target_is_that_of_bitcoin_cores_set_compact(bits: int) -> None:
    size, word = bits >> 24, bits & 0x007F_FFFF
    too_large = word and (size > 34 or (word > 0xFF and size > 33) or (word > 0xFFFF and size > 32))
    negative = word and bits & 0x0080_0000
    value = word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)
    assert header(bits).target == (0 if too_large or negative else value)


def naive_root(hashes: list[bytes]) -> bytes:
    """The root by its definition: a tree over the next power of two, whose missing right children repeat the left."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while 2 * half < len(hashes):
        half *= 2
    left, right = hashes[:half], hashes[half:]
    depth = half.bit_length() - 1
    under = naive_root(right)
    for _ in range(depth - (0 if len(right) == 1 else (len(right) - 1).bit_length())):
        under = double_sha256(under + under)
    return double_sha256(naive_root(left) + under)


def with_repetitions(hashes: list[bytes]) -> list[bytes]:
    """The leaves of the whole binary tree, with those that its rule for odd levels repeats."""
    whole, width = list(hashes), 1
    while width < len(whole):
        if len(whole) // width % 2:
            whole += whole[-width:]
        width *= 2
    return whole


@given(st.integers(1, 70))
def test_roots_and_paths_of_every_size_agree_with_a_naive_tree(size: int) -> None:
    hashes = [double_sha256(bytes([number])) for number in range(size)]
    root = merkle_root(hashes)
    assert root == naive_root(hashes)
    for index, leaf in enumerate(hashes):
        path = merkle_path(hashes, index)
        assert len(path) == (size - 1).bit_length()
        assert root_of_path(leaf, index, path) == root
    whole = with_repetitions(hashes)
    assert len(whole) == 1 << len(merkle_path(hashes, 0))
    assert merkle_root(whole) == root
    for beyond in range(size, len(whole)):
        # A path leads from there to the root, but no transaction has this place (CVE-2012-2459).
        with pytest.raises(FormatError, match="repeats"):
            root_of_path(whole[beyond], beyond, merkle_path(whole, beyond))


def test_a_path_must_fit_its_index_and_consist_of_hashes() -> None:
    hashes = [bytes([number]) * 32 for number in range(5)]
    path = merkle_path(hashes, 2)
    for wrong, index in ((path, 8), (path[:-1], 4), ((), 1), ((path[0][:-1], *path[1:]), 2), ((bytes(32),) * 33, 0)):
        with pytest.raises(FormatError):
            root_of_path(hashes[2], index, wrong)


def test_a_list_that_repeats_its_last_transactions_is_another_block() -> None:
    # CVE-2012-2459: five transactions have the root of six and of eight.
    for height in (PLAIN, WITH_WITNESSES):
        block = decode_block(real(height))
        first, second, third, fourth, fifth = block.transactions
        for last in ((fifth, fifth), (fifth, fifth, fifth, fifth)):
            repeated = BitcoinBlock(block.header, (first, second, third, fourth, *last))
            assert merkle_root([each.hash for each in repeated.transactions]) == block.header.merkle_root
            assert not core_accepts(encoded(repeated))
            with pytest.raises(FormatError, match="not those of its header"):
                decode_block(encoded(repeated))


def test_other_transactions_than_the_headers_are_refused() -> None:
    block = decode_block(real(PLAIN))
    first, second, *rest = block.transactions
    for transactions in ((), (first,), (second, first, *rest), (first, *rest), block.transactions[:-1]):
        with pytest.raises(FormatError, match="not those of its header"):
            decode_block(encoded(BitcoinBlock(block.header, transactions)))
    for data in (real(PLAIN)[:-1], real(PLAIN) + b"\x00", real(PLAIN)[:81]):
        with pytest.raises(FormatError):
            decode_block(data)


def test_a_witness_to_which_the_coinbase_does_not_commit_is_refused() -> None:
    block = decode_block(real(WITH_WITNESSES))
    place = next(n for n, each in enumerate(block.transactions) if n and each.inputs[0].witness)
    spent = block.transactions[place]
    for witness in ((), (*spent.inputs[0].witness[:-1], b"\x51"), (b"\x00", *spent.inputs[0].witness)):
        changed = list(block.transactions)
        changed[place] = spent.with_witness(0, witness)
        assert changed[place].hash == spent.hash
        with pytest.raises(FormatError, match="witnesses are not those"):
            decode_block(encoded(BitcoinBlock(block.header, tuple(changed))))


def test_a_block_without_a_commitment_has_no_witnesses() -> None:
    block = decode_block(real(WITH_WITNESSES))
    first, *others = block.transactions
    bare = replace(first, outputs=first.outputs[:1])
    with pytest.raises(FormatError, match="witnesses are not those"):
        decode_block(with_transactions(block, (bare, *others)))
    with pytest.raises(FormatError, match="witnesses are not those"):
        # The coinbase's own witness too needs the commitment.
        decode_block(with_transactions(block, (bare,)))
    stripped = tuple([decode_transaction(each.stripped) for each in (bare, *others)])
    assert decode_block(with_transactions(block, stripped)).transactions == stripped


def test_a_real_coinbase_commits_to_the_witnesses_of_its_block() -> None:
    block = decode_block(real(WITH_WITNESSES))
    committed = witness_commitment(block.transactions[0])
    assert committed is not None
    leaves = [bytes(32), *(each.witness_hash for each in block.transactions[1:])]
    for index, leaf in enumerate(leaves):
        root = root_of_path(leaf, index, merkle_path(leaves, index))
        assert double_sha256(root + committed[1]) == committed[0]
    assert witness_commitment(decode_block(real(PLAIN)).transactions[0]) is None


@pytest.mark.parametrize(
    ("scripts", "found"),
    [
        ([], None),
        ([b"\x6a"], None),
        ([MARK + b"\x01" * 31], None),
        ([MARK + b"\x01" * 32], b"\x01" * 32),
        ([MARK + b"\x01" * 33], b"\x01" * 32),
        ([MARK + b"\x01" * 32, MARK + b"\x02" * 32, b"\x51"], b"\x02" * 32),
        # BIP 141: a script of less than 38 bytes does not count as a commitment.
        ([MARK + b"\x01" * 32, MARK + b"\x02" * 31], b"\x01" * 32),
    ],
)
def test_the_last_complete_commitment_counts(scripts: list[bytes], found: bytes | None) -> None:
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0, b"\x51\x51", (bytes(32),))
    coinbase = Transaction(1, (source,), (TxOut(1, b""), *[TxOut(0, each) for each in scripts]), 0)
    assert witness_commitment(coinbase) == (None if found is None else (found, bytes(32)))
    for witness in ((), (bytes(31),), (bytes(32), b"")):
        assert witness_commitment(coinbase.with_witness(0, witness)) is None
