"""Submissions of pre-signed transactions, and signatures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from eth_account import Account
from figures import Figure, alone, faster
from load.rounds import Round, medians

from evm_client import wrk
from evm_client.network import GAS, NOWHERE, Bench, Effort
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction, decode_signed
from layer2.formats.keccak import keccak256
from layer2.model.transactions import EvmTxId
from layer2.ports.clock import SystemEntropy
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.signers.software import SoftwareEvmSigner

__all__ = ["measure_sends", "measure_signing"]

CONCURRENCIES = (100, 1000)
AIM = 0.9
"""As a share of wrk's rate."""
SIGNING_AIM = 10.0
GWEI = 10**9
FUNDS = 10**14
"""Wei for each key."""


def _transaction(chain_id: int, nonce: int) -> Eip1559Transaction:
    return Eip1559Transaction(
        chain_id=chain_id,
        nonce=nonce,
        max_priority_fee_per_gas=GWEI // 1000,
        max_fee_per_gas=GWEI // 10,
        gas_limit=GAS,
        to=bytes.fromhex(NOWHERE[2:]),
        value=1,
    )


async def _checked(signer: SoftwareEvmSigner, transaction: Eip1559Transaction) -> SignedTransaction:
    """Sign as the client does: recover the sender from the signature and compare it with the account."""
    return transaction.signed(await signer.sign_digest(transaction.signing_hash()))


async def _unchecked(signer: SoftwareEvmSigner, transaction: Eip1559Transaction) -> tuple[bytes, bytes]:
    """Sign with eth-account; return the bytes and their hash."""
    raw = transaction.raw(await signer.sign_digest(transaction.signing_hash()))
    return raw, keccak256(raw)


class Senders:
    """Funded keys. Each sends one transaction in a round, so that their order does not matter."""

    def __init__(self, count: int, chain_id: int) -> None:
        entropy = SystemEntropy()
        self._signers = [SoftwareEvmSigner(entropy.token(32)) for _ in range(count)]
        self._chain_id = chain_id
        self._nonce = 0

    async def fund(self, bench: Bench) -> None:
        requests = [
            EvmTransactionRequest(to=to_checksum(signer.address), value=FUNDS, gas_limit=GAS)
            for signer in self._signers
        ]
        sent = await asyncio.gather(*[bench.bob.submit_transaction_async(request) for request in requests])
        await bench.mine([status.tx_id for status in sent])

    async def next_round(self) -> list[bytes]:
        """A new transaction of each key."""
        signed = [await _checked(signer, _transaction(self._chain_id, self._nonce)) for signer in self._signers]
        self._nonce += 1
        return [each.raw for each in signed]


async def measure_sends(bench: Bench, effort: Effort) -> list[Figure]:
    """Ours stores a durable record of each before it is sent; wrk only submits them."""
    chain_id = bench.network.bob.chain_id
    senders = {name: Senders(effort.sends, chain_id) for name in ("ours", "wrk")}
    for each in senders.values():
        await each.fund(bench)
    found: list[Figure] = []
    for concurrency in CONCURRENCIES:
        ways: dict[str, Round] = {"ours": partial(_ours, bench, senders["ours"], concurrency)}
        if wrk.installed():
            ways["wrk"] = partial(_wrk, bench, senders["wrk"], concurrency)
        rates = await medians(effort.rounds, ways, are_warm=concurrency != CONCURRENCIES[0])
        what, unit = f"signed transactions submitted at concurrency {concurrency}, against wrk", "submissions/s"
        if "wrk" in rates:
            found.append(faster(what, unit, rates["ours"], rates["wrk"], aim=AIM))
        else:
            found.append(alone(f"{what} (not installed)", unit, rates["ours"]))
    return found


async def _ours(bench: Bench, senders: Senders, concurrency: int) -> float:
    raw = await senders.next_round()
    waiting = iter(raw)
    tx_ids: list[EvmTxId] = []

    async def caller(mine: Iterator[bytes]) -> None:
        for each in mine:
            status = await bench.bob.submit_transaction_async(each)
            tx_ids.append(status.tx_id)  # all callers share the list

    start = time.perf_counter()
    await asyncio.gather(*[caller(waiting) for _ in range(concurrency)])
    rate = len(raw) / (time.perf_counter() - start)
    await bench.mine(tx_ids)
    return rate


async def _wrk(bench: Bench, senders: Senders, concurrency: int) -> float:
    raw = await senders.next_round()
    rate = await wrk.sends(bench.directory, bench.url, concurrency, raw)
    await bench.mine([EvmTxId("0x" + decode_signed(each).hash.hex()) for each in raw])
    return rate


async def measure_signing(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure signing, from a transaction's fields to the bytes that are sent."""
    key = SystemEntropy().token(32)
    signer, account = SoftwareEvmSigner(key), Account.from_key(key)
    chain_id = bench.network.bob.chain_id
    fields = {
        "type": 2,
        "chainId": chain_id,
        "maxPriorityFeePerGas": GWEI // 1000,
        "maxFeePerGas": GWEI // 10,
        "gas": GAS,
        "to": NOWHERE,
        "value": 1,
    }
    theirs = account.sign_transaction({**fields, "nonce": 7})
    if await _unchecked(signer, _transaction(chain_id, 7)) != (bytes(theirs.raw_transaction), bytes(theirs.hash)):
        raise SystemExit("eth-account signs different bytes")

    async def peer(nonce: int) -> object:
        return account.sign_transaction({**fields, "nonce": nonce})

    rates = await medians(
        effort.rounds,
        {
            "bytes": partial(_rate, effort.seconds, lambda nonce: _unchecked(signer, _transaction(chain_id, nonce))),
            "checked": partial(_rate, effort.seconds, lambda nonce: _checked(signer, _transaction(chain_id, nonce))),
            "eth-account": partial(_rate, effort.seconds, peer),
        },
    )
    what, unit = "transactions signed to bytes and hash, against eth-account", "signatures/s"
    checked = "the same, and the sender recovered to check the signature, against eth-account without that"
    return [
        faster(what, unit, rates["bytes"], rates["eth-account"], aim=SIGNING_AIM),
        faster(checked, unit, rates["checked"], rates["eth-account"]),
    ]


async def _rate(seconds: float, sign: Callable[[int], Awaitable[object]]) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        await sign(count)
        count += 1
    return count / (time.perf_counter() - start)
