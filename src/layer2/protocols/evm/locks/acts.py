"""Acting on locks: preparing signed acts, sending them, and reading their status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from layer2.contracts.erc20 import balance_of_call, decode_accepted, transfer_call
from layer2.contracts.htlc import (
    CLAIM_GAS,
    HTLC_ADDRESS,
    LOCK_GAS_ERC20,
    REFUND_GAS,
    HtlcLock,
    LockStatus,
    claim_call,
    lock_call,
    refund_call,
)
from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    Layer2Error,
    NodeError,
    NodeRefused,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.fees.quotes import FeeQuote, Fees
from layer2.protocols.evm.fees.repricing import Price, is_bump, next_price
from layer2.protocols.evm.locks.approvals import Approvals
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE, GasReserves
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount, Message, message_of, price_of, tx_id_of
from layer2.protocols.evm.sending.replacements import Replacements
from layer2.protocols.evm.tokens.transfers import TokenTransfer, token_number, transfer_gas

__all__ = ["LockActs"]

LOG: Final = logging.getLogger("layer2.evm")

_RECLAIM_SECONDS = 3_600
"""A refund should be in a block this many seconds after the lock's deadline."""


@dataclass(frozen=True, slots=True)
class _Act:
    verb: Verb
    transactions: tuple[SignedTransaction, ...]
    """In order: approvals, if any, and last the act itself."""
    replaced: tuple[bytes, ...] = ()
    """Hashes of earlier versions of the act, with the same nonce and effect and a lower price."""

    def write(self) -> Json:
        return {
            "type": "evm_transactions",
            "verb": self.verb.value,
            "transactions": [format_data(signed.raw) for signed in self.transactions],
            **({"replaced": [format_data(tx_hash) for tx_hash in self.replaced]} if self.replaced else {}),
        }

    @classmethod
    def read(cls, act: Json) -> _Act:
        transactions, replaced = act.get("transactions"), act.get("replaced", [])
        if act.get("type") != "evm_transactions" or not isinstance(transactions, list) or not transactions:
            raise FormatError("the act is not an act of an EVM layer")
        if not isinstance(replaced, list):
            raise FormatError("the act's earlier versions are not a list")
        try:
            verb = Verb(act.get("verb"))
        except ValueError as error:
            raise FormatError("the act's verb is unknown") from error
        return cls(
            verb,
            tuple([decode_signed(parse_data(raw, "transaction")) for raw in transactions]),
            tuple([parse_data(tx_hash, "replaced", size=32) for tx_hash in replaced]),
        )


