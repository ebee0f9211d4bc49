"""Single sends on Bitcoin: recorded before they are sent, sent once for each key, and never with another's coins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from layer2.errors import (
    AsyncTimeout,
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    JournalError,
    NodeUnreachable,
    Outcome,
    TransactionError,
    UnknownAsset,
)
from layer2.formats.bitcoin_transaction import TxOut
from layer2.journal.sql_journal import SqlJournal
from layer2.model.money import BTC, ETH, Balance
from layer2.model.transactions import BitcoinTxId, TxState
from layer2.ports.journal import SendRecord
from layer2.protocols.bitcoin.requests import BitcoinOutput, BitcoinPayment
from protocols.bitcoin.client_world import COIN, STRANGER, STRANGER_SCRIPT, World, bitcoin_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bitcoin_world(tmp_path) as made:
        yield made


def payment(amount: int = 50_000, fee_rate: int | None = None, address: str = STRANGER) -> BitcoinPayment:
    return BitcoinPayment((BitcoinOutput(address, amount),), fee_rate)


async def test_a_transfer_pays_the_exact_amount_and_changes_the_balance(world: World) -> None:
    client = await world.funded(coins=2)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert world.paid(tx_id) == 50_000
    status = await client.get_transaction_status_async(tx_id)
    assert (status.state, status.fee) == (TxState.PENDING, world.fee(tx_id))
    world.node.mine(1)
    assert await client.balances_async() == {BTC: Balance(2 * COIN - 50_000 - world.fee(tx_id), 0)}


async def test_a_payment_has_any_number_of_outputs_and_its_own_fee_rate(world: World) -> None:
    client = await world.funded()
    other = await world.client("provider").receive_address_async()
    request = BitcoinPayment((BitcoinOutput(STRANGER, 40_000), BitcoinOutput(other, 60_000)), 7_000)
    status = await client.submit_transaction_async(request)
    assert sorted(each.amount for each in world.transaction(status.tx_id).outputs)[:2] == [40_000, 60_000]
    assert 7_000 <= world.rate(status.tx_id) < 7_200


async def test_the_same_key_sends_the_same_payment_once(world: World) -> None:
    client = await world.funded()
    first = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") == first
    with pytest.raises(IdempotencyConflict) as caught:
        await client.transfer_asset_async(BTC, 50_001, STRANGER, idempotency_key="rent")
    assert caught.value.tx_id == first
    assert world.pool == {first}


async def test_the_same_key_at_the_same_time_sends_once_although_the_coins_suffice_for_one(world: World) -> None:
    client = await world.funded(coins=1)
    calls = [client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") for _ in range(5)]
    assert len(set(await asyncio.gather(*calls))) == 1
    assert len(world.pool) == 1


async def test_the_same_key_in_two_processes_sends_once(world: World) -> None:
    one = await world.funded(coins=1)
    journal = await SqlJournal.open(world.journal_path)
    world.closing.push_async_callback(journal.aclose)
    two = world.client(records=journal)
    calls = [each.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") for each in (one, two)]
    assert len(set(await asyncio.gather(*calls))) == 1
    assert len(world.pool) == 1


@pytest.mark.parametrize("key", ["replaces:" + "00" * 32, "\ud800"])
async def test_a_key_that_the_record_cannot_hold_is_refused(world: World, key: str) -> None:
    client = await world.funded()
    with pytest.raises(InvalidRequest):
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key=key)
    assert not world.pool


async def test_signed_bytes_are_sent_as_they_are_and_their_fee_is_read_from_the_chain(world: World) -> None:
    client = world.client()
    made = world.payment(TxOut(70_000, STRANGER_SCRIPT), fee=1_234)
    assert (await client.submit_transaction_async(made.encode())).tx_id == made.id
    assert (await client.submit_transaction_async(made.encode())).tx_id == made.id
    assert (await client.get_transaction_status_async(BitcoinTxId(made.id))).fee == 1_234


class _Crash(BaseException):
    """The end of the process."""


async def test_a_crash_between_record_and_broadcast_loses_nothing(world: World) -> None:
    client = await world.funded(coins=1)

    async def crash(transaction: object) -> None:
        raise _Crash

    client.legs._parts.source.broadcast = crash  # type: ignore[method-assign]
    with pytest.raises(_Crash):
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    again = world.client()
    with pytest.raises(InsufficientFunds):
        await again.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="other")
    tx_id = await again.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert world.pool == {tx_id}


class BrokenJournal:
    """Records that cannot be written."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal

    async def add_send(self, record: SendRecord) -> SendRecord:
        raise JournalError("the disk is full")

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        raise JournalError("the disk is full")

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        return await self._journal.find_send(protocol, idempotency_key)

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        return await self._journal.find_send_of(protocol, tx_id)

    async def hold_coins(self, protocol: str, holder: str, coins: Sequence[str]) -> bool:
        raise JournalError("the disk is full")

    async def held_coins(self, protocol: str) -> Mapping[str, str]:
        return await self._journal.held_coins(protocol)

    async def release_coins(self, protocol: str, holder: str) -> None:
        raise JournalError("the disk is full")


