"""Rootstock's headers and merged mining. Vectors: blocks of the mainnet, whose work cannot be invented."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rlp as rlp_oracle  # type: ignore[import-untyped]  # ships no types

from formats.rsk_vectors import vectors
from formats.rsk_work import hash_with_work
from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem
from layer2.formats.rsk_header import (
    MergedMining,
    RskHeader,
    check_work,
    decode_full_header,
    decode_header,
    encode_full_header,
)

FULL = vectors()["full_headers"]
RPC = vectors()["rpc_block"][0]
VERSION_2 = vectors()["version_2"][0]


def number(name: str) -> int:
    value = RPC[name]
    assert isinstance(value, int)
    return value


def data(name: str) -> bytes:
    return bytes.fromhex(str(RPC[name]))


def rpc_items() -> list[RlpItem]:
    """The short form of block 4,232,826 from the fields of the node's answer; it has an empty umm root."""
    return [
        *[data(name) for name in ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot")],
        *[data(name) for name in ("receiptsRoot", "logsBloom")],
        *[rlp.encode_int(number(name)) for name in ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")],
        data("extraData"),
        *[rlp.encode_int(number(name)) for name in ("paidFees", "minimumGasPrice", "uncles")],
        b"",
        data("bitcoinMergedMiningHeader"),
    ]


def rpc_block() -> tuple[RskHeader, MergedMining]:
    mining = MergedMining(data("bitcoinMergedMiningMerkleProof"), data("bitcoinMergedMiningCoinbaseTransaction"))
    return decode_header(rlp.encode(rpc_items())), mining


@pytest.mark.parametrize("vector", FULL)
def test_headers_of_the_mainnet_are_read_and_have_their_work(vector: dict[str, object]) -> None:
    encoded = bytes.fromhex(str(vector["encoded"]))
    header, mining = decode_full_header(encoded)
    check_work(header, mining)
    for name in ("number", "timestamp", "difficulty", "minimum_gas_price"):
        assert getattr(header, name) == vector[name]
    for name in ("parent_hash", "receipts_root"):
        assert getattr(header, name).hex() == vector[name]
    items = rlp.decode(encoded)
    assert isinstance(items, list)
    assert decode_header(rlp.encode(items[:-2])) == header
    assert header.encode() == rlp.encode(items[:-2])
    assert encode_full_header(header, mining) == encoded
    # What a Bitcoin header proves is not that Bitcoin's chain contains it.
    assert header.bitcoin is not None
    assert not header.bitcoin.has_work


@pytest.mark.parametrize("vector", FULL)
def test_headers_of_the_mainnet_have_their_work_for_other_libraries_too(vector: dict[str, object]) -> None:
    encoded = bytes.fromhex(str(vector["encoded"]))
    header, mining = decode_full_header(encoded)
    assert hash_with_work(rlp_oracle.decode(encoded)) == header.hash
    other = encode_full_header(header, replace(mining, merkle_path=mining.merkle_path[32:]))
    with pytest.raises(ValueError, match="not a header with its work"):
        hash_with_work(rlp_oracle.decode(other))


def test_a_header_from_a_nodes_answer_has_the_hash_and_the_mining_hash_of_the_answer() -> None:
    header, mining = rpc_block()
    assert header.hash.hex() == RPC["hash"]
    assert header.hash_for_merged_mining == data("hashForMergedMining")[:20]
    assert header.version == 0
    check_work(header, mining)


def test_the_hash_of_version_2_covers_the_extension() -> None:
    """The vector has no Bitcoin header, so its hash is the whole hash for merged mining."""
    hashed = rlp.decode(bytes.fromhex(str(VERSION_2["hashed"])))
    assert isinstance(hashed, list)
    sent: list[RlpItem] = [*hashed[:6], bytes(256), *hashed[7:], b"\x02", b"", b"", data("bitcoinMergedMiningHeader")]
    header = decode_header(rlp.encode(sent))
    assert header.version == 2
    assert header.hash_for_merged_mining.hex() == str(VERSION_2["hash_without_bitcoin"])[:40]
    assert header.hash == keccak256(rlp.encode([*hashed, data("bitcoinMergedMiningHeader")]))


def test_each_field_of_a_version_changes_the_hash() -> None:
    """Version 1, and version 2 with contents, have no vector from a node. RSKIP-351 describes version 1; the order in
    version 2 is that of rskj, and RSKIP-535 has another one.
    """
    body, bitcoin = rpc_items()[:-1], rpc_items()[-1]
    tails: list[list[RlpItem]] = [
        [],
        [b"\x01", b""],
        [b"\x01", b"\x01\x00"],
        [b"\x02", b"", b""],
        [b"\x02", b"\x01\x00", b""],
        [b"\x02", b"", b"event"],
    ]
    headers = [decode_header(rlp.encode([*body, *tail, bitcoin])) for tail in tails]
    assert len({header.hash for header in headers}) == len(headers)
    assert len({header.hash_for_merged_mining for header in headers}) == len(headers)
    extension = keccak256(rlp.encode([keccak256(data("logsBloom")), b"\x01\x00"]))
    hashed = [*body[:6], rlp.encode([b"\x01", extension]), *body[7:], bitcoin]
    assert headers[2].hash == keccak256(rlp.encode(hashed))
    both = decode_header(rlp.encode([*body, b"\x02", b"\x01\x00", b"event", bitcoin]))
    extension = keccak256(rlp.encode([keccak256(data("logsBloom")), b"event", b"\x01\x00"]))
    hashed = [*body[:6], rlp.encode([b"\x02", extension]), *body[7:], bitcoin]
    assert both.hash == keccak256(rlp.encode(hashed))


def test_a_umm_root_is_mixed_into_the_mining_hash() -> None:
    """The formula is rskj's; no block with a umm root is known."""
    items = rpc_items()
    items[16] = b"\x07" * 20
    plain = keccak256(rlp.encode(items[:-1]))[:20]
    assert decode_header(rlp.encode(items)).hash_for_merged_mining == keccak256(plain + b"\x07" * 20)[:20]


def test_every_flipped_bit_of_a_header_is_refused_or_changes_its_hash() -> None:
    encoded = rlp.encode(rpc_items())
    header, mining = rpc_block()
    for bit in range(8 * len(encoded)):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_header(bytes(flipped))
        except FormatError:
            continue
        assert other.hash != header.hash
        with pytest.raises(FormatError):
            check_work(other, mining)


def test_every_flipped_bit_of_the_mining_proof_is_refused() -> None:
    header, mining = rpc_block()
    for name in ("merkle_path", "coinbase"):
        proof = getattr(mining, name)
        for bit in range(8 * len(proof)):
            flipped = bytearray(proof)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(FormatError):
                check_work(header, replace(mining, **{name: bytes(flipped)}))


def test_every_truncation_of_a_header_and_of_its_proof_is_refused() -> None:
    encoded = rlp.encode(rpc_items())
    header, mining = rpc_block()
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            decode_header(encoded[:length])
    for name in ("merkle_path", "coinbase"):
        proof = getattr(mining, name)
        for length in range(len(proof)):
            with pytest.raises(FormatError):
                check_work(header, replace(mining, **{name: proof[:length]}))


def test_work_for_another_header_or_too_little_work_is_refused() -> None:
    header, mining = rpc_block()
    with pytest.raises(FormatError, match="target"):
        check_work(replace(header, difficulty=header.difficulty * 1000), mining)
    with pytest.raises(FormatError, match="tag"):
        check_work(replace(header, hash_for_merged_mining=bytes(20)), mining)
    other, other_mining = decode_full_header(bytes.fromhex(str(FULL[0]["encoded"])))
    for pair in ((header, other_mining), (other, mining)):
        with pytest.raises(FormatError):
            check_work(*pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tail: tail + b"RSKBLOCK:" + bytes(32), "last tag"),
        (lambda tail: tail + b"RSKBLOCK:", "last tag"),
        (lambda tail: bytes(64) + tail, "first 64 bytes"),
        (lambda tail: tail + bytes(200), "128 bytes"),
        (lambda tail: tail.replace(b"RSKBLOCK:", b"rskblock:"), "last tag"),
    ],
)
def test_a_tag_at_another_place_is_refused(change: object, message: str) -> None:
    header, mining = rpc_block()
    assert callable(change)
    moved = replace(mining, coinbase=mining.coinbase[:40] + change(mining.coinbase[40:]))
    with pytest.raises(FormatError, match=message):
        check_work(header, moved)


