"""PSBTs of version 2. The bytes were also read by embit 0.8.0, another implementation of BIP 370."""

from __future__ import annotations

from layer2.formats import bitcoin_psbt
from layer2.formats.byte_reader import ByteReader
from layer2.formats.segwit_address import script_hash_program

WITNESS_SCRIPT = b"\x51"
SCRIPT = script_hash_program(WITNESS_SCRIPT)


def entries(reader: ByteReader) -> dict[int, bytes]:
    """One map of a PSBT with keys of one byte (BIP 174)."""
    found: dict[int, bytes] = {}
    while (size := reader.take(1)[0]) != 0:
        assert size == 1
        key = reader.take(1)[0]
        found[key] = reader.take(reader.take(1)[0])
    return found


def test_a_payment_names_its_output_and_leaves_the_inputs_to_the_wallet() -> None:
    made = bitcoin_psbt.payment(SCRIPT, 500_000, WITNESS_SCRIPT)
    reader = ByteReader(made, "the PSBT")
    assert reader.take(5) == b"psbt\xff"
    # Version 2 of the transaction; no inputs; one output; both may be added; version 2 of the format.
    assert entries(reader) == {
        0x02: b"\x02\0\0\0",
        0x04: b"\x00",
        0x05: b"\x01",
        0x06: b"\x03",
        0xFB: b"\x02\0\0\0",
    }
    assert entries(reader) == {0x01: WITNESS_SCRIPT, 0x03: b"\x20\xa1\x07\0\0\0\0\0", 0x04: SCRIPT}
    reader.end()


def test_the_bytes_are_those_that_another_implementation_read() -> None:
    assert bitcoin_psbt.payment(SCRIPT, 500_000, WITNESS_SCRIPT).hex() == (
        "70736274ff0102040200000001040100010501010106010301fb0402000000000101015101030820a107000000000001042200204ae815"
        "72f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc3326000"
    )
