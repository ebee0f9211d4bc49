"""Estimates of routing fees, by the node's graph or by a probe."""

from __future__ import annotations

from base64 import b64encode

import pytest
from coincurve import PrivateKey

from layer2.errors import (
    BadAnswer,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields, RouteHop
from layer2.protocols.lightning import LightningNetwork, RouteEstimate
from protocols.lightning.scripted_lnd import Reply, ScriptedLnd, answer, refusal
from protocols.lightning.world import HASH, START, World

ESTIMATE = "POST /v2/router/route/estimatefee"
PAYEE = PrivateKey(b"\x01" * 32)
KEY = PAYEE.public_key.format()
HEIGHT = 800
HINTS = ((RouteHop(PrivateKey(b"\x03" * 32).public_key.format(), 7, 1, 10, 40),),)


def invoice_of(amount_msat: int | None, *, hints: tuple[tuple[RouteHop, ...], ...] = (), delta: int = 80) -> str:
    fields = InvoiceFields(
        prefix="bcrt",
        amount_msat=amount_msat,
        timestamp=START,
        payment_hash=HASH,
        payment_secret=bytes(32),
        description="tea",
        min_final_cltv_expiry_delta=delta,
        route_hints=hints,
    )
    return bolt11.encode(fields, lambda digest: PAYEE.sign_recoverable(digest, hasher=None))


def route(fee_msat: int = 1_234, time_lock: int = HEIGHT + 123, reason: str = "FAILURE_REASON_NONE") -> Reply:
    return answer({"routing_fee_msat": str(fee_msat), "time_lock_delay": str(time_lock), "failure_reason": reason})


async def test_the_way_to_a_node_is_estimated_by_the_graph(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say(ESTIMATE, route())
    assert await client.estimate_fee_async(KEY.hex(), 5_000) == RouteEstimate(fee_msat=1_234, lock_blocks=123)
    assert lnd.bodies(ESTIMATE) == [{"dest": b64encode(KEY).decode(), "amt_sat": "5000"}]


async def test_an_invoices_own_amount_and_final_delta_count(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say(ESTIMATE, route())
    estimate = await client.estimate_fee_async(invoice_of(5_000_001, delta=100))
    assert estimate == RouteEstimate(fee_msat=1_234, lock_blocks=143)
    assert lnd.bodies(ESTIMATE) == [{"dest": b64encode(KEY).decode(), "amt_sat": "5001"}]


async def test_an_invoice_with_route_hints_is_probed(lnd: ScriptedLnd, client: LightningNetwork) -> None:
    lnd.say(ESTIMATE, route())
    text = invoice_of(5_000_000, hints=HINTS)
    assert await client.estimate_fee_async(text, 5_000) == RouteEstimate(fee_msat=1_234, lock_blocks=123)
    assert lnd.bodies(ESTIMATE) == [{"payment_request": text, "timeout": 5}]


@pytest.mark.parametrize(
    ("recipient", "amount", "error", "words"),
    [
        pytest.param(KEY.hex(), None, InvalidAmount, "give an amount", id="a key without an amount"),
        pytest.param(KEY.hex(), 0, InvalidAmount, "positive", id="nothing"),
        pytest.param(invoice_of(None), None, InvalidAmount, "give an amount", id="no amount at all"),
        pytest.param(invoice_of(5_000_000), 5_001, InvalidAmount, "asks for 5000000 msat", id="another amount"),
        pytest.param(invoice_of(None, hints=HINTS), 5, InvalidRequest, "without an amount", id="hints and no amount"),
        pytest.param("tea@example.com", 5, InvalidRequest, "makes an invoice when it is paid", id="an address"),
    ],
)
async def test_what_cannot_be_estimated_is_not_asked_for(
    lnd: ScriptedLnd,
    client: LightningNetwork,
    recipient: str,
    amount: int | None,
    error: type[InvalidRequest],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        await client.estimate_fee_async(recipient, amount)
    assert ESTIMATE not in lnd.calls()


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        pytest.param(
            refusal("unable to find a path to destination"), TransactionError, "no_route", id="none in the graph"
        ),
        pytest.param(route(0, 0, "FAILURE_REASON_NO_ROUTE"), TransactionError, "no_route", id="none by a probe"),
        pytest.param(route(0, 0, "FAILURE_REASON_TIMEOUT"), TransactionError, "no_route", id="none in time"),
        pytest.param(refusal("insufficient local balance"), InsufficientFunds, "insufficient_funds", id="too much"),
        pytest.param(
            route(0, 0, "FAILURE_REASON_INSUFFICIENT_BALANCE"), InsufficientFunds, "insufficient_funds", id="probed"
        ),
        pytest.param(refusal("something else"), NodeRefused, "node_refused", id="another refusal"),
        pytest.param(Reply(cut=True), NodeUnreachable, "node_unreachable", id="no answer"),
        pytest.param(route(1, HEIGHT), BadAnswer, "bad_answer", id="a height that is over"),
        pytest.param(answer({}), BadAnswer, "bad_answer", id="nothing in it"),
    ],
)
async def test_without_an_estimate_the_error_has_the_reason_and_nothing_was_sent(
    lnd: ScriptedLnd, client: LightningNetwork, reply: Reply, error: type[Exception], code: str
) -> None:
    lnd.say(ESTIMATE, reply)
    with pytest.raises(error) as caught:
        await client.estimate_fee_async(KEY.hex(), 5_000)
    assert caught.type is error
    assert caught.value.code == code  # type: ignore[attr-defined]  # every one of ours has a code
    if error in (TransactionError, InsufficientFunds, NodeUnreachable):
        assert caught.value.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]  # as above


async def test_the_simulated_node_and_ours_agree(world: World) -> None:
    invoice = await world.provider.create_invoice_async(5_000)
    by_invoice = await world.taker.estimate_fee_async(invoice.text)
    by_key = await world.taker.estimate_fee_async(world.nodes[1].node_key, 5_000)
    assert by_invoice == by_key == RouteEstimate(fee_msat=0, lock_blocks=83)
    assert await world.payments_sent() == 0


async def test_the_partys_own_node_is_not_a_payee(world: World) -> None:
    own = await world.taker.create_invoice_async(5_000)
    for recipient in (own.text, world.nodes[0].node_key):
        with pytest.raises(InvalidRequest, match="own node"):
            await world.taker.estimate_fee_async(recipient, 5_000)
