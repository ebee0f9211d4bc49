"""Every branch of the hash-locked output, judged by Bitcoin Core's own consensus code."""

from __future__ import annotations

from dataclasses import replace

import bdkpython as bdk
import pbk
import pytest
from pbk.script import PrecomputedTransactionData

from contracts.htlc_vectors import AMOUNT, PREIMAGE, Vector, htlc_of, vectors
from layer2.formats.bitcoin_transaction import OutPoint

LOCKTIME = 850_000
HTLC = htlc_of(LOCKTIME)
SPENT = OutPoint(b"\x09" * 32, 1)


@pytest.mark.parametrize("vector", vectors(LOCKTIME), ids=lambda each: each.name)
def test_consensus_allows_exactly_the_spends_of_the_three_branches(vector: Vector) -> None:
    transaction = vector.make(SPENT)
    program = pbk.ScriptPubkey(vector.htlc.program)
    judged = pbk.Transaction(transaction.encode())
    data = PrecomputedTransactionData(judged, [pbk.TransactionOutput(program, AMOUNT)])
    is_valid = bool(program.verify(AMOUNT, judged, data, 0, pbk.ScriptVerificationFlags.ALL))
    assert is_valid is (vector.branch is not None)


@pytest.mark.parametrize(
    "vector", [each for each in vectors(LOCKTIME) if each.branch is not None], ids=lambda each: each.name
)
def test_the_witness_of_a_valid_spend_shows_the_branch_and_a_claim_the_preimage(vector: Vector) -> None:
    assert vector.branch is not None
    expected = (vector.branch, PREIMAGE if vector.branch.value == "claim" else None)
    assert vector.htlc.spending(vector.make(SPENT).inputs[0].witness) == expected


def test_a_witness_of_another_script_shows_no_branch() -> None:
    signature, preimage, selector, script = vectors(LOCKTIME)[0].make(SPENT).inputs[0].witness
    assert HTLC.spending((signature, preimage, selector, script + b"\x51")) is None
    assert HTLC.spending((signature, b"\x08" * 32, selector, script)) is None
    assert HTLC.spending(()) is None


@pytest.mark.parametrize("locktime", [1, 16, 17, 127, 128, 255, 256, 32_768, LOCKTIME, 1_790_000_000, 2**31 - 1])
def test_the_descriptor_is_miniscript_that_bdk_reads_as_the_same_output(locktime: int) -> None:
    htlc = replace(HTLC, locktime=locktime)
    descriptor = bdk.Descriptor(htlc.descriptor, bdk.NetworkKind.TEST)
    wallet = bdk.Wallet.create_single(descriptor, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
    address = wallet.peek_address(bdk.KeychainKind.EXTERNAL, 0).address
    assert address.script_pubkey().to_bytes() == htlc.program
