"""Layers whose node may be down when a program starts."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Final

from layer2.aio.shared_call import SharedCall
from layer2.errors import AsyncRuntimeError, BadAnswer, InsufficientFunds, Layer2Error, NodeUnreachable, Outcome
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.money import BTC, Balance
from layer2.model.transactions import Preimage
from layer2.ports.client import Client
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer, LegListener
from layer2.ports.nonces import NonceClaim

__all__ = ["JoiningLegs"]

LOG: Final = logging.getLogger("layer2.assembly")

_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0
_CHECKED_AGAIN: Final = frozenset({"clock", "not_synced"})
"""Codes of checks that come last, and that every call which depends on them repeats. Held payments can be settled
although these checks fail."""


class JoiningLegs(HtlcLayer):
    """A layer's part in swaps that connects to its node and checks it before the first use.

    Nothing is read from an unchecked node: it could be on another chain.

    Raises, all methods: NodeUnreachable with outcome NOT_SENT until the layer has joined, AsyncRuntimeError after
        ``aclose``, and the errors of the layer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = client.protocol_type.value
        self._joining = SharedCall(self._initialize, life=math.inf)
        self.has_joined = False
        self._is_closed = False

    async def join(self) -> None:
        """Initialize the client, unless this was done.

        Raises:
            Layer2Error: as ``initialize_async`` of the client.
        """
        if not self.has_joined:
            await self._joining.get()

    async def keep_joining(self) -> None:
        """Call ``join`` until it succeeds, with growing pauses."""
        pause = _FIRST_RETRY_SECONDS
        while not self.has_joined:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
            try:
                await self.join()
            except Layer2Error as error:
                LOG.debug("%s is still down: %s", self._name, error)
            else:
                LOG.info("%s is up; its transfers continue", self._name)

    async def aclose(self) -> None:
        """Cancel a running attempt, and refuse later calls."""
        self._is_closed = True
        await self._joining.aclose()

    async def _initialize(self) -> None:
        await self._client.initialize_async()
        self.has_joined = True

    async def _joined(self) -> HtlcLayer:
        if self._is_closed:
            raise AsyncRuntimeError(f"the client of {self._name} is closed", code="closed")
        try:
            await self.join()
        except Layer2Error as error:
            if isinstance(error, BadAnswer) and error.code in _CHECKED_AGAIN:
                return self._client.legs
            raise NodeUnreachable(
                f"{self._name} cannot be used yet: {error.message}",
                protocol=self._name,
                outcome=Outcome.NOT_SENT,
                remedy=error.remedy,
            ) from error
        return self._client.legs

    async def leg_offer(self) -> LegOffer:
        """See ``HtlcLayer``."""
        return await (await self._joined()).leg_offer()

    async def offer(self, request: OfferRequest) -> str:
        """See ``HtlcLayer``."""
        return await (await self._joined()).offer(request)

    async def network_cost(self, amount: int) -> int | None:
        """See ``HtlcLayer``."""
        return await (await self._joined()).network_cost(amount)

    async def check_can_pay(self, amount: int) -> None:
        """See ``HtlcLayer``: the client's balance of bitcoin."""
        await self._joined()
        spendable = (await self._client.balances_async()).get(BTC, Balance(0)).spendable
        if spendable < amount:
            account = await self._client.receive_address_async()
            raise InsufficientFunds(
                f"your account {account} on {self._name} can spend {spendable} sat; the transfer needs {amount} sat",
                protocol=self._name,
                remedy="send bitcoin to the account, or transfer less",
            )

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).check_can_finish(htlc, side)

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).reserve(htlc, side)

    def free(self, htlc: Htlc) -> None:
        """See ``HtlcLayer``."""
        self._client.legs.free(htlc)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """See ``HtlcLayer``."""
        return await (await self._joined()).prepare(verb, htlc, preimage)

    def discard(self, act: Json) -> None:
        """See ``HtlcLayer``."""
        self._client.legs.discard(act)

    def nonces(self, act: Json, *, is_journaled: bool) -> Sequence[NonceClaim]:
        """See ``HtlcLayer``; needs no node."""
        return self._client.legs.nonces(act, is_journaled=is_journaled)

    async def perform(self, act: Json) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).perform(act)

    async def act_status(self, act: Json) -> ActStatus:
        """See ``HtlcLayer``."""
        return await (await self._joined()).act_status(act)

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """See ``HtlcLayer``."""
        return await (await self._joined()).repriced(act, htlc)

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """See ``HtlcLayer``."""
        return await (await self._joined()).observe(htlc, side)

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).wait_for_change(htlc, view)

    @property
    def can_follow(self) -> bool:
        """See ``HtlcLayer``: once the layer has joined."""
        return self.has_joined and not self._is_closed and self._client.legs.can_follow

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """See ``HtlcLayer``."""
        return self._client.legs.follow(htlc, side, view, listener) if self.can_follow else None

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """See ``HtlcLayer``."""
        self._client.legs.unfollow(payment_hash, listener)

    async def read_clock(self) -> ClockReading:
        """See ``HtlcLayer``."""
        return await (await self._joined()).read_clock()

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """See ``HtlcLayer``."""
        return await (await self._joined()).evidence(htlc, side)

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        """See ``HtlcLayer``."""
        return await (await self._joined()).late_fundings(since)

    async def take_release(self, htlc: Htlc, release: Json) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).take_release(htlc, release)

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        """See ``HtlcLayer``."""
        await (await self._joined()).courtesy(htlc, preimage)