async def test_without_a_record_nothing_is_sent_and_no_coin_stays_held(world: World) -> None:
    client = await world.funded(coins=1, records=BrokenJournal(world.journal))
    with pytest.raises(JournalError) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert caught.value.outcome is Outcome.NOT_SENT
    assert not world.faults.broadcasts
    assert not await world.held()
    assert await world.client().transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")


class UnsureJournal(BrokenJournal):
    """Records that are written, and reported as errors once."""

    def __init__(self, journal: SqlJournal) -> None:
        super().__init__(journal)
        self.fails = True

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        added = await self._journal.add_send_of_coins(record, holder, coins)
        if self.fails:
            raise JournalError("the server has not answered for 30 s")
        return added

    async def release_coins(self, protocol: str, holder: str) -> None:
        await self._journal.release_coins(protocol, holder)


async def test_a_send_without_a_key_whose_record_was_written_but_reported_as_an_error_keeps_no_coin(
    world: World,
) -> None:
    records = UnsureJournal(world.journal)
    client = await world.funded(coins=1, records=records)
    with pytest.raises(JournalError) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert await world.held()
    records.fails = False
    other = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert world.pool == {other}
    assert other != caught.value.tx_id
    assert set((await world.held()).values()) == {f"send:{other}"}


async def test_a_send_whose_record_was_reported_as_an_error_and_that_was_replaced_keeps_its_coins(
    world: World,
) -> None:
    records = UnsureJournal(world.journal)
    client = await world.funded(coins=2, records=records)
    with pytest.raises(JournalError) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert caught.value.tx_id is not None
    records.fails = False
    cancelled = await client.cancel_transaction_async(BitcoinTxId(caught.value.tx_id))
    other = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert world.pool == {cancelled, other}
    assert set((await world.held()).values()) == {f"send:{caught.value.tx_id}", f"send:{other}"}


async def test_a_send_with_a_key_whose_record_was_reported_as_an_error_is_sent_by_its_key(world: World) -> None:
    records = UnsureJournal(world.journal)
    client = await world.funded(coins=1, records=records)
    with pytest.raises(JournalError) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    records.fails = False
    assert await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") == caught.value.tx_id


async def test_a_failing_record_of_a_replacement_leaves_the_first_version(world: World) -> None:
    client = await world.funded(coins=1)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    broken = world.client(records=BrokenJournal(world.journal))
    for act in (broken.replace_transaction_async, broken.cancel_transaction_async):
        with pytest.raises(JournalError):
            await act(tx_id)
    assert world.pool == {tx_id}
    assert (await broken.balances_async())[BTC] == Balance(0, COIN - 50_000 - world.fee(tx_id))


async def test_a_lost_answer_is_no_error_if_the_node_has_the_transaction(world: World) -> None:
    client = await world.funded(coins=1)
    world.faults.loses_answer = True
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert world.pool == {tx_id}


async def test_a_lost_request_is_unknown_and_the_key_sends_the_same_transaction(world: World) -> None:
    client = await world.funded(coins=1)
    world.faults.loses_request = True
    with pytest.raises(NodeUnreachable) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert caught.value.outcome is Outcome.UNKNOWN
    assert (await client.get_transaction_status_async(BitcoinTxId(caught.value.tx_id or ""))).state is TxState.UNKNOWN
    world.faults.loses_request = False
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert tx_id == caught.value.tx_id
    assert world.pool == {tx_id}


