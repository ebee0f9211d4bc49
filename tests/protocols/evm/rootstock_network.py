"""A node of the simnet that speaks rskj's dialect, in the test's event loop, with two funded parties and clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256

from eth_typing import Address

from layer2.contracts.htlc import HTLC_ADDRESS, NATIVE_COIN
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.local.accounts import LocalAccount
from layer2.local.network import CHAIN_IDS
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic
from layer2.local.simnet.rskj.rules import RskRules, seal_of
from layer2.local.simnet.sim_chain import SimChain
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.protocols.rootstock import RootstockClient, RootstockSettings
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends

__all__ = ["AMOUNT", "CHAIN_ID", "SAT", "START", "RootstockNetwork", "rootstock_network"]

CHAIN_ID = CHAIN_IDS["ROOTSTOCK"]
START = 1_800_000_000
SAT = 10**10
"""Wei."""
AMOUNT = 100_420
"""Satoshi of a lock."""


@dataclass
class RootstockNetwork:
    """A running node. It makes a block for each transaction, unless ``chain.maker`` is disabled."""

    chain: SimChain
    clock: SimClock
    url: str
    contract: str
    accounts: dict[str, LocalAccount]
    clients: list[RootstockClient] = field(default_factory=list)

    def settings(self, **changes: object) -> RootstockSettings:
        fields: dict[str, object] = {
            "rpc_url": self.url,
            "contract_address": self.contract,
            "chain_id": CHAIN_ID,
            "network": "regtest",
            "safe_depth": 2,
            "final_depth": 4,
            "poll_interval_ms": 5,
            # Blocks are made on demand here, so a head soon looks old.
            "head_life_ms": 0,
        }
        return RootstockSettings(**(fields | changes))  # type: ignore[arg-type]  # the tests' own names

    async def client(self, name: str, sends: MemorySends | None = None, **changes: object) -> RootstockClient:
        signer = SoftwareEvmSigner(self.accounts[name].key.secret)
        client = RootstockClient(self.settings(**changes), signer, sends or MemorySends(), self.clock)
        self.clients.append(client)
        await client.initialize_async()
        return client

    def htlc(self, preimage: Preimage, *, satoshi: int = AMOUNT, **changes: object) -> Htlc:
        """A lock by the taker for the provider."""
        leg = EvmLeg(
            protocol=Layer2ProtocolType.ROOTSTOCK,
            chain_id=CHAIN_ID,
            contract=HTLC_ADDRESS,
            token=NATIVE_COIN,
            token_decimals=18,
            amount=satoshi * SAT,
            payer=self.accounts["taker"].address,
            payee=self.accounts["provider"].address,
            deadline=START + 7_200,
            finality=Finality.LATEST,
        )
        leg = replace(leg, **changes)  # type: ignore[arg-type]  # the tests' own names
        return Htlc(leg, preimage.payment_hash, sha256(b"terms").digest())

    @property
    def minimum(self) -> int:
        """The minimum gas price of the newest block, in wei."""
        return seal_of(self.chain.node.chain.head).minimum_gas_price

    def want_price(self, wei: int) -> None:
        """Let miners move the minimum gas price towards this one, in wei."""
        rules = self.chain.node.chain.rules
        assert isinstance(rules, RskRules)
        rules.wanted_price = wei

    def balance(self, address: bytes) -> int:
        """Wei."""
        node = self.chain.node
        return node.chain.state_at(node.chain.head).get_balance(Address(address))


@asynccontextmanager
async def rootstock_network() -> AsyncIterator[RootstockNetwork]:
    names = ("deployer", "taker", "provider")
    accounts = {name: LocalAccount.from_seed(b"tests", name) for name in names}
    clock = SimClock.manual(START)
    chain = SimChain(CHAIN_ID, accounts, clock, Automatic(0.0, None), is_rootstock=True)
    local = await chain.start()
    network = RootstockNetwork(chain, clock, local.rpc_url, local.htlc_address, accounts)
    try:
        yield network
    finally:
        for client in network.clients:
            await client.aclose()
        await chain.stop()
