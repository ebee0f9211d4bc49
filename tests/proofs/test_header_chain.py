"""A proof's header under a later one that the verifier trusts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError, InvalidRequest, ProofRefused
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.chain_header import read_evm
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef, OpenPoint
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs import header_chain
from layer2.proofs.check import check_proof
from layer2.proofs.header_chain import MAX_HEADERS, ancestors, check_ancestor, read_headers, write_headers
from layer2.proofs.policy import OFFLINE, ProofLevel
from proofs import made_proofs as made

BOB, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK
PROOF = made.to_lightning()
assert isinstance(PROOF.source_leg, EvmReceiptEvidence)
FIRST = decode_header(PROOF.source_leg.header)
BLOCK = BlockRef(FIRST.number, FIRST.hash, FIRST.timestamp)


def child_of(parent: EvmHeader, **changes: Any) -> EvmHeader:
    child = replace(parent, parent_hash=parent.hash, number=parent.number + 1, timestamp=parent.timestamp + 2)
    return replace(child, **changes)


def chain(length: int) -> list[EvmHeader]:
    """Headers after the proof's header, oldest first."""
    headers = [FIRST]
    for _ in range(length):
        headers.append(child_of(headers[-1]))
    return headers[1:]


def encoded(headers: list[EvmHeader]) -> tuple[bytes, ...]:
    return tuple([header.encode() for header in headers])


def refusal(headers: tuple[bytes, ...], trusted: bytes) -> str:
    with pytest.raises(ProofRefused) as caught:
        check_ancestor(BLOCK, headers, trusted, read_evm)
    assert caught.value.check == "header_chain"
    return caught.value.message


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_a_header_is_an_ancestor_of_the_trusted_one_by_every_header_between(length: int) -> None:
    headers = chain(length)
    trusted = [FIRST, *headers][-1].hash
    check_ancestor(BLOCK, encoded(headers), trusted, read_evm)
    policy = replace(OFFLINE, trusted_headers={BOB: trusted})
    report = check_proof(PROOF, policy, headers={BOB: encoded(headers)})
    assert report.source.level is ProofLevel.TRUSTED_HEADER
    assert OpenPoint.HEADER not in {matter.point for matter in report.open_points}


def test_headers_that_are_missing_superfluous_repeated_or_exchanged_are_refused() -> None:
    headers = encoded(chain(6))
    trusted = keccak256(headers[-1])
    for place in range(len(headers)):
        refusal(headers[:place] + headers[place + 1 :], trusted)
        refusal((*headers[: place + 1], *headers[place:]), trusted)
    for place in range(len(headers) - 1):
        refusal((*headers[:place], headers[place + 1], headers[place], *headers[place + 2 :]), trusted)
    refusal((FIRST.encode(), *headers), trusted)
    refusal((), trusted)
    assert "not to the trusted one" in refusal(headers, keccak256(headers[2]))
    assert "not to the trusted one" in refusal(headers, FIRST.hash)
    assert "not to the trusted one" in refusal(headers, bytes(32))


def test_an_earlier_header_does_not_vouch_for_a_later_one() -> None:
    parent = replace(FIRST, number=FIRST.number - 1)
    assert "has another parent" in refusal((parent.encode(),), parent.hash)


@pytest.mark.parametrize(
    "change",
    [{"number": 1234}, {"number": 1236}, {"timestamp": made.BLOCK_TIME}, {"timestamp": made.BLOCK_TIME - 1}],
    ids=["the same height", "a height left out", "the same time", "an earlier time"],
)
def test_heights_and_times_follow_each_other(change: dict[str, int]) -> None:
    bad = child_of(FIRST, **change)
    assert "height or time" in refusal((bad.encode(),), bad.hash)
    # Many proofs share a chain of headers, which has the same rules.
    with pytest.raises(ProofRefused, match="height or time"):
        ancestors(BOB, (FIRST.encode(), bad.encode()), bad.hash)


