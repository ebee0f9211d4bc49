"""What is new about legs on Bitcoin's chain: one reading of the chain serves every swap that sleeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from layer2.errors import NodeError
from layer2.ports.legs import LegListener
from layer2.protocols.bitcoin.chain.follower import ChainFollower

__all__ = ["ChainNews"]

LOG: Final = logging.getLogger("layer2.bitcoin")


@dataclass(slots=True)
class _Followed:
    listener: LegListener
    look: Callable[[], object]
    seen: object


class ChainNews:
    """Reads the chain and the mempool as long as any leg is followed, and reports legs that look different.

    It compares what there is with what there was, and no events. So a reading that fails, or a block that is skipped,
    hides nothing: the next reading shows what remains of it.

    Args:
        follower: the chain as the client sees it.
        poll_seconds: the pause between two readings.
    """

    def __init__(self, follower: ChainFollower, poll_seconds: float) -> None:
        self._follower = follower
        self._poll_seconds = poll_seconds
        self._followed: dict[bytes, list[_Followed]] = {}
        self._compared: object = None
        """The newest chain and mempool that every followed leg was compared with."""
        self._running: asyncio.Task[None] | None = None

    def follow(self, payment_hash: bytes, listener: LegListener, look: Callable[[], object]) -> None:
        """Report to a listener, until ``unfollow``, that a leg under a hash looks different than now.

        Args:
            payment_hash: 32 bytes.
            look: returns what the last reading shows of the leg. It may raise NodeError, which counts as different.
        """
        self._followed.setdefault(payment_hash, []).append(_Followed(listener, look, look()))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(), name="layer2-bitcoin-news")

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """End ``follow``. Has no effect for a listener that does not follow the hash."""
        kept = [each for each in self._followed.pop(payment_hash, ()) if each.listener is not listener]
        if kept:
            self._followed[payment_hash] = kept

    def compare(self, payment_hash: bytes) -> None:
        """Report the legs under a hash if they look different."""
        for each in tuple(self._followed.get(payment_hash, ())):
            try:
                now = each.look()
            except NodeError:
                now = None
            if now is None or now != each.seen:
                each.seen = now
                each.listener.changed()

    async def aclose(self) -> None:
        """End the task. Nothing is reported from now on."""
        self._followed.clear()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._followed:
                await asyncio.sleep(self._poll_seconds)
                try:
                    await self._follower.read()
                except NodeError as error:
                    # A sleeping swap needs no turn because its node is down.
                    LOG.debug("the chain cannot be read: %s", error)
                    continue
                shown = self._follower.shown
                if shown != self._compared:
                    self._compared = shown
                    for payment_hash in tuple(self._followed):
                        self.compare(payment_hash)
        except Exception:
            # A fault in this package must not leave a swap asleep.
            LOG.exception("the legs on Bitcoin's chain are no longer followed")
            for legs in tuple(self._followed.values()):
                for each in tuple(legs):
                    each.listener.missed()
        finally:
            self._running = None