class LockActs:
    """Prepares and performs fund, collect, release and reclaim.

    Args:
        node: the party's own node.
        account: signs and sends.
        fees: prices.
        watcher: the node's heads.
        locks: reads locks.
        events: finds earlier locks.
        replacements: raises transactions that block a claim or a refund.
        gas: the gas that open swaps need.
        protocol: the layer's name, for errors.
    """

    def __init__(
        self,
        node: EvmNode,
        account: EvmAccount,
        fees: Fees,
        watcher: HeadWatcher,
        locks: Locks,
        events: LockEvents,
        replacements: Replacements,
        gas: GasReserves,
        protocol: str,
    ) -> None:
        self._node = node
        self._account = account
        self._fees = fees
        self._watcher = watcher
        self._locks = locks
        self._events = events
        self._replacements = replacements
        self._protocol = protocol
        self._approvals = Approvals(node, account, protocol)
        self._gas = gas

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Check the gas for every act that this side may need, in addition to the gas that open swaps need.

        Raises:
            InsufficientFunds: the account lacks gas, or tokens to lock.
        """
        lock = self._locks.lock(htlc)
        self._check_side(lock, side)
        await self._locks.check_history(lock)
        if side is Side.PAYER:
            await self._check_tokens(lock)
        await self._gas.check(lock.lock_id, side)

    def reserve(self, htlc: Htlc, side: Side) -> None:
        """Reserve gas for an agreed or resumed swap until ``free``."""
        self._gas.reserve(self._locks.lock(htlc).lock_id, side)

    def free(self, htlc: Htlc) -> None:
        """Release the gas of a swap that has ended."""
        self._gas.free(self._locks.lock(htlc).lock_id)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None) -> Json:
        """Prepare a complete, signed act. Nothing is sent, and no request contains the preimage.

        Raises:
            InsufficientFunds, FundsRulesError: as ``HtlcLayer.prepare``.
        """
        lock = self._locks.lock(htlc)
        match verb:
            case Verb.FUND:
                await self._check_fundable(lock)
                message = self._message(lock_call(lock), LOCK_GAS_ERC20)
                price = await self._fees.quote()
                return _Act(verb, tuple(await self._approvals.sign(lock, message, price, self._check_gas))).write()
            case Verb.COLLECT:
                if preimage is None:
                    raise FundsRulesError("a claim needs the preimage")
                await self._check_collectable(lock)
                message = self._message(claim_call(lock, preimage), CLAIM_GAS)
            case Verb.RELEASE:
                self._check_side(lock, Side.PAYEE)
                message = self._message(refund_call(lock), REFUND_GAS)
            case Verb.RECLAIM:
                await self._check_reclaimable(lock)
                message = self._message(refund_call(lock), REFUND_GAS)
            case Verb.VOID:
                raise FundsRulesError("an EVM lock needs no void act: it ends at its deadline")
        price = await self._fees.urgent_quote()
        await self._check_gas([message], price)
        return _Act(verb, tuple(await self._account.sign([message], price))).write()

    def discard(self, act: Json) -> None:
        """Discard a prepared act that will never be performed, for example if its journal entry could not be written.

        Its nonces are free at once, and ``perform`` refuses it from then on. An act that was performed, or that another
        process prepared, is not affected. An approval that another act shares stays with that act.
        """
        read = _Act.read(act)
        # A repriced act shares its nonce with its earlier versions, which may have been sent.
        if not read.replaced:
            self._account.give_back(self._approvals.unshared(read.transactions))

    async def perform(self, act: Json) -> None:
        """Send the act's transactions in their order."""
        read = _Act.read(act)
        for index, signed in enumerate(read.transactions):
            try:
                await self._account.send(signed, is_replacement=bool(read.replaced))
            except TransactionError as error:
                if error.code == "nonce_used":
                    # The later transactions have no effect without this one.
                    self._account.give_back(read.transactions[index + 1 :])
                if read.replaced:
                    # The node refused this version. An earlier one may be in the pool or in a block.
                    error.outcome = Outcome.UNKNOWN
                raise

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """The act at a higher price with the same nonce; None if its price can stay as it is.

        Only claims and refunds are repriced, even above ``max_fee_per_gas``; a pending lock can be abandoned. Earlier
        transactions that block the act are raised too. A refund by the payer is due an hour after the lock's deadline.
        The price is limited by the account's balance.
        """
        read = _Act.read(act)
        if read.verb is Verb.FUND:
            return None
        signed, deadline = read.transactions[-1], self._locks.lock(htlc).deadline
        if read.verb is Verb.RECLAIM:
            deadline += _RECLAIM_SECONDS
        await self._unblock(signed)
        market, head, balance = await asyncio.gather(
            self._fees.urgent_quote(), self._node.head(Finality.LATEST), self._node.balance(signed.sender)
        )
        wanted = next_price(price_of(signed), market, deadline - head.timestamp)
        if wanted is None:
            return None
        message = message_of(signed)
        # The rest of the fee: L1 data and the operator.
        others = replace(market, max_fee_per_gas=0).most(message.gas_limit, SIGNED_SIZE)
        most = (balance - others) // message.gas_limit
        price = Price(min(wanted.max_fee_per_gas, most), min(wanted.max_priority_fee_per_gas, most))
        if not is_bump(price, price_of(signed)):
            raise self._fees.lack_of_gas(
                f"the {read.verb.value} is not in a block, and the account cannot pay more: it has {balance} wei"
            )
        replacement = await self._account.sign_replacement(signed, message, price)
        return _Act(read.verb, (*read.transactions[:-1], replacement), (*read.replaced, signed.hash)).write()

    async def _unblock(self, signed: SignedTransaction) -> None:
        try:
            await self._replacements.unblock(signed.transaction.nonce)
        except Layer2Error as error:
            # The act itself can still be repriced; the next check tries this again.
            LOG.warning("earlier transactions block %s, and their price cannot be raised: %s", tx_id_of(signed), error)

    async def status(self, act: Json) -> ActStatus:
        """The status of an act.

        FAILED means that the act will never have an effect. For a lock this requires finalized blocks: otherwise a
        reorganisation could bring back a reverted or replaced lock, and the money would be locked twice. Other acts can
        safely be repeated, so the newest block is enough for them. An act that this process prepared and never sent
        has failed once it can no longer be sent.
        """
        read = _Act.read(act)
        signed = read.transactions[-1]
        certain = Finality.FINALIZED if read.verb is Verb.FUND else Finality.LATEST
        # The count is read first: if the nonce is used and no receipt is found later, the act was replaced.
        used, head = await asyncio.gather(
            self._node.transaction_count(signed.sender, certain), self._node.head(certain)
        )
        versions = (signed.hash, *read.replaced)
        # The same batch reads the head before the receipts. A node without this head may lack the receipts too.
        (seen,), receipts = await asyncio.gather(
            asyncio.gather(self._node.block(head.hash)),
            asyncio.gather(*[self._node.receipt(tx_hash) for tx_hash in versions]),
        )
        for receipt in receipts:
            if receipt is not None:
                if receipt.succeeded:
                    return ActStatus.DONE
                return ActStatus.FAILED if receipt.block_number <= head.number else ActStatus.UNDER_WAY
        if used > signed.transaction.nonce:
            if seen is None:
                raise BadAnswer(f"the node has not seen block {head.number}", retryable=True)
            # The node may serve another chain now, where the account has other nonces.
            await self._node.expect_chain(signed.transaction.chain_id)
            return ActStatus.FAILED
        known = await asyncio.gather(*[self._node.knows_transaction(tx_hash) for tx_hash in versions])
        if any(known):
            for waiting in read.transactions:
                await self._account.notice(waiting)
            return ActStatus.UNDER_WAY
        is_lost = not read.replaced and self._account.never_lands(read.transactions)
        return ActStatus.FAILED if is_lost else ActStatus.UNSEEN

    async def _check_fundable(self, lock: HtlcLock) -> None:
        self._check_side(lock, Side.PAYER)
        heads = await self._watcher.read()
        if heads.latest.timestamp >= lock.deadline:
            raise FundsRulesError("the lock's deadline has passed on the chain's clock")
        spent, earlier, _ = await asyncio.gather(
            self._locks.is_spent(lock.payment_hash, heads.latest),
            self._events.locked_by(lock.payer, lock.payment_hash, heads.latest),
            self._check_tokens(lock),
        )
        if spent:
            raise FundsRulesError("the preimage of this payment hash is public: do not lock money under it")
        for found in earlier:
            # A lock that was refunded in a finalized block is over, and its hash can be used again.
            earlier_status = await self._locks.status_of(found.event.lock_id, heads.finalized)
            if earlier_status is not LockStatus.REFUNDED:
                raise FundsRulesError(
                    f"this account has already locked under this payment hash: 0x{found.found.tx_hash.hex()}",
                    code="funded_before",
                )
        await self._approvals.check(lock, heads.latest)

    async def _check_collectable(self, lock: HtlcLock) -> None:
        """Check, without the preimage, that a claim would pay out now."""
        self._check_side(lock, Side.PAYEE)
        heads = await self._watcher.read()
        if await self._locks.status(lock, heads.latest) is not LockStatus.LOCKED:
            raise FundsRulesError("there is no open lock to claim: the preimage stays secret")
        transfer = TokenTransfer(lock.token, HTLC_ADDRESS, lock.payee, lock.amount)
        try:
            await transfer_gas(self._node, transfer, protocol=self._protocol)
        except NodeError:
            # A claim of locked money must not depend on simulation, so a plain call is checked instead.
            await self._check_payout_call(lock)
        except TransactionError as error:
            if error.code == "no_simulation":
                await self._check_payout_call(lock)
                return
            raise FundsRulesError(
                f"the token would not pay out: {error.message}; the preimage stays secret", code=error.code
            ) from error

    async def _check_payout_call(self, lock: HtlcLock) -> None:
        try:
            answer = await self._node.call(lock.token, transfer_call(lock.payee, lock.amount), sender=HTLC_ADDRESS)
            accepted = decode_accepted(answer)
        except (NodeRefused, FormatError) as error:
            raise FundsRulesError(f"the token would not pay out: {error.message}; the preimage stays secret") from error
        if not accepted:
            raise FundsRulesError("the token would not pay out; the preimage stays secret")

    async def _check_reclaimable(self, lock: HtlcLock) -> None:
        self._check_side(lock, Side.PAYER)
        head = await self._node.head(Finality.LATEST)
        if head.timestamp < lock.deadline:
            raise FundsRulesError(
                "the lock's deadline has not passed on the chain's clock", deadline=lock.deadline, retryable=True
            )

    async def _check_tokens(self, lock: HtlcLock) -> None:
        answer = await self._node.call(lock.token, balance_of_call(lock.payer))
        balance = token_number(answer, protocol=self._protocol)
        if balance < lock.amount:
            raise InsufficientFunds(
                f"the account has {balance} of the token's smallest unit, the lock needs {lock.amount}"
            )

    async def _check_gas(self, messages: Sequence[Message], price: FeeQuote) -> None:
        balance = await self._node.balance(self._account.address)
        needed = sum(price.most(message.gas_limit, SIGNED_SIZE) for message in messages)
        if balance < needed:
            raise self._fees.lack_of_gas(f"the act needs up to {needed} wei for gas, the account has {balance}")

    def _check_side(self, lock: HtlcLock, side: Side) -> None:
        match side:
            case Side.PAYER:
                party = lock.payer
            case Side.PAYEE:
                party = lock.payee
        if party != self._account.address:
            raise FundsRulesError(f"this account is not the {side.value} of the lock")

    @staticmethod
    def _message(data: bytes, gas_limit: int) -> Message:
        return Message(HTLC_ADDRESS, data, 0, gas_limit)
