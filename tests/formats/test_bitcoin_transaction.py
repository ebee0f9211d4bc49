"""Bitcoin transactions: bytes, ids and signature hashes, against BIP 143's vectors and Bitcoin Core's own code."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey, PublicKey
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.bitcoin_transaction import (
    SIGHASH_ALL,
    SIGHASH_NONE_ANYONECANPAY,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    decode_transaction,
    witness_sighash,
)

SIGNED = bytes.fromhex(
    "0100000000010136641869ca081e70f394c6948e8af409e18b619df2ed74aa106c1ca29787b96e0100000023220020a16b5755f7f6f96dbd65f5"
    "f0d6ab9418b89af4b1f14a1bb8a09062c35f0dcb54ffffffff0200e9a435000000001976a914389ffce9cd9ae88dcc0631e88a821ffdbe9bfe26"
    "88acc0832f05000000001976a9147480a33f950689af511e6e84c138dbbd3c3ee41588ac080047304402206ac44d672dac41f9b00e28f4df20c5"
    "2eeb087207e8d758d76d92c6fab3b73e2b0220367750dbbe19290069cba53d096f44530e4f98acaa594810388cf7409a1870ce01473044022068"
    "c7946a43232757cbdf9176f009a928e1cd9a1a8c212f15c1e11ac9f2925d9002205b75f937ff2f9f3c1246e547e54f62e027f64eefa2695578cc"
    "6432cdabce271502473044022059ebf56d98010a932cf8ecfec54c48e6139ed6adb0728c09cbe1e4fa0915302e022007cd986c8fa870ff5d2b3a"
    "89139c9fe7e499259875357e20fcbb15571c76795403483045022100fbefd94bd0a488d50b79102b5dad4ab6ced30c4069f1eaa69a4b5a763414"
    "067e02203156c6a5c9cf88f91265f5a942e96213afae16d83321c8b31bb342142a14d16381483045022100a5263ea0553ba89221984bd7f0b136"
    "13db16e7a70c549a86de0cc0444141a407022005c360ef0ae5a5d4f9f2f87a56c1546cc8268cab08c73501d6b3be2e1e1a8a088247304402205"
    "25406a1482936d5a21888260dc165497a90a15669636d8edca6b9fe490d309c022032af0c646a34a44d1f4576bf6a4a74b67940f8faa84c7df9"
    "abe12a01a11e2b4783cf56210307b8ae49ac90a048e9b53357a2354b3334e9c8bee813ecb98e99a7e07e8c3ba32103b28f0c28bfab54554ae8c6"
    "58ac5c3e0ce6e79ad336331f78c428dd43eea8449b21034b8113d703413d57761b8b9781957b8c0ac1dfe69f492580ca4195f50376ba4a21033"
    "400f6afecb833092a9a21cfdf1ed1376e58c5d1f47de74683123987e967a8f42103a6d48b1131e94ba04d9737d61acdaa1322008af9602b3b14"
    "862c07a1789aac162102d8b661b0b3302ee2f162b09e07a55ad5dfbe673a9f01d9f0c19617681024306b56ae00000000"
)
"""BIP 143, the example P2SH-P2WSH: six signatures of six types over one input of 9.87654321 BTC."""
AMOUNT = 987_654_321


def test_bip_143s_transaction_is_read_and_written_to_the_same_bytes() -> None:
    transaction = decode_transaction(SIGNED)
    assert transaction.encode() == SIGNED
    assert transaction.virtual_size == (3 * len(transaction.stripped) + len(SIGNED) + 3) // 4
    assert [each.amount for each in transaction.outputs] == [900_000_000, 87_000_000]
    assert transaction.hash != transaction.witness_hash
    assert transaction.id == transaction.hash[::-1].hex()


@pytest.mark.parametrize(
    ("kind", "signature", "key", "digest"),
    [
        (
            SIGHASH_ALL,
            1,
            "0307b8ae49ac90a048e9b53357a2354b3334e9c8bee813ecb98e99a7e07e8c3ba3",
            "185c0be5263dce5b4bb50a047973c1b6272bfbd0103a89444597dc40b248ee7c",
        ),
        (
            SIGHASH_NONE_ANYONECANPAY,
            5,
            "03a6d48b1131e94ba04d9737d61acdaa1322008af9602b3b14862c07a1789aac16",
            "781ba15f3779d5542ce8ecb5c18716733a5ee42a6f51488ec96154934e2c890a",
        ),
        (
            0x02,
            2,
            "03b28f0c28bfab54554ae8c658ac5c3e0ce6e79ad336331f78c428dd43eea8449b",
            "e9733bc60ea13c95c6527066bb975a2ff29a925e80aa14c213f686cbae5d2f36",
        ),
        (
            0x03,
            3,
            "034b8113d703413d57761b8b9781957b8c0ac1dfe69f492580ca4195f50376ba4a",
            "1e1f1c303dc025bd664acb72e583e933fae4cff9148bf78c157d1e8f78530aea",
        ),
        (
            0x81,
            4,
            "033400f6afecb833092a9a21cfdf1ed1376e58c5d1f47de74683123987e967a8f4",
            "2a67f03e63a6a422125878b40b82da593be8d4efaafe88ee528af6e5a9955c6e",
        ),
        (
            0x83,
            6,
            "02d8b661b0b3302ee2f162b09e07a55ad5dfbe673a9f01d9f0c19617681024306b",
            "511e8e52ed574121fc1b654970395502128263f62662e076dc6baf05c2e6a99b",
        ),
    ],
)
def test_bip_143s_digests_are_what_its_signatures_sign(kind: int, signature: int, key: str, digest: str) -> None:
    transaction = decode_transaction(SIGNED)
    witness = transaction.inputs[0].witness
    found = witness_sighash(transaction, 0, witness[-1], AMOUNT, kind)
    assert found.hex() == digest
    assert witness[signature][-1] == kind
    assert PublicKey(bytes.fromhex(key)).verify(witness[signature][:-1], found, hasher=None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (SIGNED[:-1], "ends too early"),
        (SIGNED + b"\x00", "followed by other bytes"),
        (SIGNED[:6] + b"\xfd\x01\x00" + SIGNED[7:], "shortest form"),
        (SIGNED[:6] + b"\xfe\xff\xff\xff\xff" + SIGNED[7:], "ends too early"),
        (bytes(4) + b"\x00\x01\x00\x00" + bytes(4), "no inputs"),
    ],
)
def test_other_bytes_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        decode_transaction(data)


def test_a_marker_of_witnesses_without_any_is_refused() -> None:
    bare = Transaction(2, (TxIn(OutPoint(b"\x01" * 32, 0), 0),), (TxOut(1, b""),), 0).encode()
    with pytest.raises(FormatError, match="none of them"):
        decode_transaction(bare[:4] + b"\x00\x01" + bare[4:-4] + b"\x00" + bare[-4:])


def test_more_than_all_bitcoin_is_refused() -> None:
    made = Transaction(2, (TxIn(OutPoint(b"\x01" * 32, 0), 0),), (TxOut(21_000_000 * 10**8 + 1, b""),), 0)
    with pytest.raises(FormatError, match="21 million"):
        decode_transaction(made.encode())


OUTPOINTS = st.builds(OutPoint, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
INPUTS = st.builds(
    TxIn,
    OUTPOINTS,
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
    st.lists(st.binary(max_size=300), max_size=3).map(tuple),
)
OUTPUTS = st.builds(TxOut, st.integers(0, 21_000_000 * 10**8), st.binary(max_size=300))


@given(
    st.builds(
        Transaction,
        st.integers(0, 2**32 - 1),
        st.lists(INPUTS, min_size=1, max_size=3).map(tuple),
        st.lists(OUTPUTS, min_size=1, max_size=3).map(tuple),
        st.integers(0, 2**32 - 1),
    )
)
def test_every_transaction_is_read_as_it_was_written(transaction: Transaction) -> None:
    assert decode_transaction(transaction.encode()) == transaction


def test_an_id_is_displayed_in_reverse() -> None:
    key = PrivateKey(b"\x01" * 32)
    outpoint = OutPoint(key.secret, 7)
    assert str(outpoint) == f"{key.secret[::-1].hex()}:7"
    assert outpoint.encode() == key.secret + b"\x07\x00\x00\x00"
