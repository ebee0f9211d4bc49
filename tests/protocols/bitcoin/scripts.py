"""A hash-locked output for tests, and Bitcoin Core's judgement of what spends it."""

from __future__ import annotations

from collections.abc import Sequence

import pbk
from coincurve import PrivateKey

from layer2.contracts.bitcoin_htlc import BitcoinHtlc
from layer2.formats.bitcoin_transaction import Transaction
from layer2.model.transactions import Preimage

PAYER, PAYEE, PAYEE_RELEASE, STRANGER = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3, 4))
PREIMAGE = Preimage(b"\x07" * 32)
LOCKTIME = 850_000
HTLC = BitcoinHtlc(
    payment_hash=PREIMAGE.payment_hash,
    payer=PAYER.public_key.format(),
    payee=PAYEE.public_key.format(),
    payee_release=PAYEE_RELEASE.public_key.format(),
    locktime=LOCKTIME,
)


def core_accepts(transaction: Transaction, amounts: Sequence[int], htlc: BitcoinHtlc = HTLC) -> bool:
    """Whether Bitcoin Core's code accepts every input, each of which spends an output to the script.

    Args:
        amounts: satoshi of the output that each input spends.
    """
    program = pbk.ScriptPubkey(htlc.program)
    judged = pbk.Transaction(transaction.encode())
    data = pbk.script.PrecomputedTransactionData(judged, [pbk.TransactionOutput(program, each) for each in amounts])
    flags = pbk.ScriptVerificationFlags.ALL
    return all(program.verify(each, judged, data, index, flags) for index, each in enumerate(amounts))
