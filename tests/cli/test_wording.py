"""Times, deadlines and errors as people read them."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.text import Text

from cli.made_transfers import NOW, transfer
from layer2.cli.transfer_wording import event_line, next_line, transfer_data, transfer_lines, transfers_table
from layer2.cli.wording import amount_of, at_time, due, duration, sentence, until
from layer2.errors import (
    AsyncTimeout,
    InvalidRequest,
    JournalBusy,
    Layer2Error,
    NodeUnreachable,
    QuoteRefused,
    TransactionError,
)
from layer2.legs.views import FundingRequest
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, ETH, AssetId
from layer2.terms.transfers import Actor, TransferRequest, TransferState


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (4859, "1 h 20 min"),
        (48 * 3600 - 1, "47 h 59 min"),
        (48 * 3600, "2 d"),
        (98 * 3600, "4 d 2 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("away", "shown"),
    [
        (95, "08:01:35 UTC (in 95 s)"),
        (-95, "07:58:25 UTC (95 s ago)"),
        (4800, "09:20 UTC (in 1 h 20 min)"),
        (-4800, "06:40 UTC (1 h 20 min ago)"),
        (98 * 3600, "19 Jan 10:00 UTC (in 4 d 2 h)"),
    ],
)
def test_a_time_has_its_zone_and_how_far_it_is(away: int, shown: str) -> None:
    assert until(NOW + away, NOW) == shown


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    assert at_time(2**60) == until(2**60, NOW) == f"{2**60} s after 1970"


def test_a_deadline_that_is_past_is_shown_as_past() -> None:
    assert due(Actor.YOU, NOW + 4800, NOW) == "act before 09:20 UTC (in 1 h 20 min)"
    assert due(Actor.YOU, NOW - 95, NOW) == "act now: your deadline 07:58:25 UTC (95 s ago) has passed"
    assert due(Actor.PROVIDER, NOW + 60, NOW) == "the provider must act before 08:01:00 UTC (in 60 s)"
    assert due(Actor.PROVIDER, NOW - 60, NOW) == "the provider's deadline 07:59:00 UTC (60 s ago) has passed"


def test_a_timeout_after_the_deadline_never_asks_to_continue_before_it() -> None:
    error = AsyncTimeout("still under way", code="transfer_timeout", transfer_id="ab", deadline=NOW - 5)
    assert "the deadline 07:59:55 UTC (5 s ago) has passed" in sentence(error, NOW)
    assert "before" not in sentence(error, NOW)
    error.deadline = NOW + 5
    assert "the next deadline is 08:00:05 UTC (in 5 s)" in sentence(error, NOW)


@pytest.mark.parametrize("kind", [NodeUnreachable, InvalidRequest, QuoteRefused, TransactionError])
def test_an_error_about_a_transfer_that_is_open_never_reads_nothing_was_sent(kind: type[Layer2Error]) -> None:
    assert sentence(kind("the node is away"), NOW).endswith("nothing was sent")
    about = kind("the node is away")
    about.transfer_id = "ab"
    assert "nothing was sent" not in sentence(about, NOW)
    assert "transfer ab" in sentence(about, NOW)
    assert "nothing was sent" not in sentence(kind("the node is away", tx_id="cd"), NOW)


def test_a_busy_journal_is_shown_with_its_remedy() -> None:
    error = JournalBusy("the process 4711 acts on the journal j.sqlite", remedy="wait until it ends, or stop it")
    assert sentence(error, NOW) == (
        "[journal_busy] the process 4711 acts on the journal j.sqlite; wait until it ends, or stop it"
    )


def test_what_a_human_must_look_at_stands_first_and_loud() -> None:
    one = transfer(attention="the BOB node cannot be read, and money depends on it")
    loud = f"ATTENTION: transfer {one.transfer_id}: the BOB node cannot be read, and money depends on it"
    assert transfer_lines(one, NOW)[0] == loud
    assert event_line(one, NOW).endswith(loud)
    first, table = transfers_table([one], NOW)
    assert first == loud
    assert isinstance(table, Table)
    assert transfer_data(one)["attention"] == one.attention


def test_a_lost_transfer_is_loud_and_names_its_evidence() -> None:
    one = transfer(
        state=TransferState.LOST, next_actor=Actor.NOBODY, deadline=None, refundable_from=None, funds="they are lost"
    )
    assert transfer_lines(one, NOW)[0] == (
        "LOST: they are lost; keep the journal and the data of both nodes as evidence"
    )
    (table,) = transfers_table([one], NOW)
    assert isinstance(table, Table)
    assert list(table.columns[4].cells) == [Text("LOST")]


def test_what_has_arrived_shows_when_it_is_final() -> None:
    one = transfer(state=TransferState.ARRIVED, next_actor=Actor.YOU, deadline=NOW + 40, final_at=NOW + 40)
    assert next_line(one, NOW) == "final at about 08:00:40 UTC (in 40 s)"


@pytest.mark.parametrize("state", list(TransferState))
def test_each_state_has_its_line(state: TransferState) -> None:
    assert state.value in event_line(transfer(state=state), NOW)


def test_amounts_name_their_coin() -> None:
    assert amount_of(BTC, 100_000) == "100,000 sat"
    assert amount_of(ETH, 21_000_000_000_000) == "0.000021 ETH"
    assert amount_of(AssetId("RBTC", 18), -(10**18)) == "-1 RBTC"


BY_OTHERS = TransferRequest(
    BTC, 100_000, Layer2ProtocolType.BITCOIN, Layer2ProtocolType.LIGHTNING, funded_by_others=True
)


def test_a_transfer_that_others_fund_shows_address_amount_and_time() -> None:
    request = FundingRequest("bcrt1q", 100_420, NOW + 95, "bitcoin:bcrt1q?amount=0.00100420", b"psbt\xff")
    one = transfer(request=BY_OTHERS, state=TransferState.FUNDING, funding_request=request)
    assert transfer_lines(one, NOW)[-3:] == [
        "pay          exactly 100,420 sat to bcrt1q, by 08:01:35 UTC (in 95 s)",
        "uri          bitcoin:bcrt1q?amount=0.00100420",
        "psbt         cHNidP8=",
    ]
    assert transfer_data(one)["funding_request"] == {
        "address": "bcrt1q",
        "amount": 100_420,
        "fund_by": NOW + 95,
        "uri": "bitcoin:bcrt1q?amount=0.00100420",
        "psbt": "cHNidP8=",
    }
    assert transfer_data(transfer())["funding_request"] is None


def test_an_abandoned_transfer_that_others_fund_shows_from_when_a_late_payment_is_refundable() -> None:
    one = transfer(request=BY_OTHERS, state=TransferState.ABANDONED, deadline=None)
    assert "refundable without the provider from 08:15" in "\n".join(transfer_lines(one, NOW))
