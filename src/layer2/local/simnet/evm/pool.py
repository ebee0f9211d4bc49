"""The simnet's transaction pool. It accepts, refuses and queues what op-geth does, with op-geth's messages."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import rlp  # type: ignore[import-untyped]  # the package carries no types
from eth.abc import SignedTransactionAPI, StateAPI
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from layer2.local.simnet.evm.calls import data_floor_gas
from layer2.local.simnet.evm.chain import BLOCK_GAS_LIMIT, BOB_CHAIN_ID

__all__ = ["PooledTransaction", "TransactionPool", "TransactionRefused", "decode_transaction"]

_PRICE_BUMP_PERCENT = 10
_LEGACY, _ACCESS_LIST, _DYNAMIC_FEE, _BLOB, _SET_CODE = range(5)
_MINIMUM_TIP = 1


class TransactionRefused(Exception):
    """The pool refused a transaction; the message and the code are those of the simulated node software."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class PooledTransaction:
    """A transaction in the pool."""

    transaction: SignedTransactionAPI
    sender: bytes
    arrival: int
    """A running number, by which transactions with equal tips are ordered."""

    @property
    def cost(self) -> int:
        """The most wei that it can cost its sender."""
        return int(self.transaction.gas * self.transaction.max_fee_per_gas + self.transaction.value)


def decode_transaction(raw: bytes) -> SignedTransactionAPI:
    """Decode a signed transaction, the argument of ``eth_sendRawTransaction``.

    Raises:
        TransactionRefused: the bytes are malformed, or the chain does not support the transaction's type.
    """
    if len(raw) < 2:
        raise TransactionRefused("typed transaction too short")
    if raw[0] < 0x80 and raw[0] not in (_ACCESS_LIST, _DYNAMIC_FEE, _SET_CODE):
        raise TransactionRefused("transaction type not supported")
    try:
        transaction = PragueTransactionBuilder.decode(raw)
        transaction.validate()
    except (rlp.exceptions.RLPException, ValidationError, ValueError, TypeError) as error:
        raise TransactionRefused(f"rlp: {error}") from error
    return transaction


