"""The node's channels, and the amounts that can be sent and received over them, with as few requests as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from layer2.errors import InsufficientFunds
from layer2.model.money import Balance
from layer2.protocols.lightning.lnd.answers import LIGHTNING, LndObject
from layer2.protocols.lightning.node.shared_read import SharedRead

__all__ = [
    "Channel",
    "Flow",
    "Liquidity",
    "balance_of",
    "channel_ids",
    "read_channel",
    "receivable_sat",
    "sendable_sat",
]

_HTLC_WEIGHT: Final = 172
"""Weight of one HTLC output in a commitment transaction (BOLT 3)."""
_TRUSTED: Final = 10.0
"""Seconds for which a reading, less what was sent since, is enough to allow a payment."""


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


@dataclass(frozen=True, slots=True)
class _Reading:
    channels: Sequence[Channel]
    sent_before_msat: int
    to_send: dict[bytes, int] = field(default_factory=dict)
    """Amounts in millisatoshi, by payment hash, of payments that this reading has allowed and that are not sent yet."""
    to_receive: dict[bytes, int] = field(default_factory=dict)
    """As ``to_send``, of payments to this node."""


class Liquidity:
    """The limits of one node's channels.

    All figures are upper bounds: a payment above them is certain to fail, and one within them may still fail.

    A reading of the last ten seconds, less everything that it has allowed and that was sent since, is enough to allow a
    payment. So a series of payments needs one request in ten seconds. A refusal always needs a new reading.

    Args:
        channels: reads the node's channels.
    """

    def __init__(self, channels: Callable[[], Coroutine[object, None, Sequence[Channel]]]) -> None:
        self._channels = channels
        self._readings = SharedRead(self._read)
        self._sent_msat = 0

    async def balance(self) -> Balance:
        """Return the balance of the channels now. Concurrent calls share one request.

        Raises:
            NodeError: the node did not answer, or refused.
        """
        return balance_of((await self._readings.since(_now())).channels)

    async def check_sendable(
        self, amount_msat: int, *, max_parts: int | None = None, payment_hash: bytes | None = None
    ) -> None:
        """Refuse a payment that the channels cannot carry.

        Args:
            amount_msat: including the routing fee that must be available.
            max_parts: maximum number of parts; None for no limit.
            payment_hash: of a payment that is sent later. Until the next reading its amount is not allowed again.

        Raises:
            InsufficientFunds: ``no_channel`` or ``outbound``, with numbers.
            NodeError: the node did not answer, or refused.
        """

        def allows(reading: _Reading) -> bool:
            taken = self._sent_msat - reading.sent_before_msat + _others(reading.to_send, payment_hash)
            return sendable_sat(reading.channels, max_parts) * 1000 - taken >= amount_msat

        reading = await self._reading(allows)
        sendable = sendable_sat(reading.channels, max_parts)
        if sendable * 1000 < amount_msat:
            _check_active(reading.channels)
            raise InsufficientFunds(
                f"{_sat(amount_msat)} cannot be sent: the channels allow at most {sendable} sat",
                code="outbound",
                protocol=LIGHTNING,
                remedy="open a channel, or receive a payment",
            )
        _allow(reading.to_send, payment_hash, amount_msat)

    async def check_receivable(self, amount_msat: int, payment_hash: bytes) -> None:
        """Refuse an amount that the channels cannot receive.

        Args:
            amount_msat: of the payment.
            payment_hash: of the payment. Until the next reading its amount is not allowed again.

        Raises:
            InsufficientFunds: ``no_channel`` or ``inbound``, with numbers.
            NodeError: the node did not answer, or refused.
        """

        def allows(reading: _Reading) -> bool:
            taken = _others(reading.to_receive, payment_hash)
            return receivable_sat(reading.channels) * 1000 - taken >= amount_msat

        reading = await self._reading(allows)
        receivable = receivable_sat(reading.channels)
        if receivable * 1000 < amount_msat:
            _check_active(reading.channels)
            raise InsufficientFunds(
                f"{_sat(amount_msat)} cannot be received: the channels allow at most {receivable} sat",
                code="inbound",
                protocol=LIGHTNING,
                remedy="have a peer open a channel to you, or send a payment",
            )
        _allow(reading.to_receive, payment_hash, amount_msat)

    def sent(self, amount_msat: int, payment_hash: bytes | None = None) -> None:
        """Count a payment. Call it before the payment is handed to the node.

        Args:
            amount_msat: of the payment.
            payment_hash: the one given to ``check_sendable``, if any.
        """
        self._sent_msat += amount_msat
        if payment_hash is not None and (last := self._readings.last) is not None:
            last.to_send.pop(payment_hash, None)

    async def aclose(self) -> None:
        """Cancel the request that is under way."""
        await self._readings.aclose()

    async def _reading(self, allows: Callable[[_Reading], bool]) -> _Reading:
        """Return a recent reading that allows the payment, or else a new one."""
        now = _now()
        recent = await self._readings.since(now - _TRUSTED)
        return recent if allows(recent) else await self._readings.since(now)

    async def _read(self) -> _Reading:
        sent_before = self._sent_msat
        return _Reading(await self._channels(), sent_before)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _others(allowed: dict[bytes, int], payment_hash: bytes | None) -> int:
    own = 0 if payment_hash is None else allowed.get(payment_hash, 0)
    return sum(allowed.values()) - own


def _allow(allowed: dict[bytes, int], payment_hash: bytes | None, amount_msat: int) -> None:
    if payment_hash is not None:
        allowed[payment_hash] = amount_msat


def _check_active(channels: Sequence[Channel]) -> None:
    if not any(channel.is_active for channel in channels):
        raise InsufficientFunds(
            f"none of the {len(channels)} open channels is active",
            code="no_channel",
            protocol=LIGHTNING,
            remedy="open a channel, or connect to the peers of the open channels",
        )


def _sat(amount_msat: int) -> str:
    return f"{-(-amount_msat // 1000)} sat"
