"""Hash-locked legs on an EVM layer: acts and observations of locks in the HTLC contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from layer2.contracts.htlc import (
    CLAIM_GAS,
    LOCK_GAS_ERC20,
    LOCK_GAS_NATIVE,
    REFUND_GAS,
    LockedEvent,
    LockStatus,
    claim_call,
    refund_call,
)
from layer2.errors import BadAnswer, FundsRulesError, Layer2Error, NonceTaken, Outcome, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import SignedTransaction
from layer2.legs.evidence import EvmEvidence
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer, LegListener
from layer2.ports.nonces import NonceClaim
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.fees.prices import FeeQuote, Price
from layer2.protocols.evm.locks.act import EvmAct
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE
from layer2.protocols.evm.parts import EvmParts
from layer2.protocols.evm.sending.signing import Message, message_of, price_of, tx_id_of

__all__ = ["EvmLegs"]

LOG: Final = logging.getLogger("layer2.evm")

_MOST_CLOCK_DIFFERENCE: Final = 60
"""Seconds by which the node's clock may differ from this machine's."""
_RECLAIM_SECONDS: Final = 3_600
"""A refund should be in a block this many seconds after the lock's deadline."""
_REMEMBERED_COURTESIES: Final = 1_000


class EvmLegs(HtlcLayer):
    """Legs in the HTLC contract of one EVM layer, through the party's own node.

    Args:
        parts: the parts of the layer's client.
    """

    def __init__(self, parts: EvmParts) -> None:
        self._parts = parts
        self._contract_checked = False
        self._courtesies: BoundedDict[bytes, SignedTransaction] = BoundedDict(_REMEMBERED_COURTESIES)

    async def leg_offer(self) -> EvmOffer:
        """See ``HtlcLayer``: this account, the HTLC contract, and what represents bitcoin."""
        await self._check_contract()
        offer = EvmOffer(
            protocol=self._parts.layer,
            chain_id=self._parts.settings.chain_id,
            contract=self._parts.contract,
            token=self._parts.token,
            token_decimals=self._parts.token_decimals,
            account=self._parts.account.address,
            finality=Finality.LATEST,
        )
        return offer.with_finality(Finality.LATEST)

    async def offer(self, request: OfferRequest) -> str:
        """See ``HtlcLayer``: the account's address, from which the payer locks and to which a claim pays."""
        await self._check_contract()
        return to_checksum(self._parts.account.address, self._parts.settings.chain_id)

    async def network_cost(self, amount: int) -> int | None:
        """See ``HtlcLayer``: a lock and its claim or refund at urgent prices. The amount does not matter."""
        price = self._parts.asset.coin_price_sat
        if price is None:
            return None
        quote = await self._parts.fees.urgent_quote()
        lock_gas = LOCK_GAS_NATIVE if self._parts.asset.is_native else LOCK_GAS_ERC20
        wei = sum(quote.most(gas, SIGNED_SIZE) for gas in (lock_gas, max(CLAIM_GAS, REFUND_GAS)))
        whole: int = 10**self._parts.facts.native_decimals
        return -(-wei * price // whole)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``. It also refuses to start a swap if the chain's time is ahead of this machine's clock.

        Only new swaps are refused: an open swap has to be finished at any chain time.
        """
        await self._check_contract()
        clock = await self.read_clock()
        ahead = clock.chain_time - self._parts.clock.now()
        if ahead > self._parts.settings.max_ahead_seconds:
            raise self._clock_error(f"the newest block is {ahead:.0f} s ahead of this machine's clock")
        lock = self._parts.locks.lock(htlc)
        self._parts.checks.check_side(lock, side)
        await self._parts.locks.check_history(lock)
        if side is Side.PAYER:
            await self._parts.money.check_owned(lock)
        await self._parts.gas.check(lock, side)

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``: reserves the gas of every act that this side may need.

        A lock of the native coin also reserves its amount, until it is on the chain.
        """
        lock = self._parts.locks.lock(htlc)
        self._parts.gas.reserve(lock, side)
        if self._parts.locks.was_there(lock.lock_id):
            # After a restart. Its swap may fall asleep before it is observed again.
            self._parts.gas.observed(lock, side, is_on_chain=True)

    def free(self, htlc: Htlc) -> None:
        """See ``HtlcLayer``."""
        lock = self._parts.locks.lock(htlc)
        self._parts.gas.free(lock)
        self._parts.locks.forget(lock.lock_id)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """See ``HtlcLayer``. A prepared act has a nonce: perform it or discard it. No request contains the preimage."""
        await self._check_contract()
        parts = self._parts
        lock = parts.locks.lock(htlc)
        match verb:
            case Verb.FUND:
                await parts.checks.check_fundable(lock)
                return EvmAct(verb, tuple(await parts.money.sign(lock, await parts.fees.quote()))).write()
            case Verb.COLLECT:
                if preimage is None:
                    raise FundsRulesError("a claim needs the preimage")
                await parts.checks.check_collectable(lock)
                message = Message(lock.contract, claim_call(lock, preimage), 0, CLAIM_GAS)
            case Verb.RELEASE:
                parts.checks.check_side(lock, Side.PAYEE)
                message = Message(lock.contract, refund_call(lock), 0, REFUND_GAS)
            case Verb.RECLAIM:
                await parts.checks.check_reclaimable(lock)
                message = Message(lock.contract, refund_call(lock), 0, REFUND_GAS)
            case Verb.VOID:
                raise FundsRulesError("an EVM lock needs no void act: it ends at its deadline")
        price = await parts.fees.urgent_quote()
        await parts.gas.check_balance([message], price)
        return EvmAct(verb, tuple(await parts.account.sign([message], price))).write()

    def discard(self, act: Json) -> None:
        """See ``HtlcLayer``. The act's nonces are free at once, and ``perform`` refuses it from then on.

        An act that was performed, or that another process prepared, is not affected. An approval that another act
        shares stays with that act.
        """
        read = EvmAct.read(act)
        # A repriced act shares its nonce with its earlier versions, which may have been sent.
        if not read.replaced:
            self._parts.account.give_back(self._parts.money.unshared(read.transactions))

    def nonces(self, act: Json, *, is_journaled: bool) -> Sequence[NonceClaim]:
        """See ``HtlcLayer``. A repriced act has the nonce of its first version."""
        read, account = EvmAct.read(act), self._parts.account
        if read.replaced:
            return ()
        claims = [account.claim(each, is_out=is_journaled, is_journaled=is_journaled) for each in read.transactions]
        return [claim for claim in claims if claim is not None]

    async def perform(self, act: Json) -> None:
        """See ``HtlcLayer``: sends the act's transactions in their order."""
        read = EvmAct.read(act)
        if self._parts.account.pool_forgets and read.verb is not Verb.FUND:
            # Behind a lower nonce that the pool dropped, nodes do not show the act, so it would never be repriced.
            await self._unblock(read.transactions[-1])
        for index, signed in enumerate(read.transactions):
            try:
                await self._parts.account.send(signed, is_replacement=bool(read.replaced))
            except TransactionError as error:
                if error.code == "nonce_used":
                    # The later transactions have no effect without this one.
                    self._parts.account.give_back(read.transactions[index + 1 :])
                if read.replaced:
                    # The node refused this version. An earlier one may be in the pool or in a block.
                    error.outcome = Outcome.UNKNOWN
                raise

    async def act_status(self, act: Json) -> ActStatus:
        """See ``HtlcLayer``.

        FAILED means that the act will never have an effect. For a lock this requires finalized blocks: otherwise a
        reorganisation could bring back a reverted or replaced lock, and the money would be locked twice. Other acts can
        safely be repeated, so the newest block is enough for them. An act that this process prepared and never sent
        has failed once it can no longer be sent; but a lock only if no other worker can have sent it.
        """
        parts, read = self._parts, EvmAct.read(act)
        node, account, signed = parts.node, parts.account, read.transactions[-1]
        certain = Finality.FINALIZED if read.verb is Verb.FUND else Finality.LATEST
        # The count is read first: if the nonce is used and no receipt is found later, the act was replaced.
        used, head = await node.count_at_head(signed.sender, certain)
        versions = (signed.hash, *read.replaced)
        # The same batch reads the head before the receipts. A node without this head may lack the receipts too.
        (seen,), receipts = await asyncio.gather(
            asyncio.gather(node.block(head.hash)),
            asyncio.gather(*[node.receipt(tx_hash) for tx_hash in versions]),
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
            await node.expect_chain(signed.transaction.chain_id)
            return ActStatus.FAILED
        known = await asyncio.gather(*[node.knows_transaction(tx_hash) for tx_hash in versions])
        if any(known):
            for waiting in read.transactions:
                await account.notice(waiting)
            return ActStatus.UNDER_WAY
        # The engine repeats what is unseen and reprices what is under way. A minimum that rose above this price while
        # the pool lacked the act would make every repetition useless.
        if read.replaced and account.pool_forgets:
            market = await parts.fees.urgent_quote()
            if parts.fees.model.is_refused(price_of(signed), market):
                return ActStatus.UNDER_WAY
        # Another worker may have sent a journaled lock that this one never sent. Other acts can be made twice.
        is_certain = account.is_alone or read.verb is not Verb.FUND
        is_lost = is_certain and not read.replaced and account.never_lands(read.transactions)
        return ActStatus.FAILED if is_lost else ActStatus.UNSEEN

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """See ``HtlcLayer``: the same nonce at a higher price, so at most one version is ever in a block.

        Only claims and refunds are repriced, even above ``max_fee_per_gas_wei``; a pending lock can be abandoned.
        Earlier transactions that block the act are raised too. A refund by the payer is due an hour after the lock's
        deadline. The price is limited by the account's balance.
        """
        parts, read = self._parts, EvmAct.read(act)
        if read.verb is Verb.FUND:
            return None
        signed, deadline = read.transactions[-1], parts.locks.lock(htlc).deadline
        if read.verb is Verb.RECLAIM:
            deadline += _RECLAIM_SECONDS
        await self._unblock(signed)
        market, head, balance = await asyncio.gather(
            parts.fees.urgent_quote(), parts.node.head(Finality.LATEST), parts.node.balance(signed.sender)
        )
        wanted = parts.fees.model.next_price(price_of(signed), market, deadline - head.timestamp)
        if wanted is None:
            return None
        message = message_of(signed)
        # The rest of the fee: L1 data and the operator.
        others = replace(market, max_fee_per_gas=0).most(message.gas_limit, SIGNED_SIZE)
        most = (balance - others) // message.gas_limit
        price = Price(min(wanted.max_fee_per_gas, most), min(wanted.max_priority_fee_per_gas, most))
        if not parts.fees.model.is_bump(price, price_of(signed)):
            raise parts.fees.lack_of_gas(
                f"the {read.verb.value} is not in a block, and the account cannot pay more: it has {balance} wei"
            )
        replacement = await parts.account.sign_replacement(signed, message, price)
        return EvmAct(read.verb, (*read.transactions[:-1], replacement), (*read.replaced, signed.hash)).write()

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """See ``HtlcLayer``. A ``lock_id`` commits to all terms, so a lock with other terms does not count.

        FUNDED and ``arrived`` refer to the finality in the terms, ``final`` to finalized blocks.
        """
        await self._check_contract()
        view = await self._parts.locks.observe(htlc)
        lock = self._parts.locks.lock(htlc)
        self._parts.gas.observed(lock, side, is_on_chain=view.state is not LegState.NONE)
        return view

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """See ``HtlcLayer``: waits for an event of the lock, its block's finality, or the lock's deadline."""
        await self._parts.locks.changed(htlc)

    @property
    def can_follow(self) -> bool:
        """See ``HtlcLayer``."""
        return True

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """See ``HtlcLayer``: an event of the lock and its block's finality are reported; the deadline is a time.

        If the chain's clock is ahead, it reaches the deadline earlier by as much.
        """
        deadline = self._parts.locks.follow(htlc, view, listener)
        return None if deadline is None else deadline - max(0, view.clock.chain_time - self._parts.clock.now())

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """See ``HtlcLayer``."""
        self._parts.locks.unfollow(payment_hash, listener)

    async def read_clock(self) -> ClockReading:
        """See ``HtlcLayer``: the newest block's time, if the node's ``Date`` agrees with this machine's clock.

        rskj sends no ``Date``. Then the block's own time limits the difference: ``stale_after_seconds`` in one
        direction, ``max_ahead_seconds`` in the other.
        """
        block, date = await self._parts.node.dated_block(Finality.LATEST)
        now = self._parts.clock.now()
        if block is None:
            raise self._clock_error("the node has no newest block")
        if date is None and self._parts.node.format.is_dated:
            raise self._clock_error("the node's answer has no Date header, so its clock cannot be compared")
        if date is not None and abs(date - now) > _MOST_CLOCK_DIFFERENCE:
            raise self._clock_error(f"the node's clock differs from this machine's by {date - now:+.0f} s")
        if now - block.timestamp > self._parts.settings.stale_after_seconds:
            raise self._clock_error(f"the node's newest block is {now - block.timestamp:.0f} s old: it is not synced")
        return ClockReading(chain_time=block.timestamp, height=block.number)

    async def evidence(self, htlc: Htlc, side: Side) -> EvmEvidence | None:
        """See ``HtlcLayer``: the receipt of the claim or of the refund, or else the lock's status in the storage."""
        return await self._parts.locks.evidence(htlc)

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        """See ``HtlcLayer``. With 0 the search starts at the oldest block that the settings allow.

        The next search has to start after the finalized block, because a reorganisation may add a funding to any later
        block.
        """
        await self._check_contract()
        heads = await self._parts.watcher.read()
        first = since if since > 0 else self._parts.events.oldest(heads.latest)
        found = await self._parts.events.locked_since(first, heads.latest)
        own = self._parts.account.address
        hashes = [
            each.event.payment_hash for each in found if isinstance(each.event, LockedEvent) and each.event.payee == own
        ]
        return frozenset(hashes), max(first, heads.finalized.number + 1)

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        """See ``HtlcLayer``: a claim whose gas this account pays, at ``max_fee_per_gas_wei`` or less.

        Anyone who knows the preimage can claim. At most one such claim is sent for each lock.

        Raises:
            FundsRulesError: the lock is of another account, the preimage is of another lock, or the price of gas
                exceeds ``max_fee_per_gas_wei``.
            InsufficientFunds: the gas is reserved for open swaps.
            TransactionError: the lock would not be paid out, or the claim was refused.
        """
        await self._check_contract()
        parts = self._parts
        lock = parts.locks.lock(htlc)
        parts.checks.check_side(lock, Side.PAYER)
        if preimage.payment_hash != lock.payment_hash:
            raise FundsRulesError("the preimage does not match the lock")
        heads = await parts.watcher.read()
        if await parts.locks.status(lock.lock_id, heads.latest) is not LockStatus.LOCKED:
            return
        signed = self._courtesies.get(lock.lock_id)
        if signed is None:
            price = await parts.fees.quote()
            await parts.gas.check_spare(price.most(CLAIM_GAS, SIGNED_SIZE))
            # A claim that reverts would only cost gas.
            await parts.money.check_deliverable(lock)
            message = Message(lock.contract, claim_call(lock, preimage), 0, CLAIM_GAS)
            self._courtesies[lock.lock_id] = signed = await self._signed_courtesy(message, price)
        try:
            await parts.account.send(signed)
        except TransactionError:
            # It may have lost its nonce, so the next call signs another one.
            self._courtesies.pop(lock.lock_id, None)
            raise

    async def _signed_courtesy(self, message: Message, price: FeeQuote) -> SignedTransaction:
        """Sign a transaction that is not journaled, and take its nonce."""
        while True:
            (signed,) = await self._parts.account.sign([message], price)
            try:
                await self._parts.account.take_nonce(signed, is_journaled=False)
                return signed
            except BaseException as error:
                self._parts.account.give_back([signed])
                if not isinstance(error, NonceTaken):
                    raise

    async def _unblock(self, signed: SignedTransaction) -> None:
        """Raise the prices of earlier transactions that block an act, as far as possible."""
        try:
            await self._parts.replacements.unblock(signed.transaction.nonce)
        except Layer2Error as error:
            # The act itself can still be sent or repriced; the next attempt tries this again.
            LOG.warning("earlier transactions block %s, and their price cannot be raised: %s", tx_id_of(signed), error)

    async def _check_contract(self) -> None:
        if not self._contract_checked:
            await check_htlc(self._parts.node, self._parts.contract, self._parts.settings.chain_id)
            self._contract_checked = True

    def _clock_error(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, code="clock", protocol=self._parts.layer.value, retryable=True)