@settings(max_examples=150)
@given(place=st.integers(0, 3), data=st.data())
def test_a_flipped_bit_in_any_header_is_refused(place: int, data: st.DataObject) -> None:
    headers = list(encoded(chain(4)))
    trusted = keccak256(headers[-1])
    bit = data.draw(st.integers(0, 8 * len(headers[place]) - 1))
    flipped = bytearray(headers[place])
    flipped[bit // 8] ^= 1 << bit % 8
    headers[place] = bytes(flipped)
    refusal(tuple(headers), trusted)


def test_a_chain_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_HEADERS == 262_144
    monkeypatch.setattr(header_chain, "MAX_HEADERS", 3)
    headers = encoded(chain(4))
    check_ancestor(BLOCK, headers[:3], keccak256(headers[2]), read_evm)
    assert ancestors(BOB, headers[:3], keccak256(headers[2]))
    assert "more than 3 headers" in refusal(headers, keccak256(headers[3]))
    with pytest.raises(ProofRefused, match="more than 3 headers"):
        ancestors(BOB, headers, keccak256(headers[3]))


def test_headers_from_the_newest_to_the_oldest_are_refused_at_the_first() -> None:
    headers, taken = encoded(chain(50)), list[bytes]()

    def newest_first() -> Iterator[bytes]:
        for each in reversed(headers):
            taken.append(each)
            yield each

    trusted = keccak256(headers[-1])
    with pytest.raises(ProofRefused, match="header 1, of which the oldest is the first") as caught:
        check_ancestor(BLOCK, newest_first(), trusted, read_evm)
    assert (caught.value.check, len(taken)) == ("header_chain", 1)
    taken.clear()
    with pytest.raises(ProofRefused, match="header 2, of which the oldest is the first"):
        ancestors(BOB, newest_first(), trusted)
    assert len(taken) == 2


def test_a_layer_without_blocks_has_no_headers() -> None:
    with pytest.raises(ProofRefused, match="LIGHTNING has no blocks"):
        ancestors(Layer2ProtocolType.LIGHTNING, (), bytes(32))


def test_headers_count_only_for_a_trusted_one_and_the_trusted_one_is_required() -> None:
    headers = encoded(chain(1))
    with pytest.raises(ProofRefused, match="no trusted header"):
        check_proof(PROOF, OFFLINE, headers={BOB: headers})
    with pytest.raises(ProofRefused) as caught:
        check_proof(PROOF, replace(OFFLINE, trusted_headers={BOB: bytes(32)}))
    assert caught.value.check == "header_chain"
    with pytest.raises(InvalidRequest):
        replace(OFFLINE, trusted_headers={BOB: bytes(31)})


def test_each_leg_needs_the_trusted_header_of_its_own_layer() -> None:
    proof = made.between_chains()
    report = check_proof(proof, OFFLINE)
    assert report.source.header is not None
    assert report.destination.header is not None
    source, destination = report.source.header.hash, report.destination.header.hash
    assert source != destination
    one = check_proof(proof, replace(OFFLINE, trusted_headers={BOB: source}))
    assert (one.source.level, one.destination.level) == (ProofLevel.TRUSTED_HEADER, ProofLevel.OFFLINE)
    both = replace(OFFLINE, trusted_headers={BOB: source, ROOTSTOCK: destination})
    assert made.block_levels(check_proof(proof, both)) == {ProofLevel.TRUSTED_HEADER}
    with pytest.raises(ProofRefused, match="header_chain"):
        check_proof(proof, replace(OFFLINE, trusted_headers={BOB: destination}))


def test_a_file_of_headers_reads_back_as_it_was_written() -> None:
    headers = encoded(chain(3))
    text = write_headers(headers)
    assert tuple(read_headers(text.splitlines(keepends=True))) == headers
    assert tuple(read_headers(text.removesuffix("\n").splitlines(keepends=True))) == headers
    assert tuple(read_headers([])) == ()


@pytest.mark.parametrize(
    "text", ["f9", "0x1", "0xzz", " 0x00", "0x00\n\n0x00", "0x" + "00" * 1001, "\n" * (1 << 19), "0x00\r0x00"]
)
def test_a_file_that_holds_something_else_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        tuple(read_headers(re.findall(r"[^\n]*\n|[^\n]+", text)))