def test_a_short_coinbase_and_a_long_path_are_refused() -> None:
    header, mining = rpc_block()
    tail = b"RSKBLOCK:" + header.hash_for_merged_mining + bytes(12)
    with pytest.raises(FormatError, match="at most 64 bytes"):
        check_work(header, replace(mining, coinbase=bytes(40) + tail))
    with pytest.raises(FormatError, match="30 hashes"):
        check_work(header, replace(mining, merkle_path=bytes(31 * 32)))
    with pytest.raises(FormatError, match="whole blocks"):
        check_work(header, replace(mining, coinbase=bytes(7) + b"\x41" + mining.coinbase[8:]))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, bytes(31)),
        (2, bytes(21)),
        (5, b""),
        (6, bytes(255)),
        (7, b"\x80"),
        (7, b"\x00\x01"),
        (8, b"\x00\x01"),
        (8, bytes(9)),
        (11, b"\x00"),
        (12, bytes(33)),
        (14, b"\xff"),
        (15, bytes(5)),
        (16, bytes(19)),
        (17, bytes(79)),
        (17, bytes(81)),
    ],
)
def test_a_field_of_another_form_is_refused(place: int, value: bytes) -> None:
    items = rpc_items()
    forms: list[RlpItem] = [value, [value]]
    for wrong in forms:
        items[place] = wrong
        with pytest.raises(FormatError):
            decode_header(rlp.encode(items))


