"""A transaction pool that accepts, refuses, queues and drops what rskj does, with rskj's messages.

Not simulated: the limit of gas for each account and second (``transaction.accountTxRateLimit``).

Sources: rskj (``TransactionPoolImpl``, ``TxPendingValidator`` and its steps, ``TxGasPriceCap``, ``reference.conf``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import rlp  # type: ignore[import-untyped]  # the package carries no types
from eth.abc import SignedTransactionAPI, StateAPI
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.calls import data_floor_gas
from layer2.local.simnet.evm.chain import EvmChain
from layer2.local.simnet.evm.pool import PooledTransaction, TransactionPool, TransactionRefused
from layer2.local.simnet.rskj.rules import seal_of

__all__ = ["INTERNAL_ERROR", "RskPool"]

INTERNAL_ERROR: Final = -32603
"""The code for a request that rskj's handler does not expect."""

_REFUSED: Final = -32010
_INVALID_PARAMS: Final = -32602
_ACCOUNT_SLOTS: Final = 16
_PRICE_BUMP_PERCENT: Final = 40
_PRICE_CAP: Final = 80
"""In times of the minimum gas price."""
_LONGEST_WAIT_BLOCKS: Final = 10
_LONGEST_WAIT_SECONDS: Final = 650
_MOST_BYTES: Final = 128 * 1024
_MOST_CREATION_CODE: Final = 49_152
_LARGEST_V: Final = 255


