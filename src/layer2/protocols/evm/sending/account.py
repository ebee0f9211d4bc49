"""One account on one chain: it gives transactions their nonces, signs them, and sends them without gaps."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.errors import NodeError, Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.ports.journal import NonceRecords
from layer2.ports.nonces import NonceClaim
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.fees.prices import FeeQuote, Price
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account_sender import AccountSender
from layer2.protocols.evm.sending.journaled_nonces import JournaledNonces
from layer2.protocols.evm.sending.nonce_ledger import NonceLedger
from layer2.protocols.evm.sending.repair import NonceRepair
from layer2.protocols.evm.sending.signing import Message, TransactionSigner, price_of

__all__ = ["EvmAccount"]

_SEEN_SECONDS = 5.0
"""How old the knowledge of other workers' transactions may be before the price of an earlier one is raised."""


class EvmAccount:
    """Signs and sends the transactions of one key.

    Args:
        node: the party's own node.
        signer: the key.
        fees: the chain's rules for prices, and prices for the transactions that fill missing nonces.
        chain_id: the chain for which signatures are valid.
        protocol: the layer's name in the journal.
        records: the journal's nonces; None if no other client uses the key.
    """

    def __init__(
        self,
        node: EvmNode,
        signer: EvmSigner,
        fees: Fees,
        *,
        chain_id: int,
        protocol: str,
        records: NonceRecords | None,
    ) -> None:
        self.address = signer.address
        """20 bytes."""
        self._model = fees.model
        self.pool_forgets = fees.model.pool_seconds is not None
        """Whether the node's pool drops transactions that wait, even at a good price. They are sent again."""
        self._signer = TransactionSigner(signer, fees.model, chain_id=chain_id)
        self._ledger = NonceLedger()
        self._journaled = JournaledNonces(records, protocol, signer.address, self._ledger)
        self._sender = AccountSender(node, signer.address, self._ledger, self._journaled)
        self._repair = NonceRepair(node, self._signer, fees, self._ledger, self._journaled, self._sender)

    @property
    def is_alone(self) -> bool:
        """Whether no other worker can send this object's transactions, because no journal has them."""
        return self._journaled.is_alone

    async def prepare(self) -> None:
        """Read the first free nonce, and start a repair if one is due. Fast after the first call."""
        if not self._ledger.nonces.is_started:
            self._ledger.nonces.reach(await self._sender.pending.get())
            self._repair.postpone_check()
        await self._journaled.catch_up()
        self._repair.look_after_others()
        self._repair.check_if_due()

    def check_for_lost(self) -> None:
        """Check in the background for transactions that the node's pool lost, and send them again."""
        self._repair.check_now()

    async def adopt(self, versions: Sequence[SignedTransaction]) -> None:
        """Take over the last of several transactions with the same nonce, which an earlier run may have sent.

        Raises:
            TransactionError: another transaction has the nonce (``nonce_used``).
        """
        await self.prepare()
        newest = versions[-1]
        if newest.sender == self.address:
            self._ledger.check_holder(versions)
            self._ledger.adopt(newest)
            self._repair.fill_gaps()

    def claim(self, signed: SignedTransaction, *, is_out: bool, is_journaled: bool = False) -> NonceClaim | None:
        """What the journal takes together with a transaction, or None without a journal or for another account.

        Args:
            is_out: it is sent as soon as it is journaled.
            is_journaled: it may be journaled already, by any worker.
        """
        if signed.sender != self.address:
            return None
        return self._journaled.claim(signed, is_out=is_out, takes_over=is_journaled)

    async def take_nonce(self, signed: SignedTransaction, *, is_journaled: bool) -> None:
        """Journal that a transaction that is sent next has its nonce, in a write of its own.

        Args:
            is_journaled: it may be journaled already, by any worker.

        Raises:
            NonceTaken: another transaction has it.
            JournalError: nothing may be sent.
        """
        if signed.sender == self.address:
            await self._journaled.take(signed, takes_over=is_journaled)

    async def see_others(self) -> None:
        """Take note of what other workers have sent, if that was not done for a few seconds."""
        await self._journaled.catch_up(_SEEN_SECONDS)

    async def notice(self, signed: SignedTransaction) -> None:
        """Take over a transaction that is in the node's pool, which an earlier run may have sent.

        It keeps its nonce, and is sent again if the pool loses it. If nonces below it are missing, they are filled
        with transfers of nothing to the account itself, once the node's pool has lacked them for a few seconds.
        """
        if signed.sender == self.address:
            await self.prepare()
            self._ledger.unsent.displace(signed.transaction.nonce, by=signed.hash)
            self._ledger.adopt(signed)
            self._repair.fill_gaps()

    async def sign(self, messages: Sequence[Message], price: FeeQuote) -> list[SignedTransaction]:
        """Give the messages ascending nonces and sign them. Nothing is sent.

        A signed transaction blocks all later ones until it is sent: send it, or call ``give_back``. After 30 seconds,
        or 10 seconds if a sent transaction waits behind it, it loses its nonce, and ``send`` may refuse it.

        Raises:
            SignerError: the key cannot be used; the nonces are free again.
        """
        await self.prepare()
        nonces = self._ledger.take(len(messages))
        signed: list[SignedTransaction] = []
        try:
            for message, nonce in zip(messages, nonces, strict=True):
                signed.append(await self._signer.sign(message, nonce, price))
        except BaseException:
            self._ledger.give_back(nonces)
            raise
        self._repair.hold(signed)
        return signed

    def sent_below(self, nonce: int) -> list[SignedTransaction]:
        """The sent and not yet final transactions with lower nonces that this object knows, the lowest first."""
        return self._ledger.unmined.below(nonce)

    def give_back(self, signed: Sequence[SignedTransaction]) -> None:
        """Free the nonces of transactions that will never be sent; ``send`` refuses these transactions from then on.

        Sent transactions, and those that this object did not sign, are not affected.
        """
        self._ledger.discard(signed)
        self._journaled.doubt()
        self._repair.fill_gaps()

    def never_lands(self, signed: Sequence[SignedTransaction]) -> bool:
        """Whether the last of these transactions was never sent and never will be; see ``NonceLedger.never_lands``."""
        never = self._ledger.never_lands(signed)
        self._repair.fill_gaps()
        return never

    async def sign_replacement(self, replaced: SignedTransaction, message: Message, price: Price) -> SignedTransaction:
        """Sign a transaction with the nonce of another one. At most one of the two is ever in a block.

        Raises:
            SignerError: the key cannot be used.
            TransactionError: the other transaction is not of this account (``not_own``), or the price is too low for
                nodes to accept the replacement (``bump_too_small``).
        """
        if replaced.sender != self.address:
            raise TransactionError("only the account's own transactions can be replaced", code="not_own")
        if not self._model.is_bump(price, price_of(replaced)):
            raise TransactionError(
                f"nodes accept a replacement at {self._model.bumped(price_of(replaced))} or more, not at {price}",
                code="bump_too_small",
            )
        return await self._signer.sign(message, replaced.transaction.nonce, price)

    async def send(self, signed: SignedTransaction, *, is_replacement: bool = False) -> None:
        """Send a transaction whose bytes are durable. Repeating it is harmless.

        Args:
            is_replacement: a transaction that was already sent has the nonce, and keeps it if this one is refused.

        Raises:
            TransactionError: refused (REJECTED); ``InsufficientFunds`` if that is the reason.
            NodeError: NOT_SENT, or UNKNOWN if the answer was lost and the transaction could not be looked up.
        """
        if signed.sender != self.address:
            await self._sender.submit(signed)
            return
        try:
            await self.prepare()
            await self._sender.send(signed, is_replacement=is_replacement)
        except NodeError as error:
            is_kept = self._ledger.unmined.holder(signed.transaction.nonce) == signed
            if error.outcome is Outcome.NOT_SENT and is_kept and not is_replacement:
                # This attempt did not leave. An earlier one may have, and the repair sends it again.
                error.outcome = Outcome.UNKNOWN
            raise
        finally:
            self._repair.fill_gaps()

    async def aclose(self) -> None:
        """End the repair and the requests that are under way."""
        await self._repair.aclose()
        await self._journaled.aclose()
        await self._sender.pending.aclose()
