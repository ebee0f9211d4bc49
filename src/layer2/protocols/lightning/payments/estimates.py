"""Estimates of the routing fee of a payment, by the node."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from layer2.errors import InsufficientFunds, NodeError, NodeRefused, Outcome, TransactionError
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA
from layer2.protocols.lightning.lnd.answers import Answer
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["RouteEstimate", "estimate_by_graph", "estimate_by_probe"]

_PATH: Final = "/v2/router/route/estimatefee"
_NO_FAILURE: Final = "FAILURE_REASON_NONE"
_NO_BALANCE: Final = "FAILURE_REASON_INSUFFICIENT_BALANCE"
_GRAPH_FAILURES: Final = {
    "unable to find a path to destination": "FAILURE_REASON_NO_ROUTE",
    "insufficient local balance": _NO_BALANCE,
}
"""lnd's messages if its graph has no route; it has no code for them."""


@dataclass(frozen=True, slots=True)
class RouteEstimate:
    """The cost of one route to the payee now. The payment may use other routes, or find none."""

    fee_msat: int
    """Routing fees in millisatoshi."""
    lock_blocks: int
    """Maximum blocks for which the money is locked, including the payee's delta and lnd's padding. A payment's
    ``cltv_limit`` limits this number."""


async def estimate_by_graph(
    rest: LndRest, payee: bytes, amount_msat: int, final_cltv_delta: int, height: int
) -> RouteEstimate:
    """Estimate with the node's graph; nothing is sent.

    Args:
        rest: the node's REST interface.
        payee: a node with public channels, 33 bytes.
        amount_msat: rounded up to whole satoshi, which lnd takes here.
        final_cltv_delta: the payee's delta. lnd assumes its default, 80, and the result is corrected by the difference.
        height: the Bitcoin height.

    Raises:
        InsufficientFunds, TransactionError (code ``no_route``), NodeError: there is no estimate.
    """
    body = {"dest": b64encode(payee).decode(), "amt_sat": str(-(-amount_msat // 1000))}
    try:
        answer = await _ask(rest, body)
    except NodeRefused as refused:
        reason = _GRAPH_FAILURES.get(refused.node_message)
        if reason is None:
            raise
        raise _no_route(reason) from refused
    return _estimate(answer, height + KEYSEND_FINAL_CLTV_DELTA - final_cltv_delta)


async def estimate_by_probe(rest: LndRest, invoice: Bolt11Invoice, height: int, timeout_seconds: int) -> RouteEstimate:
    """Estimate with payments that must fail, because the preimage of their hash is unknown.

    Raises the errors of ``estimate_by_graph``.

    Args:
        rest: the node's REST interface.
        invoice: with an amount.
        height: the Bitcoin height.
        timeout_seconds: seconds for which the node looks for a route.
    """
    return _estimate(await _ask(rest, {"payment_request": invoice.text, "timeout": timeout_seconds}), height)


async def _ask(rest: LndRest, body: Mapping[str, object]) -> Answer:
    try:
        return await rest.post(_PATH, body)
    except NodeError as error:
        # A probe cannot be settled, so a call without an answer has no effect on money.
        error.outcome = Outcome.NOT_SENT
        raise


def _estimate(answer: Answer, height: int) -> RouteEstimate:
    reason = answer.fields.text("failure_reason")
    if reason != _NO_FAILURE:
        raise _no_route(reason)
    lock_blocks = answer.fields.integer("time_lock_delay") - height
    if lock_blocks <= 0:
        raise answer.fields.wrong("field time_lock_delay is not a future height")
    return RouteEstimate(answer.fields.integer("routing_fee_msat"), lock_blocks)


def _no_route(reason: str) -> TransactionError:
    if reason == _NO_BALANCE:
        return InsufficientFunds(
            "no channel can send the amount", remedy="open a channel, or receive something over one"
        )
    return TransactionError(f"lnd found no route to the payee: {reason}", code="no_route")
