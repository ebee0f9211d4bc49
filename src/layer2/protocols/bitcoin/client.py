"""The client of Bitcoin's chain: single transactions, and legs of swaps (``legs``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import ClassVar, Final

from layer2.aio.blocking import iterator_twin, twin
from layer2.aio.deadline import Deadline
from layer2.errors import AsyncRuntimeError, InvalidRequest, NodeError, UnknownAsset
from layer2.formats import segwit_address
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance, checked_amount
from layer2.model.transactions import BitcoinTxId, Finality, TxState, TxStatus
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import Clock, SystemClock
from layer2.ports.journal import ClientRecords
from layer2.protocols.bitcoin.chain.evidence import is_canonical
from layer2.protocols.bitcoin.htlc.legs import BitcoinLegs
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.requests import BitcoinOutput, BitcoinPayment, BitcoinTransaction
from layer2.protocols.bitcoin.send_statuses import SendStatuses
from layer2.protocols.bitcoin.sends import Sends
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.signers.bitcoin import BitcoinSeed

__all__ = ["BitcoinClient"]

_SAFE_DEPTH: Final = 3
_PROGRESS: Final = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}
_PATIENCE: Final = 3
"""Failed readings in a row that end a watch."""


class BitcoinClient(Layer2ProtocolAsync[BitcoinTransaction, BitcoinTxId, str, BitcoinSpendEvidence]):
    """Bitcoin's chain through a node or an Esplora server, with the party's own wallet.

    A closed client refuses every call with ``AsyncRuntimeError``. ``legs`` is its interface for swaps.

    Args:
        settings: sources, wallet and limits.
        seed: the wallet's BIP 39 mnemonic.
        records: the durable record of sends, and of the coins that swaps and sends hold. Every transaction is recorded
            before it is sent. ``SqlJournal`` keeps it in a file.
        clock: this machine's clock; None is the system's.

    Raises:
        ConfigurationError: a setting is invalid, or ``layer2[bitcoin]`` is not installed.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BITCOIN

    legs: BitcoinLegs

    def __init__(
        self,
        settings: BitcoinSettings,
        seed: BitcoinSeed,
        records: ClientRecords,
        clock: Clock | None = None,
    ) -> None:
        parts = BitcoinParts(settings, seed, records, SystemClock() if clock is None else clock)
        self.settings = settings
        self._parts = parts
        self._statuses = SendStatuses(parts, records)
        self._sends = Sends(parts, records, self._statuses)
        self._is_closed = False
        # Set once: the narrower type is safe.
        self.legs = BitcoinLegs(parts)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __repr__(self) -> str:
        return f"BitcoinClient({self.settings.network})"

    async def aclose(self) -> None:
        """Close the connections, and end the client's tasks. Sent transactions are not recalled."""
        self._is_closed = True
        await self._parts.aclose()

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``. Checks the network by the chain's first block, and synchronises the wallet."""
        async with self._deadline("initialize_async", timeout):
            await self._parts.check_network()
            await self._parts.follower.read()
            await self._parts.coins.bring_up_to_date()

    async def submit_transaction_async(
        self, transaction: BitcoinTransaction, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[BitcoinTxId]:
        """See ``Layer2ProtocolAsync``.

        Args:
            transaction: a payment that the wallet completes and signs, or a signed transaction as bytes.
        """
        tx_id = await self._submit("submit_transaction_async", transaction, idempotency_key, timeout)
        return TxStatus(tx_id, TxState.PENDING)

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> BitcoinTxId:
        """See ``Layer2ProtocolAsync``: pays satoshi to an address of any kind on the configured network."""
        if asset_id != BTC:
            raise UnknownAsset(f"BITCOIN supports layer2.BTC, not {asset_id!r}")
        payment = BitcoinPayment((BitcoinOutput(recipient, checked_amount(amount)),))
        return await self._submit("transfer_asset_async", payment, idempotency_key, timeout)

    async def replace_transaction_async(
        self, tx_id: BitcoinTxId, *, fee_rate: int | None = None, timeout: float | None = None
    ) -> BitcoinTxId:
        """Send a pending transaction again with a higher fee (BIP 125).

        Args:
            tx_id: a transaction in this client's record. If it was replaced before, the newest version is replaced.
            fee_rate: satoshi per 1,000 virtual bytes; None is the estimate. It is raised to 1 sat/vB more than before,
                and the fee to what nodes demand of a replacement.

        Returns:
            The id of the replacement, which is recorded before it is sent. At most one version is ever in a block.
            Each call makes another version with a higher fee, also if the given rate is lower than the last one.

        Raises:
            TransactionError: the transaction is not recorded (``not_recorded``), in a block already (``mined``), or
                another send spends its change (``has_child``).
            InsufficientFunds: the coins that nothing else holds do not suffice for the fee.
            FundsRulesError: the rate exceeds ``max_fee_rate`` (``fee_cap``).
        """
        deadline = self._deadline("replace_transaction_async", timeout)
        async with deadline:
            return await self._sends.replace(tx_id, fee_rate, partial(setattr, deadline, "tx_id"))

    async def cancel_transaction_async(self, tx_id: BitcoinTxId, *, timeout: float | None = None) -> BitcoinTxId:
        """Replace a pending transaction by one that returns its coins to the wallet.

        Returns:
            The id of the replacement. The cancellation is effective once the replacement is in a block. Until then the
            original may still be included.

        Raises:
            As ``replace_transaction_async``.
        """
        deadline = self._deadline("cancel_transaction_async", timeout)
        async with deadline:
            return await self._sends.cancel(tx_id, partial(setattr, deadline, "tx_id"))

    async def pay_for_parent_async(
        self, tx_id: BitcoinTxId, *, fee_rate: int, timeout: float | None = None
    ) -> BitcoinTxId:
        """Spend the wallet's output of a pending transaction, so that both together pay a fee rate (CPFP).

        Args:
            tx_id: any pending transaction that pays to the wallet, also from another party.
            fee_rate: satoshi per 1,000 virtual bytes, over both transactions.

        Returns:
            The id of the child.

        Raises:
            TransactionError: the transaction, or another version of it, is in a block (``mined``); the source does not
                show it (``not_pending``); or it pays nothing to the wallet (``no_output``).
            FundsRulesError: the rate exceeds ``max_fee_rate`` (``fee_cap``), or another send spends the output already
                (``coins_held``).
        """
        deadline = self._deadline("pay_for_parent_async", timeout)
        async with deadline:
            return await self._sends.pay_for(tx_id, fee_rate, partial(setattr, deadline, "tx_id"))

    async def estimate_fee_rate_async(self, blocks: int = 6, *, timeout: float | None = None) -> int:
        """The estimated fee rate for inclusion within that many blocks, in satoshi per 1,000 virtual bytes.

        Raises:
            InvalidRequest: not from 1 to 1,008 blocks.
            NodeError: the source cannot be read.
        """
        if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= 1_008:
            raise InvalidRequest("blocks is a number from 1 to 1,008")
        async with self._deadline("estimate_fee_rate_async", timeout):
            return await self._parts.source.fee_rate(blocks)

    async def get_transaction_status_async(
        self, tx_id: BitcoinTxId, *, timeout: float | None = None
    ) -> TxStatus[BitcoinTxId]:
        """See ``Layer2ProtocolAsync``.

        Returns:
            DROPPED only for transactions in this client's record. A transaction that was replaced is UNKNOWN until a
            version is in a block; ``replaced_by`` is the newest version, whose status shows the progress.
        """
        async with self._deadline("get_transaction_status_async", timeout):
            return await self._statuses.status(tx_id)

    async def watch_transaction_async(self, tx_id: BitcoinTxId) -> AsyncGenerator[TxStatus[BitcoinTxId], None]:
        """Yield the current status, and each later one that differs, including after reorganisations.

        It ends after FINAL, and after DROPPED once what replaced the transaction is final.

        Raises:
            NodeError: the source did not answer several times in a row. The transaction is not affected.
        """
        self._check_open()
        last: TxStatus[BitcoinTxId] | None = None
        failures = 0
        while last is None or last.finality is not Finality.FINALIZED:
            try:
                status: TxStatus[BitcoinTxId] | None = await self._statuses.status(tx_id)
                failures = 0
            except NodeError:
                status, failures = None, failures + 1
                if failures == _PATIENCE:
                    raise
            self._check_open()
            if status is not None and status != last:
                last = status
                yield status
            else:
                await asyncio.sleep(self.settings.poll_interval_ms / 1_000)

    async def wait_for_status_async(
        self, tx_id: BitcoinTxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[BitcoinTxId]:
        """See ``Layer2ProtocolAsync``. A transaction that was replaced ends the wait when a version is in a block; wait
        for ``replaced_by`` instead.
        """
        if until not in _PROGRESS:
            raise InvalidRequest(f"cannot wait for {until.name}; wait for PENDING, INCLUDED or FINAL")
        self._check_open()
        deadline = Deadline("wait_for_status_async", timeout, self.protocol_type.value, tx_id=tx_id)
        async with deadline, aclosing(self.watch_transaction_async(tx_id)) as statuses:
            async for status in statuses:
                if _PROGRESS.get(status.state, _PROGRESS[TxState.FINAL]) >= _PROGRESS[until]:
                    return status
        raise AsyncRuntimeError("the watch ended before the transaction reached the status", protocol="BITCOIN")

    async def verify_proof_async(self, proof: BitcoinSpendEvidence, *, timeout: float | None = None) -> bool:
        """See ``Layer2ProtocolAsync``: whether the source's chain has the evidence's spend, ``final_depth`` deep.

        It does not check whose output it is: ``layer2.proofs`` compares it with signed terms.
        """
        async with self._deadline("verify_proof_async", timeout):
            return await is_canonical(self._parts.source, proof, self.settings.prefix, self.settings.final_depth)

    async def confirm_evidence(
        self, evidence: BitcoinSpendEvidence, *, contract: bytes | None, finality: Finality
    ) -> bool:
        """Whether the source's chain has the evidence's spend at the depth of a finality: 1, 3 or ``final_depth``.

        Raises:
            ProofUndecided: the block is not that deep yet.
        """
        self._check_open()
        depth = {Finality.LATEST: 1, Finality.SAFE: _SAFE_DEPTH, Finality.FINALIZED: self.settings.final_depth}[
            finality
        ]
        return await is_canonical(self._parts.source, evidence, self.settings.prefix, depth)

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """See ``Layer2ProtocolAsync``: BTC in satoshi.

        Returns:
            ``spendable`` is the confirmed coins that no swap and no send holds: what can fund a swap. ``reserved`` is
            the rest: held coins, and unconfirmed ones. A send can also spend the unconfirmed change of earlier sends,
            which is part of ``reserved`` until it is in a block.
        """
        async with self._deadline("balances_async", timeout):
            await self._parts.coins.bring_up_to_date()
            await self._statuses.release_finished()
            balance, held = await self._parts.coins.balance()
            pending = balance.pending + balance.pending_change
            return {BTC: Balance(balance.confirmed - held, reserved=held + pending)}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """See ``Layer2ProtocolAsync``: a fresh address (BIP 84)."""
        async with self._deadline("receive_address_async", timeout):
            script = await self._parts.coins.wallet.fresh_script()
            return segwit_address.encode_script(self.settings.prefix, script)

    async def _submit(
        self, operation: str, transaction: BitcoinTransaction, key: str | None, timeout: float | None
    ) -> BitcoinTxId:
        deadline = self._deadline(operation, timeout)
        async with deadline:
            return await self._sends.submit(transaction, key, partial(setattr, deadline, "tx_id"))

    def _deadline(self, operation: str, timeout: float | None) -> Deadline:
        self._check_open()
        seconds = self.settings.default_timeout if timeout is None else timeout
        return Deadline(operation, seconds, self.protocol_type.value, self._limit)

    def _check_open(self) -> None:
        if self._is_closed:
            raise AsyncRuntimeError("this BitcoinClient was closed; create a new one", protocol="BITCOIN")

    replace_transaction_sync = twin(replace_transaction_async)
    cancel_transaction_sync = twin(cancel_transaction_async)
    pay_for_parent_sync = twin(pay_for_parent_async)
    estimate_fee_rate_sync = twin(estimate_fee_rate_async)
    watch_transaction_sync = iterator_twin(watch_transaction_async)
