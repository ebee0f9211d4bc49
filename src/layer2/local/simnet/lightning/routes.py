"""The routes of lnd's REST interface: the simulated node's call for each path, and the fields that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from layer2.local.simnet.lightning.messages import Fields, Message, fields
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.streams import Subscription

__all__ = ["Route", "missing_routes", "routes_of"]

_HOP = fields(text="node_id", uint64="chan_id", uint32="fee_base_msat fee_proportional_millionths cltv_expiry_delta")
_NEW_INVOICE: Fields = {
    **fields(text="memo", data="description_hash", int64="value value_msat expiry", uint64="cltv_expiry"),
    **fields(flag="private", absent="fallback_addr"),
    "route_hints": {"hop_hints": _HOP},
}
# lnd accepts the whole Invoice message here and ignores the fields that it computes itself.
_PLAIN_INVOICE: Fields = {
    **_NEW_INVOICE,
    **fields(data="r_preimage", absent="is_amp is_blinded blinded_path_config is_keysend"),
}
_SEND: Fields = {
    **fields(text="payment_request", data="dest payment_hash", records="dest_custom_records"),
    **fields(int32="final_cltv_delta timeout_seconds cltv_limit", int64="fee_limit_sat fee_limit_msat amt amt_msat"),
    **fields(uint32="max_parts", uint64="max_shard_size_msat", flag="no_inflight_updates allow_self_payment"),
    **fields(absent="outgoing_chan_id outgoing_chan_ids last_hop_pubkey route_hints dest_features payment_addr amp"),
    **fields(absent="time_pref cancelable first_hop_custom_records"),
}
_PAGE = fields(uint64="index_offset creation_date_start creation_date_end", flag="reversed")
_PAYMENT_HASH = fields(data="payment_hash")
_UPDATES = fields(flag="no_inflight_updates")


@dataclass(frozen=True, slots=True)
class Route:
    """A path, its call and the fields of its body, or of its path and query."""

    method: str
    path: str
    call: Callable[[Message], dict[str, object] | Subscription]
    fields: Fields = field(default_factory=fields)
    is_stream: bool = False
    """Whether the call returns a subscription, and an error is wrapped as in a stream."""
    is_open: bool = False
    """Whether the call works without a macaroon."""


def routes_of(node: SimulatedNode) -> list[Route]:
    """Every path that the node answers."""
    return [*_node_routes(node), *_invoice_routes(node), *_payment_routes(node)]


def missing_routes() -> Iterator[tuple[str, str]]:
    """The method and path of every call that lnd has and the simulated node does not support."""
    for line in Path(__file__).with_name("missing_routes.txt").read_text().splitlines():
        method, path = line.split()
        yield method, path


def _node_routes(node: SimulatedNode) -> list[Route]:
    permissions: Fields = {
        **fields(data="macaroon", text="fullMethod", flag="check_default_perms_from_full_method"),
        "permissions": fields(text="entity action"),
    }
    filters = fields(data="peer", flag="active_only inactive_only public_only private_only peer_alias_lookup")
    closures = fields(flag="cooperative local_force remote_force breach funding_canceled abandoned")
    return [
        Route("GET", "/v1/state", node.state, is_open=True),
        Route("POST", "/v1/macaroon/checkpermissions", node.check_macaroon, permissions),
        Route("GET", "/v1/getinfo", node.get_info),
        Route("GET", "/v1/getdebuginfo", node.get_debug_info, fields(absent="include_log")),
        Route("GET", "/v1/balance/blockchain", node.wallet_balance, fields(absent="account min_confs")),
        Route("GET", "/v1/balance/channels", node.channel_balance),
        Route("GET", "/v1/channels", node.list_channels, filters),
        Route("GET", "/v1/channels/pending", node.pending_channels, fields(absent="include_raw_tx")),
        Route("GET", "/v1/channels/closed", node.closed_channels, closures),
        Route("POST", "/v1/signmessage", node.sign_message, fields(data="msg", absent="single_hash")),
        Route("POST", "/v1/verifymessage", node.verify_message, fields(data="msg", text="signature")),
    ]


def _invoice_routes(node: SimulatedNode) -> list[Route]:
    calls = node.invoices
    page: Fields = {**_PAGE, **fields(uint64="num_max_invoices", flag="pending_only")}
    reference: Fields = {**_PAYMENT_HASH, **fields(data="payment_addr", absent="set_id lookup_modifier")}
    indexes = fields(uint64="add_index settle_index")
    subscribe_single = calls.subscribe_single_invoice
    return [
        Route("POST", "/v1/invoices", calls.add_invoice, _PLAIN_INVOICE),
        Route("GET", "/v1/invoices", calls.list_invoices, page),
        Route("GET", "/v1/invoices/subscribe", calls.subscribe_invoices, indexes, is_stream=True),
        Route("GET", "/v1/invoice/{r_hash_str}", calls.lookup_invoice, fields(text="r_hash_str", data="r_hash")),
        Route("POST", "/v2/invoices/hodl", calls.add_hold_invoice, {**_NEW_INVOICE, **fields(data="hash")}),
        Route("POST", "/v2/invoices/settle", calls.settle_invoice, fields(data="preimage")),
        Route("POST", "/v2/invoices/cancel", calls.cancel_invoice, _PAYMENT_HASH),
        Route("GET", "/v2/invoices/lookup", calls.lookup_invoice_v2, reference),
        Route("GET", "/v2/invoices/subscribe/{r_hash}", subscribe_single, fields(data="r_hash"), is_stream=True),
    ]


def _payment_routes(node: SimulatedNode) -> list[Route]:
    calls = node.payments
    estimate = fields(data="dest", int64="amt_sat", text="payment_request", uint32="timeout")
    track: Fields = {**_PAYMENT_HASH, **_UPDATES}
    # lnd's default database ignores omit_hops.
    page: Fields = {**_PAGE, **fields(uint64="max_payments", flag="include_incomplete count_total_payments omit_hops")}
    return [
        Route("POST", "/v2/router/send", calls.send_payment, _SEND, is_stream=True),
        Route("GET", "/v2/router/track/{payment_hash}", calls.track_payment, track, is_stream=True),
        Route("GET", "/v2/router/payments", calls.track_payments, _UPDATES, is_stream=True),
        Route("POST", "/v2/router/route/estimatefee", calls.estimate_route_fee, estimate),
        Route("GET", "/v1/payments", calls.list_payments, page),
        Route("GET", "/v1/payreq/{pay_req}", calls.decode_payment_request, fields(text="pay_req")),
    ]
