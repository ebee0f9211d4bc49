"""The payment channels between the two nodes of a simnet: balances, and the HTLCs in flight on them.

Pure: no clock, no I/O. An offered amount leaves its sender's balance at once. It reaches the other side when the
HTLC is settled, or returns to the sender when the HTLC fails. The sum never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

__all__ = [
    "CAPACITY_SAT",
    "MAX_HTLCS",
    "MIN_HTLC_MSAT",
    "PUSHED_SAT",
    "RESERVE_SAT",
    "Channel",
    "Channels",
    "Htlc",
    "Side",
]

CAPACITY_SAT = 10_000_000
PUSHED_SAT = 5_000_000
RESERVE_SAT = CAPACITY_SAT // 100
"""The reserve of each side (BOLT 2, channel_reserve_satoshis): lnd's default of one hundredth."""
MAX_HTLCS = 483
"""The most HTLCs that each side can have in flight (BOLT 2, max_accepted_htlcs)."""
MIN_HTLC_MSAT = 1000
"""The smallest HTLC that lnd sends, in millisatoshi (BOLT 7, htlc_minimum_msat)."""


class Side(Enum):
    """One of the two nodes; the taker opened the channel."""

    TAKER = "taker"
    PROVIDER = "provider"

    @property
    def peer(self) -> Side:
        """The other one."""
        match self:
            case Side.TAKER:
                return Side.PROVIDER
            case Side.PROVIDER:
                return Side.TAKER
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Htlc:
    """An HTLC on a channel, known to both nodes."""

    sender: Side
    index: int
    """The HTLC's number among all that this sender has offered on the channel."""
    payment_hash: bytes
    amount_msat: int
    expiry_height: int
    channel: int = 0
    """The channel's number among the channels of the two nodes."""


@dataclass(slots=True)
class _Account:
    """One side's balance and totals on the channel."""

    balance_msat: int
    sent_msat: int = 0
    offered: int = 0
    """The number of HTLCs that it has offered so far."""
    in_flight: int = 0
    """The number of its HTLCs in flight."""
    pending_msat: int = 0
    """Their total amount."""


class Channel:
    """The channel's state, for both nodes.

    Args:
        number: among the channels of the two nodes, from 0.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self._accounts = {
            Side.TAKER: _Account((CAPACITY_SAT - PUSHED_SAT) * 1000),
            Side.PROVIDER: _Account(PUSHED_SAT * 1000),
        }
        self._htlcs: dict[tuple[Side, int], Htlc] = {}
        self.updates = 0
        """The number of state changes so far."""
        self.is_active = True
        """Whether both nodes run. If one does not, HTLCs in flight stay in flight, and new ones cannot be offered."""

    @property
    def htlcs(self) -> tuple[Htlc, ...]:
        """All HTLCs in flight, in the order in which they were offered."""
        return tuple(self._htlcs.values())

    def balance_msat(self, side: Side) -> int:
        """The side's current balance, without HTLCs in flight."""
        return self._accounts[side].balance_msat

    def sendable_msat(self, side: Side) -> int:
        """The amount that the side can offer now: its balance above the reserve."""
        return max(0, self._accounts[side].balance_msat - RESERVE_SAT * 1000)

    def sent_msat(self, side: Side) -> int:
        """The total that the side has paid to the other."""
        return self._accounts[side].sent_msat

    def pending_msat(self, sender: Side) -> int:
        """The HTLCs that the sender has in flight."""
        return self._accounts[sender].pending_msat

    def can_offer(self, sender: Side, amount_msat: int, parts: int = 1) -> bool:
        """Whether the sender can put that amount in flight in that number of HTLCs."""
        account = self._accounts[sender]
        has_place = self.is_active and account.in_flight + parts <= MAX_HTLCS
        return has_place and amount_msat <= self.sendable_msat(sender)

    def offer(self, sender: Side, payment_hash: bytes, amount_msat: int, expiry_height: int) -> Htlc:
        """Put an HTLC in flight and return it.

        Raises:
            ValueError: the amount is not positive, or ``can_offer`` is false.
        """
        if amount_msat <= 0 or not self.can_offer(sender, amount_msat):
            raise ValueError("an HTLC needs a positive amount that its sender can offer, and a free slot")
        account = self._accounts[sender]
        htlc = Htlc(sender, account.offered, payment_hash, amount_msat, expiry_height, self.number)
        account.balance_msat -= amount_msat
        account.offered += 1
        account.in_flight += 1
        account.pending_msat += amount_msat
        self._htlcs[sender, htlc.index] = htlc
        self.updates += 1
        return htlc

    def settle(self, htlc: Htlc) -> None:
        """Give the amount to the receiver; the caller has checked the preimage.

        Raises:
            KeyError: the HTLC is not in flight.
        """
        self._remove(htlc)
        self._accounts[htlc.sender.peer].balance_msat += htlc.amount_msat
        self._accounts[htlc.sender].sent_msat += htlc.amount_msat

    def fail(self, htlc: Htlc) -> None:
        """Give the amount back to the sender.

        Raises:
            KeyError: the HTLC is not in flight.
        """
        self._remove(htlc)
        self._accounts[htlc.sender].balance_msat += htlc.amount_msat

    def _remove(self, htlc: Htlc) -> None:
        del self._htlcs[htlc.sender, htlc.index]
        account = self._accounts[htlc.sender]
        account.in_flight -= 1
        account.pending_msat -= htlc.amount_msat
        self.updates += 1


class Channels:
    """All channels between the two nodes. They are equal when the network starts.

    Args:
        count: at least 1.
    """

    def __init__(self, count: int) -> None:
        self.all = tuple(Channel(number) for number in range(count))

    @property
    def is_active(self) -> bool:
        """Whether both nodes run. The channels between the same two nodes are active together."""
        return self.all[0].is_active

    @is_active.setter
    def is_active(self, is_active: bool) -> None:
        for channel in self.all:
            channel.is_active = is_active

    @property
    def htlcs(self) -> tuple[Htlc, ...]:
        """All HTLCs in flight."""
        return tuple(htlc for channel in self.all for htlc in channel.htlcs)

    def balance_msat(self, side: Side) -> int:
        """The side's current balance in all channels, without HTLCs in flight."""
        return sum(channel.balance_msat(side) for channel in self.all)

    def sent_msat(self, side: Side) -> int:
        """The total that the side has paid to the other."""
        return sum(channel.sent_msat(side) for channel in self.all)

    def pending_msat(self, sender: Side) -> int:
        """The HTLCs that the sender has in flight."""
        return sum(channel.pending_msat(sender) for channel in self.all)

    def placed(self, sender: Side, parts_msat: Sequence[int]) -> Sequence[Channel] | None:
        """The channel for each part of a payment: the first one that has place and money for it. None if one has no
        channel.

        Unlike lnd, the network does not divide a part that no single channel can carry.
        """
        found: list[Channel] = []
        amounts, counts = [0] * len(self.all), [0] * len(self.all)
        for part in parts_msat:
            for number, channel in enumerate(self.all):
                if channel.can_offer(sender, amounts[number] + part, counts[number] + 1):
                    amounts[number] += part
                    counts[number] += 1
                    found.append(channel)
                    break
            else:
                return None
        return found

    def settle(self, htlc: Htlc) -> None:
        """``Channel.settle`` on the HTLC's channel."""
        self.all[htlc.channel].settle(htlc)

    def fail(self, htlc: Htlc) -> None:
        """``Channel.fail`` on the HTLC's channel."""
        self.all[htlc.channel].fail(htlc)
