"""What is remembered of sent transactions."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey

from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.protocols.evm.sending import history
from layer2.protocols.evm.sending.signing import tx_id_of
from memory_sends import MemorySends

KEY = PrivateKey(b"\x07" * 32)


def signed(nonce: int, price: int = 1) -> SignedTransaction:
    transaction = Eip1559Transaction(60808, nonce, 1, price, 21_000, b"\x08" * 20, 0)
    return transaction.signed(KEY.sign_recoverable(transaction.signing_hash(), hasher=None))


async def test_a_transaction_in_memory_always_has_its_earlier_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_REMEMBERED", 3)
    sent = history.SendHistory(MemorySends(), "BOB")

    async def replace(old: SignedTransaction) -> SignedTransaction:
        new = signed(old.transaction.nonce, price=2)
        await sent.add(new, key=None, request="", replaced=tx_id_of(old))
        return new

    first, *others = [signed(nonce) for nonce in range(6)]
    for each in (first, *others):
        await sent.add(each, key=None, request="")
    newest = await replace(first)
    await replace(others[0])
    for nonce in (10, 11, 12):
        await sent.add(signed(nonce), key=None, request="")
    # It was forgotten, and is read from the record again.
    assert await sent.recorded(tx_id_of(newest)) == newest
    for other in others[1:3]:
        await replace(other)
    assert await sent.versions(newest) == [first, newest]
