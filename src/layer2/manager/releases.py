"""Fetching release signatures: a provider that will not pay hands them over, and the taker takes its money back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from layer2.aio.background import Repeated
from layer2.assembly import open_providers
from layer2.config import Layer2Config
from layer2.errors import Layer2Error
from layer2.legs.leg import Htlc
from layer2.legs.views import Release
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.provider_client import ProviderClient
from layer2.swap_engine.records import record_terms
from layer2.terms.signing import terms_hash

__all__ = ["Releases", "open_releases"]

LOG: Final = logging.getLogger("layer2.manager")
_POLL_SECONDS: Final = 5.0


class Releases:
    """Asks the providers of open transfers whose payee cannot release alone.

    It costs nothing for other transfers, of which there can be very many.

    Args:
        journal: has the transfers.
        legs: the party's layers.
        providers: by name.
        poll_seconds: between two requests for a transfer.
    """

    def __init__(
        self,
        journal: SwapJournal,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        providers: Mapping[str, ProviderClient],
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._journal = journal
        self._legs = legs
        self._providers = providers
        self._asked: set[SwapId] = set()
        self.background = Repeated("releases", self._look, poll_seconds)
        """Asks until it is closed."""

    def note(self, record: SwapRecord) -> None:
        """Note a version of a transfer. The engine announces each transfer when it begins to drive it, and each change.

        A final transfer can be reopened, by a payment of others that arrives late. It is announced then.
        """
        if record.is_final:
            self._asked.discard(record.swap_id)
        elif (signed := record_terms(record)) is not None and signed.terms.source.release is Release.COSIGNED:
            self._asked.add(record.swap_id)

    async def _look(self) -> None:
        for swap_id in tuple(self._asked):
            record = await self._journal.load(swap_id)
            if record is not None and not record.is_final:
                await self._ask(record)

    async def _ask(self, record: SwapRecord) -> None:
        signed = record_terms(record)
        if signed is None or record.access is None:
            return
        source, provider = signed.terms.source, self._providers.get(record.provider_name or "")
        layer = self._legs.get(source.protocol)
        if provider is None or layer is None:
            return
        try:
            release = await provider.release_of(record.swap_id, record.access)
            if release is not None:
                await layer.take_release(Htlc(source, signed.terms.payment_hash, terms_hash(signed.terms)), release)
        except Layer2Error as error:
            LOG.debug("swap %s: the provider's release cannot be read: %s", record.swap_id, error)


def open_releases(
    config: Layer2Config,
    journal: SwapJournal,
    legs: Mapping[Layer2ProtocolType, HtlcLayer],
    closing: AsyncExitStack,
) -> Releases:
    """Releases with connections of their own to the providers. The caller notes the transfers, and starts it."""
    providers = open_providers(config, closing)
    return Releases(journal, legs, {provider.endpoint.name: provider for provider in providers})