async def test_silence_after_the_broadcast_is_unknown_with_the_id(world: World) -> None:
    client = await world.funded(coins=1)
    await client.initialize_async()
    world.faults.is_silent = True
    with pytest.raises(AsyncTimeout) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent", timeout=2)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert world.pool == {caught.value.tx_id}
    world.faults.is_silent = False
    assert await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") == caught.value.tx_id


async def test_a_time_out_before_the_signature_sends_nothing(world: World) -> None:
    client = await world.funded(coins=1)
    await client.initialize_async()
    world.faults.is_mute = True
    with pytest.raises(AsyncTimeout) as caught:
        await client.transfer_asset_async(BTC, 50_000, STRANGER, timeout=0.5)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.NOT_SENT, None)
    assert not await world.held()


async def test_a_cancelled_call_never_pays_twice(world: World) -> None:
    client = await world.funded(coins=3)
    await client.initialize_async()
    for delay in range(12):
        call = asyncio.create_task(client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent"))
        await asyncio.sleep(delay * 0.004)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    assert world.pool == {tx_id}
    assert set((await world.held()).values()) == {"send:rent"}


async def test_a_refusal_keeps_the_coins_for_the_key_and_for_a_replacement(world: World) -> None:
    client = await world.funded(coins=2)
    world.node.set_fees(20_000)
    with pytest.raises(TransactionError) as caught:
        await client.submit_transaction_async(payment(fee_rate=5_000), idempotency_key="rent")
    assert caught.value.outcome is Outcome.REJECTED
    tx_id = BitcoinTxId(caught.value.tx_id or "")
    with pytest.raises(TransactionError) as again:
        await client.submit_transaction_async(payment(fee_rate=5_000), idempotency_key="rent")
    assert (again.value.outcome, again.value.tx_id) == (Outcome.UNKNOWN, tx_id)
    newer = await client.replace_transaction_async(tx_id)
    assert world.rate(newer) >= 20_000
    assert world.paid(newer) == 50_000
    assert (await client.submit_transaction_async(payment(fee_rate=5_000), idempotency_key="rent")).tx_id == newer


async def test_an_estimate_above_the_cap_is_refused_before_anything_is_signed(world: World) -> None:
    client = await world.funded(coins=1, max_fee_rate=10_000)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    world.node.set_fees(20_000)
    assert await client.estimate_fee_rate_async() == 20_000
    calls = [
        client.transfer_asset_async(BTC, 50_000, STRANGER),
        client.submit_transaction_async(payment(fee_rate=10_001)),
        client.replace_transaction_async(tx_id),
        client.replace_transaction_async(tx_id, fee_rate=10_001),
        client.cancel_transaction_async(tx_id),
        client.pay_for_parent_async(tx_id, fee_rate=10_001),
    ]
    for call in calls:
        with pytest.raises(FundsRulesError) as caught:
            await call
        assert (caught.value.code, caught.value.outcome) == ("fee_cap", Outcome.NOT_SENT)
    assert set((await world.held()).values()) == {f"send:{tx_id}"}


async def test_an_evicted_send_is_sent_again_by_its_key(world: World) -> None:
    client = await world.funded(coins=1)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    world.evict()
    assert (await client.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN
    with pytest.raises(InsufficientFunds):
        await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="other")
    assert await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") == tx_id
    assert world.pool == {tx_id}


async def test_an_evicted_send_is_replaced_by_one_with_a_higher_fee(world: World) -> None:
    client = await world.funded(coins=2)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    world.node.set_fees(30_000)
    await client.balances_async()
    newer = await client.replace_transaction_async(tx_id)
    assert world.spent(newer) == {each for each in world.spent(newer) if str(each) in await world.held()}
    assert world.rate(newer) >= 30_000
    world.node.mine(1)
    gone = await client.get_transaction_status_async(tx_id)
    assert (gone.state, gone.replaced_by) == (TxState.DROPPED, newer)


async def test_a_key_whose_older_version_is_in_a_block_is_not_sent_again(world: World) -> None:
    client = await world.funded(coins=2)
    tx_id = await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent")
    first = world.transaction(tx_id)
    newer = await client.replace_transaction_async(tx_id)
    world.node.mine(1, [first])
    assert await client.transfer_asset_async(BTC, 50_000, STRANGER, idempotency_key="rent") == tx_id
    gone = await client.get_transaction_status_async(newer)
    assert (gone.state, gone.replaced_by) == (TxState.DROPPED, tx_id)


@pytest.mark.parametrize(
    ("amount", "address", "error"),
    [
        (0, STRANGER, InvalidAmount),
        (-1, STRANGER, InvalidAmount),
        (True, STRANGER, InvalidAmount),
        (1.5, STRANGER, InvalidAmount),
        (293, STRANGER, InvalidAmount),
        (21_000_000 * 10**8 + 1, STRANGER, InvalidAmount),
        (21_000_000 * 10**8, STRANGER, InsufficientFunds),
        (COIN, STRANGER, InsufficientFunds),
        (50_000, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", FormatError),
        (50_000, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", FormatError),
        (50_000, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", FormatError),
        (50_000, STRANGER[:-1] + "q", FormatError),
        (50_000, "", FormatError),
    ],
)
async def test_what_cannot_be_paid_is_refused_and_holds_no_coin(
    world: World, amount: int, address: str, error: type[Exception]
) -> None:
    client = await world.funded(coins=1)
    with pytest.raises(error):
        await client.transfer_asset_async(BTC, amount, address)
    assert not await world.held()
    assert not world.faults.broadcasts


@pytest.mark.parametrize(
    ("address", "code", "named"),
    [
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "other_network", "mainnet"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "other_network", "mainnet"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "other_network", "testnet or signet"),
        ("0x" + "05" * 20, "format", "not a Bitcoin address"),
        (STRANGER[:-1] + "q", "format", "not a Bitcoin address"),
    ],
)
async def test_an_address_that_cannot_be_paid_is_refused_with_the_reason(
    world: World, address: str, code: str, named: str
) -> None:
    with pytest.raises(FormatError, match=named) as caught:
        await world.client().transfer_asset_async(BTC, 50_000, address)
    assert caught.value.code == code


async def test_the_missing_amount_is_in_satoshi(world: World) -> None:
    client = await world.funded(coins=1)
    request = payment(2 * COIN, fee_rate=1_000)
    with pytest.raises(InsufficientFunds, match=rf"can spend {COIN} sat; .* need 20000\d\d\d sat") as caught:
        await client.submit_transaction_async(request)
    assert "BTC" not in caught.value.message


async def test_a_send_spends_its_own_change_which_the_balance_counts_as_reserved(world: World) -> None:
    client = await world.funded(coins=1)
    first = await client.transfer_asset_async(BTC, 50_000, STRANGER)
    assert (await client.balances_async())[BTC] == Balance(0, reserved=COIN - 50_000 - world.fee(first))
    second = await client.transfer_asset_async(BTC, 60_000, STRANGER)
    assert {each.tx_hash[::-1].hex() for each in world.spent(second)} == {first}


async def test_another_asset_and_another_type_are_refused(world: World) -> None:
    client = await world.funded(coins=1)
    with pytest.raises(UnknownAsset):
        await client.transfer_asset_async(ETH, 50_000, STRANGER)
    with pytest.raises(InvalidRequest):
        await client.submit_transaction_async("00")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(FormatError):
        await client.submit_transaction_async(b"\x00")
    with pytest.raises(InvalidRequest):
        BitcoinPayment(())
    with pytest.raises(InvalidAmount):
        payment(fee_rate=0)


async def test_a_wallet_without_coins_sends_nothing(world: World) -> None:
    with pytest.raises(InsufficientFunds) as caught:
        await world.client().transfer_asset_async(BTC, 50_000, STRANGER)
    assert (caught.value.outcome, caught.value.tx_id) == (Outcome.NOT_SENT, None)


async def test_change_below_dust_goes_to_the_fee(world: World) -> None:
    client = await world.funded(coins=1)
    status = await client.submit_transaction_async(payment(COIN - 110 - 250, fee_rate=1_000))
    assert len(world.transaction(status.tx_id).outputs) == 1
    assert world.fee(status.tx_id) == 360
