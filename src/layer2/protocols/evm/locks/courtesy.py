"""Claims by the payer on behalf of the payee. Anyone who knows the preimage can claim, and pays only the gas."""

from __future__ import annotations

from typing import Final

from layer2.contracts.htlc import CLAIM_GAS, HTLC_ADDRESS, LockStatus, claim_call
from layer2.errors import FundsRulesError, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.legs.leg import Htlc
from layer2.model.transactions import Preimage
from layer2.protocols.bounded_dict import BoundedDict
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
    """Sends claims of the account's own locks, at most one for each lock.

    Args:
        node: the party's own node.
        account: signs, sends and pays.
        fees: prices.
        watcher: the node's heads.
        locks: reads locks.
        gas: the gas that open swaps need, which has priority.
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
        self._signed: BoundedDict[bytes, SignedTransaction] = BoundedDict(_REMEMBERED)

    async def claim(self, htlc: Htlc, preimage: Preimage) -> None:
        """Send a claim of a lock of this account. It does nothing if the lock is not open.

        Raises:
            FundsRulesError: the lock is of another account, the preimage is of another lock, or the price of gas
                exceeds ``max_fee_per_gas``.
            InsufficientFunds: the gas is reserved for open swaps.
            TransactionError: the token would not pay out, or the claim was refused.
        """
        lock = self._locks.lock(htlc)
        if lock.payer != self._account.address:
            raise FundsRulesError("this account is not the payer of the lock")
        if preimage.payment_hash != lock.payment_hash:
            raise FundsRulesError("the preimage does not match the lock")
        heads = await self._watcher.read()
        if await self._locks.status(lock, heads.latest) is not LockStatus.LOCKED:
            return
        signed = self._signed.get(lock.lock_id)
        if signed is None:
            price = await self._fees.quote()
            await self._gas.check_spare(price.most(CLAIM_GAS, SIGNED_SIZE))
            # A claim that reverts would only cost gas.
            payout = TokenTransfer(lock.token, HTLC_ADDRESS, lock.payee, lock.amount)
            await transfer_gas(self._node, payout, protocol=self._protocol)
            message = Message(HTLC_ADDRESS, claim_call(lock, preimage), 0, CLAIM_GAS)
            (signed,) = await self._account.sign([message], price)
            self._signed[lock.lock_id] = signed
        try:
            await self._account.send(signed)
        except TransactionError:
            # It may have lost its nonce, so the next call signs another one.
            self._signed.pop(lock.lock_id, None)
            raise
