"""The client of one EVM layer: single transactions, and legs of swaps (``legs``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import ClassVar, Final

from layer2.aio.blocking import twin
from layer2.contracts.erc20 import balance_of_call, decimals_call, decode_decimals, transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import (
    ConfigurationError,
    FormatError,
    InvalidRequest,
    NodeError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.formats.eip2612 import SignedPermit
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance, checked_amount, rescaled
from layer2.model.transactions import EvmTxId, Finality, TxState, TxStatus
from layer2.ports.clock import Clock, SystemClock
from layer2.ports.journal import SendRecords
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.chain.receipt_evidence import header_chain, is_canonical
from layer2.protocols.evm.fees.estimates import Estimates, FeeEstimate
from layer2.protocols.evm.fees.repricing import Offer
from layer2.protocols.evm.following import EvmFollowing
from layer2.protocols.evm.legs import EvmLegs
from layer2.protocols.evm.parts import EvmParts
from layer2.protocols.evm.requests import EvmTransaction, EvmTransactionRequest, request_digest
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.sending.submissions import Submission, Submissions
from layer2.protocols.evm.sending.traces import failure_reason
from layer2.protocols.evm.settings import EvmSettings
from layer2.protocols.evm.tokens.permits import Permits
from layer2.protocols.evm.tokens.transfers import TokenTransfer, check_recipient, token_number, transfer_gas

__all__ = ["EvmClient"]

LOG: Final = logging.getLogger("layer2.evm")

_WEBSOCKET_SECONDS: Final = 3.0
"""How long the check of a websocket may keep a client from its first use."""


class EvmClient(EvmFollowing):
    """One EVM layer through the party's own node. A layer is a subclass that names its ``protocol_type``.

    A closed client refuses every call with ``AsyncRuntimeError``; its part in swaps is ``legs``.

    Args:
        settings: node, token and limits.
        signer: the party's key.
        sends: the durable record of single sends.
        clock: this machine's clock, which the node's is compared with.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    protocol_type: ClassVar[Layer2ProtocolType]

    legs: EvmLegs

    def __init__(
        self, settings: EvmSettings, signer: EvmSigner, sends: SendRecords, clock: Clock | None = None
    ) -> None:
        parts = EvmParts.build(self.protocol_type, settings, signer, sends, SystemClock() if clock is None else clock)
        super().__init__(parts)
        # Set once: the narrower type is safe.
        self.legs = EvmLegs(parts)  # pyright: ignore[reportIncompatibleVariableOverride]
        name, chain_id = self._name, settings.chain_id
        self._rpc, self._notices, self._token = parts.rpc, parts.notices, parts.token
        self._watcher, self._fees, self._account = parts.watcher, parts.fees, parts.account
        self._replacements = parts.replacements
        self._coin = AssetId(parts.facts.native_asset, parts.facts.native_decimals)
        self._estimates = Estimates(parts.node, signer.address, parts.fees, chain_id=chain_id, protocol=name)
        self._permits = Permits(parts.node, signer, parts.token, chain_id=chain_id, protocol=name)
        self._submissions = Submissions(
            parts.account,
            parts.fees,
            self._estimates,
            parts.history,
            parts.replacements,
            chain_id=chain_id,
            protocol=name,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rpc.endpoint}, {to_checksum(self._account.address)})"

    async def aclose(self) -> None:
        """Close connections and end the client's own tasks. Nothing that was sent is called back."""
        await self._submissions.aclose()
        await self._estimates.aclose()
        await self._end_following()
        await self._account.aclose()
        await self._watcher.aclose()
        await self._fees.aclose()
        await self._rpc.aclose()

    # What every layer's client offers.

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``. Checks chain id and token; the contract is checked before the first swap. A
        websocket that does not answer is logged and nothing more: it only shortens waits, and what is locked must not
        wait for it.
        """
        async with self._deadline("initialize_async", timeout):
            chain_id, answer = await asyncio.gather(
                self._node.chain_id(), self._node.call(self._token, decimals_call())
            )
            if chain_id != self.settings.chain_id:
                raise WrongNetwork(
                    f"the node at {self._rpc.endpoint} is on chain {chain_id}, "
                    f"the configuration says {self._name} ({self.settings.chain_id})",
                    code="chain_id",
                    protocol=self._name,
                    remedy="correct chain_id, or rpc_url",
                )
            try:
                decimals = decode_decimals(answer)
            except FormatError as error:
                raise ConfigurationError(f"there is no ERC-20 token at {self.settings.token} on this chain") from error
            if decimals != self.settings.token_decimals:
                raise ConfigurationError(
                    f"token_decimals is {self.settings.token_decimals}, the token {self.settings.token} has {decimals}"
                )
            await self._account.prepare()
            if self._notices is not None:
                await self._check_notices(self._notices)

    async def _check_notices(self, notices: HeadNotices) -> None:
        try:
            async with asyncio.timeout(_WEBSOCKET_SECONDS):
                await notices.check()
        except (NodeError, TimeoutError) as error:
            problem = str(error) or "no answer in time"
            LOG.warning("the websocket at %s is not used for now, heads are polled: %s", notices.endpoint, problem)

    async def submit_transaction_async(
        self, transaction: EvmTransaction, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``.

        Args:
            transaction: a request that the client completes and signs, or a signed transaction of type 2.

        A key whose transaction was refused stays with that transaction: use a new one for another attempt. Where it
        was replaced, the answer names what is in a block, or else the newest; where it was cancelled, that is raised
        (``cancelled``).
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
        """Offer a transaction that waits at a higher price, as another transaction with the same nonce.

        Args:
            tx_id: of a transaction in this client's record. If it was replaced before, the newest one is replaced.
            max_fee_per_gas: wei; None is an eighth more than before, or the market's price where that is higher.
            max_priority_fee_per_gas: wei; None likewise.

        Returns:
            The id of the replacement, which is recorded before it is sent. At most one of all that have its nonce is
            ever in a block, so nothing is paid twice; which one, their statuses say.

        Raises:
            TransactionError: not recorded here (``not_recorded``), in a block already (``mined``, with the id of the
                one that is), its nonce used by another transaction (``nonce_used``), or nodes would refuse so small a
                bump (``bump_too_small``).
            FundsRulesError: it would cost more than the setting ``max_fee_per_gas`` (``fee_cap``).

        After any other error the earlier transactions are still offered; calling it again is safe.
        """
        deadline = self._deadline("replace_transaction_async", timeout)
        async with deadline:
            offer = Offer(max_fee_per_gas, max_priority_fee_per_gas)
            return await self._replacements.replace(tx_id, offer, partial(setattr, deadline, "tx_id"))

    async def cancel_transaction_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> EvmTxId:
        """Take a transaction that waits back, by sending nothing to oneself with its nonce, at a higher price.

        Args:
            tx_id: as for ``replace_transaction_async``.

        Returns:
            The id of what takes its place. It is taken back once that is in a block, and not before: until then the
            original may still be included.

        Raises:
            As ``replace_transaction_async``.
        """
        deadline = self._deadline("cancel_transaction_async", timeout)
        async with deadline:
            return await self._replacements.cancel(tx_id, partial(setattr, deadline, "tx_id"))

    async def estimate_fee_async(self, transaction: EvmTransaction, *, timeout: float | None = None) -> FeeEstimate:
        """What a transaction would cost in a block like the newest: execution, L1 data, and the operator's part.

        Args:
            transaction: a request, or a signed transaction of type 2, whoever signed it. Signed bytes and requests
                with a gas limit are not shown to the node.

        Returns:
            All in wei. Base fee and L1 prices change from block to block, so it promises nothing of a later one.

        Raises:
            TransactionError: the request would fail; with the contract's reason.
            FundsRulesError: the chain asks more than ``max_fee_per_gas``.
            FormatError: bytes that are no such transaction.
        """
        async with self._deadline("estimate_fee_async", timeout):
            return await self._estimates.fee(transaction)

    async def failure_reason_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> str | None:
        """Ask the node to execute a transaction again where it was, and why it failed; None where it did not.

        Args:
            tx_id: of a transaction in a block.

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
        """See ``Layer2ProtocolAsync``: BTC is the configured token; the coin that pays gas is sent in wei.

        Before a token is sent its transfer is simulated (``eth_simulateV1``): one that fails, returns false, or moves
        something else than its amount is refused with a ``TransactionError``, and nothing is signed. The token's
        contract, the HTLC contract and the zero address are no recipients.
        """
        amount = checked_amount(amount)
        to = parse_address(recipient)
        check_recipient(to, self._token)
        measure = None
        if asset_id == BTC:
            units = self._units(amount)
            request = EvmTransactionRequest(to=self.settings.token, data=transfer_call(to, units))
            transfer = TokenTransfer(self._token, self._account.address, to, units)
            measure = partial(transfer_gas, self._node, transfer, protocol=self._name)
        elif asset_id == self._coin:
            request = EvmTransactionRequest(to=recipient, value=amount)
        else:
            raise UnknownAsset(f"{self._name} carries layer2.BTC and {self._coin!r} here, not {asset_id!r}")
        return await self._submit("transfer_asset_async", request, idempotency_key, timeout, measure)

    async def permit_async(
        self, spender: str, amount: int, deadline: int, *, timeout: float | None = None
    ) -> SignedPermit:
        """Sign that ``spender`` may take up to ``amount`` satoshi of the token; nothing is sent (EIP-2612).

        The spender, or anyone, hands it in by sending ``call()`` to the token. So a key that holds no gas and sends
        nothing can approve, and it never has to lower an allowance that may be taken first: an unused permit ends.

        Args:
            spender: ``0x`` and 40 hex digits.
            amount: satoshi.
            deadline: unix seconds of the block that hands it in, at the latest.

        Raises:
            InvalidRequest: a wrong spender, amount or deadline.
            TransactionError: the token has no permit (``no_permit``), or states a domain that is not its own
                (``permit_domain``).
            SignerError: the key cannot be used.

        Does not promise that the permit is still good when it is handed in: another with the same nonce may be first.
        """
        to, units = parse_address(spender), self._units(amount)
        async with self._deadline("permit_async", timeout):
            return await self._permits.sign(to, units, deadline)

    async def verify_proof_async(self, proof: EvmReceiptEvidence, *, timeout: float | None = None) -> bool:
        """See ``Layer2ProtocolAsync``: the evidence of a lock's end, canonical at the node's finality asked for.

        Does not say whose lock it is: bind it to signed terms with ``layer2.proofs``.
        """
        if proof.protocol is not self.protocol_type:
            raise InvalidRequest(f"the evidence is of {proof.protocol.value}, not of {self._name}")
        async with self._deadline("verify_proof_async", timeout):
            return await is_canonical(self._node, self._watcher, proof, HTLC_ADDRESS, self.settings.finality)

    async def confirm_evidence(self, evidence: EvmReceiptEvidence, *, contract: bytes, finality: Finality) -> bool:
        """Whether evidence of the end of a lock in that contract is canonical at this client's node at that finality.

        Raises:
            ProofUndecided: its block is not that final yet, or the node's chain does not reach it.
        """
        self._check_open()
        return await is_canonical(self._node, self._watcher, evidence, contract, finality)

    async def header_chain_async(
        self, proof: EvmReceiptEvidence, *, until: Finality = Finality.FINALIZED, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """The headers that place a proof under a later block, for a verifier who trusts that block and has no node.

        Args:
            proof: the evidence of an EVM leg.
            until: the node's head up to which they lead.

        Returns:
            RLP of each header after the proof's, oldest first; the keccak256 of the last is the block to trust.

        Raises:
            ProofUndecided: the proof's block is not below that head of the node, or not yet.
            InvalidRequest: there are more than 262,144 headers between.
        """
        async with self._deadline("header_chain_async", timeout):
            return await header_chain(self._node, self._watcher, proof, until)

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """See ``Layer2ProtocolAsync``: BTC in satoshi, as far as whole ones, and the coin that pays gas in wei."""
        async with self._deadline("balances_async", timeout):
            wei, answer = await asyncio.gather(
                self._node.balance(self._account.address),
                self._node.call(self._token, balance_of_call(self._account.address)),
            )
            units = token_number(answer, protocol=self._name)
            # A token finer than a satoshi may hold a rest that no transfer of satoshi can move.
            if self.settings.token_decimals > BTC.decimals:
                units -= units % 10 ** (self.settings.token_decimals - BTC.decimals)
            satoshi = rescaled(units, self.settings.token_decimals, BTC.decimals)
            return {BTC: Balance(satoshi), self._coin: Balance(wei)}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """See ``Layer2ProtocolAsync``: the account's address with its checksum (EIP-55)."""
        return to_checksum(self._account.address)

    async def _submit(
        self,
        operation: str,
        request: EvmTransaction,
        idempotency_key: str | None,
        timeout: float | None,
        measure: Callable[[], Awaitable[int]] | None = None,
    ) -> EvmTxId:
        submission = Submission(request, request_digest(request), idempotency_key, measure)
        deadline = self._deadline(operation, timeout)
        async with deadline:
            try:
                return await self._submissions.submit(submission)
            except asyncio.CancelledError:
                deadline.tx_id = submission.tx_id
                raise

    def _units(self, satoshi: int) -> int:
        return rescaled(checked_amount(satoshi), BTC.decimals, self.settings.token_decimals)

    failure_reason_sync = twin(failure_reason_async)
    replace_transaction_sync = twin(replace_transaction_async)
    cancel_transaction_sync = twin(cancel_transaction_async)
    estimate_fee_sync = twin(estimate_fee_async)
    header_chain_sync = twin(header_chain_async)
    permit_sync = twin(permit_async)
