"""What the channels can send and receive now, asked for as rarely as that can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.aio.shared_call import SharedCall
from layer2.errors import InsufficientFunds
from layer2.model.money import Balance
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.node.channels import Channel, balance_of, receivable_sat, sendable_sat
from layer2.protocols.lightning.node.state import LndNode

__all__ = ["Liquidity"]

_TRUSTED: Final = 10.0
"""Seconds for which a reading, less what was sent since, is enough to let a payment try."""


@dataclass(frozen=True, slots=True)
class _Reading:
    channels: Sequence[Channel]
    asked_at: float
    sent_before_msat: int


class Liquidity:
    """The limits of one node's channels.

    All figures are upper bounds: they say that a payment is certain to fail, never that it will succeed.

    Args:
        node: whose channels.

    A payment is let through on a reading of the last ten seconds, less everything that was sent since, so that a stream
    of payments costs one request in ten seconds. Nothing is refused but on a reading that is younger than the question.
    """

    def __init__(self, node: LndNode) -> None:
        self._node = node
        self._reading = SharedCall(self._read)
        self._last: _Reading | None = None
        self._sent_msat = 0

    async def balance(self) -> Balance:
        """What the channels hold now; one request for all who ask at once.

        Raises:
            NodeError: the node does not say.
        """
        return balance_of((await self._reading.get()).channels)

    async def check_sendable(
        self, amount_msat: int, *, max_parts: int | None = None, trusted_seconds: float = _TRUSTED
    ) -> None:
        """Refuse a payment that the channels cannot carry.

        Args:
            amount_msat: with the routing fee that it must be able to pay at least.
            max_parts: into how many it may be split; None is no limit.
            trusted_seconds: how old a reading may be that lets it through; 0 asks anew.

        Raises:
            InsufficientFunds: ``no_channel`` or ``outbound``, with numbers.
            NodeError: the node does not say.
        """
        last = self._last
        if last is not None and asyncio.get_running_loop().time() - last.asked_at < trusted_seconds:
            sent_since = self._sent_msat - last.sent_before_msat
            if sendable_sat(last.channels, max_parts) * 1000 - sent_since >= amount_msat:
                return
        channels = (await self._reading.get()).channels
        sendable = sendable_sat(channels, max_parts)
        if sendable * 1000 < amount_msat:
            _check_active(channels)
            raise InsufficientFunds(
                f"{_sat(amount_msat)} cannot be sent: the channels allow {sendable} sat at most",
                code="outbound",
                protocol=LIGHTNING,
                remedy="open a channel, or receive something over one",
            )

    async def check_receivable(self, amount_msat: int) -> None:
        """Refuse an offer that nobody can pay over the channels as they are now.

        Raises:
            InsufficientFunds: ``no_channel`` or ``inbound``, with numbers.
            NodeError: the node does not say.
        """
        channels = (await self._reading.get()).channels
        receivable = receivable_sat(channels)
        if receivable * 1000 < amount_msat:
            _check_active(channels)
            raise InsufficientFunds(
                f"{_sat(amount_msat)} cannot be received: the channels allow {receivable} sat at most",
                code="inbound",
                protocol=LIGHTNING,
                remedy="get a channel from others, or send something over one",
            )

    def sent(self, amount_msat: int) -> None:
        """Told with every payment that is handed to the node, before it is."""
        self._sent_msat += amount_msat

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._reading.aclose()

    async def _read(self) -> _Reading:
        asked_at, sent_before = asyncio.get_running_loop().time(), self._sent_msat
        reading = _Reading(await self._node.channels(), asked_at, sent_before)
        if self._last is None or self._last.asked_at <= asked_at:
            self._last = reading
        return reading


def _check_active(channels: Sequence[Channel]) -> None:
    if not any(channel.is_active for channel in channels):
        raise InsufficientFunds(
            f"no channel is active, of {len(channels)} that are open",
            code="no_channel",
            protocol=LIGHTNING,
            remedy="open a channel, or connect to the peers of those that are open",
        )


def _sat(amount_msat: int) -> str:
    return f"{-(-amount_msat // 1000)} sat"
