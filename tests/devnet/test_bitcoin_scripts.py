"""Every branch of the hash-locked output, and its refusals, through btcd's mempool and blocks."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import pytest
from yarl import URL

from contracts.htlc_vectors import AMOUNT, Vector, vectors
from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import NodeRefused
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.regtest_blocks import ANYONE, ANYONE_WITNESS, made_block

pytestmark = pytest.mark.devnet

FIRST_REWARD = 10
"""The heights of the rewards that fund the outputs; the network's start spends those of the first blocks."""
REWARD = 50 * 10**8
REJECTED = (-25, -26)
"""btcd's codes for a transaction that breaks a rule of the scripts, or another one."""


@dataclass
class Btcd:
    """The node's own interface."""

    rpc: JsonRpc
    control: LocalNetworkControl

    async def height(self) -> int:
        return int(await self.rpc.call("getblockcount"))

    async def fund(self, outputs: Sequence[TxOut], reward: int) -> bytes:
        """Pay these outputs from the reward of a block, in a new block, and return the transaction's hash."""
        block = await self.rpc.call("getblock", await self.rpc.call("getblockhash", reward))
        source = OutPoint(bytes.fromhex(block["tx"][0])[::-1], 0)
        rest = TxOut(REWARD - sum(each.amount for each in outputs) - 100_000, ANYONE)
        funding = Transaction(2, (TxIn(source, 0xFFFF_FFFF, b"", ANYONE_WITNESS),), (*outputs, rest), 0)
        await self.send(funding)
        await self.control.mine(1, chain="BITCOIN")
        return funding.hash

    async def send(self, transaction: Transaction) -> None:
        """Give a transaction to the mempool."""
        await self.rpc.call("sendrawtransaction", transaction.encode().hex())

    async def is_relayed(self, transaction: Transaction) -> bool:
        """Whether the mempool accepts it."""
        try:
            await self.send(transaction)
        except NodeRefused as error:
            if error.node_code not in REJECTED:
                raise
            return False
        return True

    async def is_mined(self, transaction: Transaction) -> bool:
        """Whether the node accepts a block that contains the transaction."""
        best = await self.rpc.call("getbestblockhash")
        newest = decode_header(bytes.fromhex(await self.rpc.call("getblockheader", best, False)))
        height = await self.height() + 1
        at = max(int(time.time()), newest.time + 1)
        block = made_block(newest.hash, height, at, [transaction], reward=0, branch=0)
        refusal = await self.rpc.call("submitblock", block.encode().hex())
        assert (await self.height() == height) is (refusal is None)
        return refusal is None

    async def confirmations(self, transaction: Transaction) -> int:
        found = await self.rpc.call("getrawtransaction", transaction.id, 1)
        return int(found.get("confirmations", 0))


@pytest.fixture
def btcd(network: LocalNetwork, session: aiohttp.ClientSession, control: LocalNetworkControl) -> Btcd:
    url = URL(network.bitcoin.rpc_url or "")
    login = aiohttp.encode_basic_auth(url.user or "", url.password or "")
    tls = ssl.create_default_context(cafile=network.bitcoin.rpc_certificate_file)
    rpc = JsonRpc("btcd", str(url.with_user(None)), session, headers=lambda: {"Authorization": login}, tls=tls)
    return Btcd(rpc, control)


async def funded(btcd: Btcd, locktime: int, reward: int) -> list[tuple[Vector, Transaction]]:
    """All spends, each of an output of its own."""
    made = vectors(locktime)
    tx_hash = await btcd.fund([TxOut(AMOUNT, each.htlc.program) for each in made], reward)
    return [(each, each.make(OutPoint(tx_hash, index))) for index, each in enumerate(made)]


async def test_the_mempool_takes_the_three_branches_and_nothing_else(btcd: Btcd) -> None:
    locktime = await btcd.height() + 2
    spends = await funded(btcd, locktime, FIRST_REWARD)
    await btcd.control.mine(1, chain="BITCOIN")
    assert await btcd.height() == locktime
    relayed = {vector.name for vector, spend in spends if await btcd.is_relayed(spend)}
    assert relayed == {vector.name for vector, _ in spends if vector.is_relayed}
    assert len(relayed) == len(Branch)
    await btcd.control.mine(1, chain="BITCOIN")
    for vector, spend in spends:
        if vector.is_relayed:
            assert await btcd.confirmations(spend) == 1, vector.name


async def test_a_block_can_contain_what_consensus_allows_and_nothing_else(btcd: Btcd) -> None:
    locktime = await btcd.height() + 2
    spends = await funded(btcd, locktime, FIRST_REWARD + 1)
    await btcd.control.mine(1, chain="BITCOIN")
    mined = {vector.name for vector, spend in spends if await btcd.is_mined(spend)}
    assert mined == {vector.name for vector, _ in spends if vector.branch is not None}


async def test_before_the_lock_height_the_payee_claims_and_both_release_but_the_payer_does_not_refund(
    btcd: Btcd,
) -> None:
    locktime = await btcd.height() + 3
    spends = [each for each in await funded(btcd, locktime, FIRST_REWARD + 2) if each[0].is_relayed]
    await btcd.control.mine(1, chain="BITCOIN")
    # The next block has the lock height, and the refund can be in the one after it.
    assert await btcd.height() == locktime - 1
    (refund,) = [spend for vector, spend in spends if vector.branch is Branch.REFUND]
    assert not await btcd.is_relayed(refund)
    assert not await btcd.is_mined(refund)
    others = [spend for vector, spend in spends if vector.branch is not Branch.REFUND]
    assert [await btcd.is_relayed(each) for each in others] == [True, True]
    await btcd.control.mine(1, chain="BITCOIN")
    assert [await btcd.confirmations(each) for each in others] == [1, 1]
    assert await btcd.is_relayed(refund)
    await btcd.control.mine(1, chain="BITCOIN")
    assert await btcd.confirmations(refund) == 1


async def test_a_lock_time_in_seconds_is_compared_with_the_median_time_past(btcd: Btcd) -> None:
    median_time = await btcd.control.advance_chain_time(1, chain="BITCOIN")
    locktime = median_time + 300
    spends = await funded(btcd, locktime, FIRST_REWARD + 3)
    (refund,) = [spend for vector, spend in spends if vector.is_relayed and vector.branch is Branch.REFUND]
    assert not await btcd.is_relayed(refund)
    assert not await btcd.is_mined(refund)
    assert await btcd.control.advance_chain_time(400, chain="BITCOIN") > locktime
    assert await btcd.is_relayed(refund)
    await btcd.control.mine(1, chain="BITCOIN")
    assert await btcd.confirmations(refund) == 1