class TransactionPool:
    """Signed transactions that are not in a block, by sender and nonce.

    Args:
        chain_id: the chain id that they must be signed for.
    """

    def __init__(self, chain_id: int = BOB_CHAIN_ID) -> None:
        self._chain_id = chain_id
        self._by_sender: dict[bytes, dict[int, PooledTransaction]] = {}
        self._by_hash: dict[bytes, PooledTransaction] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def decode(self, raw: bytes) -> SignedTransactionAPI:
        """Decode a signed transaction of a type that the chain has; see ``decode_transaction``."""
        return decode_transaction(raw)

    def get(self, transaction_hash: bytes) -> PooledTransaction | None:
        """The transaction with that hash, or None if the pool does not hold it."""
        return self._by_hash.get(transaction_hash)

    def add(self, transaction: SignedTransactionAPI, state: StateAPI) -> None:
        """Add a transaction. If its nonce leaves a gap, it waits until the gap is filled.

        Args:
            transaction: the result of ``decode_transaction``.
            state: the state after the newest block.

        Raises:
            TransactionRefused: the transaction is known, its nonce is used, the funds do not suffice, or its price is
                too low to replace another; and for each other reason that op-geth has.
        """
        transaction_hash = bytes(transaction.hash)
        if transaction_hash in self._by_hash:
            raise TransactionRefused("already known")
        sender = _checked_sender(transaction, self._chain_id)
        next_nonce = state.get_nonce(Address(sender))
        if transaction.nonce < next_nonce:
            raise TransactionRefused(f"nonce too low: next nonce {next_nonce}, tx nonce {transaction.nonce}")
        arriving = PooledTransaction(transaction, sender, self._arrivals)
        waiting = self._by_sender.setdefault(sender, {})
        replaced = waiting.get(transaction.nonce)
        self._check_funds(arriving, replaced, waiting, state.get_balance(Address(sender)))
        if replaced is not None:
            if not _outbids(transaction, replaced.transaction):
                raise TransactionRefused("replacement transaction underpriced")
            del self._by_hash[bytes(replaced.transaction.hash)]
        self._arrivals += 1
        waiting[transaction.nonce] = arriving
        self._by_hash[transaction_hash] = arriving

    def next_nonce(self, sender: bytes, state: StateAPI) -> int:
        """The sender's nonce after its transactions that wait without a gap (``pending``)."""
        nonce = int(state.get_nonce(Address(sender)))
        waiting = self._by_sender.get(sender, {})
        while nonce in waiting:
            nonce += 1
        return nonce

    def ready(self, state: StateAPI, base_fee: int) -> Iterator[SignedTransactionAPI]:
        """The transactions that the next block may hold: highest tips first, each sender's in the order of nonces."""
        heads: list[tuple[int, int, int, PooledTransaction]] = []

        def offer(sender: bytes, nonce: int) -> None:
            pooled = self._by_sender[sender].get(nonce)
            if pooled is not None and pooled.transaction.max_fee_per_gas >= base_fee:
                tip = min(
                    pooled.transaction.max_priority_fee_per_gas,
                    pooled.transaction.max_fee_per_gas - base_fee,
                )
                heapq.heappush(heads, (-tip, pooled.arrival, nonce, pooled))

        for sender in self._by_sender:
            offer(sender, state.get_nonce(Address(sender)))
        while heads:
            *_, nonce, pooled = heapq.heappop(heads)
            yield pooled.transaction
            offer(pooled.sender, nonce + 1)

    def forget_used(self, state: StateAPI) -> None:
        """Drop the transactions whose nonce is used, which no block can hold."""
        for sender, waiting in list(self._by_sender.items()):
            next_nonce = state.get_nonce(Address(sender))
            for nonce in [nonce for nonce in waiting if nonce < next_nonce]:
                del self._by_hash[bytes(waiting.pop(nonce).transaction.hash)]
            if not waiting:
                del self._by_sender[sender]

    @staticmethod
    def _check_funds(
        arriving: PooledTransaction,
        replaced: PooledTransaction | None,
        waiting: dict[int, PooledTransaction],
        balance: int,
    ) -> None:
        cost = arriving.cost
        spent = sum(pooled.cost for pooled in waiting.values())
        message = "insufficient funds for gas * price + value"
        if balance < cost:
            raise TransactionRefused(f"{message}: balance {balance}, tx cost {cost}, overshot {cost - balance}")
        kind, added = ("tx cost", cost) if replaced is None else ("tx bumped", cost - replaced.cost)
        if balance < spent + added:
            raise TransactionRefused(
                f"{message}: balance {balance}, queued cost {spent}, {kind} {added}, overshot {spent + added - balance}"
            )


def _checked_sender(transaction: SignedTransactionAPI, chain_id: int) -> bytes:
    """Make the checks that need no state, in op-geth's order, and recover the sender."""
    if transaction.gas > BLOCK_GAS_LIMIT:
        raise TransactionRefused("exceeds block gas limit")
    if transaction.max_fee_per_gas < transaction.max_priority_fee_per_gas:
        raise TransactionRefused("max priority fee per gas higher than max fee per gas")
    if transaction.chain_id is None:
        raise TransactionRefused("only replay-protected (EIP-155) transactions allowed over RPC")
    if transaction.chain_id != chain_id:
        raise TransactionRefused(
            f"invalid sender: invalid chain id for signer: have {transaction.chain_id} want {chain_id}"
        )
    try:
        transaction.check_signature_validity()
        sender = bytes(transaction.sender)
    except ValidationError as error:
        raise TransactionRefused("invalid sender: invalid transaction v, r, s values") from error
    if transaction.gas < transaction.intrinsic_gas:
        raise TransactionRefused(
            f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}"
        )
    floor = data_floor_gas(transaction.data)
    if transaction.gas < floor:
        raise TransactionRefused(
            f"insufficient gas for floor data gas cost: gas {transaction.gas}, minimum needed {floor}"
        )
    if transaction.max_priority_fee_per_gas < _MINIMUM_TIP:
        raise TransactionRefused(
            "transaction gas price below minimum: gas tip cap "
            f"{transaction.max_priority_fee_per_gas}, minimum needed {_MINIMUM_TIP}"
        )
    return sender


def _outbids(arriving: SignedTransactionAPI, waiting: SignedTransactionAPI) -> bool:
    """Whether both prices are at least a tenth above those of the transaction that would be replaced."""
    return all(
        new > old and new * 100 >= old * (100 + _PRICE_BUMP_PERCENT)
        for new, old in (
            (arriving.max_fee_per_gas, waiting.max_fee_per_gas),
            (arriving.max_priority_fee_per_gas, waiting.max_priority_fee_per_gas),
        )
    )
