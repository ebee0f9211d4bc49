"""The recorded versions of a single send: its transaction, and those that replace it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from layer2.errors import FormatError
from layer2.formats.bitcoin_transaction import Transaction, decode_transaction
from layer2.model.transactions import BitcoinTxId
from layer2.ports.journal import ClientRecords, SendRecord
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.wallet.model import Built

__all__ = ["HOLDER", "REPLACES", "Send", "SendVersions", "Version"]

HOLDER: Final = "send:"
"""The holder of a send's coins is this prefix and the send's key."""
REPLACES: Final = "replaces:"
"""The key of a replacement's record is this prefix and the id of the replaced transaction, which thereby has one
replacement at most."""


@dataclass(frozen=True, slots=True)
class Version:
    """One signed transaction of a send."""

    transaction: Transaction
    fee: int | None
    """Satoshi; None for a transaction of others' coins."""
    is_cancellation: bool = False

    @property
    def tx_id(self) -> BitcoinTxId:
        """Its id."""
        return BitcoinTxId(self.transaction.id)

    @property
    def built(self) -> Built:
        """The transaction for the wallet."""
        return Built(self.transaction, self.fee or 0)

    @property
    def coins(self) -> tuple[str, ...]:
        """The outputs that it spends, as the journal names them."""
        return tuple([str(each.prevout) for each in self.transaction.inputs])


@dataclass(frozen=True, slots=True)
class Send:
    """A single send under its key."""

    key: str
    request: str
    """A digest of the request."""
    versions: tuple[Version, ...]
    """The oldest first. At most one is ever in a block, because all spend the same first coin."""

    @property
    def holder(self) -> str:
        """The holder of its coins."""
        return HOLDER + self.key

    @property
    def newest(self) -> Version:
        """The version that replaces the others."""
        return self.versions[-1]


class SendVersions:
    """Reads and writes the record of sends.

    Args:
        records: the durable record.
    """

    def __init__(self, records: ClientRecords) -> None:
        self._records = records

    async def of_key(self, key: str) -> Send | None:
        """The send under a key, or None."""
        record = await self._records.find_send(BITCOIN, key)
        return None if record is None else await self._read(record)

    async def of_transaction(self, tx_id: str) -> Send | None:
        """The send of which a transaction is a version, or None."""
        record = await self._records.find_send_of(BITCOIN, tx_id)
        while record is not None and "replaces" in record.act:
            record = await self._records.find_send_of(BITCOIN, str(record.act["replaces"]))
        return None if record is None else await self._read(record)

    async def add(self, version: Version, key: str, digest: str) -> tuple[Send, bool]:
        """Record a new send and hold its coins, unless the key is recorded already.

        Returns:
            The send under the key, and whether this call wrote it.

        Raises:
            IdempotencyConflict: the key has another request.
            FundsRulesError: code ``coins_held``: another holder has one of the coins.
            JournalError: nothing may be sent.
        """
        record = SendRecord(BITCOIN, key, digest, version.tx_id, _act(version))
        added = await self._records.add_send_of_coins(record, HOLDER + key, version.coins)
        if added is record:
            return Send(key, digest, (version,)), True
        return await self._read(added), False

    async def add_replacement(self, send: Send, version: Version) -> Version:
        """Record what replaces the newest version, and hold its coins; or return what was recorded before.

        Raises:
            As ``add``.
        """
        replaced = send.newest.tx_id
        key = REPLACES + replaced
        act = {**_act(version), "replaces": replaced, "cancels": version.is_cancellation}
        record = SendRecord(BITCOIN, key, hashlib.sha256(key.encode()).hexdigest(), version.tx_id, act)
        return _version(await self._records.add_send_of_coins(record, send.holder, version.coins))

    async def _read(self, record: SendRecord) -> Send:
        versions = [_version(record)]
        while (later := await self._records.find_send(BITCOIN, REPLACES + versions[-1].tx_id)) is not None:
            versions.append(_version(later))
        return Send(record.idempotency_key, record.request, tuple(versions))


def _act(version: Version) -> dict[str, object]:
    return {"raw": version.transaction.encode().hex(), "fee": version.fee}


def _version(record: SendRecord) -> Version:
    try:
        fee = record.act["fee"]
        transaction = decode_transaction(bytes.fromhex(str(record.act["raw"])))
        return Version(transaction, None if fee is None else int(fee), bool(record.act.get("cancels")))
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError("the record holds no transaction", protocol=BITCOIN) from error
