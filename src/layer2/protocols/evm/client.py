"""The client of one EVM layer: single transactions, and legs of swaps (``legs``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import ClassVar, Final

from layer2.aio.blocking import twin
from layer2.errors import InvalidRequest, NodeError, TransactionError, UnknownAsset, WrongNetwork
from layer2.formats.eip2612 import SignedPermit
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.evm_hex import format_data, parse_data
from layer2.legs.evidence import EvmEvidence, EvmStorageEvidence
from layer2.legs.leg import Htlc
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance, checked_amount, rescaled
from layer2.model.transactions import EvmTxId, Finality, TxState, TxStatus
from layer2.ports.clock import Clock, SystemClock
from layer2.ports.journal import NonceRecords, SendRecords
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.account_bitcoin import AccountBitcoin, BitcoinCoin, BitcoinToken
from layer2.protocols.evm.chain.canonical import header_chain, is_canonical
from layer2.protocols.evm.fees.estimates import Estimates, FeeEstimate
from layer2.protocols.evm.fees.prices import Offer
from layer2.protocols.evm.following import EvmFollowing
from layer2.protocols.evm.legs import EvmLegs
from layer2.protocols.evm.parts import EvmParts
from layer2.protocols.evm.requests import EvmTransaction, EvmTransactionRequest, request_digest
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.sending.submissions import Submission, Submissions
from layer2.protocols.evm.sending.traces import failure_reason
from layer2.protocols.evm.settings import EvmSettings
from layer2.protocols.evm.tokens.permits import Permits
from layer2.protocols.evm.tokens.transfers import check_recipient

__all__ = ["EvmClient"]

LOG: Final = logging.getLogger("layer2.evm")

_WEBSOCKET_SECONDS: Final = 3.0
"""How long the check of a websocket may delay the initialization."""


class EvmClient(EvmFollowing):
    """One EVM layer through the party's own node. Each layer is a subclass with its ``protocol_type``.

    A closed client refuses every call with ``AsyncRuntimeError``. ``legs`` is its interface for swaps.

    Args:
        settings: node, token and limits.
        signer: the party's key.
        sends: the durable record of sends. Every transaction is recorded before it is sent, so a call that is repeated
            with the same idempotency key after a timeout or a crash does not pay twice. A manager passes its journal.
        clock: this machine's clock, with which the node's clock is compared; None is the system's.
        nonces: the record of nonces in the same journal as ``sends``, so that several clients can use the key at the
            same time. None: only one client may use the key.

    Raises:
        ConfigurationError: a setting is invalid.
    """

    protocol_type: ClassVar[Layer2ProtocolType]

    legs: EvmLegs

    def __init__(
        self,
        settings: EvmSettings,
        signer: EvmSigner,
        sends: SendRecords,
        clock: Clock | None = None,
        nonces: NonceRecords | None = None,
    ) -> None:
        parts = EvmParts(self.protocol_type, settings, signer, sends, SystemClock() if clock is None else clock, nonces)
        super().__init__(parts)
        # Set once: the narrower type is safe.
        self.legs = EvmLegs(parts)  # pyright: ignore[reportIncompatibleVariableOverride]
        chain_id = settings.chain_id
        self._rpc, self._notices, self._asset = parts.rpc, parts.notices, parts.asset
        self._watcher, self._fees, self._account = parts.watcher, parts.fees, parts.account
        self._replacements = parts.replacements
        self._coin = AssetId(parts.facts.native_asset, parts.facts.native_decimals)
        self._estimates = Estimates(parts.node, signer.address, parts.fees, chain_id=chain_id)
        self._bitcoin: AccountBitcoin = BitcoinToken(parts.node, signer.address, parts.asset)
        self._permits: Permits | None = Permits(parts.node, signer, parts.token, chain_id=chain_id)
        if parts.asset.is_native:
            self._bitcoin = BitcoinCoin(parts.node, signer.address, self._estimates, parts.fees, parts.gas)
            self._permits = None
        self._submissions = Submissions(
            parts.account, self._estimates, parts.history, parts.replacements, chain_id=chain_id
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rpc.endpoint}, {self._own_address()})"

    async def aclose(self) -> None:
        """Close the connections and end the client's tasks. Sent transactions are not recalled."""
        await self._submissions.aclose()
        await self._estimates.aclose()
        await self._end_following()
        await self._account.aclose()
        await self._fees.aclose()
        await self._rpc.aclose()

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``. Checks the chain and the token. The contract is checked before the first swap.

        If the websocket does not answer, a warning is logged. It only shortens waits, so swaps must not depend on it.
        """
        async with self._deadline("initialize_async", timeout):
            _, first, _ = await asyncio.gather(
                self._node.expect_chain(self.settings.chain_id), self._node.block(0), self._bitcoin.check()
            )
            self._check_genesis(None if first is None else first.hash)
            await self._account.prepare()
            if self._notices is not None:
                await self._check_notices(self._notices)

    def _check_genesis(self, served: bytes | None) -> None:
        """Check the first block: a local network has the chain id of BOB's mainnet, and margins of minutes."""
        known = LAYERS[self.protocol_type].genesis
        expected = known.get(self.settings.network)
        if not known or served == expected or (expected is None and served not in known.values()):
            return
        serves = next((network for network, block in known.items() if block == served), "another network")
        raise WrongNetwork(
            f"the node at {self._rpc.endpoint} serves {self._name} on {serves}, the configuration names "
            f"{self.settings.network}",
            code="genesis",
            protocol=self._name,
            remedy="correct network, or rpc_url",
        )

    async def _check_notices(self, notices: HeadNotices) -> None:
        try:
            async with asyncio.timeout(_WEBSOCKET_SECONDS):
                await notices.check()
        except (NodeError, TimeoutError) as error:
            problem = str(error) or "no answer in time"
            LOG.warning("the websocket at %s is not available, so heads are polled: %s", notices.endpoint, problem)

    async def submit_transaction_async(
        self, transaction: EvmTransaction, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``.

        Args:
            transaction: a request that the client completes and signs, or a signed transaction.

        If the transaction of an idempotency key was refused, use a new key for another attempt. If it was replaced, the
        result has the id of the version that is in a block, or else of the newest one. If it was cancelled, a
        ``TransactionError`` is raised (``cancelled``).
        """
        tx_id = await self._submit("submit_transaction_async", transaction, idempotency_key, timeout)
        return TxStatus(tx_id, TxState.PENDING)

    async def replace_transaction_async(
        self,
        tx_id: EvmTxId,
        *,
        max_fee_per_gas: int | None = None,
        max_priority_fee_per_gas: int | None = None,
        timeout: float | None = None,
    ) -> EvmTxId:
        """Raise the price of a pending transaction by sending another one with the same nonce.

        Args:
            tx_id: a transaction in this client's record. If it was replaced before, the newest version is replaced.
            max_fee_per_gas: wei; None is an eighth more than before (two fifths on Rootstock), or the market's price if
                that is higher.
            max_priority_fee_per_gas: wei; None as for ``max_fee_per_gas``. Rootstock has one price, so it is refused.

        Returns:
            The id of the replacement, which is recorded before it is sent. At most one transaction with the nonce is
            ever in a block, so nothing is paid twice. The statuses show which one.

        Raises:
            TransactionError: the transaction is not recorded (``not_recorded``) or already in a block (``mined``, with
                the id of that version), another transaction used its nonce (``nonce_used``), or the increase is too
                small for nodes to accept (``bump_too_small``).
            FundsRulesError: the price exceeds the setting ``max_fee_per_gas_wei`` (``fee_cap``).

        After any other error the earlier versions are still pending, and the call can safely be repeated.
        """
        deadline = self._deadline("replace_transaction_async", timeout)
        async with deadline:
            offer = Offer(max_fee_per_gas, max_priority_fee_per_gas)
            return await self._replacements.replace(tx_id, offer, partial(setattr, deadline, "tx_id"))

    async def cancel_transaction_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> EvmTxId:
        """Cancel a pending transaction by sending a transfer of nothing with the same nonce at a higher price.

        Args:
            tx_id: as for ``replace_transaction_async``.

        Returns:
            The id of the replacement. The cancellation is effective once the replacement is in a block. Until then the
            original may still be included.

        Raises:
            As ``replace_transaction_async``.
        """
        deadline = self._deadline("cancel_transaction_async", timeout)
        async with deadline:
            return await self._replacements.cancel(tx_id, partial(setattr, deadline, "tx_id"))

    async def estimate_fee_async(self, transaction: EvmTransaction, *, timeout: float | None = None) -> FeeEstimate:
        """Estimate the fee of a transaction in a block like the newest: execution, L1 data, and the operator's fee.

        Args:
            transaction: a request, or a signed transaction of any account. The node does not see signed
                bytes, nor requests with a gas limit.

        Returns:
            Amounts in wei. Base fee and L1 prices change from block to block.

        Raises:
            TransactionError: the request would fail; with the contract's reason.
            FundsRulesError: the price exceeds ``max_fee_per_gas_wei``.
            FormatError: the bytes are not a signed transaction of the kind that the chain accepts.
        """
        async with self._deadline("estimate_fee_async", timeout):
            return await self._estimates.fee(transaction)

    async def failure_reason_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> str | None:
        """Find why a transaction failed, by letting the node execute it again; None if it did not fail.

        Args:
            tx_id: a transaction in a block.

        Raises:
            NodeRefused: the node does not trace (``debug_traceTransaction``), or does not know the transaction.
        """
        async with self._deadline("failure_reason_async", timeout):
            return await failure_reason(self._node, parse_data(tx_id, "transaction id", size=32))

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> EvmTxId:
        """See ``Layer2ProtocolAsync``: BTC is the configured token or the native coin, in satoshi. The native coin is
        sent in wei.

        A transfer of the token is first simulated (``eth_simulateV1``). If it fails, returns false, or moves another
        amount, a ``TransactionError`` is raised and nothing is signed. If BTC is the native coin, what open swaps need
        stays in the account. The token's contract, the HTLC contract and the zero address are refused as recipients,
        and so is an address with the checksum of another network.
        """
        amount = checked_amount(amount)
        to = parse_address(recipient, self.settings.chain_id)
        check_recipient(to, self._asset.token, self._asset.contract)
        if asset_id == BTC:
            request, measure = self._bitcoin.transfer(to, self._units(amount))
        elif asset_id == self._coin and self._asset.is_native:
            request, measure = self._bitcoin.transfer(to, amount)
        elif asset_id == self._coin:
            request, measure = EvmTransactionRequest(to=format_data(to), value=amount), None
        else:
            raise UnknownAsset(f"{self._name} supports layer2.BTC and {self._coin!r}, not {asset_id!r}")
        return await self._submit("transfer_asset_async", request, idempotency_key, timeout, measure)

    async def permit_async(
        self, spender: str, amount: int, deadline: int, *, timeout: float | None = None
    ) -> SignedPermit:
        """Sign a permit (EIP-2612) for ``spender`` to take up to ``amount`` satoshi of the token. Nothing is sent.

        The spender, or anyone, submits it by sending ``call()`` to the token. So an account without gas can approve,
        and an unused permit expires instead of leaving an allowance.

        Args:
            spender: ``0x`` and 40 hex digits.
            amount: satoshi.
            deadline: unix seconds; the latest time of the block that includes the permit.

        Raises:
            InvalidRequest: the spender, the amount or the deadline is invalid.
            TransactionError: bitcoin is not a token here, or one without permits (``no_permit``), or it states a
                domain other than its own (``permit_domain``).
            SignerError: the key cannot be used.

        The permit becomes invalid if another one with the same nonce is submitted first.
        """
        if self._permits is None:
            raise TransactionError(f"bitcoin is {self._name}'s own coin, which has no permits", code="no_permit")
        to, units = parse_address(spender, self.settings.chain_id), self._units(amount)
        async with self._deadline("permit_async", timeout):
            return await self._permits.sign(to, units, deadline)

    async def verify_proof_async(self, proof: EvmEvidence, *, timeout: float | None = None) -> bool:
        """See ``Layer2ProtocolAsync``: whether the node's chain contains evidence of a lock's end, with the configured
        finality.

        It does not check whose lock it is: ``layer2.proofs`` compares it with signed terms.
        """
        if proof.protocol is not self.protocol_type:
            raise InvalidRequest(f"the evidence is from {proof.protocol.value}, not from {self._name}")
        async with self._deadline("verify_proof_async", timeout):
            return await is_canonical(self._node, self._watcher, proof, self._asset.contract, self.settings.finality)

    async def confirm_evidence(self, evidence: EvmEvidence, *, contract: bytes, finality: Finality) -> bool:
        """Whether the node's chain contains evidence of the end of a lock in a contract, with the given finality.

        Raises:
            ProofUndecided: the block does not have that finality yet, or the node's chain does not reach it.
        """
        self._check_open()
        return await is_canonical(self._node, self._watcher, evidence, contract, finality)

    async def storage_evidence_async(self, htlc: Htlc, *, timeout: float | None = None) -> EvmStorageEvidence | None:
        """Make the evidence of a lock's end from the chain alone: its status in the contract's storage.

        Args:
            htlc: a leg on this layer, of any parties.

        Returns:
            Evidence after the finalized block, or else after a newer one; None if the lock has not ended.

        Raises:
            ProtocolNotImplemented: the nodes of this layer have no proofs of storage (Rootstock).
            InvalidRequest: the leg is of another layer or chain.
        """
        async with self._deadline("storage_evidence_async", timeout):
            return await self._locks.storage_evidence(htlc)

    async def header_chain_async(
        self, proof: EvmEvidence, *, until: Finality = Finality.FINALIZED, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """Read the headers from a proof to a later block, for verifiers that trust that block and have no node.

        Args:
            proof: the evidence of an EVM leg.
            until: the node's head at which the headers end.

        Returns:
            The RLP of each header after the proof's block, oldest first. The hash of the last header is that of the
            block to trust.

        Raises:
            ProofUndecided: the proof's block is not, or not yet, an ancestor of that head.
            InvalidRequest: there are more than 262,144 headers.
        """
        async with self._deadline("header_chain_async", timeout):
            return await header_chain(self._node, self._watcher, proof, until)

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """See ``Layer2ProtocolAsync``: BTC in whole satoshi, and the native coin in wei.

        If BTC is the native coin, both are the same money, and it also pays gas.
        """
        async with self._deadline("balances_async", timeout):
            wei, units = await asyncio.gather(self._node.balance(self._account.address), self._bitcoin.units())
            decimals = self._asset.decimals
            # More decimals than a satoshi has may leave a remainder that transfers cannot move.
            if decimals > BTC.decimals:
                units -= units % 10 ** (decimals - BTC.decimals)
            return {BTC: Balance(rescaled(units, decimals, BTC.decimals)), self._coin: Balance(wei)}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """See ``Layer2ProtocolAsync``: the account's address with its checksum (EIP-55, or on Rootstock
        EIP-1191)."""
        return self._own_address()

    async def _submit(
        self,
        operation: str,
        request: EvmTransaction,
        idempotency_key: str | None,
        timeout: float | None,
        measure: Callable[[], Awaitable[int]] | None = None,
    ) -> EvmTxId:
        submission = Submission(request, request_digest(request), idempotency_key, measure)
        if isinstance(request, EvmTransactionRequest):
            request.check_network(self.settings.chain_id)
        deadline = self._deadline(operation, timeout)
        async with deadline:
            try:
                return await self._submissions.submit(submission)
            except asyncio.CancelledError:
                deadline.tx_id = submission.tx_id
                raise

    def _units(self, satoshi: int) -> int:
        return rescaled(checked_amount(satoshi), BTC.decimals, self._asset.decimals)

    def _own_address(self) -> str:
        return to_checksum(self._account.address, self.settings.chain_id)

    failure_reason_sync = twin(failure_reason_async)
    replace_transaction_sync = twin(replace_transaction_async)
    cancel_transaction_sync = twin(cancel_transaction_async)
    estimate_fee_sync = twin(estimate_fee_async)
    header_chain_sync = twin(header_chain_async)
    permit_sync = twin(permit_async)
    storage_evidence_sync = twin(storage_evidence_async)
