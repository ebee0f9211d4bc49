"""Facts from both parties' nodes: locks, payments, invoices and balances, read without the package under test."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from layer2.formats.keccak import keccak256
from layer2.local.network import LocalChain, LocalNetwork, Party
from networks.coins import coins_and_fees

__all__ = ["Channel", "Facts", "Lightning", "Lock", "Money", "Payment", "read_facts"]

_LOCKED: Final = "0x" + keccak256(b"Locked(bytes32,bytes32,address,address,address,uint256,uint256,bytes32)").hex()
_STATUS: Final = "0x" + keccak256(b"status(bytes32)")[:4].hex()
_BALANCE: Final = "0x" + keccak256(b"balanceOf(address)")[:4].hex()
_READ_SECONDS: Final = 20.0
_MOST: Final = "10000"

T = TypeVar("T")


class Money(Enum):
    """Where the money of one leg is."""

    NOTHING = "nothing"
    """The payer still has it, or has it as if it had never been sent."""
    HELD = "held"
    PAID = "paid"
    """The payee has it."""
    RETURNED = "returned"
    """The payer was refunded."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock of the contract, in the current chain."""

    lock_id: str
    payment_hash: str
    payer: str
    payee: str
    amount: int
    """In the token's smallest unit."""
    deadline: int
    money: Money


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment at its payer's node."""

    payment_hash: str
    money: Money
    satoshi: int
    fee: int


@dataclass(frozen=True, slots=True)
class Channel:
    """One party's side of its channels."""

    owned: int
    """Satoshi, including the commitment fee of the opener."""
    pending: int
    """HTLCs."""


@dataclass(frozen=True, slots=True)
class Lightning:
    """The facts from one party's node."""

    payments: Mapping[str, tuple[Payment, ...]]
    """By payment hash."""
    invoices: Mapping[str, Money]
    """By payment hash: whether a payment is held or received."""
    channel: Channel


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts at one time. A layer whose node does not answer is omitted."""

    locks: Mapping[str, tuple[Lock, ...]]
    """By the name of the chain."""
    tokens: Mapping[tuple[str, str], int]
    """By chain and party: satoshi of the token, or of the coin without fees."""
    lightning: Mapping[str, Lightning]
    """By party."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """The EVM account of each party, in lower case."""

    def locked(self, chain: str, payment_hash: str, payer: str) -> tuple[Lock, ...]:
        """The locks of a party under a hash."""
        account = self.accounts[payer]
        found = self.locks.get(chain, ())
        return tuple([each for each in found if (each.payment_hash, each.payer) == (payment_hash, account)])

    def money(self, layer: str, payment_hash: str, payer: str) -> Money | None:
        """Where the money of a leg is; None if the layer's nodes cannot be read."""
        if layer == "LIGHTNING":
            return self._in_lightning(payment_hash, payer)
        if layer not in self.locks:
            return None
        states = {lock.money for lock in self.locked(layer, payment_hash, payer)}
        return next((one for one in (Money.PAID, Money.HELD, Money.RETURNED) if one in states), Money.NOTHING)

    def _in_lightning(self, payment_hash: str, payer: str) -> Money | None:
        payee = "provider" if payer == "taker" else "taker"
        if payer not in self.lightning or payee not in self.lightning:
            return None
        came = self.lightning[payee].invoices.get(payment_hash, Money.NOTHING)
        states = {payment.money for payment in self.lightning[payer].payments.get(payment_hash, ())}
        if Money.PAID in states or came is Money.PAID:
            return Money.PAID
        return Money.HELD if Money.HELD in states or came is Money.HELD else Money.NOTHING


async def read_facts(network: LocalNetwork, session: aiohttp.ClientSession) -> Facts:
    """Read every node now."""
    parties = {"taker": network.taker, "provider": network.provider}
    accounts = {name: party.evm_address.lower() for name, party in parties.items()}
    answers = await asyncio.gather(
        *(_answer(_lightning(session, party)) for party in parties.values()),
        *(_answer(_chain(session, chain, accounts)) for chain in network.chains.values()),
    )
    locks, tokens, lightning = dict[str, tuple[Lock, ...]](), dict[tuple[str, str], int](), dict[str, Lightning]()
    for name, answer in zip([*parties, *network.chains], answers, strict=True):
        if isinstance(answer, Lightning):
            lightning[name] = answer
        elif answer is not None:
            locks[name], balances = answer
            tokens |= {(name, party): amount for party, amount in balances.items()}
    return Facts(locks, tokens, lightning, accounts)


