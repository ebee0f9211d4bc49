"""What a payment would cost in routing, as the node estimates it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from layer2.errors import InsufficientFunds, NodeError, NodeRefused, Outcome, TransactionError
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.protocols.lightning.acts import KEYSEND_FINAL_CLTV_DELTA
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["RouteEstimate", "estimate_by_graph", "estimate_by_probe"]

_PATH: Final = "/v2/router/route/estimatefee"
_NO_FAILURE: Final = "FAILURE_REASON_NONE"
_NO_BALANCE: Final = "FAILURE_REASON_INSUFFICIENT_BALANCE"
_GRAPH_FAILURES: Final = {
    "unable to find a path to destination": "FAILURE_REASON_NO_ROUTE",
    "insufficient local balance": _NO_BALANCE,
}
"""lnd's words where its graph has no route; it gives no code for it."""


@dataclass(frozen=True, slots=True)
class RouteEstimate:
    """What one way to the payee would cost now. When it is paid, other ways may be taken, or none be left."""

    fee_msat: int
    """Millisatoshi of routing fees."""
    lock_blocks: int
    """Blocks for which the money could be locked, the payee's own and lnd's padding among them: what a payment's
    ``cltv_limit`` is compared with."""


async def estimate_by_graph(
    rest: LndRest, payee: bytes, amount_msat: int, final_cltv_delta: int, height: int
) -> RouteEstimate:
    """Estimate by the node's own graph; nothing is sent.

    Args:
        rest: the way to the node.
        payee: a node whose channels are public, 33 bytes.
        amount_msat: lnd takes whole satoshi here, so it is rounded up.
        final_cltv_delta: that the payee asks for; lnd counts with its own default, taken for 80.
        height: of Bitcoin's chain.

    Raises:
        InsufficientFunds, TransactionError (code ``no_route``), NodeError: there is no estimate.
    """
    body = {"dest": b64encode(payee).decode(), "amt_sat": str(-(-amount_msat // 1000))}
    try:
        answer = await _asked(rest, body)
    except NodeRefused as refused:
        reason = _GRAPH_FAILURES.get(refused.node_message)
        if reason is None:
            raise
        raise _no_route(reason) from refused
    return _estimate(answer, height + KEYSEND_FINAL_CLTV_DELTA - final_cltv_delta)


async def estimate_by_probe(rest: LndRest, invoice: Bolt11Invoice, height: int, timeout_seconds: int) -> RouteEstimate:
    """Estimate by payments that must fail, because nobody knows a preimage for their hash.

    Args:
        rest: the way to the node.
        invoice: with an amount.
        height: of Bitcoin's chain.
        timeout_seconds: how long the node looks for a way.

    Raises: as ``estimate_by_graph``.
    """
    return _estimate(await _asked(rest, {"payment_request": invoice.text, "timeout": timeout_seconds}), height)


async def _asked(rest: LndRest, body: Mapping[str, object]) -> Answer:
    try:
        return await rest.post(_PATH, body)
    except NodeError as error:
        # Nobody can take a probe's money, so silence leaves nothing open.
        error.outcome = Outcome.NOT_SENT
        raise


def _estimate(answer: Answer, height: int) -> RouteEstimate:
    reason = answer.fields.text("failure_reason")
    if reason != _NO_FAILURE:
        raise _no_route(reason)
    lock_blocks = answer.fields.integer("time_lock_delay") - height
    if lock_blocks <= 0:
        raise answer.fields.wrong("field time_lock_delay is no height to come")
    return RouteEstimate(answer.fields.integer("routing_fee_msat"), lock_blocks)


def _no_route(reason: str) -> TransactionError:
    if reason == _NO_BALANCE:
        return InsufficientFunds(
            "no channel can send that much", protocol=LIGHTNING, remedy="open a channel, or receive something over one"
        )
    return TransactionError(f"lnd knows of no way to the payee: {reason}", code="no_route", protocol=LIGHTNING)
