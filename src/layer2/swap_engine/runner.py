"""Carries swaps out: observe both legs, let the machine decide, journal, act, wait. Signatures first; bodies follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from layer2.interfaces import Clock, PreimageSource, Role, SwapJournal, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.proofs.model import LegEvidence
from layer2.protocol_client import HtlcLayer
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import SignedTerms
from layer2.transactions import SwapId

__all__ = ["MakeProof", "SwapRunner", "SwapStore"]


class SwapStore(SwapJournal, Protocol):
    """A journal that also keeps proofs; ``SqliteJournal`` is one."""

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None: ...

    async def load_proof(self, swap_id: SwapId) -> bytes | None: ...


class MakeProof(Protocol):
    """Makes the bytes of a proof from the signed terms and the evidence of each leg (None where a layer leaves none)."""

    def __call__(
        self, signed_terms: SignedTerms, source: LegEvidence | None, destination: LegEvidence | None
    ) -> bytes: ...


class SwapRunner:
    """Drives swaps of both roles. It belongs to the event loop in which it is used.

    Args:
        preimages: makes the preimages of own swaps; None for a provider.
        settings: of the network that all swaps are on.
        on_change: called in the loop with every new version of a record; must not block.
        make_proof: None makes no proofs.
    """

    def __init__(
        self,
        journal: SwapStore,
        layers: Mapping[Layer2ProtocolType, HtlcLayer],
        preimages: PreimageSource | None,
        settings: TimelockSettings,
        clock: Clock,
        on_change: Callable[[SwapRecord], None] | None = None,
        *,
        make_proof: MakeProof | None = None,
    ) -> None:
        raise NotImplementedError

    def drive(self, record: SwapRecord) -> None:
        """Go on with an agreed swap in the background; a swap that is being driven already stays as it is."""
        raise NotImplementedError

    async def resume(self, roles: Sequence[Role] = (Role.TAKER, Role.PROVIDER)) -> Sequence[SwapRecord]:
        """Drive every open swap that has terms; return those."""
        raise NotImplementedError

    async def wait(self, swap_id: SwapId) -> SwapRecord:
        """Return the record once it is final. Cancelling the wait never touches the swap.

        Raises:
            UnknownTransfer: the journal has no such swap.
            TaskCancelled: the runner was closed meanwhile.
        """
        raise NotImplementedError

    def watch(self, swap_id: SwapId) -> AsyncIterator[SwapRecord]:
        """The record as it is, then every new version that this runner writes or sees, up to the final one.

        Raises: as ``wait``.
        """
        raise NotImplementedError

    async def aclose(self) -> Sequence[SwapRecord]:
        """Stop driving at once, without waiting for any swap; return the open ones that were driven."""
        raise NotImplementedError
