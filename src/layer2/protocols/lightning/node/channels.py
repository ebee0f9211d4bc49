"""The node's channels, and the amounts that can be sent and received over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.model.money import Balance
from layer2.protocols.lightning.lnd.answers import LndObject

__all__ = ["Channel", "Flow", "balance_of", "channel_ids", "read_channel", "receivable_sat", "sendable_sat"]

_HTLC_WEIGHT: Final = 172
"""Weight of one HTLC output in a commitment transaction (BOLT 3)."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a channel: the balance of the sending side, and the limits of its HTLCs (BOLT 2)."""

    balance_sat: int
    kept_sat: int
    """What the sender must keep: its reserve and, if it opened the channel, the fee buffer."""
    in_flight_sat: int
    """Amount in HTLCs that it offered and that are not resolved; not part of the balance."""
    htlcs: int
    """Number of these HTLCs."""
    max_htlcs: int
    max_in_flight_msat: int
    min_htlc_msat: int

    @property
    def free_sat(self) -> int:
        """Maximum amount of one more HTLC; 0 if none can be added."""
        if self.htlcs >= self.max_htlcs:
            return 0
        free = min(self.balance_sat - self.kept_sat, self.max_in_flight_msat // 1000 - self.in_flight_sat)
        return free if free > 0 and free * 1000 >= self.min_htlc_msat else 0


@dataclass(frozen=True, slots=True)
class Channel:
    """One open channel."""

    ids: frozenset[int]
    """Every short channel id by which the node's invoices may name it."""
    is_active: bool
    outgoing: Flow
    incoming: Flow
    hashes: frozenset[bytes]
    """Payment hashes of the pending HTLCs in both directions."""


def sendable_sat(channels: Iterable[Channel], max_parts: int | None = None) -> int:
    """Maximum of one payment with so many parts, including routing fees. Each channel carries one part."""
    free = sorted((channel.outgoing.free_sat for channel in channels if channel.is_active), reverse=True)
    return sum(free[:max_parts])


def receivable_sat(channels: Iterable[Channel]) -> int:
    """Maximum that one payment can bring in. The payer chooses the number of parts."""
    return sum(channel.incoming.free_sat for channel in channels if channel.is_active)


def balance_of(channels: Sequence[Channel]) -> Balance:
    """The balance: maxima for one payment at a time, before routing fees."""
    spendable = sendable_sat(channels)
    owned = sum(channel.outgoing.balance_sat + channel.outgoing.in_flight_sat for channel in channels)
    return Balance(spendable=spendable, reserved=owned - spendable, receivable=receivable_sat(channels))


def read_channel(fields: LndObject) -> Channel:
    """Read lnd's ``Channel``."""
    htlcs = fields.objects("pending_htlcs")
    opened_here, buffer = fields.flag("initiator"), _fee_buffer(fields)
    return Channel(
        ids=channel_ids(fields),
        is_active=fields.flag("active"),
        outgoing=_read_flow(
            fields, "local", [htlc for htlc in htlcs if not htlc.flag("incoming")], buffer if opened_here else 0
        ),
        incoming=_read_flow(
            fields, "remote", [htlc for htlc in htlcs if htlc.flag("incoming")], 0 if opened_here else buffer
        ),
        hashes=frozenset(htlc.data("hash_lock") for htlc in htlcs),
    )


def _read_flow(fields: LndObject, side: str, htlcs: Sequence[LndObject], buffer: int) -> Flow:
    # The constraints of a side limit the HTLCs that this side offers.
    limits = fields.inner(f"{side}_constraints")
    return Flow(
        balance_sat=fields.integer(f"{side}_balance"),
        kept_sat=fields.integer(f"{side}_chan_reserve_sat") + buffer,
        in_flight_sat=sum(htlc.integer("amount") for htlc in htlcs),
        htlcs=len(htlcs),
        max_htlcs=limits.integer("max_accepted_htlcs"),
        max_in_flight_msat=limits.integer("max_pending_amt_msat"),
        min_htlc_msat=limits.integer("min_htlc_msat"),
    )


def _fee_buffer(fields: LndObject) -> int:
    """Satoshi that the channel's opener must keep for fees, including the present fee, as lnd computes it.

    Source: BOLT 2 (update_add_htlc): the fee may double, with room for one more HTLC. lnd counts that HTLC in addition
    to the one that is being added.
    """
    two_htlcs = 2 * fields.integer("fee_per_kw") * 2 * _HTLC_WEIGHT
    return fields.integer("commit_fee") + -(-two_htlcs // 1000)


def channel_ids(fields: LndObject) -> frozenset[int]:
    """All short channel ids of lnd's ``Channel`` or ``ChannelCloseSummary``."""
    confirmed = fields.integer("zero_conf_confirmed_scid")
    return frozenset({fields.integer("chan_id"), confirmed, *fields.integers("alias_scids")}) - {0}
