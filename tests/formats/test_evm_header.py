"""Headers of every fork. Oracle: py-evm's header of the same fork; the first header is Ethereum's genesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache

import pytest
from eth.rlp.headers import BlockHeader
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth.vm.forks.london.blocks import LondonBlockHeader
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.shanghai.blocks import ShanghaiBlockHeader
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.evm_header import EvmHeader, decode_header, header_from_rpc
from layer2.formats.merkle_patricia import EMPTY_ROOT
from layer2.formats.rlp import RlpItem

EMPTY_OMMERS = bytes.fromhex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347")

# Source: the genesis block of the Ethereum mainnet.
GENESIS = EvmHeader(
    parent_hash=bytes(32),
    ommers_hash=EMPTY_OMMERS,
    fee_recipient=bytes(20),
    state_root=bytes.fromhex("d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544"),
    transactions_root=EMPTY_ROOT,
    receipts_root=EMPTY_ROOT,
    logs_bloom=bytes(256),
    difficulty=0x400000000,
    number=0,
    gas_limit=5000,
    gas_used=0,
    timestamp=0,
    extra_data=bytes.fromhex("11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa"),
    prev_randao=bytes(32),
    nonce=bytes.fromhex("0000000000000042"),
)
GENESIS_HASH = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"

ORACLES = {
    15: BlockHeader,
    16: LondonBlockHeader,
    17: ShanghaiBlockHeader,
    20: CancunBlockHeader,
    21: PragueBlockHeader,
}
RPC_KEYS = [
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
]
NAMES = [field.name for field in fields(EvmHeader)]

hashes = st.binary(min_size=32, max_size=32)
uint64 = st.integers(0, (1 << 64) - 1)
uint256 = st.integers(0, (1 << 256) - 1)


@st.composite
def headers(draw: st.DrawFn, forks: tuple[int, ...] = tuple(ORACLES)) -> EvmHeader:
    count = draw(st.sampled_from(forks))
    return EvmHeader(
        parent_hash=draw(hashes),
        ommers_hash=draw(hashes),
        fee_recipient=draw(st.binary(min_size=20, max_size=20)),
        state_root=draw(hashes),
        transactions_root=draw(hashes),
        receipts_root=draw(hashes),
        logs_bloom=draw(st.integers(0, 255)).to_bytes(1, "big") * 256,
        difficulty=draw(uint256),
        number=draw(uint64),
        gas_limit=draw(uint64),
        gas_used=draw(uint64),
        timestamp=draw(uint64),
        extra_data=draw(st.binary(max_size=32)),
        prev_randao=draw(hashes),
        nonce=draw(st.binary(min_size=8, max_size=8)),
        base_fee_per_gas=draw(uint256) if count > 15 else None,
        withdrawals_root=draw(hashes) if count > 16 else None,
        blob_gas_used=draw(uint64) if count > 17 else None,
        excess_blob_gas=draw(uint64) if count > 18 else None,
        parent_beacon_block_root=draw(hashes) if count > 19 else None,
        requests_hash=draw(hashes) if count > 20 else None,
    )


def values_of(header: EvmHeader) -> list[int | bytes]:
    values = [getattr(header, name) for name in NAMES]
    return [value for value in values if value is not None]


def rpc_of(header: EvmHeader) -> dict[str, object]:
    """The header in a node's answer, among other fields."""
    written = {
        key: "0x" + value.hex() if isinstance(value, bytes) else hex(value)
        for key, value in zip(RPC_KEYS, values_of(header), strict=False)
    }
    return {**written, "hash": "0x" + header.hash.hex(), "size": "0x220", "transactions": [], "withdrawals": []}


@cache
def isthmus() -> EvmHeader:
    return replace(
        GENESIS,
        number=20_000_000,
        timestamp=1_770_000_000,
        base_fee_per_gas=252,
        withdrawals_root=b"\x11" * 32,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=b"\x22" * 32,
        requests_hash=bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    )


def test_the_genesis_block_of_ethereum_has_its_hash() -> None:
    assert GENESIS.hash.hex() == GENESIS_HASH


