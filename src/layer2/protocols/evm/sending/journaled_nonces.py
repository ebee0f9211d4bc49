"""The nonces of an account in the journal, where several workers with the same key take them."""

from __future__ import annotations

import asyncio
import math
import secrets

from layer2.aio.shared_call import SharedCall
from layer2.errors import JournalError, NonceTaken
from layer2.formats.evm_hex import format_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.ports.journal import NonceRecords
from layer2.ports.nonces import NonceClaim, NonceUse
from layer2.protocols.evm.sending.nonce_ledger import NonceLedger
from layer2.protocols.evm.sending.signing import tx_id_of

__all__ = ["JournaledNonces"]


class JournaledNonces:
    """Takes nonces in the journal, and enters in the ledger what other workers have taken.

    The ledger chooses nonces, and the journal decides by compare-and-set when a transaction is journaled. So a nonce
    costs no request of its own. What a worker has lost to another it learns when it reads the journal, before it signs
    again.

    Args:
        records: the journal's nonces. None: the ledger is all there is, and no other client may use the key.
        protocol: the layer's name in the journal.
        address: the account, 20 bytes.
        ledger: what this client knows.
    """

    def __init__(self, records: NonceRecords | None, protocol: str, address: bytes, ledger: NonceLedger) -> None:
        self._records = records
        self._protocol = protocol
        self._account = format_data(address)
        self._ledger = ledger
        self._worker = secrets.token_hex(16)
        self._others: dict[int, NonceUse] = {}
        """What other workers have, by nonce; and what this client has journaled and no longer knows."""
        self._released: set[str] = set()
        """The ids of transactions whose nonces this client has released. A reading may still show them."""
        self._reserved_since: dict[int, float] = {}
        """When those of ``_others`` that are not sent were first seen."""
        self._end = 0
        """One more than the highest nonce that another worker was seen to have."""
        self._final = 0
        self._is_current = records is None
        self._read_at = -math.inf
        self._reading = SharedCall(self._read)

    @property
    def is_alone(self) -> bool:
        """Whether no other worker can send this client's transactions."""
        return self._records is None

    # This client's transactions

    def claim(self, signed: SignedTransaction, *, is_out: bool, takes_over: bool = False) -> NonceClaim | None:
        """The claim with which a transaction of this account is journaled, or None without a journal.

        Args:
            signed: the transaction.
            is_out: it is sent as soon as it is journaled.
            takes_over: it may be journaled already, by any worker.
        """
        if self._records is None:
            return None
        self._released.discard(tx_id_of(signed))
        if takes_over:
            self._ledger.unsent.revive(signed.hash)
        return NonceClaim(self._use(signed, is_out=is_out), takes_over=takes_over)

    async def take(
        self, signed: SignedTransaction, *, takes_over: bool = False, instead_of: NonceUse | None = None
    ) -> None:
        """Journal the nonce of a transaction that is sent next. The arguments are those of ``NonceClaim``.

        Raises:
            NonceTaken: another transaction has the nonce.
            JournalError: nothing may be sent.
        """
        if self._records is not None:
            use = self._use(signed, is_out=True)
            self._released.discard(use.tx_id)
            try:
                await self._records.claim_nonces([NonceClaim(use, instead_of, takes_over)])
            except NonceTaken:
                self.doubt()
                raise
            self._ledger.unsent.revive(signed.hash)
            self._forget(use.nonce)

    def use_of(self, signed: SignedTransaction) -> NonceUse:
        """What the journal has for a transaction that this client has sent."""
        return self._use(signed, is_out=True)

    async def release(self, signed: SignedTransaction) -> bool:
        """Release the nonce of a transaction that the node certainly does not have.

        Returns:
            False if another worker may send it, or if the journal cannot be written, so that one may later.
        """
        if self._records is None:
            return True
        self.doubt()
        # Before the write: if this is cancelled, the next reading releases the nonce.
        self._released.add(tx_id_of(signed))
        try:
            is_released = await self._records.release_nonce(self._use(signed, is_out=True))
        except JournalError:
            is_released = False
        if not is_released:
            self._released.discard(tx_id_of(signed))
        return is_released

    # Other workers' transactions

    def doubt(self) -> None:
        """Read the journal before the next signature: a nonce was lost or given back."""
        self._is_current = self._records is None

    async def catch_up(self, life: float = math.inf) -> None:
        """Enter in the ledger what the journal has, if that was not done since the last doubt.

        Args:
            life: seconds after which the journal is read again in any case.

        Raises:
            JournalError: it cannot be read.
        """
        is_old = self._records is not None and asyncio.get_running_loop().time() - self._read_at > life
        if is_old or not self._is_current:
            await self._reading.get()

    @property
    def has_others(self) -> bool:
        """Whether other workers have nonces that the node has not counted yet."""
        return self._end > self._ledger.nonces.used

    def is_other(self, signed: SignedTransaction) -> bool:
        """Whether another worker sent the transaction, so that it is taken over before it is sent again."""
        held = self._others.get(signed.transaction.nonce)
        return held is not None and held.tx_id == tx_id_of(signed)

    async def was_taken_over(self, signed: SignedTransaction) -> bool:
        """Whether another worker sent this client's transaction, because it was journaled and not at the node."""
        self.doubt()
        try:
            await self.catch_up()
        except JournalError:
            return False
        return self.is_other(signed)

    def sent_by_other(self, nonce: int) -> NonceUse | None:
        """What another worker has journaled with the nonce and may have sent, as far as known."""
        held = self._others.get(nonce)
        return held if held is not None and held.is_out else None

    def reserved(self, nonce: int) -> NonceUse | None:
        """What another worker has journaled with the nonce and not sent, as far as known."""
        held = self._others.get(nonce)
        return None if held is None or held.is_out else held

    def may_fill(self, nonce: int, patience: float) -> bool:
        """Whether a nonce that the node's pool lacks can be given to a transaction that fills it.

        Args:
            nonce: a nonce that no known transaction was sent with.
            patience: seconds that another worker has for sending what it has journaled.
        """
        since = self._reserved_since.get(nonce)
        if since is None:
            return True
        # Without a later transaction it holds nothing up.
        return nonce < self._ledger.unmined.end and asyncio.get_running_loop().time() - since >= patience

    async def settle(self, count: int) -> None:
        """Forget the nonces below ``count``, which are final."""
        if self._records is None or count <= self._final:
            return
        self._final = count
        for nonce in [nonce for nonce in self._others if nonce < count]:
            self._forget(nonce)
        await self._records.forget_nonces(self._protocol, self._account, count)

    async def aclose(self) -> None:
        """End the reading that is under way."""
        await self._reading.aclose()

    async def _read(self) -> None:
        assert self._records is not None
        self._is_current = True
        try:
            found = await self._records.nonces(self._protocol, self._account)
            self._ledger.nonces.reach(found.final_count)
            for row in found.uses:
                await self._take_in(row, self._records)
        except BaseException:
            self.doubt()
            raise
        self._read_at = asyncio.get_running_loop().time()
        held = {row.nonce for row in found.uses}
        for nonce in [nonce for nonce in self._others if nonce not in held]:
            self._leave(nonce)

    async def _take_in(self, row: NonceUse, records: NonceRecords) -> None:
        if row.worker != self._worker:
            self._enter(row)
        elif row.tx_id in self._released or self._ledger.has_given_up(
            bytes.fromhex(row.tx_id.removeprefix("0x")), is_out=row.is_out
        ):
            # No worker may send it: the caller of this client was informed that it is not sent.
            await records.release_nonce(row)
        elif self._ledger.is_held(row.nonce):
            self._forget(row.nonce)
        else:
            # It expired when it was about to be sent.
            self._enter(row)

    def _enter(self, row: NonceUse) -> None:
        known = self._others.get(row.nonce)
        if known == row:
            return
        if known is not None and known.tx_id != row.tx_id:
            self._leave(row.nonce)
        self._others[row.nonce] = row
        self._end = max(self._end, row.nonce + 1)
        signed = decode_signed(row.raw)
        ledger = self._ledger
        ledger.unsent.displace(row.nonce, by=signed.hash)
        if row.is_out:
            self._reserved_since.pop(row.nonce, None)
            ledger.unsent.send(signed)
            ledger.adopt(signed)
        elif (holder := ledger.unmined.holder(row.nonce)) is None or holder.hash == signed.hash:
            # An attempt that another worker began was certainly not sent, so that only the swap sends it.
            ledger.unmined.release(row.nonce)
            ledger.reserve(row.nonce)
            self._reserved_since.setdefault(row.nonce, asyncio.get_running_loop().time())

    def _leave(self, nonce: int) -> None:
        """Another worker has given the nonce back."""
        known, holder = self._others[nonce], self._ledger.unmined.holder(nonce)
        self._forget(nonce)
        if holder is None or tx_id_of(holder) == known.tx_id:
            self._ledger.vacate(nonce)

    def _forget(self, nonce: int) -> None:
        self._others.pop(nonce, None)
        self._reserved_since.pop(nonce, None)

    def _use(self, signed: SignedTransaction, *, is_out: bool) -> NonceUse:
        nonce = signed.transaction.nonce
        return NonceUse(self._protocol, self._account, nonce, tx_id_of(signed), signed.raw, self._worker, is_out)
