"""The durable record of single sends and their replacements. A transaction is recorded before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from layer2.errors import Layer2Error
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.model.transactions import EvmTxId
from layer2.ports.journal import NonceRecords, SendRecord, SendRecords
from layer2.ports.nonces import NonceClaim
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.signing import tx_id_of

__all__ = ["REPLACES", "SendHistory", "mined_of", "signed_in"]

REPLACES: Final = "replaces:"
"""The key of a replacement's record is this prefix and the id of the replaced transaction, which thereby has one
replacement at most."""
_REMEMBERED = 10_000


def signed_in(record: SendRecord) -> SignedTransaction:
    """The transaction in a record.

    Raises:
        FormatError: the record has no valid transaction.
    """
    return decode_signed(parse_data(record.act.get("raw"), "raw"))


async def mined_of(node: EvmNode, versions: Sequence[SignedTransaction]) -> SignedTransaction | None:
    """The one of several transactions with the same nonce that is in a block."""
    receipts = await asyncio.gather(*[node.receipt(signed.hash) for signed in versions])
    found = [signed for signed, receipt in zip(versions, receipts, strict=True) if receipt is not None]
    return found[0] if found else None


class SendHistory:
    """Reads and writes the record of a layer's single sends, and keeps the newest ones in memory.

    Args:
        records: the durable record.
        protocol: the layer's name in it.
        nonces: the nonces in the same journal; None if no other client uses the key.
    """

    def __init__(self, records: SendRecords, protocol: str, nonces: NonceRecords | None = None) -> None:
        self._records = records
        self._nonces = nonces
        self._protocol = protocol
        self._sent: dict[EvmTxId, SignedTransaction] = {}
        self._replaced: dict[EvmTxId, EvmTxId] = {}

    async def add(
        self,
        signed: SignedTransaction,
        *,
        key: str | None,
        request: str,
        replaced: EvmTxId | None = None,
        claim: NonceClaim | None = None,
    ) -> SendRecord:
        """Record that the transaction is about to be sent, or return the record with the same key.

        Args:
            key: the idempotency key; None uses the transaction's id.
            request: a digest of the request.
            replaced: the transaction that this one replaces. The key is then derived from it.
            claim: takes the nonce in the same write. A replacement has the nonce of the first version.

        Raises:
            NonceTaken: another transaction has the nonce; nothing was recorded.
            IdempotencyConflict: the key was used with another request.
            JournalError: the record could not be written; nothing may be sent.
        """
        tx_id = tx_id_of(signed)
        act = {"raw": format_data(signed.raw)}
        if replaced is not None:
            key, act = REPLACES + replaced, act | {"replaces": replaced}
        try:
            sent = SendRecord(self._protocol, tx_id if key is None else key, request, tx_id, act)
            if self._nonces is None or claim is None:
                record = await self._records.add_send(sent)
            else:
                record = await self._nonces.add_send_with_nonce(sent, claim)
        except Layer2Error as error:
            error.tx_id = error.tx_id or tx_id
            raise
        if record.tx_id == tx_id:
            self.remember(signed, replaced)
        return record

    async def find(self, key: str) -> SendRecord | None:
        """The record with an idempotency key."""
        return await self._records.find_send(self._protocol, key)

    async def recorded(self, tx_id: EvmTxId) -> SignedTransaction | None:
        """The transaction with that id, if it was ever recorded."""
        if (signed := self._sent.get(tx_id)) is not None:
            return signed
        record = await self._records.find_send_of(self._protocol, tx_id)
        if record is None:
            return None
        replaced = record.act.get("replaces")
        return self.remember(signed_in(record), EvmTxId(replaced) if isinstance(replaced, str) else None)

    def remember(self, signed: SignedTransaction, replaced: EvmTxId | None = None) -> SignedTransaction:
        """Keep the transaction in memory. Its nonce distinguishes a dropped transaction from an unknown one."""
        tx_id = tx_id_of(signed)
        self._sent[tx_id] = signed
        if replaced is not None:
            self._replaced[tx_id] = replaced
        if len(self._sent) > _REMEMBERED:
            # Both together: of a transaction in memory, the earlier versions are known.
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self._replaced.pop(oldest, None)
        return signed

    def sent(self, tx_id: EvmTxId) -> SignedTransaction | None:
        """The transaction with that id, if it is in memory."""
        return self._sent.get(tx_id)

    async def replacements(self, tx_id: EvmTxId) -> list[SignedTransaction]:
        """Its replacement, the replacement of that one, and so on. They may be neither sent nor mined."""
        found: list[SignedTransaction] = []
        while (record := await self.find(REPLACES + tx_id)) is not None:
            tx_id = EvmTxId(record.tx_id)
            replaced = EvmTxId(record.idempotency_key.removeprefix(REPLACES))
            found.append(self.remember(self._sent.get(tx_id) or signed_in(record), replaced))
        return found

    async def versions(self, signed: SignedTransaction) -> list[SignedTransaction]:
        """All recorded transactions with its nonce, oldest first: the replaced ones, itself, and its replacements."""
        found = [signed]
        while (earlier := self._replaced.get(tx_id_of(found[0]))) is not None:
            before = await self.recorded(earlier)
            if before is None:
                break
            found.insert(0, before)
        return found + await self.replacements(tx_id_of(signed))
