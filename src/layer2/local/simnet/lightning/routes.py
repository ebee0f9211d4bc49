"""The routes of lnd's REST interface: the simulated node's call for each path, and the fields that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from layer2.local.simnet.lightning.messages import Message
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.streams import Subscription

__all__ = ["Route", "StreamRoute", "routes_of"]

_INVOICE_FIELDS = frozenset(
    {
        "memo",
        "value",
        "value_msat",
        "description_hash",
        "expiry",
        "cltv_expiry",
        "private",
        "route_hints",
    }
)
_INVOICE_ABSENT = frozenset({"fallback_addr"})
# lnd accepts the whole Invoice message here and ignores the fields that it computes itself.
_PLAIN_ABSENT = _INVOICE_ABSENT | {"is_amp", "is_blinded", "blinded_path_config", "is_keysend"}
_SEND_FIELDS = frozenset(
    {
        "payment_request",
        "dest",
        "payment_hash",
        "final_cltv_delta",
        "dest_custom_records",
        "timeout_seconds",
        "fee_limit_sat",
        "fee_limit_msat",
        "cltv_limit",
        "max_parts",
        "max_shard_size_msat",
        "amt",
        "amt_msat",
        "no_inflight_updates",
        "allow_self_payment",
    }
)
_SEND_ABSENT = frozenset(
    {
        "outgoing_chan_id",
        "outgoing_chan_ids",
        "last_hop_pubkey",
        "route_hints",
        "dest_features",
        "payment_addr",
        "amp",
        "time_pref",
        "cancelable",
        "first_hop_custom_records",
    }
)
_HASH = frozenset({"payment_hash"})


@dataclass(frozen=True, slots=True)
class Route:
    """A path whose answer is one message."""

    method: str
    path: str
    call: Callable[[Message], dict[str, Any]]
    known: frozenset[str] = frozenset()
    """The fields of the body that the call supports."""
    absent: frozenset[str] = frozenset()
    """Fields that lnd has and the simulated node does not support."""
    is_open: bool = False
    """Whether the call works without a macaroon."""


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """A path whose answer is a stream."""

    method: str
    path: str
    call: Callable[[Message], Subscription]
    known: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    is_open: bool = False


_AnyRoute: TypeAlias = Route | StreamRoute


def routes_of(node: SimulatedNode) -> list[_AnyRoute]:
    """Every path that the node answers."""
    return [*_node_routes(node), *_invoice_routes(node), *_payment_routes(node)]


def _node_routes(node: SimulatedNode) -> list[_AnyRoute]:
    return [
        Route("GET", "/v1/state", node.host.state, is_open=True),
        Route(
            "POST",
            "/v1/macaroon/checkpermissions",
            node.host.check_macaroon,
            frozenset({"macaroon", "permissions", "fullMethod", "check_default_perms_from_full_method"}),
        ),
        Route("GET", "/v1/getinfo", node.get_info),
        Route("GET", "/v1/getdebuginfo", node.get_debug_info),
        Route("GET", "/v1/balance/blockchain", node.wallet_balance),
        Route("GET", "/v1/balance/channels", node.channel_balance),
        Route("GET", "/v1/channels", node.list_channels),
        Route("GET", "/v1/channels/pending", node.pending_channels),
        Route("GET", "/v1/channels/closed", node.closed_channels),
        Route("POST", "/v1/signmessage", node.host.sign_message, frozenset({"msg"}), frozenset({"single_hash"})),
        Route("POST", "/v1/verifymessage", node.host.verify_message, frozenset({"msg", "signature"})),
    ]


def _invoice_routes(node: SimulatedNode) -> list[_AnyRoute]:
    calls = node.invoices
    return [
        Route("POST", "/v1/invoices", calls.add_invoice, _INVOICE_FIELDS | {"r_preimage"}, _PLAIN_ABSENT),
        Route("GET", "/v1/invoices", calls.list_invoices),
        StreamRoute("GET", "/v1/invoices/subscribe", calls.subscribe_invoices),
        Route("GET", "/v1/invoice/{r_hash_str}", calls.lookup_invoice),
        Route("POST", "/v2/invoices/hodl", calls.add_hold_invoice, _INVOICE_FIELDS | {"hash"}, _INVOICE_ABSENT),
        Route("POST", "/v2/invoices/settle", calls.settle_invoice, frozenset({"preimage"})),
        Route("POST", "/v2/invoices/cancel", calls.cancel_invoice, _HASH),
        Route("GET", "/v2/invoices/lookup", calls.lookup_invoice_v2),
        StreamRoute("GET", "/v2/invoices/subscribe/{r_hash}", calls.subscribe_single_invoice),
    ]


def _payment_routes(node: SimulatedNode) -> list[_AnyRoute]:
    calls = node.payments
    return [
        StreamRoute("POST", "/v2/router/send", calls.send_payment, _SEND_FIELDS, _SEND_ABSENT),
        StreamRoute("GET", "/v2/router/track/{payment_hash}", calls.track_payment),
        StreamRoute("GET", "/v2/router/payments", calls.track_payments),
        Route(
            "POST",
            "/v2/router/route/estimatefee",
            calls.estimate_route_fee,
            frozenset({"dest", "amt_sat", "payment_request", "timeout"}),
        ),
        Route("GET", "/v1/payments", calls.list_payments),
        Route("GET", "/v1/payreq/{pay_req}", calls.decode_payment_request),
    ]
