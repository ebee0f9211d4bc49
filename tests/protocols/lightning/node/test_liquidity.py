"""The limits of channels: few readings, and refusals on a new reading only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from layer2.errors import InsufficientFunds, NodeUnreachable, Outcome
from layer2.model.money import BTC
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.lightning.lnd.answers import Call, LndObject
from layer2.protocols.lightning.node.liquidity import (
    Channel,
    Flow,
    Liquidity,
    balance_of,
    read_channel,
    receivable_sat,
    sendable_sat,
)
from protocols.lightning import scripted_lnd as script
from protocols.lightning.scripted_lnd import ScriptedLnd, answer
from protocols.lightning.world import HASH

PLENTY = Flow(
    balance_sat=100_000,
    kept_sat=10_000,
    in_flight_sat=0,
    htlcs=0,
    max_htlcs=483,
    max_in_flight_msat=99_000_000,
    min_htlc_msat=1,
)


def channel(number: int = 1, *, is_active: bool = True, outgoing: Flow = PLENTY, incoming: Flow = PLENTY) -> Channel:
    return Channel(frozenset({number}), is_active, outgoing, incoming, frozenset())


# Limits of channels


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        pytest.param({}, 90_000, id="all but what must be kept"),
        pytest.param({"balance_sat": 10_000}, 0, id="nothing"),
        pytest.param({"balance_sat": 9_000}, 0, id="less than must be kept"),
        pytest.param({"max_in_flight_msat": 30_000_999}, 30_000, id="what may be in flight"),
        pytest.param({"max_in_flight_msat": 30_000_000, "in_flight_sat": 20_000}, 10_000, id="the rest of that"),
        pytest.param({"max_in_flight_msat": 30_000_000, "in_flight_sat": 30_000}, 0, id="as much as may be is"),
        pytest.param({"htlcs": 482}, 90_000, id="one more HTLC"),
        pytest.param({"htlcs": 483}, 0, id="no more HTLC"),
        pytest.param({"min_htlc_msat": 90_000_000}, 90_000, id="the smallest HTLC"),
        pytest.param({"min_htlc_msat": 90_000_001}, 0, id="less than the smallest HTLC"),
    ],
)
def test_an_htlc_can_carry_what_balance_and_limits_leave(changes: dict[str, int], free: int) -> None:
    assert replace(PLENTY, **changes).free_sat == free


def test_a_payment_may_be_split_over_the_active_channels() -> None:
    channels = [channel(1), channel(2, outgoing=replace(PLENTY, balance_sat=40_000)), channel(3, is_active=False)]
    assert [sendable_sat(channels, parts) for parts in (1, 2, 16, None)] == [90_000, 120_000, 120_000, 120_000]
    assert receivable_sat(channels) == 180_000
    balance = balance_of(channels)
    assert (balance.spendable, balance.reserved, balance.receivable) == (120_000, 120_000, 180_000)


def test_what_lnd_shows_of_a_channel_is_read_for_each_direction() -> None:
    fields = script.channel(
        initiator=False,
        pending_htlcs=[
            script.channel_htlc(HASH, 3_000, incoming=True),
            script.channel_htlc(HASH, 2_000, incoming=True),
            script.channel_htlc(HASH, 1_000, incoming=False),
        ],
        local_constraints=script.channel_constraints(max_accepted_htlcs=5, max_pending_amt_msat="7000000"),
        remote_constraints=script.channel_constraints(max_accepted_htlcs=2, min_htlc_msat="1000"),
    )
    read = read_channel(LndObject(fields, Call("GET", "/v1/channels")))
    assert (read.outgoing.htlcs, read.outgoing.in_flight_sat, read.outgoing.max_htlcs) == (1, 1_000, 5)
    assert (read.incoming.htlcs, read.incoming.in_flight_sat, read.incoming.max_htlcs) == (2, 5_000, 2)
    assert (read.outgoing.free_sat, read.incoming.free_sat) == (6_000, 0)
    # The opener also keeps the fee buffer, and the peer is the opener here.
    assert (read.outgoing.kept_sat, read.incoming.kept_sat) == (10_000, 10_000 + 2_810 + 1_720)


# Readings


class CountingNode:
    """Answers with its channels at the time of the request, at once or when released, and counts requests."""

    def __init__(self) -> None:
        self.channels_now: Sequence[Channel] = [channel()]
        self.asked = 0
        self.answers_at_once = True
        self.questions: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        """Releases the answers to requests that wait."""

    async def channels(self) -> Sequence[Channel]:
        self.asked += 1
        channels = self.channels_now
        if not self.answers_at_once:
            may_answer = asyncio.Event()
            self.questions.put_nowait(may_answer)
            await may_answer.wait()
        return channels


@pytest.fixture
def node() -> CountingNode:
    return CountingNode()


@pytest.fixture
async def liquidity(node: CountingNode) -> AsyncIterator[Liquidity]:
    liquidity = Liquidity(node.channels)
    yield liquidity
    await liquidity.aclose()


async def test_concurrent_callers_share_one_request(node: CountingNode, liquidity: Liquidity) -> None:
    balances = await asyncio.gather(*(liquidity.balance() for _ in range(100)))
    assert {balance.spendable for balance in balances} == {90_000}
    assert node.asked == 1


async def test_a_balance_is_never_older_than_the_question(node: CountingNode, liquidity: Liquidity) -> None:
    await liquidity.balance()
    node.channels_now = [channel(), channel(2)]
    assert (await liquidity.balance()).spendable == 180_000


async def test_payments_that_fit_cost_one_request_together(node: CountingNode, liquidity: Liquidity) -> None:
    for _ in range(90):
        await liquidity.check_sendable(1_000_000)
        liquidity.sent(1_000_000)
    assert node.asked == 1

    # By the reading and what was sent since, nothing is left. At the node, money was returned meanwhile.
    await liquidity.check_sendable(1_000_000)
    assert node.asked == 2
    liquidity.sent(1_000_000)
    await liquidity.check_sendable(89_000_000)
    assert node.asked == 2


async def test_what_does_not_fit_is_refused_on_a_new_reading_only(node: CountingNode, liquidity: Liquidity) -> None:
    await liquidity.check_sendable(1_000)
    with pytest.raises(
        InsufficientFunds, match="90001 sat cannot be sent: the channels allow at most 90000 sat"
    ) as caught:
        await liquidity.check_sendable(90_000_001)
    assert (caught.value.code, caught.value.outcome) == ("outbound", Outcome.NOT_SENT)
    assert node.asked == 2

    node.channels_now = [channel(), channel(2)]
    await liquidity.check_sendable(90_000_001)
    assert node.asked == 3


async def test_a_payment_in_one_part_must_fit_into_one_channel(node: CountingNode, liquidity: Liquidity) -> None:
    node.channels_now = [channel(), channel(2)]
    await liquidity.check_sendable(180_000_000, max_parts=2)
    with pytest.raises(InsufficientFunds, match="the channels allow at most 90000 sat"):
        await liquidity.check_sendable(90_001_000, max_parts=1)


async def test_swaps_that_start_together_share_a_reading_and_are_not_allowed_more_than_it_shows(
    node: CountingNode, liquidity: Liquidity
) -> None:
    hashes = [bytes([number]) * 32 for number in range(90)]
    await asyncio.gather(*(liquidity.check_sendable(1_000_000, payment_hash=each) for each in hashes))
    await asyncio.gather(*(liquidity.check_receivable(1_000_000, each) for each in hashes))
    # A repeated check counts its own amount once.
    await liquidity.check_sendable(1_000_000, payment_hash=hashes[0])
    await liquidity.check_receivable(1_000_000, hashes[0])
    assert node.asked == 1

    await liquidity.check_sendable(1_000, payment_hash=b"one more")
    assert node.asked == 2


async def test_a_promised_amount_needs_a_new_reading_to_be_received_twice(
    node: CountingNode, liquidity: Liquidity
) -> None:
    await liquidity.check_receivable(50_000_000, b"first")
    node.channels_now = [channel(incoming=replace(PLENTY, balance_sat=11_000))]
    with pytest.raises(InsufficientFunds, match="allow at most 1000 sat"):
        await liquidity.check_receivable(50_000_000, b"second")
    assert node.asked == 2


async def test_a_payment_that_was_allowed_and_is_sent_counts_once(node: CountingNode, liquidity: Liquidity) -> None:
    await liquidity.check_sendable(50_000_000, payment_hash=b"first")
    liquidity.sent(50_000_000, b"first")
    await liquidity.check_sendable(40_000_000, payment_hash=b"second")
    assert node.asked == 1


async def test_callers_during_a_request_wait_for_it_and_ask_again_only_to_refuse(
    node: CountingNode, liquidity: Liquidity
) -> None:
    node.answers_at_once = False
    first = asyncio.ensure_future(liquidity.check_sendable(1_000))
    answer_to_first = await node.questions.get()
    node.channels_now = [channel(outgoing=replace(PLENTY, balance_sat=11_000))]
    fits, refused = [asyncio.ensure_future(liquidity.check_sendable(amount)) for amount in (1_000, 90_000_001)]
    await asyncio.sleep(0)
    node.answers_at_once = True
    answer_to_first.set()
    await asyncio.gather(first, fits)
    with pytest.raises(InsufficientFunds, match="allow at most 1000 sat"):
        await refused
    assert node.asked == 2


async def test_what_cannot_be_received_is_refused_with_numbers(node: CountingNode, liquidity: Liquidity) -> None:
    await liquidity.check_receivable(90_000_000, bytes(32))
    with pytest.raises(
        InsufficientFunds, match="90001 sat cannot be received: the channels allow at most 90000 sat"
    ) as caught:
        await liquidity.check_receivable(90_000_001, bytes(32))
    assert caught.value.code == "inbound"


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ([], "none of the 0 open channels is active"),
        ([channel(is_active=False), channel(2, is_active=False)], "none of the 2 open channels is active"),
    ],
    ids=["none", "inactive"],
)
async def test_a_lack_of_active_channels_is_reported_as_such(
    node: CountingNode, liquidity: Liquidity, channels: list[Channel], problem: str
) -> None:
    node.channels_now = channels
    for check in (liquidity.check_sendable(1), liquidity.check_receivable(1, bytes(32))):
        with pytest.raises(InsufficientFunds) as caught:
            await check
        assert (caught.value.code, caught.value.message) == ("no_channel", problem)
    assert (await liquidity.balance()).spendable == 0


async def test_closing_ends_the_request_that_is_under_way(node: CountingNode, liquidity: Liquidity) -> None:
    node.answers_at_once = False
    balance = asyncio.ensure_future(liquidity.balance())
    await node.questions.get()
    await liquidity.aclose()
    with pytest.raises(NodeUnreachable, match="closed"):
        await balance


# Through the client


async def test_a_client_without_a_channel_refuses_sends_and_offers_and_makes_invoices(
    lnd: ScriptedLnd, client: LightningNetwork
) -> None:
    lnd.say("GET /v1/channels", answer({"channels": [script.channel(active=False)]}))
    balance = (await client.balances_async())[BTC]
    assert (balance.spendable, balance.reserved, balance.receivable) == (0, 500_000, 0)
    with pytest.raises(InsufficientFunds) as caught:
        await client.transfer_asset_async(BTC, 1_000, "02" + "22" * 32)
    assert caught.value.code == "no_channel"
    assert [call for call, _, _ in lnd.requests if call == "POST /v2/router/send"] == []