class RskPool(TransactionPool):
    """Legacy transactions that are not in a block. One that leaves a gap of nonces is queued.

    Args:
        chain: its head decides what is accepted and for how long it is kept.
        clock: the machines' clock.
    """

    def __init__(self, chain: EvmChain, clock: SimClock) -> None:
        super().__init__(chain.chain_id)
        self._chain = chain
        self._clock = clock
        self._since: dict[bytes, tuple[int, int]] = {}
        """By hash: the height and the time when the pool accepted the transaction."""

    def __len__(self) -> int:
        self._drop_old()
        return super().__len__()

    def decode(self, raw: bytes) -> SignedTransactionAPI:
        """Decode a signed legacy transaction. rskj does not expect anything else, and reports an internal error.

        Raises:
            TransactionRefused: with rskj's code.
        """
        if not raw or raw[0] < 0xC0:
            raise _unexpected()
        try:
            transaction = PragueTransactionBuilder.decode(raw)
            if transaction.gas >= transaction.intrinsic_gas:
                # Too little gas is a refusal of its own.
                transaction.validate()
            transaction.check_signature_validity()
        except (rlp.exceptions.RLPException, ValidationError, ValueError, TypeError) as error:
            raise TransactionRefused(f"Invalid input: {error}", _INVALID_PARAMS) from error
        if transaction.chain_id is not None and 36 + 2 * transaction.chain_id > _LARGEST_V:
            raise _unexpected()
        if transaction.chain_id not in (None, self._chain_id):
            raise TransactionRefused(f"Invalid chainId: {transaction.chain_id}", _INVALID_PARAMS)
        return transaction

    def get(self, transaction_hash: bytes) -> PooledTransaction | None:
        """The pending transaction with that hash; a queued one is not found."""
        self._drop_old()
        found = super().get(transaction_hash)
        state = self._chain.state_at(self._chain.head)
        return found if found is not None and self._is_pending(found, state) else None

    def add(self, transaction: SignedTransactionAPI, state: StateAPI) -> None:
        """Add a transaction.

        Raises:
            TransactionRefused: for one of rskj's reasons.
        """
        self._drop_old()
        transaction_hash = bytes(transaction.hash)
        if (known := self._by_hash.get(transaction_hash)) is not None:
            kind = "pending" if self._is_pending(known, state) else "queued"
            raise _refused(f"{kind} transaction with same hash already exists")
        sender = bytes(transaction.sender)
        self._check(transaction, state, Address(sender))
        arriving = PooledTransaction(transaction, sender, self._arrivals)
        next_nonce = self.next_nonce(sender, state)
        waiting = self._by_sender.setdefault(sender, {})
        replaced = waiting.get(transaction.nonce)
        if transaction.nonce <= next_nonce:
            if transaction.nonce < next_nonce and replaced is not None:
                old, new = replaced.transaction.max_fee_per_gas, transaction.max_fee_per_gas
                if new <= old or new < old * (100 + _PRICE_BUMP_PERCENT) // 100:
                    raise _refused("gas price not enough to bump transaction")
            before = [each for nonce, each in waiting.items() if nonce < next_nonce and nonce != transaction.nonce]
            if sum(each.cost for each in before) + arriving.cost > state.get_balance(Address(sender)):
                raise _refused("insufficient funds to pay for pending and new transactions")
        if replaced is not None:
            self._forget(replaced)
        self._arrivals += 1
        self._by_sender.setdefault(sender, {})[transaction.nonce] = arriving
        self._by_hash[transaction_hash] = arriving
        self._since[transaction_hash] = (self._chain.head.number, self._clock.now())

    def next_nonce(self, sender: bytes, state: StateAPI) -> int:
        """The sender's nonce after its pending transactions."""
        self._drop_old()
        return super().next_nonce(sender, state)

    def ready(self, state: StateAPI, base_fee: int) -> Iterator[SignedTransactionAPI]:
        """The transactions that the next block may hold: highest prices first, each sender's in the order of nonces.

        Args:
            state: the state after the newest block.
            base_fee: the next block's minimum gas price.
        """
        self._drop_old()
        return super().ready(state, base_fee)

    def forget_used(self, state: StateAPI) -> None:
        """Drop the transactions whose nonce is used."""
        super().forget_used(state)
        for transaction_hash in self._since.keys() - self._by_hash.keys():
            del self._since[transaction_hash]

    def _check(self, transaction: SignedTransactionAPI, state: StateAPI, sender: Address) -> None:
        """Make rskj's checks in its order."""
        price, nonce = transaction.max_fee_per_gas, state.get_nonce(sender)
        least = seal_of(self._chain.head).minimum_gas_price
        if not state.account_exists(sender):
            raise _refused("the sender account doesn't exist")
        if not transaction.to and len(transaction.data) > _MOST_CREATION_CODE:
            raise _refused("transaction's init code size is invalid")
        if (size := len(transaction.encode())) > _MOST_BYTES:
            raise _refused(f"transaction's size is higher than defined maximum: {size} > {_MOST_BYTES}")
        if transaction.gas > (limit := self._chain.rules.gas_limit):
            raise _refused(
                f"transaction's gas limit of {transaction.gas} is higher than the block's gas limit of {limit}"
            )
        if transaction.nonce < nonce:
            raise _refused("transaction nonce too low")
        if transaction.nonce >= nonce + _ACCOUNT_SLOTS:
            raise _refused("transaction nonce too high")
        if state.get_balance(sender) < transaction.gas * price:
            raise _refused("insufficient funds")
        if price < least:
            raise _refused("transaction's gas price lower than block's minimum")
        # Rootstock has no floor for data (EIP-7623), but py-evm would not execute the transaction.
        if transaction.gas < max(transaction.intrinsic_gas, data_floor_gas(transaction.data)):
            raise _refused("transaction's basic cost is above the gas limit")
        if price > _PRICE_CAP * least > 0:
            raise _refused("transaction's gas price exceeds cap")

    def _is_pending(self, pooled: PooledTransaction, state: StateAPI) -> bool:
        return bool(pooled.transaction.nonce < super().next_nonce(pooled.sender, state))

    def _drop_old(self) -> None:
        height, now = self._chain.head.number - _LONGEST_WAIT_BLOCKS, self._clock.now() - _LONGEST_WAIT_SECONDS
        old = [each for each, (block, time) in self._since.items() if block < height or time <= now]
        for transaction_hash in old:
            if (pooled := self._by_hash.get(transaction_hash)) is not None:
                self._forget(pooled)
            self._since.pop(transaction_hash, None)

    def _forget(self, pooled: PooledTransaction) -> None:
        transaction_hash = bytes(pooled.transaction.hash)
        del self._by_hash[transaction_hash]
        self._since.pop(transaction_hash, None)
        waiting = self._by_sender[pooled.sender]
        del waiting[pooled.transaction.nonce]
        if not waiting:
            del self._by_sender[pooled.sender]


def _refused(message: str) -> TransactionRefused:
    return TransactionRefused(message, _REFUSED)


def _unexpected() -> TransactionRefused:
    return TransactionRefused("Internal server error", INTERNAL_ERROR)