@pytest.mark.parametrize(
    "tail",
    [
        [b"\x03", b"", b"", b""],
        [b"\x00"],
        [b"\x01"],
        [b"\x01", b"\x01"],
        [b"\x01", bytes(10)],
        [b"\x02", b""],
        [b"\x02", b"", bytes(129)],
    ],
)
def test_versions_in_another_form_are_refused(tail: list[RlpItem]) -> None:
    items = rpc_items()
    with pytest.raises(FormatError):
        decode_header(rlp.encode([*items[:-1], *tail, items[-1]]))


def test_a_header_without_bitcoins_and_other_forms_are_refused() -> None:
    items = rpc_items()
    for wrong in (items[:16], items[:17], [*items, b"", b""], []):
        with pytest.raises(FormatError):
            decode_header(rlp.encode(wrong))
    for wrong in (items, [*items, b""], [*items, b"", b"", b""], [*items, [], b""]):
        with pytest.raises(FormatError):
            decode_full_header(rlp.encode(wrong))
    with pytest.raises(FormatError):
        decode_header(b"\x80")


@pytest.mark.parametrize("vector", vectors()["first_headers"], ids=lambda vector: str(vector["network"]))
def test_the_first_blocks_of_the_networks_are_read(vector: dict[str, object]) -> None:
    """They were not mined, and some of their fields have no usual size."""
    encoded = bytes.fromhex(str(vector["encoded"]))
    header = decode_header(encoded)
    assert header.hash.hex() == vector["hash"]
    assert (header.number, header.parent_hash, header.bitcoin) == (0, bytes(32), None)
    assert header.timestamp == vector["timestamp"]
    with pytest.raises(FormatError, match="no header of Bitcoin"):
        check_work(header, MergedMining(b"", b""))
    with pytest.raises(FormatError):
        decode_full_header(encoded)


def test_only_the_first_block_lacks_a_header_of_bitcoin() -> None:
    items = rpc_items()
    header = decode_header(rlp.encode([*items[:8], b"", *items[9:16]]))
    assert (header.number, header.bitcoin) == (0, None)
    with pytest.raises(FormatError, match="no header of Bitcoin"):
        decode_header(rlp.encode(items[:16]))
    for wrong in ([b"", *items[1:8], b"", *items[9:16]], [*items[:8], b"", *items[9:16], []]):
        with pytest.raises(FormatError, match="first block"):
            decode_header(rlp.encode(wrong))


def test_signed_integers_have_a_leading_zero_and_may_be_zero() -> None:
    items = rpc_items()
    items[7], items[14] = b"\x00\x80", b"\x00"
    header = decode_header(rlp.encode(items))
    assert (header.difficulty, header.minimum_gas_price) == (128, 0)
    items[7] = b"\x01"
    assert decode_header(rlp.encode(items)).target == (1 << 256) // 3
