"""Lost transactions are sent again, other wallets may use the same key, and no nonce is missing."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing

import pytest
from eth_typing import Address

from layer2.errors import TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.local.simnet.evm.pool import TransactionPool
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, TxState
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.sending import repair, watches
from layer2.protocols.evm.sending.unmined import Unmined
from memory_sends import MemorySends
from networks.waiting import until
from protocols.evm.bob_network import BobNetwork

SOMEBODY = to_checksum(b"\x05" * 20)


def received(bob: BobNetwork) -> int:
    return bob.node.chain.state_at(bob.node.chain.head).get_balance(Address(b"\x05" * 20))


async def pay(client: BobClient) -> EvmTxId:
    return await client.transfer_asset_async(ETH, 1, SOMEBODY)


async def mended(client: BobClient) -> None:
    """Wait until the account's repair has ended."""
    while client._account._repair._task is not None:
        await asyncio.wait([client._account._repair._task])
        await asyncio.sleep(0)


def foreign(bob: BobNetwork, nonce: int, fee: int = 90_000_000) -> bytes:
    """Signed by another wallet with the taker's key."""
    transaction = Eip1559Transaction(60808, nonce, 9_000_000, fee, 21_000, b"\x06" * 20, 1)
    return transaction.signed(bob.accounts["taker"].key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw


def next_nonce(bob: BobNetwork) -> int:
    return bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.address("taker")))


