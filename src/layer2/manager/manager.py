"""``Layer2Manager``: all configured layers, and transfers between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from layer2.aio.blocking import twin
from layer2.errors import InitializationError, JournalBusy
from layer2.manager.calls import TransferCalls
from layer2.manager.protocols import ProtocolAccess
from layer2.manager.verification import configured_policy, verify_proof
from layer2.manager.wiring import failures_of
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.client import Layer2ProtocolAsync
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.terms.transfers import Transfer

__all__ = ["Layer2Manager"]


class Layer2Manager(TransferCalls, ProtocolAccess):
    """All configured layers, and transfers between them.

    Example::

        async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
            await layers.initialize_all_async()
            proof = await layers.cross_layer_transfer_async(
                BTC, 100_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, max_fee=1_000
            )

    It belongs to the event loop that entered it. Blocking programs use plain ``with`` and the ``_sync`` twins; it
    then owns one thread with a loop. Leaving the block never waits for a transfer: open ones are logged with their
    deadlines, and go on at the next start.

    Args:
        config: which nodes, keys, providers and limits.
        clock: this machine's clock; only tests give another one.
        entropy: where swap ids come from; only tests give another one.
    """

    async def initialize_all_async(self, *, timeout: float | None = None) -> None:
        """Initialize all configured layers at once, and go on with every open transfer.

        Nothing waits for a layer that is away: transfers go on at once with the layers that are up, and one that is
        away joins when it is back.

        Raises:
            InitializationError: lists every layer that failed and why; the others stay usable.
            JournalBusy: another process goes on with the transfers of this journal; all layers stay usable, and so
                does what reads.
            ConfigurationError: code ``no_transfers``: transfers are open, and what they need to go on is not
                configured any more; the layers stay usable.
        """
        wiring, busy = self._entered(), None
        open_transfers: Sequence[Transfer] = ()
        if wiring.can_transfer:
            try:
                open_transfers = await wiring.taker().resume()
            except JournalBusy as error:
                busy = error
        results = await asyncio.gather(
            *(self._limited(legs.join(), timeout, "initialize_all_async") for legs in wiring.legs.values()),
            return_exceptions=True,
        )
        failures = failures_of(dict(zip(wiring.legs, results, strict=True)))
        for layer in failures:
            wiring.keep_joining(layer)
        if failures:
            raise InitializationError({layer.value: error for layer, error in failures.items()}, open_transfers)
        if busy is not None:
            raise busy
        await wiring.check_nothing_is_left_alone()

    async def verify_cross_layer_proof_async(
        self, proof: TransferProof, *, policy: ProofPolicy | None = None, timeout: float | None = None
    ) -> bool:
        """Whether a proof shows a completed transfer, under a policy.

        Args:
            policy: omitted: the terms are signed by a provider in the configuration, on its network and in its
                token, both legs are bound to them, and the header is canonical at your own node at the finality that
                the terms name. A policy that is given is used as it is, with the configuration's providers,
                networks and tokens where it names none.

        Returns:
            True for a completed transfer with everything shown that the policy requires; False where it is decided
            that not, a refunded transfer included.

        Raises:
            InvalidRequest: the policy has a ``trusted_header``: that is for ``check_proof``, which takes headers.
            ProofUndecided: your node cannot tell now; says when to ask again.
        """
        wiring = self._entered()
        checked = verify_proof(proof, configured_policy(self.config, policy), wiring.clients)
        return await self._limited(checked, timeout, "verify_cross_layer_proof_async")

    def _client(self, protocol_type: Layer2ProtocolType) -> Layer2ProtocolAsync[Any, Any, Any, Any] | None:
        return self._entered().clients.get(protocol_type)

    initialize_all_sync = twin(initialize_all_async)
    verify_cross_layer_proof_sync = twin(verify_cross_layer_proof_async)
