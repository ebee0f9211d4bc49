"""``Layer2Manager``: all configured layers, and transfers between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from layer2.aio.blocking import twin
from layer2.assembly.holders import answer_challenge
from layer2.errors import InitializationError, JournalBusy
from layer2.manager.arguments import check_type
from layer2.manager.calls import TransferCalls
from layer2.manager.completion import complete
from layer2.manager.protocols import ProtocolAccess
from layer2.manager.verification import configured_policy, confirmed_report, verify_proof
from layer2.manager.wiring import failures_of
from layer2.proofs.challenge import HolderAnswer, HolderChallenge
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.proofs.report import ProofReport
from layer2.terms.transfers import Transfer

__all__ = ["Layer2Manager"]


class Layer2Manager(TransferCalls, ProtocolAccess):
    """The clients of all configured layers, and transfers between the layers.

    Example::

        async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
            await layers.initialize_all_async()
            proof = await layers.cross_layer_transfer_async(
                BTC, 100_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, max_fee=1_000
            )

    A manager belongs to the event loop that entered it. Blocking programs use ``with`` and the ``_sync`` twins; the
    manager then runs a loop in a thread. Leaving the block never waits for a transfer: open transfers are logged with
    their deadlines, and resume at the next start.

    Args:
        config: nodes, keys, providers and limits.
        clock: this machine's clock; only tests pass another.
        entropy: the source of swap ids; only tests pass another.

    Raises:
        ConfigurationError: ``config`` is not a ``Layer2Config``.
    """

    async def initialize_all_async(self, *, timeout: float | None = None) -> None:
        """Initialize all configured layers concurrently, and resume every open transfer.

        Open transfers resume immediately on the layers that are up. A layer whose node is down joins when the node is
        up again.

        Raises:
            InitializationError: lists every layer that failed and the reason; the other layers stay usable.
            JournalBusy: another process drives the transfers of this journal; all layers and all reads stay usable.
            ConfigurationError: code ``no_transfers``: transfers are open, and the configuration lacks something that
                they need; the layers stay usable.
        """
        self._seconds(timeout)
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
        """Return whether a proof shows a completed transfer under a policy.

        A thin form of ``check_transfer_proof_async``, which also returns the reasons and the open points. Do not put
        the call in an ``assert``: ``python -O`` removes it.

        Args:
            policy: omitted, the terms must be signed by a configured provider, for its network and token; both legs
                must be bound to the terms; and your node must confirm the header at the finality that the terms name.
                Providers, networks and tokens that a policy does not name are those of the configuration.

        Returns:
            True if the transfer completed and everything that the policy requires is shown; False if a check failed
            or the transfer was refunded.

        Raises:
            ProofUndecided: your node cannot answer now; ask again.
            InvalidRequest: the policy has ``trusted_headers``, which are for ``check_proof``.
        """
        check_type("proof", proof)
        wiring = self._entered()
        whole = configured_policy(self.config, policy)
        checked = verify_proof(proof, whole, wiring.clients, network=self.config.network)
        return await self._limited(checked, timeout, "verify_cross_layer_proof_async")

    async def check_transfer_proof_async(
        self, proof: TransferProof, *, policy: ProofPolicy | None = None, timeout: float | None = None
    ) -> ProofReport:
        """Check a proof under a policy, with your own nodes, and return what it shows.

        Args:
            policy: as in ``verify_cross_layer_proof_async``.

        Returns:
            The report: ``outcome`` (completed or refunded), what each leg shows, and ``open_points``: what the proof
            does not show.

        Raises:
            ProofRefused: a check failed; ``check`` names it.
            ProofUndecided: your node cannot answer now; ask again.
            InvalidRequest: the policy has ``trusted_headers``, which are for ``check_proof``.
        """
        check_type("proof", proof)
        wiring = self._entered()
        whole = configured_policy(self.config, policy)
        checked = confirmed_report(proof, whole, wiring.clients, network=self.config.network)
        return await self._limited(checked, timeout, "check_transfer_proof_async")

    async def answer_holder_challenge_async(
        self, proof: TransferProof, challenge: HolderChallenge, *, timeout: float | None = None
    ) -> HolderAnswer:
        """Sign a verifier's challenge with a key that is the taker's in a proof.

        Before the call, compare ``challenge.verifier`` with the one that asks you: whoever gets the answer can use it
        there. No node is asked, and no money moves.

        Args:
            proof: your own copy.
            challenge: the verifier's.

        Returns:
            The answer, for ``layer2.proofs.check_answer``. The key is that of the source if the configuration has it,
            otherwise that of the destination.

        Raises:
            ProofRefused: the challenge is about another transfer.
            SignerError: the configuration has no key of the taker in the legs, or its file cannot be read.
        """
        check_type("proof", proof)
        check_type("challenge", challenge)
        self._entered()
        answering = answer_challenge(self.config, proof, challenge)
        return await self._limited(answering, timeout, "answer_holder_challenge_async")

    async def complete_proof_async(
        self, proof: TransferProof, *, from_storage: bool = False, timeout: float | None = None
    ) -> TransferProof:
        """Add to a proof what your nodes and the provider can show after the transfer.

        For a lock in an EVM contract without evidence, your node makes it from the contract's storage: whoever has the
        file can add it, a party or not. If your journal has the transfer and the proof has no completion statement, its
        provider is asked for one. A failure of one does not prevent the other. The journal does not change.

        Args:
            proof: of any transfer on the configured network.
            from_storage: make the evidence of every lock, also of one that has some.
            timeout: seconds for each of them.

        Returns:
            The proof with everything that could be added; the same proof if nothing is missing.

        Raises:
            ProofRefused: a check of the proof failed, or what was found contradicts it.
            ProofUndecided: the node shows no end of the lock.
            ProtocolNotImplemented: the nodes of the layer have no proofs of storage (Rootstock).
            ProtocolNotConfigured: the configuration has no table for the layer of the lock.
            UnknownTransfer: only the statement is missing, and the journal does not have the transfer.
            StatementRefused: the provider states nothing, or nothing yet.
            NodeError, AsyncTimeout: ask again. All of these except for the first are raised only if nothing was added.
        """
        check_type("proof", proof)
        check_type("from_storage", from_storage)
        wiring = self._entered()
        record = await wiring.records.find_id(proof.terms.terms.swap_id)
        completion = await complete(
            proof, record, self.config, wiring.clients, from_storage=from_storage, seconds=self._seconds(timeout)
        )
        return completion.result()

    initialize_all_sync = twin(initialize_all_async)
    complete_proof_sync = twin(complete_proof_async)
    answer_holder_challenge_sync = twin(answer_holder_challenge_async)
    check_transfer_proof_sync = twin(check_transfer_proof_async)
    verify_cross_layer_proof_sync = twin(verify_cross_layer_proof_async)
