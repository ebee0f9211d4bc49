"""The amounts that the channels can send and receive, with as few requests as possible."""

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
"""Seconds for which a reading, less what was sent since, is enough to allow a payment."""


@dataclass(frozen=True, slots=True)
class _Reading:
    channels: Sequence[Channel]
    asked_at: float
    sent_before_msat: int


class Liquidity:
    """The limits of one node's channels.

    All figures are upper bounds: a payment above them is certain to fail, and one within them may still fail.

    A reading of the last ten seconds, less everything that was sent since, is enough to allow a payment. So a series of
    payments needs one request in ten seconds. A refusal always needs a new reading.

    Args:
        node: reads the channels.
    """

    def __init__(self, node: LndNode) -> None:
        self._node = node
        self._reading = SharedCall(self._read)
        self._last: _Reading | None = None
        self._sent_msat = 0

    async def balance(self) -> Balance:
        """Return the balance of the channels now. Concurrent calls share one request.

        Raises:
            NodeError: the node did not answer, or refused.
        """
        return balance_of((await self._reading.get()).channels)

    async def check_sendable(
        self, amount_msat: int, *, max_parts: int | None = None, trusted_seconds: float = _TRUSTED
    ) -> None:
        """Refuse a payment that the channels cannot carry.

        Args:
            amount_msat: including the routing fee that must be available.
            max_parts: maximum number of parts; None for no limit.
            trusted_seconds: maximum age of a reading that allows the payment; 0 always reads again.

        Raises:
            InsufficientFunds: ``no_channel`` or ``outbound``, with numbers.
            NodeError: the node did not answer, or refused.
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
                f"{_sat(amount_msat)} cannot be sent: the channels allow at most {sendable} sat",
                code="outbound",
                protocol=LIGHTNING,
                remedy="open a channel, or receive a payment",
            )

    async def check_receivable(self, amount_msat: int) -> None:
        """Refuse an amount that the channels cannot receive.

        Raises:
            InsufficientFunds: ``no_channel`` or ``inbound``, with numbers.
            NodeError: the node did not answer, or refused.
        """
        channels = (await self._reading.get()).channels
        receivable = receivable_sat(channels)
        if receivable * 1000 < amount_msat:
            _check_active(channels)
            raise InsufficientFunds(
                f"{_sat(amount_msat)} cannot be received: the channels allow at most {receivable} sat",
                code="inbound",
                protocol=LIGHTNING,
                remedy="have a peer open a channel to you, or send a payment",
            )

    def sent(self, amount_msat: int) -> None:
        """Count a payment. Call it before the payment is handed to the node."""
        self._sent_msat += amount_msat

    async def aclose(self) -> None:
        """Cancel the request that is under way."""
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
            f"none of the {len(channels)} open channels is active",
            code="no_channel",
            protocol=LIGHTNING,
            remedy="open a channel, or connect to the peers of the open channels",
        )


def _sat(amount_msat: int) -> str:
    return f"{-(-amount_msat // 1000)} sat"