async def test_what_the_pool_lost_is_handed_in_again_by_a_later_send(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    lost = [await pay(taker) for _ in range(3)]
    bob.node.pool = TransactionPool()
    # There is no check within half a minute; then there is one.
    later = await pay(taker)
    await mended(taker)
    assert len(bob.node.pool) == 1
    monkeypatch.setattr(repair, "_CHECK_SECONDS", 0.0)
    taker._account._repair._next_check = 0.0
    last = await pay(taker)
    await mended(taker)
    assert len(bob.node.pool) == 5
    bob.node.mine()
    statuses = await taker.get_transaction_statuses_async([*lost, later, last])
    assert [status.state for status in statuses] == [TxState.INCLUDED] * 5
    assert received(bob) == 5


async def test_what_the_pool_lost_is_handed_in_again_while_it_is_watched(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_STEPS_BETWEEN_LOOKS", 1)
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    tx_id = await pay(taker)
    async with aclosing(taker.watch_transaction_async(tx_id)) as statuses:
        assert (await anext(statuses)).state is TxState.PENDING
        bob.node.pool = TransactionPool()
        bob.node.mine()

        async def is_back() -> bool:
            return len(bob.node.pool) == 1

        await until(is_back, "the transaction is handed in again", seconds=5)
        bob.node.mine()
        # The watch may have reported the loss and the return.
        while (await anext(statuses)).state is not TxState.INCLUDED:
            pass
    assert received(bob) == 1


async def test_what_a_reorganisation_forgot_is_handed_in_again(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    bob.node.set_finality(0, 0)
    tx_ids = [await pay(taker) for _ in range(3)]
    bob.node.mine()
    assert received(bob) == 3
    bob.node.reorganise(1, keep_transactions=False)
    assert received(bob) == 0
    taker._account.check_for_lost()
    await mended(taker)
    bob.node.mine()
    statuses = await taker.get_transaction_statuses_async(tx_ids)
    assert [status.state for status in statuses] == [TxState.INCLUDED] * 3
    assert received(bob) == 3


async def test_reading_statuses_hands_nothing_in(bob: BobNetwork, requests_seen: list[bytes]) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    tx_id = await pay(taker)
    bob.node.pool = TransactionPool()
    taker._account._repair._next_check = 0.0
    requests_seen.clear()
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN
    await taker.get_transaction_statuses_async([tx_id])
    await mended(taker)
    assert not any(b"eth_sendRawTransaction" in body for body in requests_seen)
    assert len(bob.node.pool) == 0


async def test_what_is_final_is_not_kept(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    await pay(taker)
    assert len(taker._account._ledger.unmined) == 1
    bob.node.set_finality(None, None)
    bob.node.mine(30)
    taker._account.check_for_lost()
    await mended(taker)
    assert len(taker._account._ledger.unmined) == 0


async def test_a_lost_transaction_whose_nonce_another_wallet_used_is_dropped_and_holds_nothing_up(
    bob: BobNetwork,
) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    tx_id = await pay(taker)
    bob.node.pool = TransactionPool()
    bob.node.send(foreign(bob, next_nonce(bob)))
    bob.node.mine()
    taker._account.check_for_lost()
    await mended(taker)
    status = await taker.get_transaction_status_async(tx_id)
    assert (status.state, status.replaced_by) == (TxState.DROPPED, None)
    await pay(taker)
    bob.node.mine()
    assert received(bob) == 1


async def test_nonces_continue_after_another_wallet_used_the_key(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    for ahead in range(3):
        bob.node.send(foreign(bob, next_nonce(bob) + ahead))
    # Its transactions are in the pool. The client must not outbid them.
    with pytest.raises(TransactionError) as used:
        await pay(taker)
    assert used.value.code == "nonce_used"
    await pay(taker)
    bob.node.mine()
    assert received(bob) == 1


async def test_two_clients_of_one_key_pay_what_they_report_and_leave_no_gap(bob: BobNetwork) -> None:
    clients = [await bob.client("taker"), await bob.client("taker")]
    bob.maker.set_enabled(False)
    results = await asyncio.gather(*[pay(client) for _ in range(20) for client in clients], return_exceptions=True)
    paid = [result for result in results if isinstance(result, str)]
    refused = [result for result in results if not isinstance(result, str)]
    # The same payment with the same nonce is the same transaction, and counts for only one of the two requests.
    assert {getattr(error, "code", repr(error)) for error in refused} <= {"nonce_used", "not_alone"}
    assert len(set(paid)) == len(paid) >= 20
    bob.maker.set_enabled(True)
    for client, amount in zip(clients, (100, 1000), strict=True):
        # The refusal shows that the other wallet used the nonce, and the next transaction takes a later one.
        with contextlib.suppress(TransactionError):
            await client.transfer_asset_async(ETH, amount, SOMEBODY)
        last = await client.transfer_asset_async(ETH, amount, SOMEBODY)
        assert (await client.wait_for_status_async(last, timeout=5)).state is TxState.INCLUDED
    assert received(bob) % 100 == len(paid)


async def test_bytes_of_the_same_key_do_not_take_a_nonce_that_is_in_use(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    tx_id = await pay(taker)
    with pytest.raises(TransactionError, match=tx_id) as used:
        await taker.submit_transaction_async(foreign(bob, next_nonce(bob), fee=10**12))
    assert used.value.code == "nonce_used"
    bob.node.mine()
    assert received(bob) == 1


async def test_a_recorded_transaction_that_was_never_sent_does_not_replace_what_has_its_nonce_now(
    bob: BobNetwork,
) -> None:
    sends = MemorySends()
    crashed = await bob.client("taker", sends, priority_fee_per_gas_wei=2_000_000)
    bob.maker.set_enabled(False)
    bob.faults.set("error", method="eth_sendRawTransaction", status=502)
    with pytest.raises(Exception, match="eth_sendRawTransaction"):
        await crashed.transfer_asset_async(ETH, 5, SOMEBODY, idempotency_key="rent")
    await crashed.aclose()
    bob.faults.set("none")
    taker = await bob.client("taker", sends)
    other = await pay(taker)
    with pytest.raises(TransactionError) as used:
        await taker.transfer_asset_async(ETH, 5, SOMEBODY, idempotency_key="rent")
    assert used.value.code == "nonce_used"
    bob.node.mine()
    assert (await taker.get_transaction_status_async(other)).state is TxState.INCLUDED
    assert received(bob) == 1


def signed(nonce: int, value: int = 0) -> SignedTransaction:
    return SignedTransaction(
        b"", bytes([nonce, value]), Eip1559Transaction(1, nonce, 0, 0, 21_000, b"\x05" * 20, value), b"\x06" * 20
    )


def test_the_newest_transaction_of_a_nonce_counts_and_is_not_taken_for_the_one_before() -> None:
    unmined = Unmined()
    unmined.take(signed(3))
    unmined.hold(signed(3, 1))
    assert (unmined.holder(3), unmined.taken(), unmined.has_doubted) == (signed(3, 1), [], False)
    unmined.doubt(signed(3, 1))
    assert (unmined.taken(), unmined.doubted()) == ([], [signed(3, 1)])
    unmined.take(signed(3, 1))
    assert (unmined.taken(), unmined.doubted()) == ([signed(3, 1)], [])


def test_they_are_listed_by_nonce_and_forgotten_when_final() -> None:
    unmined = Unmined()
    for nonce in (9, 7, 8):
        unmined.take(signed(nonce))
    assert [one.transaction.nonce for one in unmined.taken()] == [7, 8, 9]
    unmined.settle(9)
    assert unmined.taken() == [signed(9)]


def test_of_more_than_ten_thousand_the_first_are_forgotten() -> None:
    unmined = Unmined()
    one = signed(0)
    for nonce in range(10_001):
        transaction = Eip1559Transaction(1, nonce, 0, 0, 21_000, b"\x05" * 20, 0)
        unmined.take(SignedTransaction(b"", b"", transaction, one.sender))
    assert len(unmined) == 10_000
    assert (unmined.holder(0), unmined.holder(1) is None) == (None, False)
