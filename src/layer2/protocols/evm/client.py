"""The client of one EVM layer: single transactions, and the seven verbs of a lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import ClassVar

from layer2.blocking import iterator_twin, twin
from layer2.contracts.erc20 import balance_of_call, decimals_call, decode_decimals, transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import (
    AsyncRuntimeError,
    ConfigurationError,
    FormatError,
    InvalidRequest,
    UnknownAsset,
    WrongNetwork,
)
from layer2.formats.eip2612 import SignedPermit
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.interfaces import Clock, EvmSigner, SendRecords, SystemClock
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, ETH, AssetId, Balance, checked_amount, rescaled
from layer2.proofs.evidence import EvmReceiptEvidence
from layer2.protocol_client import Layer2ProtocolAsync
from layer2.protocols.evm.chain.follower import ChainStep
from layer2.protocols.evm.chain.logs import LogEvent, LogFilter, LogStreams
from layer2.protocols.evm.chain.read_tasks import ReadTasks
from layer2.protocols.evm.chain.receipt_evidence import header_chain, is_canonical
from layer2.protocols.evm.chain.stream import ChainStream
from layer2.protocols.evm.deadline import Deadline
from layer2.protocols.evm.fees.estimates import Estimates, FeeEstimate
from layer2.protocols.evm.fees.repricing import Offer
from layer2.protocols.evm.htlc import EvmHtlcs
from layer2.protocols.evm.requests import EvmTransaction, EvmTransactionRequest, request_digest
from layer2.protocols.evm.sending.statuses import Statuses
from layer2.protocols.evm.sending.submissions import Submission, Submissions
from layer2.protocols.evm.sending.traces import failure_reason
from layer2.protocols.evm.sending.watches import TransactionWatches
from layer2.protocols.evm.settings import EvmSettings
from layer2.protocols.evm.tokens.permits import Permits
from layer2.protocols.evm.tokens.transfers import TokenTransfer, check_recipient, token_number, transfer_gas
from layer2.transactions import EvmTxId, Finality, TxState, TxStatus

__all__ = ["EvmClient"]


_PROGRESS = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}


class EvmClient(Layer2ProtocolAsync[EvmTransaction, EvmTxId, str, EvmReceiptEvidence], EvmHtlcs):
    """One EVM layer through the party's own node. A layer is a subclass that names its ``protocol_type``.

    Args:
        settings: node, token and limits.
        signer: the party's key.
        sends: the durable record of single sends.
        clock: this machine's clock, which the node's is compared with.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    protocol_type: ClassVar[Layer2ProtocolType]

    def __init__(
        self, settings: EvmSettings, signer: EvmSigner, sends: SendRecords, clock: Clock | None = None
    ) -> None:
        super().__init__(settings, signer, sends, SystemClock() if clock is None else clock)
        name = self._name
        self._seconds = settings.default_timeout_ms / 1000
        history = self._history
        self._statuses = Statuses(self._node, self._watcher, history, settings)
        self._watches = TransactionWatches(self._node, self._watcher, self._statuses, history, self._account, settings)
        chain_id = settings.chain_id
        self._estimates = Estimates(self._node, signer.address, self._fees, chain_id=chain_id, protocol=name)
        self._permits = Permits(self._node, signer, self._token, chain_id=chain_id, protocol=name)
        self._reading = ReadTasks(settings.poll_interval_seconds)
        self._chain = ChainStream(self._node, self._watcher, self._reading)
        self._logs = LogStreams(self._node, self._chain, self._reading, name)
        self._submissions = Submissions(
            self._account, self._fees, self._estimates, history, self._replacements, chain_id=chain_id, protocol=name
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rpc.endpoint}, {to_checksum(self._account.address)})"

    async def aclose(self) -> None:
        """Close connections and end the client's own tasks. Nothing that was sent is called back."""
        await self._submissions.aclose()
        await self._estimates.aclose()
        await self._watches.aclose()
        await self._reading.aclose()
        await self._account.aclose()
        await self._watcher.aclose()
        await self._fees.aclose()
        await self._rpc.aclose()

    # What every layer's client offers.

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """See ``Layer2ProtocolAsync``. Checks chain id, token, and the websocket where one is configured;
        the contract is checked before the first swap."""
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
            if self._notices is not None:
                await self._notices.check()
            await self._account.prepare()

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

    async def get_transaction_status_async(self, tx_id: EvmTxId, *, timeout: float | None = None) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. DROPPED is known only of transactions that this object sent."""
        async with self._deadline("get_transaction_status_async", timeout):
            return await self._statuses.read(tx_id)

    async def get_transaction_statuses_async(
        self, tx_ids: Sequence[EvmTxId], *, timeout: float | None = None
    ) -> list[TxStatus[EvmTxId]]:
        """Ask the node now for many transactions; those of one block share one request for its receipts.

        Args:
            tx_ids: in any order; the statuses come in the same.

        Nothing in the answers is older than the call.
        """
        async with self._deadline("get_transaction_statuses_async", timeout):
            return await self._statuses.read_many(tx_ids)

    async def watch_transaction_async(self, tx_id: EvmTxId) -> AsyncGenerator[TxStatus[EvmTxId], None]:
        """Hand out the status now, and each later one that differs in more than depth, reorganisations included.

        Ends after FINAL, and after FAILED and DROPPED once they are as final as the configuration asks for. A block
        costs one request, however many transactions are watched.

        Raises:
            NodeError: the node did not answer several times in a row; the transaction goes on.
        """
        async with aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                yield status

    async def watch_heads_async(self) -> AsyncGenerator[ChainStep, None]:
        """Hand out the chain as it goes on: which blocks went, which came, and where the three heads are.

        Begins, when it is first awaited, with the newest block. No block is left out and none comes twice, whatever the
        connection does. Any number of iterators share one client's requests.

        Raises:
            NodeError: the node did not answer several times in a row, or the client was closed.
        """
        async with aclosing(self._chain.steps()) as steps:
            async for step in steps:
                yield step

    async def watch_logs_async(
        self,
        address: str | Sequence[str] | None = None,
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        *,
        from_block: int | None = None,
    ) -> AsyncGenerator[LogEvent, None]:
        """Hand out each log once as its block comes, and with ``removed`` once more if its block goes again.

        Args:
            address: the contract, or several; None is any.
            topics: for each position a topic (32 bytes), several to choose from, or None for any.
            from_block: the height to begin at. None begins after the newest block, when it is first awaited: a log
                that was made before that is not told of.

        Every log was found in the receipts that its block's header commits to, so none can be kept back by an empty
        answer. That the block is final is for the reader to know: compare its height with a head's.

        Raises:
            InvalidRequest: an address or topics that no log has.
            NodeError: the node did not answer several times in a row, or the client was closed. Begin a new one, from
                the height of the last log, to go on.
        """
        async with aclosing(self._logs.logs(LogFilter.read(address, topics), from_block)) as events:
            async for event in events:
                yield event

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> EvmTxId:
        """See ``Layer2ProtocolAsync``: BTC is the configured token, ETH the native coin in wei.

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
        elif asset_id == ETH:
            request = EvmTransactionRequest(to=recipient, value=amount)
        else:
            raise UnknownAsset(f"{self._name} carries layer2.BTC and layer2.ETH here, not {asset_id!r}")
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
        """See ``Layer2ProtocolAsync``: BTC in satoshi, as far as whole ones, and ETH in wei."""
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
            return {BTC: Balance(satoshi), ETH: Balance(wei)}

    async def receive_address_async(self, *, timeout: float | None = None) -> str:
        """See ``Layer2ProtocolAsync``: the account's address with its checksum (EIP-55)."""
        return to_checksum(self._account.address)

    async def wait_for_status_async(
        self, tx_id: EvmTxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[EvmTxId]:
        """See ``Layer2ProtocolAsync``. All waiters of a client share one look at the heads."""
        if until not in _PROGRESS:
            raise InvalidRequest(f"cannot wait for {until.name}; wait for PENDING, INCLUDED or FINAL")
        deadline = Deadline("wait_for_status_async", timeout, self._name)
        deadline.tx_id = tx_id
        async with deadline, aclosing(self._watches.watch(tx_id)) as statuses:
            async for status in statuses:
                # FAILED and DROPPED are no progress and end the wait too.
                if _PROGRESS.get(status.state, _PROGRESS[TxState.FINAL]) >= _PROGRESS[until]:
                    return status
        raise AsyncRuntimeError("the watch ended before the transaction did", protocol=self._name)

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

    def _deadline(self, operation: str, timeout: float | None) -> Deadline:
        return Deadline(operation, self._seconds if timeout is None else timeout, self._name, self._limit)

    failure_reason_sync = twin(failure_reason_async)
    replace_transaction_sync = twin(replace_transaction_async)
    cancel_transaction_sync = twin(cancel_transaction_async)
    estimate_fee_sync = twin(estimate_fee_async)
    get_transaction_statuses_sync = twin(get_transaction_statuses_async)
    watch_transaction_sync = iterator_twin(watch_transaction_async)
    watch_heads_sync = iterator_twin(watch_heads_async)
    watch_logs_sync = iterator_twin(watch_logs_async)
    header_chain_sync = twin(header_chain_async)
    permit_sync = twin(permit_async)
