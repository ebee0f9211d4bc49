"""The node's channels, and what can be sent and received over them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.money import Balance
from layer2.protocols.lightning.lnd.answers import LndObject

__all__ = ["Channel", "balance_of", "channel_ids", "read_channel"]

_HTLC_WEIGHT: Final = 172
"""Of one HTLC output in a commitment transaction (BOLT 3)."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One open channel."""

    ids: frozenset[int]
    """Every short channel id that the node's invoices may know it by."""
    is_active: bool
    local_sat: int
    remote_sat: int
    local_kept_sat: int
    """What this node has to keep: its reserve and, where it opened the channel, the fee buffer."""
    remote_kept_sat: int
    """What the peer has to keep, likewise."""
    outgoing_sat: int
    """In HTLCs that this node offered and that are not resolved."""
    hashes: frozenset[bytes]
    """Payment hashes of its pending HTLCs, in both directions."""


def balance_of(channels: Sequence[Channel]) -> Balance:
    """What can be sent and received over the channels at most, for one payment at a time and before routing fees."""
    active = [channel for channel in channels if channel.is_active]
    spendable = sum(max(0, channel.local_sat - channel.local_kept_sat) for channel in active)
    owned = sum(channel.local_sat + channel.outgoing_sat for channel in channels)
    return Balance(
        spendable=spendable,
        reserved=owned - spendable,
        receivable=sum(max(0, channel.remote_sat - channel.remote_kept_sat) for channel in active),
    )


def read_channel(fields: LndObject) -> Channel:
    htlcs = fields.objects("pending_htlcs")
    opened_here, buffer = fields.flag("initiator"), _fee_buffer(fields)
    return Channel(
        ids=channel_ids(fields),
        is_active=fields.flag("active"),
        local_sat=fields.integer("local_balance"),
        remote_sat=fields.integer("remote_balance"),
        local_kept_sat=fields.integer("local_chan_reserve_sat") + (buffer if opened_here else 0),
        remote_kept_sat=fields.integer("remote_chan_reserve_sat") + (0 if opened_here else buffer),
        outgoing_sat=sum(htlc.integer("amount") for htlc in htlcs if not htlc.flag("incoming")),
        hashes=frozenset(htlc.data("hash_lock") for htlc in htlcs),
    )


def _fee_buffer(fields: LndObject) -> int:
    """Satoshi that the channel's opener keeps beyond the commitment's present fee, as lnd counts it.

    Source: BOLT 2 (update_add_htlc): the fee may double, with room for one more HTLC. lnd counts that one besides the
    one that is being added.
    """
    two_htlcs = 2 * fields.integer("fee_per_kw") * 2 * _HTLC_WEIGHT
    return fields.integer("commit_fee") + -(-two_htlcs // 1000)


def channel_ids(fields: LndObject) -> frozenset[int]:
    confirmed = fields.integer("zero_conf_confirmed_scid")
    return frozenset({fields.integer("chan_id"), confirmed, *fields.integers("alias_scids")}) - {0}
