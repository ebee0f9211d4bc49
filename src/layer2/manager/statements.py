"""Asking providers how transfers ended: their completion statements are stored with the proofs.

A statement adds to a proof, and nothing waits for it. A provider that refuses, lies or is away changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.aio.background import Repeated
from layer2.errors import Layer2Error, StatementRefused
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import SignedStatement
from layer2.provider_client import ProviderClient
from layer2.swap_engine.records import record_state
from layer2.swap_rules.states import TakerCompleted, TakerRefunded
from layer2.terms.documents import Terms

__all__ = ["StatementRequests", "statement_of"]

LOG: Final = logging.getLogger("layer2.manager")
_POLL_SECONDS: Final = 1.0
_PAUSES: Final = (2.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0)
"""Seconds before each try: the provider waits until its end is final, which takes minutes on some layers, and hours on
others. After the last one, ``layer2 proof complete`` asks."""
_MOST_WAITING: Final = 10_000


async def statement_of(record: SwapRecord, terms: Terms, provider: ProviderClient) -> SignedStatement:
    """The provider's statement of how a transfer ended, which is asked for once.

    Args:
        record: of the taker's journal; it has the access token.

    Raises:
        StatementRefused: the provider states nothing, or nothing yet; or the record has no token.
        ProofRefused: the provider's answer is no statement about these terms.
        NodeError, UnknownTransfer: as ``ProviderClient.completion_statement``.
    """
    if record.access is None:
        raise StatementRefused("no terms were agreed with the provider", transfer_id=record.swap_id)
    return await provider.completion_statement(terms, record.access)


@dataclass(slots=True)
class _Asking:
    """A transfer whose provider is still to be asked."""

    at: float
    """When, by the clock of the event loop."""
    tries: int = 0


class StatementRequests:
    """Requests to the provider of each transfer that ends, a few times, in the background.

    Args:
        journal: has the transfers, and gets the statements.
        providers: by name.
        pauses: seconds before each try.
        poll_seconds: between two looks at what is due.
    """

    def __init__(
        self,
        journal: SwapJournal,
        providers: Mapping[str, ProviderClient],
        pauses: Sequence[float] = _PAUSES,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._journal = journal
        self._providers = providers
        self._pauses = tuple(pauses)
        self._asked: dict[SwapId, _Asking] = {}
        self.background = Repeated("statements", self._look, poll_seconds)
        """Asks until it is closed."""

    def note(self, record: SwapRecord) -> None:
        """Note a version of a transfer. The engine announces each change."""
        has_ended = record.role is Role.TAKER and isinstance(record_state(record), TakerCompleted | TakerRefunded)
        if not has_ended:
            # A final transfer can be reopened.
            self._asked.pop(record.swap_id, None)
        elif record.swap_id not in self._asked and len(self._asked) < _MOST_WAITING:
            self._asked[record.swap_id] = _Asking(asyncio.get_running_loop().time() + self._pauses[0])

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for swap_id, asking in tuple(self._asked.items()):
            if asking.at <= now:
                await self._ask(swap_id, asking)

    async def _ask(self, swap_id: SwapId, asking: _Asking) -> None:
        pause: float | None = None
        try:
            await self._fetch(swap_id)
        except Layer2Error as error:
            LOG.debug("swap %s: the provider states nothing: %s", swap_id, error)
            asking.tries += 1
            if error.retryable and asking.tries < len(self._pauses):
                pause = max(self._pauses[asking.tries], error.retry_after or 0.0)
        if self._asked.get(swap_id) is not asking:
            return
        if pause is None:
            del self._asked[swap_id]
        else:
            asking.at = asyncio.get_running_loop().time() + pause

    async def _fetch(self, swap_id: SwapId) -> None:
        record = await self._journal.load(swap_id)
        provider = None if record is None else self._providers.get(record.provider_name or "")
        if record is None or not record.is_final or provider is None:
            return
        data = await self._journal.load_proof(swap_id)
        if data is None:
            # A statement alone is no proof.
            return
        proof = TransferProof.from_bytes(data)
        if proof.statement is None:
            statement = await statement_of(record, proof.terms.terms, provider)
            await self._journal.save_proof(swap_id, proof.with_statement(statement).to_bytes())
