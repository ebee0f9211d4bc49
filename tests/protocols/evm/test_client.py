"""Single transactions on BOB: recorded first, sent once and in order, and followed to their end."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_typing import Address

from layer2.aio.blocking import Portal
from layer2.contracts.erc20 import transfer_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    BadAnswer,
    ConfigurationError,
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    JournalError,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    TransactionError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.accounts import START_WEI
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, ETH, AssetId
from layer2.model.transactions import EvmTxId, Finality, TxState
from layer2.ports.journal import SendRecord
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.rpc.http_exchange import HttpExchange
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends
from protocols.evm.bob_network import START, START_SATOSHIS, BobNetwork, bob_network

SOMEBODY = to_checksum(b"\x05" * 20)


async def test_a_token_transfer_arrives_and_costs_what_the_receipt_says(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    tx_id = await taker.transfer_asset_async(BTC, 25_000, await provider.receive_address_async())
    status = await taker.wait_for_status_async(tx_id)
    assert (status.state, status.depth, status.finality) == (TxState.INCLUDED, 1, Finality.LATEST)
    mine, theirs = await taker.balances_async(), await provider.balances_async()
    assert (mine[BTC].spendable, theirs[BTC].spendable) == (START_SATOSHIS - 25_000, START_SATOSHIS + 25_000)
    assert status.fee == START_WEI - mine[ETH].spendable


async def test_the_native_coin_arrives(bob: BobNetwork) -> None:
    taker, stranger = await bob.client("taker"), await bob.client("stranger")
    await taker.transfer_asset_async(ETH, 7, await stranger.receive_address_async())
    assert (await stranger.balances_async())[ETH].spendable == 7


async def test_a_transaction_becomes_final_with_its_head_and_falls_back_in_a_reorganisation(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    bob.node.mine(2)
    status = await taker.get_transaction_status_async(tx_id)
    assert (status.state, status.depth, status.finality) == (TxState.INCLUDED, 3, Finality.SAFE)
    bob.node.reorganise(3, keep_transactions=True)
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.PENDING
    bob.node.mine(5)
    status = await taker.get_transaction_status_async(tx_id)
    assert (status.state, status.depth, status.finality) == (TxState.FINAL, 5, Finality.FINALIZED)


async def test_a_wait_for_finality_ends_when_the_head_gets_there(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    waiting = asyncio.create_task(taker.wait_for_status_async(tx_id, until=TxState.FINAL))
    await taker.get_transaction_status_async(tx_id)
    assert not waiting.done()
    bob.node.mine(4)
    assert (await asyncio.wait_for(waiting, 5)).state is TxState.FINAL


async def test_a_transaction_that_reverts_has_failed(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    too_much = transfer_call(b"\x05" * 20, START_SATOSHIS + 1)
    request = EvmTransactionRequest(to=to_checksum(TEST_TOKEN_ADDRESS), data=too_much, gas_limit=100_000)
    sent = await taker.submit_transaction_async(request)
    status = await taker.wait_for_status_async(sent.tx_id)
    assert (status.state, status.reason) == (TxState.FAILED, "execution reverted")


async def test_a_transaction_that_would_revert_is_not_sent(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    too_much = transfer_call(b"\x05" * 20, START_SATOSHIS + 1)
    request = EvmTransactionRequest(to=to_checksum(TEST_TOKEN_ADDRESS), data=too_much)
    with pytest.raises(TransactionError, match="would fail") as refused:
        await taker.submit_transaction_async(request)
    assert (refused.value.outcome, refused.value.tx_id) == (Outcome.NOT_SENT, None)


async def test_a_transaction_whose_nonce_another_took_is_dropped(bob: BobNetwork) -> None:
    taker, rival = await bob.client("taker"), await bob.client("taker", priority_fee_per_gas_wei=2_000_000)
    bob.maker.set_enabled(False)
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    nonce = bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.address("taker")))
    replacement = Eip1559Transaction(60808, nonce, 9_000_000, 90_000_000, 21_000, b"\x06" * 20, 1)
    signature = bob.accounts["taker"].key.sign_recoverable(replacement.signing_hash(), hasher=None)
    await rival.submit_transaction_async(replacement.signed(signature).raw)
    bob.node.mine()
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.DROPPED
    assert (await rival.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN


async def test_a_thousand_submissions_at_once_give_a_thousand_results_in_order(bob: BobNetwork) -> None:
    # The node and the client share one loop here, with coverage measured: the last answer comes late.
    taker = await bob.client("taker", default_timeout_ms=60_000)
    bob.maker.set_enabled(False)
    # The node refuses one gas limit after the nonce was taken; the library refuses the other one before.
    refused_by_node, refused_here = {100, 101, 300, 500, 999}, {0, 250, 251, 640, 998}

    def request(number: int) -> EvmTransactionRequest:
        if number in refused_by_node:
            return EvmTransactionRequest(to=SOMEBODY, value=number + 1, gas_limit=20_000)
        if number in refused_here:
            return EvmTransactionRequest(to=SOMEBODY, value=1 << 256, gas_limit=21_000)
        return EvmTransactionRequest(to=SOMEBODY, value=number + 1, gas_limit=21_000)

    results = await asyncio.gather(
        *[taker.submit_transaction_async(request(number)) for number in range(1000)], return_exceptions=True
    )
    failed = {number for number, result in enumerate(results) if isinstance(result, BaseException)}
    assert failed == refused_by_node | refused_here
    for number in refused_by_node:
        error = results[number]
        assert isinstance(error, TransactionError)
        assert error.outcome is Outcome.REJECTED
        assert "intrinsic gas too low" in error.message
    # The next transaction waits until the refused one's nonce is filled, which needs no further call.
    bob.maker.set_enabled(True)
    sent = [result.tx_id for result in results if not isinstance(result, BaseException)]
    statuses = await asyncio.gather(*[taker.wait_for_status_async(tx_id, timeout=20) for tx_id in sent])
    assert [status.state for status in statuses] == [TxState.INCLUDED] * 990
    state = bob.node.chain.state_at(bob.node.chain.head)
    arrived = sum(number + 1 for number in range(1000) if number not in failed)
    assert state.get_balance(Address(b"\x05" * 20)) == arrived


async def test_one_idempotency_key_is_one_transaction_at_once_and_after_a_restart(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    both = await asyncio.gather(
        *[taker.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="rent") for _ in range(5)]
    )
    restarted = await bob.client("taker", sends)
    again = await restarted.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="rent")
    assert {*both, again} == {again}
    assert len(bob.sent()) == 5


async def test_another_request_under_a_key_is_a_conflict(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    await taker.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="rent")
    for client in (taker, await bob.client("taker", sends)):
        with pytest.raises(IdempotencyConflict):
            await client.transfer_asset_async(ETH, 2, SOMEBODY, idempotency_key="rent")


async def test_concurrent_requests_under_one_key_that_differ_are_a_conflict(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    results = await asyncio.gather(
        *[taker.transfer_asset_async(ETH, amount, SOMEBODY, idempotency_key="rent") for amount in (1, 2)],
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [str, IdempotencyConflict]


class FailingSends(MemorySends):
    async def add_send(self, record: SendRecord) -> SendRecord:
        raise JournalError("the disk is full")


async def test_what_cannot_be_recorded_is_not_sent_and_leaves_no_hole(bob: BobNetwork) -> None:
    sends = FailingSends()
    taker = await bob.client("taker", sends)
    with pytest.raises(JournalError) as failed:
        await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert failed.value.tx_id is not None
    assert (await taker.get_transaction_status_async(EvmTxId(failed.value.tx_id))).state is TxState.UNKNOWN
    other = await bob.client("taker")
    assert (await other.wait_for_status_async(await other.transfer_asset_async(ETH, 1, SOMEBODY))).depth == 1


async def test_a_lost_answer_is_looked_up_by_the_transactions_hash(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("drop_reply", method="eth_sendRawTransaction", count=1)
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert (await taker.wait_for_status_async(tx_id)).state is TxState.INCLUDED
    assert len(bob.sent()) == 5


async def test_a_send_that_never_arrived_is_sent_again_as_the_same_transaction(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("error", method="eth_sendRawTransaction", count=1, status=502)
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert (await taker.wait_for_status_async(tx_id)).state is TxState.INCLUDED


async def test_a_send_whose_outcome_cannot_be_looked_up_is_unknown_and_continues_later(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("error", method="eth_sendRawTransaction", count=2, status=502)
    with pytest.raises(NodeUnreachable) as lost:
        await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert lost.value.outcome is Outcome.UNKNOWN
    assert lost.value.tx_id is not None
    assert f"transaction {lost.value.tx_id} was signed and may be under way; look it up" in str(lost.value)
    # The next send takes the following nonce, and the first one is sent again, so that none waits forever.
    second = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert (await taker.wait_for_status_async(second, timeout=5)).state is TxState.INCLUDED
    assert (await taker.get_transaction_status_async(EvmTxId(lost.value.tx_id))).state is TxState.INCLUDED


async def test_a_timeout_after_signing_has_the_id_and_the_transaction_continues(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("delay", method="eth_sendRawTransaction", count=1, seconds=0.3)
    with pytest.raises(AsyncTimeout) as ended:
        await taker.transfer_asset_async(ETH, 1, SOMEBODY, timeout=0.1)
    assert ended.value.outcome is Outcome.UNKNOWN
    assert ended.value.tx_id is not None
    status = await taker.wait_for_status_async(EvmTxId(ended.value.tx_id), timeout=5)
    assert status.state is TxState.INCLUDED


async def test_a_timeout_before_signing_reports_that_nothing_was_sent(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("delay", method="eth_estimateGas", count=1, seconds=5)
    with pytest.raises(AsyncTimeout, match="nothing was sent") as ended:
        await taker.transfer_asset_async(ETH, 1, SOMEBODY, timeout=0.05)
    assert (ended.value.outcome, ended.value.tx_id) == (Outcome.NOT_SENT, None)


async def test_a_time_out_of_the_second_caller_under_a_key_knows_of_the_firsts_transaction(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("delay", method="eth_sendRawTransaction", count=1, seconds=0.3)
    first, second = await asyncio.gather(
        taker.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="rent"),
        taker.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="rent", timeout=0.1),
        return_exceptions=True,
    )
    assert isinstance(second, AsyncTimeout)
    assert (second.outcome, second.tx_id) == (Outcome.UNKNOWN, first)


async def test_cancelled_submissions_leave_neither_holes_nor_tasks(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    sends = [asyncio.create_task(taker.transfer_asset_async(ETH, 1, SOMEBODY)) for _ in range(60)]
    for number, task in enumerate(sends):
        if number % 3 == 0:
            task.cancel()
        if number % 7 == 0:
            await asyncio.sleep(0)
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) >= 10
    last = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert (await taker.wait_for_status_async(last, timeout=5)).state is TxState.INCLUDED
    await taker.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in left if "layer2/protocols" in str(task.get_stack(limit=1))] == []


async def test_a_down_node_is_unreachable_and_nothing_was_sent(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.faults.set("down")
    with pytest.raises(NodeUnreachable) as error:
        await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert error.value.outcome is Outcome.NOT_SENT
    bob.faults.set("none")
    await taker.transfer_asset_async(ETH, 1, SOMEBODY)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.transfer_asset_async(BTC, 0, SOMEBODY), InvalidAmount),
        (lambda client: client.transfer_asset_async(BTC, -1, SOMEBODY), InvalidAmount),
        (lambda client: client.transfer_asset_async(BTC, 1.0, SOMEBODY), InvalidAmount),
        (lambda client: client.transfer_asset_async(BTC, True, SOMEBODY), InvalidAmount),
        (lambda client: client.transfer_asset_async(AssetId("DOGE", 8), 1, SOMEBODY), UnknownAsset),
        (lambda client: client.transfer_asset_async("BTC", 1, SOMEBODY), UnknownAsset),
        (lambda client: client.transfer_asset_async(BTC, 1, "bc1q"), FormatError),
        (lambda client: client.transfer_asset_async(BTC, 1, None), FormatError),
        (lambda client: client.transfer_asset_async(ETH, 10**20, SOMEBODY), TransactionError),
        (lambda client: client.get_transaction_status_async(EvmTxId("0x12")), FormatError),
        (lambda client: client.wait_for_status_async(EvmTxId("0x" + "00" * 32), until=TxState.FAILED), InvalidRequest),
        (lambda client: client.submit_transaction_async(b"\x02\xc0"), FormatError),
    ],
    ids=["zero", "negative", "float", "bool", "asset", "text", "address", "none", "too-much", "id", "until", "bytes"],
)
async def test_wrong_use_is_refused_and_nothing_is_sent(
    bob: BobNetwork, call: Callable[[object], object], error: type[Layer2Error]
) -> None:
    taker = await bob.client("taker")
    with pytest.raises(error):
        await call(taker)  # type: ignore[misc]  # one of the client's coroutines
    assert len(bob.sent()) == 4


async def test_a_signed_transaction_for_another_chain_is_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    foreign = Eip1559Transaction(1, 0, 1, 1, 21_000, b"\x05" * 20, 1)
    signature = bob.accounts["taker"].key.sign_recoverable(foreign.signing_hash(), hasher=None)
    with pytest.raises(InvalidRequest, match="chain 1"):
        await taker.submit_transaction_async(foreign.signed(signature).raw)


async def test_a_node_on_another_chain_is_refused(bob: BobNetwork) -> None:
    with pytest.raises(WrongNetwork, match="chain 60808, the configuration says BOB \\(808813\\)"):
        await bob.client("taker", chain_id=808813)


async def test_a_chain_that_is_not_the_networks_is_refused_though_it_has_the_chain_id(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WrongNetwork, match="another network, the configuration names mainnet") as local:
        await bob.client("taker", network="mainnet")
    assert local.value.code == "genesis"
    first = bob.node.chain.block_by_number(0)
    assert first is not None
    facts = replace(LAYERS[Layer2ProtocolType.BOB], genesis={"mainnet": first.hash})
    monkeypatch.setitem(LAYERS, Layer2ProtocolType.BOB, facts)
    with pytest.raises(WrongNetwork, match="BOB on mainnet, the configuration names regtest"):
        await bob.client("taker")


async def test_a_token_that_is_none_or_has_other_decimals_is_a_configuration_error(bob: BobNetwork) -> None:
    with pytest.raises(ConfigurationError, match="no ERC-20"):
        await bob.client("taker", token_address=SOMEBODY)
    with pytest.raises(ConfigurationError, match="has 8"):
        await bob.client("taker", token_decimals=18)
    with pytest.raises(ConfigurationError, match="token"):
        await bob.client("taker", token_address="0x12")


async def test_fees_above_the_cap_refuse_a_send(bob: BobNetwork) -> None:
    taker = await bob.client("taker", max_fee_per_gas_wei=1_000)
    with pytest.raises(FundsRulesError, match="max_fee_per_gas_wei"):
        await taker.transfer_asset_async(ETH, 1, SOMEBODY)


async def test_not_enough_for_value_and_gas_is_insufficient_funds(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    request = EvmTransactionRequest(to=SOMEBODY, value=START_WEI, gas_limit=21_000)
    with pytest.raises(InsufficientFunds, match=rf"{START_WEI} wei and up to \d+ wei of fees") as refused:
        await taker.submit_transaction_async(request)
    assert refused.value.outcome is Outcome.NOT_SENT
    await taker.transfer_asset_async(ETH, 1, SOMEBODY)


async def test_clocks_that_disagree_and_stale_tips_are_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    assert (await taker.legs.read_clock()).height == 1
    bob.clock.advance(61)
    bob.node.mine()
    assert (await taker.legs.read_clock()).chain_time == START + 61
    bob.clock.advance(121)
    with pytest.raises(BadAnswer, match="not synced"):
        await taker.legs.read_clock()


async def test_a_node_whose_clock_is_off_by_more_than_a_minute_is_refused(bob: BobNetwork) -> None:
    class Late:
        def now(self) -> float:
            return START + 61.0

    signer = SoftwareEvmSigner(bob.accounts["taker"].key.secret)
    taker = BobClient(bob.settings(), signer, MemorySends(), Late())
    bob.clients.append(taker)
    with pytest.raises(BadAnswer, match="clock differs from this machine's by -61 s"):
        await taker.legs.read_clock()


def test_the_blocking_twins_do_the_same() -> None:
    portal, network = Portal.with_own_thread(), bob_network()
    try:
        bob = portal.run("start", network.__aenter__)
        signer = SoftwareEvmSigner(bob.accounts["taker"].key.secret)
        with BobClient(bob.settings(), signer, MemorySends(), bob.clock) as taker:
            taker.initialize_sync()
            tx_id = taker.transfer_asset_sync(BTC, 25_000, SOMEBODY)
            assert taker.wait_for_status_sync(tx_id, timeout=5).state is TxState.INCLUDED
            assert taker.balances_sync()[BTC].spendable == START_SATOSHIS - 25_000
        portal.run("stop", lambda: network.__aexit__(None, None, None))
    finally:
        portal.close()


async def test_a_second_event_loop_is_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(AsyncRuntimeError, match="belongs to the event loop"):
        await asyncio.to_thread(asyncio.run, taker.balances_async())


async def test_neither_url_nor_key_is_shown(bob: BobNetwork) -> None:
    url = bob.url.replace("http://", "http://user:hunter2@") + "/v3/api-key-1?token=t0"
    taker = BobClient(bob.settings(rpc_url=url), SoftwareEvmSigner(b"\x01" * 32), MemorySends())
    bob.clients.append(taker)
    with pytest.raises(Layer2Error) as error:
        await taker.initialize_async()
    shown = repr(taker) + repr(taker.settings) + repr(error.value) + str(error.value)
    shown += "".join(traceback.format_exception(error.value))
    assert not any(secret in shown for secret in ("hunter2", "api-key-1", "t0", "01" * 16))


async def test_a_websocket_that_is_away_keeps_no_claim_waiting(
    bob: BobNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    # A restart during a swap: locks are claimed and refunded over HTTP.
    taker = await bob.client("taker", websocket_url="ws://user:hunter2@127.0.0.1:1/key")
    assert "the websocket at ws://127.0.0.1:1 is not available" in caplog.text
    assert "hunter2" not in caplog.text
    assert (await taker.legs.read_clock()).height >= 0


async def test_a_send_during_the_closing_gets_an_error_and_is_not_cancelled(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, arrived = await bob.client("taker"), asyncio.Event()

    async def hang(*_: object) -> None:
        arrived.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(HttpExchange, "post", hang)
    sending = asyncio.create_task(client.transfer_asset_async(ETH, 1, SOMEBODY))
    await arrived.wait()
    await client.aclose()
    with pytest.raises(NodeUnreachable, match="client was closed") as closed:
        await sending
    assert (closed.value.outcome, closed.value.tx_id) == (Outcome.NOT_SENT, None)


async def test_a_replacement_that_is_being_sent_when_the_client_is_closed_is_unknown(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, arrived, post = await bob.client("taker"), asyncio.Event(), HttpExchange.post
    bob.maker.set_enabled(False)
    tx_id = await client.transfer_asset_async(ETH, 1, SOMEBODY)

    async def hang(exchange: HttpExchange, data: bytes, calls: int) -> object:
        if b"eth_sendRawTransaction" in data:
            arrived.set()
            await asyncio.Event().wait()
        return await post(exchange, data, calls)

    monkeypatch.setattr(HttpExchange, "post", hang)
    sending = asyncio.create_task(client.cancel_transaction_async(tx_id))
    await asyncio.wait_for(arrived.wait(), 5)
    await client.aclose()
    with pytest.raises(NodeUnreachable, match="client was closed") as closed:
        await asyncio.wait_for(sending, 5)
    assert closed.value.outcome is Outcome.UNKNOWN
    assert closed.value.tx_id not in {None, tx_id}


async def test_a_key_that_no_text_can_have_is_refused_before_anything_is_sent(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    with pytest.raises(InvalidRequest, match="idempotency key"):
        await client.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="\ud800")


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
async def test_in_no_time_nothing_is_paid(bob: BobNetwork, timeout: float, requests_seen: list[bytes]) -> None:
    client = await bob.client("taker")
    requests_seen.clear()
    with pytest.raises(AsyncTimeout, match="nothing was sent"):
        await client.transfer_asset_async(ETH, 1, SOMEBODY, timeout=timeout)
    await client.balances_async()
    assert len(requests_seen) == 1


async def test_a_timeout_that_is_not_a_number_is_refused(bob: BobNetwork) -> None:
    client = await bob.client("taker")
    with pytest.raises(InvalidRequest, match="a number of seconds, not str"):
        await client.balances_async(timeout="5")  # type: ignore[arg-type]  # what a careless user does
