"""A BOB node in the test's event loop, with contracts, two funded parties, and their clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.htlc import HTLC_ADDRESS, HTLC_SALT, htlc_init_code
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_DECIMALS, TEST_TOKEN_SALT, mint_call
from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.formats.evm_address import to_checksum
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.local.accounts import START_WEI, LocalAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic, BlockMaker
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.protocols.bob import BobClient, BobSettings
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends

__all__ = ["START", "START_SATOSHIS", "BobNetwork", "at", "bob_network"]

START = 1_800_000_000
START_SATOSHIS = 100_000_000


@dataclass
class BobNetwork:
    """A running node. It makes a block for each transaction, unless ``maker`` is disabled."""

    node: EvmNode
    maker: BlockMaker
    faults: FaultSwitch
    clock: SimClock
    url: str
    accounts: dict[str, LocalAccount]
    clients: list[BobClient] = field(default_factory=list)

    def address(self, name: str) -> bytes:
        return self.accounts[name].address

    def settings(self, **changes: object) -> BobSettings:
        fields: dict[str, object] = {
            "rpc_url": self.url,
            "token_address": to_checksum(TEST_TOKEN_ADDRESS),
            "token_decimals": TEST_TOKEN_DECIMALS,
            "network": "regtest",
            "poll_interval_ms": 5,
            # Blocks are made on demand here, so a head soon looks old.
            "head_life_ms": 0,
        }
        return BobSettings(**(fields | changes))  # type: ignore[arg-type]  # the tests' own names

    async def client(self, name: str, sends: MemorySends | None = None, **changes: object) -> BobClient:
        signer = SoftwareEvmSigner(self.accounts[name].key.secret)
        client = BobClient(self.settings(**changes), signer, sends or MemorySends(), self.clock)
        self.clients.append(client)
        await client.initialize_async()
        return client

    def htlc(self, preimage: Preimage, *, payer: str = "taker", payee: str = "provider", **changes: object) -> Htlc:
        fields: dict[str, object] = {
            "protocol": Layer2ProtocolType.BOB,
            "chain_id": 60808,
            "contract": HTLC_ADDRESS,
            "token": TEST_TOKEN_ADDRESS,
            "token_decimals": TEST_TOKEN_DECIMALS,
            "amount": 100_420,
            "payer": self.address(payer),
            "payee": self.address(payee),
            "deadline": START + 7_200,
            "finality": Finality.LATEST,
        }
        leg = EvmLeg(**(fields | changes))  # type: ignore[arg-type]  # the tests' own names
        return Htlc(leg, preimage.payment_hash, sha256(b"terms").digest())

    def sent(self) -> Sequence[bytes]:
        """Hashes of the transactions in all blocks, oldest first."""
        blocks = [self.node.chain.block_by_number(number) for number in range(self.node.chain.head.number + 1)]
        return [bytes(tx.hash) for block in blocks if block is not None for tx in block.transactions]


def at(htlc: Htlc, finality: Finality) -> Htlc:
    """The same lock under terms with another finality, to which its ``lock_id`` does not commit."""
    assert isinstance(htlc.leg, EvmLeg)
    return replace(htlc, leg=replace(htlc.leg, finality=finality))


@asynccontextmanager
async def bob_network(*, with_contract: bool = True, gather_seconds: float | None = 0.0) -> AsyncIterator[BobNetwork]:
    accounts = {name: LocalAccount.from_seed(b"tests", name) for name in ("deployer", "taker", "provider", "stranger")}
    clock, faults = SimClock.manual(START), FaultSwitch()
    rich = ("deployer", "taker", "provider")
    node = EvmNode({accounts[name].address: START_WEI for name in rich}, clock)
    calls = [
        (DETERMINISTIC_FACTORY, deployment_call(TEST_TOKEN_SALT, token_init_code())),
        (TEST_TOKEN_ADDRESS, mint_call(accounts["taker"].address, START_SATOSHIS)),
        (TEST_TOKEN_ADDRESS, mint_call(accounts["provider"].address, START_SATOSHIS)),
    ]
    if with_contract:
        calls.append((DETERMINISTIC_FACTORY, deployment_call(HTLC_SALT, htlc_init_code())))
    for nonce, (to, data) in enumerate(calls):
        node.send(accounts["deployer"].sign_call(nonce, to, data, 2_000_000))
    node.mine()
    maker = BlockMaker(node, Automatic(gather_seconds, None))
    server = EvmRpcServer(node, EvmMethods(node, maker.on_transaction), faults, clock)
    network = BobNetwork(node, maker, faults, clock, await server.start(), accounts)
    try:
        yield network
    finally:
        for client in network.clients:
            await client.aclose()
        await maker.stop()
        await server.stop()
