"""The statuses of single sends, and the end of their hold on coins."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.errors import FormatError
from layer2.formats.bitcoin_transaction import OutPoint
from layer2.model.transactions import BitcoinTxId, Finality, TxState, TxStatus
from layer2.ports.journal import ClientRecords
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.port import Located
from layer2.protocols.bitcoin.versions import HOLDER, Send, SendVersions, Version

__all__ = ["SendStatuses", "tx_hash_of"]


class SendStatuses:
    """Reads statuses at the source.

    Args:
        parts: the client's parts.
        records: the durable record.
    """

    def __init__(self, parts: BitcoinParts, records: ClientRecords) -> None:
        self._parts = parts
        self._records = records
        self._versions = SendVersions(records)
        self._released_at = -1

    async def status(self, tx_id: BitcoinTxId) -> TxStatus[BitcoinTxId]:
        """The status of any transaction. DROPPED is only reported for transactions in this client's record."""
        tx_hash = tx_hash_of(tx_id)
        # In this order, a block that arrives between the two makes the depth too small, never too large.
        tip = (await self._parts.follower.read()).tip.height
        located = await self._parts.source.find(tx_hash)
        send = await self._versions.of_transaction(tx_id)
        fee = None if send is None else next(each.fee for each in send.versions if each.tx_id == tx_id)
        if located is None:
            return TxStatus(tx_id, TxState.UNKNOWN) if send is None else await self._gone(tx_id, send, tip)
        if located.block is None:
            return TxStatus(tx_id, TxState.PENDING, fee=fee)
        depth = max(1, tip - located.block.height + 1)
        is_final = depth >= self._parts.settings.final_depth
        if is_final and send is not None:
            await self._release(send)
        return TxStatus(
            tx_id,
            TxState.FINAL if is_final else TxState.INCLUDED,
            depth=depth,
            block_number=located.block.height,
            finality=Finality.FINALIZED if is_final else None,
            fee=fee,
            block_hash=located.block.hash,
        )

    async def mined(self, versions: Sequence[Version]) -> tuple[Version, Located] | None:
        """The version that is in a block, or None."""
        for version in versions:
            located = await self._parts.source.find(version.transaction.hash)
            if located is not None and located.block is not None:
                return version, located
        return None

    async def child_of(self, send: Send) -> BitcoinTxId | None:
        """The send in the mempool that spends the change of the newest version, or None."""
        held = await self._records.held_coins(BITCOIN)
        for coin, holder in held.items():
            if coin.startswith(f"{send.newest.tx_id}:") and holder.startswith(HOLDER):
                child = await self._versions.of_key(holder.removeprefix(HOLDER))
                if child is not None and await self._parts.source.find(child.newest.transaction.hash) is not None:
                    return child.newest.tx_id
        return None

    async def release_finished(self) -> None:
        """Release the coins of sends that are over: every version spends a coin that a final transaction has spent.

        It reads the wallet once for each block.
        """
        height = await self._parts.coins.wallet.height()
        if height == self._released_at:
            return
        held = await self._records.held_coins(BITCOIN)
        holders = {OutPoint.read(coin): name for coin, name in held.items() if name.startswith(HOLDER)}
        final_height = height - self._parts.settings.final_depth + 1
        spent = await self._parts.coins.wallet.spenders(list(holders), final_height)
        for holder in {holders[each] for each in spent}:
            send = await self._versions.of_key(holder.removeprefix(HOLDER))
            if send is None or all(any(one in spent for one in each.built.coins) for each in send.versions):
                await self._parts.coins.release(holder)
        self._released_at = height

    async def _gone(self, tx_id: BitcoinTxId, send: Send, tip: int) -> TxStatus[BitcoinTxId]:
        """The status of a send that the source does not show."""
        mined = await self.mined(send.versions)
        if mined is not None:
            version, located = mined
            if version.tx_id == tx_id:
                # It appeared after the first look; the next reading shows its depth.
                return TxStatus(tx_id, TxState.PENDING, fee=version.fee)
            assert located.block is not None
            is_final = tip - located.block.height + 1 >= self._parts.settings.final_depth
            return TxStatus(
                tx_id,
                TxState.DROPPED,
                finality=Finality.FINALIZED if is_final else None,
                replaced_by=version.tx_id,
            )
        version = next(each for each in send.versions if each.tx_id == tx_id)
        final_height = tip - self._parts.settings.final_depth + 1
        lost = await self._lost_coins(send, version, tip)
        if not lost:
            newest = send.newest.tx_id
            return TxStatus(tx_id, TxState.UNKNOWN, replaced_by=None if newest == tx_id else newest)
        final = [coin for coin, height in lost.items() if height <= final_height]
        if any(all(coin in each.coins for each in send.versions) for coin in final):
            await self._release(send)
        return TxStatus(
            tx_id,
            TxState.DROPPED,
            finality=Finality.FINALIZED if final else None,
            reason="another transaction spent one of its coins, or replaced the transaction whose change it spends",
        )

    async def _lost_coins(self, send: Send, version: Version, tip: int) -> dict[str, int]:
        """The coins of a version that it can no longer spend, each with the height since which that is so."""
        await self._parts.coins.bring_up_to_date()
        own = {each.transaction.hash for each in send.versions}
        spenders = await self._parts.coins.wallet.spenders(version.built.coins, tip)
        lost = {str(coin): height for coin, (tx_hash, height) in spenders.items() if tx_hash not in own}
        for coin in version.built.coins:
            parent_id = coin.tx_hash[::-1].hex()
            parent = await self._versions.of_transaction(parent_id)
            mined = None if parent is None else await self.mined(parent.versions)
            if mined is not None and mined[0].tx_id != parent_id and mined[1].block is not None:
                lost[str(coin)] = mined[1].block.height
        return lost

    async def _release(self, send: Send) -> None:
        if send.holder in (await self._records.held_coins(BITCOIN)).values():
            await self._parts.coins.release(send.holder)


def tx_hash_of(tx_id: str) -> bytes:
    """The hash of a transaction by its id.

    Raises:
        FormatError: it is not an id.
    """
    try:
        tx_hash = bytes.fromhex(tx_id)[::-1]
    except (ValueError, TypeError):
        tx_hash = b""
    if len(tx_hash) != 32:
        raise FormatError("a transaction id of Bitcoin has 64 hex digits", protocol=BITCOIN)
    return tx_hash
