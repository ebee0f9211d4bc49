"""Evidence from Bitcoin and its check, for tests of what is shown and what is refused."""

from __future__ import annotations

import pbk
import pytest

from layer2.errors import ProofRefused
from layer2.formats.bitcoin_transaction import Transaction
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import BitcoinSpendEvidence, read_evidence, write_evidence
from layer2.legs.shown import EvidencePolicy, LegShown, Owed
from layer2.legs.views import Side
from proofs import made_bitcoin as btc
from proofs import made_proofs as made

OWED = Owed(Side.PAYER, btc.AMOUNT, made.PREIMAGE.payment_hash, b"\x01" * 32, made.INVOICE_TIME)
CLAIM = btc.spend()
OTHERS = (btc.other(1), btc.other(2), btc.other(3))
BLOCK = btc.block_of([OTHERS[0], CLAIM, *OTHERS[1:]])
EVIDENCE = BLOCK.evidence(CLAIM)
TYPES = (0x00, 0x01, 0x02, 0x03, 0x41, 0x81, 0x82, 0x83)


def shown(evidence: BitcoinSpendEvidence, leg: BitcoinLeg = btc.LEG) -> LegShown:
    return leg.check_evidence(read_evidence(write_evidence(evidence), "evidence"), OWED, EvidencePolicy())


def refused(check: str, problem: str, evidence: BitcoinSpendEvidence, leg: BitcoinLeg = btc.LEG) -> None:
    """Assert that the evidence is refused for this reason, and not for another."""
    with pytest.raises(ProofRefused, match=problem) as caught:
        shown(evidence, leg)
    assert caught.value.check == check


def core_accepts(transaction: Transaction, script: bytes = btc.HTLC.program) -> bool:
    """Whether Bitcoin Core's consensus code accepts the second input as a spend of an output with this script."""
    scripts = (pbk.ScriptPubkey(b"\x51"), pbk.ScriptPubkey(script))
    judged = pbk.Transaction(transaction.encode())
    spent = [pbk.TransactionOutput(script, btc.AMOUNT) for script in scripts]
    data = pbk.script.PrecomputedTransactionData(judged, spent)
    accepted: bool = scripts[1].verify(btc.AMOUNT, judged, data, 1, pbk.ScriptVerificationFlags.ALL)
    return accepted
