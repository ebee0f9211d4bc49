"""A stream for each invoice that may be held, up to a limit: only such a stream tells that one is."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial

from layer2.errors import Layer2Error
from layer2.protocols.lightning.invoices.records import InvoiceRecord, read_invoice
from layer2.protocols.lightning.lnd.lasting import LastingRead
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["HoldStreams"]


class HoldStreams:
    """Follows single invoices; those beyond the limit stand in line for a stream that ends.

    Args:
        rest: the way to the node.
        most: streams open at once.
        heard: hears each record, the present one first.
        failed: hears the hash whose stream cannot be had, and why.
    """

    def __init__(
        self,
        rest: LndRest,
        most: int,
        heard: Callable[[InvoiceRecord], None],
        failed: Callable[[bytes, Layer2Error], None],
    ) -> None:
        self._rest = rest
        self._most = most
        self._heard = heard
        self._failed = failed
        self._streams: dict[bytes, LastingRead] = {}
        self._waiting: dict[bytes, None] = {}
        self._ending: set[LastingRead] = set()

    def has_stream(self, payment_hash: bytes) -> bool:
        """Whether it is followed, and not only standing in line."""
        return payment_hash in self._streams

    def want(self, payment_hash: bytes) -> None:
        """Follow it, as soon as there is room."""
        if payment_hash not in self._streams:
            self._waiting[payment_hash] = None
            self._fill()

    def drop(self, payment_hash: bytes) -> None:
        """Follow it no more; the next in line has its stream."""
        self._waiting.pop(payment_hash, None)
        if (stream := self._streams.pop(payment_hash, None)) is not None:
            stream.stop()
            self._ending = {stream, *(ending for ending in self._ending if not ending.has_ended)}
            self._fill()

    async def aclose(self) -> None:
        """End all of them."""
        self._waiting.clear()
        streams = [*self._streams.values(), *self._ending]
        self._streams.clear()
        await asyncio.gather(*[stream.aclose() for stream in streams])

    def _fill(self) -> None:
        while self._waiting and len(self._streams) < self._most:
            payment_hash = next(iter(self._waiting))
            del self._waiting[payment_hash]
            stream = self._streams[payment_hash] = LastingRead(
                "the stream of a held invoice",
                partial(self._read, payment_hash),
                partial(self._fail, payment_hash),
            )
            stream.start()

    def _fail(self, payment_hash: bytes, error: Layer2Error) -> None:
        self._streams.pop(payment_hash, None)
        self._failed(payment_hash, error)
        self._fill()

    async def _read(self, payment_hash: bytes) -> None:
        path = f"/v2/invoices/subscribe/{urlsafe_b64encode(payment_hash).decode()}"
        async with self._rest.stream("GET", path, watch=True) as messages:
            async for message in messages:
                invoice = read_invoice(message)
                if invoice.payment_hash != payment_hash:
                    raise message.wrong("it is another invoice than was asked for")
                if (stream := self._streams.get(payment_hash)) is not None:
                    stream.lasts()
                self._heard(invoice)
                if invoice.state.is_final:
                    self.drop(payment_hash)