@given(headers())
@settings(max_examples=80)
def test_headers_go_round_and_as_the_oracle_encodes_them(header: EvmHeader) -> None:
    values = values_of(header)
    values[6] = int.from_bytes(header.logs_bloom, "big")
    fork = ORACLES[len(values)]
    oracle = fork(**dict(zip(fork._meta.field_names, values, strict=True)))  # type: ignore[attr-defined]  # set by its metaclass
    assert oracle.hash == header.hash
    assert decode_header(header.encode()) == header
    assert header_from_rpc(rpc_of(header)) == header


def test_every_truncation_and_appended_byte_is_refused() -> None:
    encoded = isthmus().encode()
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            decode_header(encoded[:length])
    with pytest.raises(FormatError):
        decode_header(encoded + b"\x80")


def test_every_flipped_bit_is_refused_or_changes_the_hash() -> None:
    header = isthmus()
    encoded = header.encode()
    for bit in range(8 * len(encoded)):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_header(bytes(flipped))
        except FormatError:
            continue
        assert other.encode() == bytes(flipped)
        assert other.hash != header.hash


@pytest.mark.parametrize("count", [0, 14, 18, 19, 22])
def test_a_number_of_fields_that_no_fork_has_is_refused(count: int) -> None:
    items = rlp.decode(isthmus().encode())
    assert isinstance(items, list)
    longer: list[RlpItem] = [*items, b"\x33" * 32]
    with pytest.raises(FormatError, match="number of fields"):
        decode_header(rlp.encode(longer[:count]))


@pytest.mark.parametrize("place", range(21))
def test_each_field_is_refused_in_another_size_or_as_a_list(place: int) -> None:
    items = rlp.decode(isthmus().encode())
    assert isinstance(items, list)
    wrong: list[RlpItem] = [b"\x01" * 33, []]
    if place not in {7, 8, 9, 10, 11, 12, 15, 17, 18}:
        wrong.append(b"")
    elif place != 12:
        wrong.append(b"\x00")
    for value in wrong:
        changed = [*items[:place], value, *items[place + 1 :]]
        with pytest.raises(FormatError):
            decode_header(rlp.encode(changed))


@pytest.mark.parametrize(
    "damage",
    [
        lambda header: replace(header, base_fee_per_gas=None),
        lambda header: replace(header, withdrawals_root=None),
        lambda header: replace(header, excess_blob_gas=None),
        lambda header: replace(header, requests_hash=None, parent_beacon_block_root=None),
        lambda header: replace(header, number=-1),
        lambda header: replace(header, gas_used=1 << 64),
        lambda header: replace(header, base_fee_per_gas=1 << 256),
        lambda header: replace(header, fee_recipient=bytes(32)),
        lambda header: replace(header, logs_bloom=bytes(255)),
        lambda header: replace(header, extra_data=bytes(33)),
    ],
)
def test_values_that_no_header_has_are_refused(damage: Callable[[EvmHeader], EvmHeader]) -> None:
    with pytest.raises(FormatError):
        damage(isthmus())


@pytest.mark.parametrize("key", RPC_KEYS)
def test_an_answer_in_which_any_field_differs_or_is_missing_is_refused(key: str) -> None:
    block = rpc_of(isthmus())
    text = str(block[key])
    changed = text[:-1] + ("1" if text[-1] != "1" else "2")
    with pytest.raises(FormatError, match="do not hash"):
        header_from_rpc({**block, key: changed})
    for wrong in (None, text + "zz", 7, text[2:], [text]):
        with pytest.raises(FormatError):
            header_from_rpc({**block, key: wrong})


@pytest.mark.parametrize("wrong", [None, "0x", "0x" + "00" * 32, "0x" + "00" * 31, 1])
def test_an_answer_with_another_hash_or_none_is_refused(wrong: object) -> None:
    with pytest.raises(FormatError):
        header_from_rpc({**rpc_of(isthmus()), "hash": wrong})


def test_bytes_that_are_not_a_list_are_refused() -> None:
    for data in (b"", b"\x80", b"\xc0", rlp.encode(b"\x01" * 60)):
        with pytest.raises(FormatError):
            decode_header(data)
