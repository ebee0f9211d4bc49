"""Streams of payments that were sent, read on in the background: who waits is told, and connections are kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from layer2.protocols.lightning.lnd.answers import LndObject
from layer2.protocols.lightning.lnd.stream import LndStream

__all__ = ["SendStreams"]

LOG: Final = logging.getLogger("layer2.lightning")


class SendStreams:
    """Reads streams to their end, a limited number at a time.

    Losing one loses no payment: what it would have told is also told by others, later.

    Args:
        most: how many; with one more the oldest is given up.
        ended: hears the payment hash of each that is not read any more.
    """

    def __init__(self, most: int, ended: Callable[[bytes], None]) -> None:
        self._most = most
        self._say_ended = ended
        self._readers: dict[asyncio.Task[None], bytes] = {}

    def __len__(self) -> int:
        return len(self._reading())

    def __contains__(self, payment_hash: bytes) -> bool:
        return any(known == payment_hash and not reader.cancelling() for reader, known in self._readers.items())

    def follow(self, payment_hash: bytes, stream: LndStream, told: Callable[[LndObject], object]) -> None:
        """Take a stream over, and read what is left of it.

        Args:
            told: hears each message.
        """
        reader = asyncio.get_running_loop().create_task(_read(stream, told))
        self._readers[reader] = payment_hash
        reader.add_done_callback(partial(self._ended, stream))
        reading = self._reading()
        if len(reading) > self._most:
            reading[0].cancel()

    async def aclose(self) -> None:
        """Give all of them up. The payments go on in the node."""
        readers = list(self._readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    def _reading(self) -> list[asyncio.Task[None]]:
        """Those that go on, the oldest first."""
        return [reader for reader in self._readers if not reader.done() and not reader.cancelling()]

    def _ended(self, stream: LndStream, reader: asyncio.Task[None]) -> None:
        payment_hash = self._readers.pop(reader)
        # Here and not in the task, which may have been cancelled before it began.
        stream.close()
        if not reader.cancelled() and (error := reader.exception()) is not None:
            LOG.info("the stream of a payment ended, and its outcome is told otherwise: %s", error)
        self._say_ended(payment_hash)


async def _read(stream: LndStream, told: Callable[[LndObject], object]) -> None:
    async for message in stream:
        told(message)
