"""``ChainSource`` over Esplora's REST interface. Source: github.com/Blockstream/esplora/blob/master/API.md."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Final

from layer2.errors import BadAnswer, Outcome, TransactionError
from layer2.formats.bitcoin_block import HEADER_SIZE
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, decode_transaction
from layer2.formats.json_object import JsonObject
from layer2.formats.printable import printable
from layer2.protocols.bitcoin.source.http import BITCOIN, LEAST_RATE, Answer, HttpNode, is_known, reading
from layer2.protocols.bitcoin.source.port import BlockId, ChainSource, Located

__all__ = ["Esplora"]

_SCRIPTS_AT_ONCE: Final = 50
"""Scripts whose unconfirmed transactions are read in one turn."""


class Esplora(ChainSource):
    """Reads of one Esplora server.

    Args:
        node: the server.
    """

    def __init__(self, node: HttpNode) -> None:
        self._node = node
        # What each script's mempool showed, the script that was asked longest ago first.
        self._pools: dict[bytes, Sequence[Transaction]] = {}

    async def tip(self) -> BlockId:
        """See ``ChainSource``. The height is that of the returned hash."""
        block_hash = _hash(await self._text("blocks/tip/hash"), "the tip's hash")
        status = await self._object(f"block/{block_hash[::-1].hex()}", "the tip")
        with reading("the tip"):
            return BlockId(status.integer("height"), block_hash)

    async def block_hash(self, height: int) -> bytes | None:
        """See ``ChainSource``."""
        answer = await self._get(f"block-height/{height}", missing_is_none=True)
        return None if answer is None else _hash(answer.text, "a block's hash")

    async def block(self, block_hash: bytes) -> bytes:
        """See ``ChainSource``."""
        answer = await self._get(f"block/{block_hash[::-1].hex()}/raw")
        assert answer is not None
        return answer.body

    async def header(self, block_hash: bytes) -> bytes:
        """See ``ChainSource``."""
        text = await self._text(f"block/{block_hash[::-1].hex()}/header")
        with reading("a block's header"):
            data = bytes.fromhex(text)
        if len(data) != HEADER_SIZE:
            raise BadAnswer("a block's header does not have 80 bytes", protocol=BITCOIN)
        return data

    async def find(self, tx_hash: bytes) -> Located | None:
        """See ``ChainSource``."""
        tx_id = tx_hash[::-1].hex()
        answer = await self._get(f"tx/{tx_id}/hex", missing_is_none=True)
        if answer is None:
            return None
        status = await self._object(f"tx/{tx_id}/status", "a transaction's status")
        transaction = _transaction(answer.text)
        if transaction.hash != tx_hash:
            raise BadAnswer("the server answered with another transaction", protocol=BITCOIN)
        with reading("a transaction's status"):
            return Located(transaction, _block_of(status))

    async def unconfirmed(self, scripts: Collection[bytes], outpoints: Collection[OutPoint]) -> Sequence[Transaction]:
        """See ``ChainSource``: one request for each script. The server indexes spends under the same script.

        Each call asks for 50 scripts at most, so with more of them some answers are of earlier calls.
        """
        new = [each for each in scripts if each not in self._pools]
        known = set(scripts)
        due = [*new, *(each for each in self._pools if each in known)][:_SCRIPTS_AT_ONCE]
        answers = await asyncio.gather(*(self._unconfirmed_of(script) for script in due))
        asked = dict(zip(due, answers, strict=True))
        kept = {script: found for script, found in self._pools.items() if script in known and script not in asked}
        self._pools = kept | asked
        return list({each.hash: each for found in self._pools.values() for each in found}.values())

    async def broadcast(self, transaction: Transaction) -> None:
        """See ``ChainSource``."""
        answer = await self._node.exchange("POST", "tx", body=transaction.encode().hex().encode())
        if answer.status == 200 or is_known(answer.text):
            return
        if answer.status == 400:
            raise TransactionError(
                f"the node refused the transaction: {printable(answer.text[:200])}",
                protocol=BITCOIN,
                operation="broadcast",
                outcome=Outcome.REJECTED,
                tx_id=transaction.id,
            )
        error = self._node.error_of(answer, "broadcast")
        error.outcome = Outcome.UNKNOWN
        error.tx_id = transaction.id
        raise error

    async def fee_rate(self, blocks: int) -> int:
        """See ``ChainSource``. The server does not show its mempool's minimum; its lowest estimate replaces it."""
        text = await self._text("fee-estimates")
        with reading("the fee estimates"):
            rates = {int(target): float(rate) for target, rate in json.loads(text).items()}
            # The slowest estimate that is fast enough; if all are slower, the fastest one.
            wanted = [rate for target, rate in rates.items() if target <= blocks] or list(rates.values())[:1]
            return max(LEAST_RATE, round(1_000 * min(wanted)))

    async def aclose(self) -> None:
        """See ``ChainSource``."""
        await self._node.aclose()

    async def _unconfirmed_of(self, script: bytes) -> list[Transaction]:
        hashed = hashlib.sha256(script).hexdigest()
        listed = await self._text(f"scripthash/{hashed}/txs/mempool")
        with reading("the transactions of a script"):
            ids = [JsonObject(each, "a transaction").text("txid", max_length=64) for each in json.loads(listed)]
        found = await asyncio.gather(*(self._get(f"tx/{each}/hex", missing_is_none=True) for each in ids))
        return [_transaction(each.text) for each in found if each is not None]

    async def _get(self, path: str, *, missing_is_none: bool = False) -> Answer | None:
        answer = await self._node.read("GET", path)
        if answer.status == 404 and missing_is_none:
            return None
        if answer.status != 200:
            raise self._node.error_of(answer, path)
        return answer

    async def _text(self, path: str) -> str:
        answer = await self._get(path)
        assert answer is not None
        return answer.text.strip()

    async def _object(self, path: str, what: str) -> JsonObject:
        text = await self._text(path)
        with reading(what):
            return JsonObject(json.loads(text), what)


def _block_of(status: JsonObject) -> BlockId | None:
    if status.take("confirmed") is not True:
        return None
    return BlockId(status.integer("block_height"), _hash(status.text("block_hash", max_length=64), "a block's hash"))


def _transaction(text: str) -> Transaction:
    with reading("a transaction"):
        return decode_transaction(bytes.fromhex(text))


def _hash(text: str, what: str) -> bytes:
    with reading(what):
        data = bytes.fromhex(text)
    if len(data) != 32:
        raise BadAnswer(f"{what} does not have 32 bytes", protocol=BITCOIN)
    return data[::-1]