async def _answer(reading: Awaitable[T]) -> T | None:
    """The answer of a node, or None without one."""
    try:
        return await reading
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _call(session: aiohttp.ClientSession, chain: LocalChain, method: str, parameters: list[Any]) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    async with session.post(chain.rpc_url, json=body, timeout=aiohttp.ClientTimeout(_READ_SECONDS)) as response:
        if response.status != 200:
            raise aiohttp.ClientError(f"{method}: status {response.status}")
        answer = await response.json()
    if "result" not in answer:
        raise aiohttp.ClientError(f"{method}: {answer.get('error')}")
    return answer["result"]


async def _chain(
    session: aiohttp.ClientSession, chain: LocalChain, accounts: Mapping[str, str]
) -> tuple[tuple[Lock, ...], dict[str, int]]:
    # One block for all reads, so that an audit does not see half of a reorganisation.
    block = await _call(session, chain, "eth_blockNumber", [])
    wanted = {"address": chain.htlc_address, "fromBlock": "0x0", "toBlock": block, "topics": [_LOCKED]}
    entries = await _call(session, chain, "eth_getLogs", [wanted])
    calls = [{"to": chain.htlc_address, "data": _STATUS + entry["topics"][1][2:]} for entry in entries]
    states = [int(await _call(session, chain, "eth_call", [call, block]), 16) for call in calls]
    unit = 10 ** (chain.token_decimals - 8)
    locks = [_lock(entry, state, unit) for entry, state in zip(entries, states, strict=True)]
    balances = dict[str, int]()
    for party, account in accounts.items():
        if chain.token_address:
            call = {"to": chain.token_address, "data": _BALANCE + account[2:].rjust(64, "0")}
            balances[party] = int(await _call(session, chain, "eth_call", [call, block]), 16) // unit
        else:
            async with asyncio.timeout(_READ_SECONDS):
                balances[party] = (await coins_and_fees(chain.rpc_url, account, block))[0]
    return tuple(locks), balances


def _lock(entry: Mapping[str, Any], state: int, unit: int) -> Lock:
    topics, data = entry["topics"], bytes.fromhex(entry["data"][2:])
    payee, _token, amount, deadline, _terms = (data[32 * place : 32 * place + 32] for place in range(5))
    # A reorganisation between both reads has removed a lock that was logged but that the contract does not know.
    money = (Money.NOTHING, Money.HELD, Money.PAID, Money.RETURNED)[state]
    return Lock(
        lock_id=topics[1][2:],
        payment_hash=topics[2][2:],
        payer="0x" + topics[3][-40:].lower(),
        payee="0x" + payee[-20:].hex(),
        amount=int.from_bytes(amount, "big") // unit,
        deadline=int.from_bytes(deadline, "big"),
        money=money,
    )


async def _lightning(session: aiohttp.ClientSession, party: Party) -> Lightning:
    node = party.lightning
    trusted = ssl.create_default_context(cafile=node.certificate_file)
    macaroon = Path(node.macaroon_file).with_name("admin.macaroon").read_bytes().hex()

    async def get(path: str, **parameters: str) -> Any:
        async with session.get(
            node.rest_url + path,
            params=parameters,
            headers={"Grpc-Metadata-macaroon": macaroon},
            ssl=trusted,
            timeout=aiohttp.ClientTimeout(_READ_SECONDS),
        ) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"{path}: status {response.status}")
            return await response.json()

    payments = dict[str, tuple[Payment, ...]]()
    for sent in (await get("/v1/payments", include_incomplete="true", max_payments=_MOST))["payments"]:
        payment = _payment(sent)
        payments[payment.payment_hash] = (*payments.get(payment.payment_hash, ()), payment)
    listed = (await get("/v1/invoices", num_max_invoices=_MOST))["invoices"]
    invoices = {base64.b64decode(one["r_hash"]).hex(): _came(str(one["state"])) for one in listed}
    channels = (await get("/v1/channels"))["channels"]
    return Lightning(payments, invoices, _sum(channels))


def _payment(sent: Mapping[str, Any]) -> Payment:
    states = {"SUCCEEDED": Money.PAID, "FAILED": Money.NOTHING}
    money = states.get(str(sent["status"]), Money.HELD)
    return Payment(str(sent["payment_hash"]), money, int(sent["value_sat"]), int(sent.get("fee_sat") or 0))


def _came(state: str) -> Money:
    return {"SETTLED": Money.PAID, "ACCEPTED": Money.HELD}.get(state, Money.NOTHING)


def _sum(channels: list[Mapping[str, Any]]) -> Channel:
    owned = pending = 0
    for channel in channels:
        owned += int(channel["local_balance"]) + (int(channel["commit_fee"]) if channel.get("initiator") else 0)
        pending += len(channel.get("pending_htlcs") or ())
    return Channel(owned, pending)
