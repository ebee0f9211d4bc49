"""Claiming for the payee: whoever knows the preimage can have a lock paid out, and pays only the gas."""

from __future__ import annotations

from typing import Final

from layer2.contracts.htlc import CLAIM_GAS, HTLC_ADDRESS, LockStatus, claim_call
from layer2.errors import FundsRulesError, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.legs.leg import Htlc
from layer2.model.transactions import Preimage
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE, GasReserves
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount, Message
from layer2.protocols.evm.tokens.transfers import TokenTransfer, transfer_gas

__all__ = ["Courtesies"]

_REMEMBERED: Final = 1_000


class Courtesies:
    """Claims by the payer, one for each lock while this object lives.

    Args:
        node: the party's own node.
        account: whose key signs and pays.
        fees: where prices come from.
        watcher: the node's heads.
        locks: reads locks.
        gas: what open swaps need, which comes first.
        protocol: the layer's name, for errors.
    """

    def __init__(
        self,
        node: EvmNode,
        account: EvmAccount,
        fees: Fees,
        watcher: HeadWatcher,
        locks: Locks,
        gas: GasReserves,
        protocol: str,
    ) -> None:
        self._node = node
        self._account = account
        self._fees = fees
        self._watcher = watcher
        self._locks = locks
        self._gas = gas
        self._protocol = protocol
        self._made: dict[bytes, SignedTransaction] = {}

    async def claim(self, htlc: Htlc, preimage: Preimage) -> None:
        """Publish a claim of this account's own lock, unless it is not, or no longer, open.

        Raises:
            FundsRulesError: it is another account's lock or preimage, or gas costs more than ``max_fee_per_gas``.
            InsufficientFunds: the gas is kept for open swaps.
            TransactionError: the token would not pay out, or the claim was refused.
        """
        lock = self._locks.lock(htlc)
        if lock.payer != self._account.address:
            raise FundsRulesError("this account is not the payer of the lock")
        if preimage.payment_hash != lock.payment_hash:
            raise FundsRulesError("the preimage is not that of the lock")
        heads = await self._watcher.read()
        if await self._locks.status(lock, heads.latest) is not LockStatus.LOCKED:
            return
        signed = self._made.get(lock.lock_id)
        if signed is None:
            price = await self._fees.quote()
            await self._gas.check_spare(price.most(CLAIM_GAS, SIGNED_SIZE))
            # A claim that reverts costs its gas and helps nobody.
            payout = TokenTransfer(lock.token, HTLC_ADDRESS, lock.payee, lock.amount)
            await transfer_gas(self._node, payout, protocol=self._protocol)
            message = Message(HTLC_ADDRESS, claim_call(lock, preimage), 0, CLAIM_GAS)
            (signed,) = await self._account.sign([message], price)
            self._remember(lock.lock_id, signed)
        try:
            await self._account.send(signed)
        except TransactionError:
            # Its nonce is not its own any more: the next call makes another one.
            self._made.pop(lock.lock_id, None)
            raise

    def _remember(self, lock_id: bytes, signed: SignedTransaction) -> None:
        self._made[lock_id] = signed
        if len(self._made) > _REMEMBERED:
            del self._made[next(iter(self._made))]
