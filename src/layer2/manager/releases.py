"""Fetching release signatures: a provider that will not pay hands them over, and the taker takes its money back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from layer2.errors import Layer2Error
from layer2.legs.leg import Htlc
from layer2.legs.views import Release
from layer2.manager.background import Repeated
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.provider_client import ProviderClient
from layer2.swap_engine.records import record_terms
from layer2.terms.signing import terms_hash

__all__ = ["Releases"]

LOG: Final = logging.getLogger("layer2.manager")


class Releases:
    """Asks the providers of open transfers whose payee cannot release alone.

    Args:
        journal: has the open transfers.
        legs: the party's layers.
        providers: by name.
        poll_seconds: between two requests for a transfer.
    """

    def __init__(
        self,
        journal: SwapJournal,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        providers: Mapping[str, ProviderClient],
        poll_seconds: float,
    ) -> None:
        self._journal = journal
        self._legs = legs
        self._providers = providers
        self.background = Repeated("releases", self._look, poll_seconds)
        """Asks until it is closed."""

    async def _look(self) -> None:
        for record in await self._journal.list(role=Role.TAKER, open_only=True):
            await self._ask(record)

    async def _ask(self, record: SwapRecord) -> None:
        signed = record_terms(record)
        if signed is None or signed.terms.source.release is not Release.COSIGNED or record.access is None:
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
