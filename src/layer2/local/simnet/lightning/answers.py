"""lnd 0.21's REST answers as JSON. Every field is written, 64-bit integers as strings, bytes as base64.

Pure functions from the ledger's records to dictionaries, with the fields in the order of lnd's definitions.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

from layer2.formats.bolt11 import Bolt11Invoice, RouteHop
from layer2.local.simnet.lightning.channel import (
    CAPACITY_SAT,
    MAX_HTLCS,
    PUSHED_SAT,
    RESERVE_SAT,
    Channel,
    Channels,
    Htlc,
    Side,
)
from layer2.local.simnet.lightning.records import Attempt, FailureReason, Invoice, InvoiceHtlc, Payment, PaymentState

__all__ = [
    "INVOICE_FEATURES",
    "channel_answer",
    "channel_balance_answer",
    "features_answer",
    "invoice_answer",
    "payment_answer",
    "payment_request_answer",
]

INVOICE_FEATURES = frozenset({8, 14, 17, 25})
"""The feature bits that lnd 0.21 sets in its invoices."""

_FEATURE_NAMES = {
    0: "data-loss-protect",
    7: "gossip-queries",
    8: "tlv-onion",
    12: "static-remote-key",
    14: "payment-addr",
    17: "multi-path-payments",
    23: "anchors-zero-fee-htlc-tx",
    25: "route-blinding",
}
_INVOICE_HTLC_STATES = {
    PaymentState.IN_FLIGHT: "ACCEPTED",
    PaymentState.SUCCEEDED: "SETTLED",
    PaymentState.FAILED: "CANCELED",
}


_UNACCOUNTABLE = {"106823": "AA=="}
"""The experimental record that lnd 0.21 sends with each HTLC: type 106823, one zero byte."""
_KEYSEND_FEATURES = frozenset({8})


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _amount(msat: int) -> dict[str, str]:
    return {"sat": str(msat // 1000), "msat": str(msat)}


def features_answer(bits: frozenset[int]) -> dict[str, object]:
    """A map from bit to ``lnrpc.Feature``."""
    return {
        str(bit): {
            "name": _FEATURE_NAMES.get(bit, "unknown"),
            "is_required": bit % 2 == 0,
            "is_known": bit in _FEATURE_NAMES,
        }
        for bit in sorted(bits)
    }


def _route_hints(hints: tuple[tuple[RouteHop, ...], ...]) -> list[dict[str, object]]:
    return [
        {
            "hop_hints": [
                {
                    "node_id": hop.public_key.hex(),
                    "chan_id": str(hop.short_channel_id),
                    "fee_base_msat": hop.fee_base_msat,
                    "fee_proportional_millionths": hop.fee_proportional_millionths,
                    "cltv_expiry_delta": hop.cltv_expiry_delta,
                }
                for hop in hops
            ]
        }
        for hops in hints
    ]


def _records(records: Mapping[int, bytes]) -> dict[str, str]:
    return {str(number): _base64(data) for number, data in sorted(records.items())}


def _tlv_stream(records: Mapping[int, bytes]) -> bytes:
    """The records in their wire format (BOLT 1)."""
    return b"".join(_big_size(number) + _big_size(len(data)) + data for number, data in sorted(records.items()))


def _big_size(number: int) -> bytes:
    if number < 0xFD:
        return number.to_bytes(1, "big")
    for prefix, size in ((b"\xfd", 2), (b"\xfe", 4)):
        if number < 1 << 8 * size:
            return prefix + number.to_bytes(size, "big")
    return b"\xff" + number.to_bytes(8, "big")


def _invoice_htlc_answer(held: InvoiceHtlc, channel_ids: Sequence[int], total_msat: int) -> dict[str, object]:
    return {
        "chan_id": str(channel_ids[held.htlc.channel]),
        "htlc_index": str(held.htlc.index),
        "amt_msat": str(held.htlc.amount_msat),
        "accept_height": held.accept_height,
        "accept_time": str(held.accept_time),
        "resolve_time": str(held.resolve_time),
        "expiry_height": held.htlc.expiry_height,
        "state": _INVOICE_HTLC_STATES[held.state],
        "custom_records": _records(held.custom_records),
        "mpp_total_amt_msat": str(total_msat),
        "amp": None,
        "custom_channel_data": _base64(_tlv_stream(held.custom_records)),
    }


def invoice_answer(invoice: Invoice, channel_ids: Sequence[int]) -> dict[str, object]:
    """``lnrpc.Invoice``."""
    paid_sat = str(invoice.amount_paid_msat // 1000)
    # A payment without an invoice has no total.
    total_msat = 0 if invoice.is_keysend else invoice.amount_paid_msat
    return {
        "memo": invoice.memo,
        "r_preimage": _base64(invoice.preimage or b""),
        "r_hash": _base64(invoice.payment_hash),
        "value": str(invoice.value_msat // 1000),
        "value_msat": str(invoice.value_msat),
        "settled": invoice.state.value == "SETTLED",
        "creation_date": str(invoice.created_at),
        "settle_date": str(invoice.settled_at),
        "payment_request": invoice.payment_request,
        "description_hash": _base64(invoice.description_hash),
        "expiry": str(invoice.expiry_seconds),
        "fallback_addr": "",
        "cltv_expiry": str(invoice.final_cltv_delta),
        "route_hints": _route_hints(invoice.route_hints),
        "private": bool(invoice.route_hints),
        "add_index": str(invoice.add_index),
        "settle_index": str(invoice.settle_index),
        # lnd fills this deprecated field with millisatoshi.
        "amt_paid": str(invoice.amount_paid_msat),
        "amt_paid_sat": paid_sat,
        "amt_paid_msat": str(invoice.amount_paid_msat),
        "state": invoice.state.value,
        "htlcs": [_invoice_htlc_answer(held, channel_ids, total_msat) for held in invoice.htlcs],
        "features": features_answer(_KEYSEND_FEATURES if invoice.is_keysend else INVOICE_FEATURES),
        "is_keysend": invoice.is_keysend,
        "payment_addr": _base64(invoice.payment_address or bytes(32)),
        "is_amp": False,
        "amp_invoice_state": {},
        "is_blinded": False,
        "blinded_path_config": None,
    }


def _route_answer(payment: Payment, htlc: Htlc, channel_ids: Sequence[int]) -> dict[str, object]:
    sat, msat = str(htlc.amount_msat // 1000), str(htlc.amount_msat)
    total_msat = str(payment.amount_msat)
    whole = {"payment_addr": _base64(payment.payment_address), "total_amt_msat": total_msat}
    return {
        "total_time_lock": htlc.expiry_height,
        "total_fees": "0",
        "total_amt": sat,
        "hops": [
            {
                "chan_id": str(channel_ids[htlc.channel]),
                "chan_capacity": sat,
                "amt_to_forward": sat,
                "fee": "0",
                "expiry": htlc.expiry_height,
                "amt_to_forward_msat": msat,
                "fee_msat": "0",
                "pub_key": payment.payee.hex(),
                "tlv_payload": True,
                "mpp_record": whole if payment.payment_address else None,
                "amp_record": None,
                "custom_records": _records(payment.custom_records),
                "metadata": "",
                "blinding_point": "",
                "encrypted_data": "",
                "total_amt_msat": "0",
            }
        ],
        "total_fees_msat": "0",
        "total_amt_msat": msat,
        "first_hop_amount_msat": msat,
        "custom_channel_data": "",
    }


def _failure_answer(payment: Payment, attempt: Attempt) -> dict[str, object]:
    by_payee = payment.reason is FailureReason.INCORRECT_PAYMENT_DETAILS
    return {
        "code": "INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS" if by_payee else "PERMANENT_CHANNEL_FAILURE",
        "channel_update": None,
        "htlc_msat": str(attempt.htlc.amount_msat) if by_payee else "0",
        "onion_sha_256": "",
        "cltv_expiry": 0,
        "flags": 0,
        "failure_source_index": 1 if by_payee else 0,
        "height": attempt.resolved_height if by_payee else 0,
    }


def _attempt_answer(payment: Payment, attempt: Attempt, channel_ids: Sequence[int]) -> dict[str, object]:
    succeeded = attempt.state is PaymentState.SUCCEEDED
    return {
        "attempt_id": str(attempt.number),
        "status": attempt.state.value,
        "route": _route_answer(payment, attempt.htlc, channel_ids),
        "attempt_time_ns": str(payment.created_at * 1_000_000_000),
        "resolve_time_ns": str(attempt.resolved_at * 1_000_000_000),
        "failure": _failure_answer(payment, attempt) if attempt.state is PaymentState.FAILED else None,
        "preimage": _base64((payment.preimage or b"") if succeeded else b""),
    }


def payment_answer(payment: Payment, channel_ids: Sequence[int]) -> dict[str, object]:
    """``lnrpc.Payment``, paid over the channels with these ids."""
    sat, msat = str(payment.amount_msat // 1000), str(payment.amount_msat)
    htlcs = [_attempt_answer(payment, attempt, channel_ids) for attempt in payment.attempts]
    return {
        "payment_hash": payment.payment_hash.hex(),
        "value": sat,
        "creation_date": str(payment.created_at),
        "fee": "0",
        "payment_preimage": (payment.preimage or bytes(32)).hex(),
        "value_sat": sat,
        "value_msat": msat,
        "payment_request": payment.payment_request,
        "status": payment.state.value,
        "fee_sat": "0",
        "fee_msat": "0",
        "creation_time_ns": str(payment.created_at * 1_000_000_000),
        "htlcs": htlcs,
        "payment_index": str(payment.index),
        "failure_reason": payment.reason.value,
        "first_hop_custom_records": _UNACCOUNTABLE,
    }


def payment_request_answer(invoice: Bolt11Invoice) -> dict[str, object]:
    """``lnrpc.PayReq``; invoices with fallbacks or blinded paths are refused earlier."""
    amount_msat = invoice.amount_msat or 0
    return {
        "destination": invoice.payee.hex(),
        "payment_hash": invoice.payment_hash.hex(),
        "num_satoshis": str(amount_msat // 1000),
        "timestamp": str(invoice.timestamp),
        "expiry": str(invoice.expiry),
        "description": invoice.description or "",
        "description_hash": (invoice.description_hash or b"").hex(),
        "fallback_addr": "",
        "cltv_expiry": str(invoice.min_final_cltv_expiry_delta),
        "route_hints": _route_hints(invoice.route_hints),
        "payment_addr": _base64(invoice.payment_secret or bytes(32)),
        "num_msat": str(amount_msat),
        "features": features_answer(invoice.feature_bits),
        "blinded_paths": [],
    }


def channel_balance_answer(channels: Channels, side: Side) -> dict[str, object]:
    """``lnrpc.ChannelBalanceResponse``."""
    return {
        "balance": str(channels.balance_msat(side) // 1000),
        "pending_open_balance": "0",
        "local_balance": _amount(channels.balance_msat(side)),
        "remote_balance": _amount(channels.balance_msat(side.peer)),
        # lnd calls an incoming HTLC local and an outgoing one remote: the side that owns it after settlement.
        "unsettled_local_balance": _amount(channels.pending_msat(side.peer)),
        "unsettled_remote_balance": _amount(channels.pending_msat(side)),
        "pending_open_local_balance": _amount(0),
        "pending_open_remote_balance": _amount(0),
        # The wire form of the number of open channels, no custom data of each, and no pending channel.
        "custom_channel_data": _base64(_big_size(len(channels.all)) + bytes(len(channels.all)) + bytes(1)),
    }


def _constraints() -> dict[str, object]:
    return {
        "csv_delay": 144,
        "chan_reserve_sat": str(RESERVE_SAT),
        "dust_limit_sat": "354",
        "max_pending_amt_msat": str(CAPACITY_SAT * 990),
        "min_htlc_msat": "1",
        "max_accepted_htlcs": MAX_HTLCS,
    }


def _pending_htlc_answer(htlc: Htlc, side: Side) -> dict[str, object]:
    return {
        "incoming": htlc.sender is not side,
        "amount": str(htlc.amount_msat // 1000),
        "hash_lock": _base64(htlc.payment_hash),
        "expiration_height": htlc.expiry_height,
        "htlc_index": str(htlc.index),
        "forwarding_channel": "0",
        "forwarding_htlc_index": "0",
        "locked_in": True,
    }


def channel_answer(
    channel: Channel, side: Side, *, peer_key: bytes, channel_point: str, channel_id: int, age: int, peer_alias: str
) -> dict[str, object]:
    """``lnrpc.Channel`` from that side; the age is in seconds."""
    return {
        "active": channel.is_active,
        "remote_pubkey": peer_key.hex(),
        "channel_point": channel_point,
        "chan_id": str(channel_id),
        "capacity": str(CAPACITY_SAT),
        "local_balance": str(channel.balance_msat(side) // 1000),
        "remote_balance": str(channel.balance_msat(side.peer) // 1000),
        # The simulated commitment has no fee, so the balances add up to the capacity.
        "commit_fee": "0",
        "commit_weight": "772",
        "fee_per_kw": "0",
        "unsettled_balance": str(sum(channel.pending_msat(sender) for sender in Side) // 1000),
        "total_satoshis_sent": str(channel.sent_msat(side) // 1000),
        "total_satoshis_received": str(channel.sent_msat(side.peer) // 1000),
        "num_updates": str(channel.updates),
        "pending_htlcs": [_pending_htlc_answer(htlc, side) for htlc in channel.htlcs],
        "csv_delay": 144,
        "private": False,
        "initiator": side is Side.TAKER,
        "chan_status_flags": "ChanStatusDefault",
        "local_chan_reserve_sat": str(RESERVE_SAT),
        "remote_chan_reserve_sat": str(RESERVE_SAT),
        "static_remote_key": False,
        "commitment_type": "ANCHORS",
        "lifetime": str(age),
        "uptime": str(age),
        "close_address": "",
        "push_amount_sat": str(PUSHED_SAT),
        "thaw_height": 0,
        "local_constraints": _constraints(),
        "remote_constraints": _constraints(),
        "alias_scids": [],
        "zero_conf": False,
        "zero_conf_confirmed_scid": "0",
        "peer_alias": peer_alias,
        "peer_scid_alias": "0",
        "memo": "",
        "custom_channel_data": "",
    }
