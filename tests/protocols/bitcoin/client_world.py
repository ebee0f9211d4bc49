"""A Bitcoin client with a journal on simnet's chain, and faults of the server between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from layer2.formats import segwit_address
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut
from layer2.journal.sql_journal import SqlJournal
from layer2.local.simnet.bitcoin.chain import ANYONE, ANYONE_WITNESS
from layer2.local.simnet.bitcoin.esplora import esplora_application
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.model.transactions import BitcoinTxId
from layer2.ports.journal import ClientRecords
from layer2.protocols.bitcoin.client import BitcoinClient
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.signers.bitcoin import BitcoinSeed
from protocols.bitcoin.parties import WORDS
from simnet.bitcoin.coins import REWARD, reward_of, started_node

COIN = 10_000_000
STRANGER = segwit_address.encode_script("bcrt", b"\x00\x14" + b"\x07" * 20)
"""An address of a party without a client."""
STRANGER_SCRIPT = segwit_address.decode_script(STRANGER, "bcrt")


@dataclass
class Faults:
    """What goes wrong with broadcasts."""

    is_silent: bool = False
    """The server takes the transaction and does not answer."""
    loses_answer: bool = False
    """The server takes the transaction and closes the connection."""
    loses_request: bool = False
    """The server closes the connection without taking the transaction."""
    is_mute: bool = False
    """The server answers nothing at all."""
    broadcasts: list[str] = field(default_factory=list)
    """The ids of the transactions that arrived."""


@dataclass
class World:
    """One chain, one journal, and the clients that a test opens."""

    node: BitcoinNode
    url: str
    faults: Faults
    journal: SqlJournal
    directory: Path
    closing: AsyncExitStack
    rewards: count[int]

    def client(self, name: str = "taker", records: ClientRecords | None = None, **settings: object) -> BitcoinClient:
        """A client of a party's seed; by default all clients share the journal."""
        chosen = {"network": "regtest", "esplora_url": self.url, "poll_interval_ms": 1, **settings}
        made = BitcoinClient(
            BitcoinSettings(**chosen),  # type: ignore[arg-type]  # the tests name the settings
            BitcoinSeed(WORDS[name]),
            self.journal if records is None else records,
        )
        self.closing.push_async_callback(made.aclose)
        return made

    async def funded(
        self,
        coins: int = 3,
        amount: int = COIN,
        name: str = "taker",
        records: ClientRecords | None = None,
        **settings: object,
    ) -> BitcoinClient:
        """A client whose wallet has confirmed coins."""
        client = self.client(name, records, **settings)
        await self.fund(client, *[amount] * coins)
        return client

    async def fund(self, client: BitcoinClient, *amounts: int, confirm: bool = True) -> Transaction:
        """Pay these amounts to fresh addresses of the client."""
        scripts = [segwit_address.decode_script(await client.receive_address_async(), "bcrt") for _ in amounts]
        made = self.payment(*(TxOut(amount, script) for amount, script in zip(amounts, scripts, strict=True)))
        self.node.submit(made.encode())
        if confirm:
            self.node.mine(1)
        return made

    def payment(self, *outputs: TxOut, fee: int = 10_000) -> Transaction:
        """A transaction of a mature reward, with change that anyone can spend."""
        inputs = (TxIn(reward_of(self.node, next(self.rewards)), 0xFFFF_FFFD, b"", ANYONE_WITNESS),)
        rest = REWARD - sum(each.amount for each in outputs) - fee
        return Transaction(2, inputs, (*outputs, TxOut(rest, ANYONE)), 0)

    def paid(self, tx_id: BitcoinTxId) -> int:
        """What a transaction pays to the stranger."""
        return sum(each.amount for each in self.transaction(tx_id).outputs if each.script == STRANGER_SCRIPT)

    def transaction(self, tx_id: str) -> Transaction:
        """A transaction that the node has."""
        located = self.node.find(bytes.fromhex(tx_id)[::-1])
        assert located is not None
        return located.transaction

    def spent(self, tx_id: str) -> set[OutPoint]:
        """The coins that a transaction spends."""
        return {each.prevout for each in self.transaction(tx_id).inputs}

    def fee(self, tx_id: str) -> int:
        """The fee that a transaction pays."""
        made = self.transaction(tx_id)
        spent = [self.node.output(each.prevout) for each in made.inputs]
        return sum(each.amount for each in spent if each is not None) - sum(each.amount for each in made.outputs)

    def rate(self, *tx_ids: str) -> int:
        """The fee rate of transactions together, in satoshi per 1,000 virtual bytes."""
        sizes = sum(self.transaction(each).virtual_size for each in tx_ids)
        return sum(self.fee(each) for each in tx_ids) * 1_000 // sizes

    @property
    def journal_path(self) -> Path:
        """The journal's file, for another process."""
        return self.directory / "journal.db"

    @property
    def pool(self) -> set[str]:
        """The ids of the mempool."""
        return {entry.transaction.id for entry in self.node.mempool.entries}

    def evict(self, *, lasting: bool = False) -> None:
        """Let the mempool forget what pays less than 500 sat/vB; a lasting pressure keeps refusing it."""
        self.node.set_fees(500_000)
        if not lasting:
            self.node.set_fees(1_000)

    async def held(self) -> dict[str, str]:
        """The held coins by their holders."""
        return dict(await self.journal.held_coins("BITCOIN"))


@asynccontextmanager
async def bitcoin_world(directory: Path) -> AsyncIterator[World]:
    """Serve a chain on loopback, with a journal in the directory."""
    node, faults = started_node(130), Faults()
    application = esplora_application(node)
    application.middlewares.append(_faulty(faults))
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    async with AsyncExitStack() as closing:
        closing.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        journal = await SqlJournal.open(directory / "journal.db")
        closing.push_async_callback(journal.aclose)
        yield World(node, f"http://{host}:{port}", faults, journal, directory, closing, count(1))


def _faulty(faults: Faults) -> Middleware:
    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        if faults.is_mute:
            await asyncio.sleep(60)
        if request.method != "POST":
            return await handler(request)
        if faults.loses_request:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        answer = await handler(request)
        faults.broadcasts.append(getattr(answer, "text", ""))
        if faults.is_silent:
            await asyncio.sleep(60)
        if faults.loses_answer:
            assert request.transport is not None
            request.transport.close()
        return answer

    return serve
