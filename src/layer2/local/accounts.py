"""The EVM accounts of a local network, and the transactions that prepare its chains. For test money only."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from coincurve import PrivateKey

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.htlc import HTLC_ADDRESS, HTLC_SALT, htlc_init_code
from layer2.contracts.test_token import (
    TEST_TOKEN_ADDRESS,
    TEST_TOKEN_DECIMALS,
    TEST_TOKEN_SALT,
    mint_call,
    test_token_init_code,
)
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction, LegacyTransaction
from layer2.local.network import CHAIN_IDS, LocalChain
from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = ["START_SATOSHIS", "START_WEI", "LocalAccount", "describe_chain", "preparing_calls"]

START_WEI = 10 * 10**18
"""Wei that each account has in the genesis block of each chain: for gas, and on Rootstock also to be sent."""
START_SATOSHIS = 100_000_000
"""Token units, the smallest ones, that taker and provider have on BOB at the start."""

_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DEPLOYMENT_FEES = (1_000_000, 100_000_000)
_NATIVE = CHAIN_IDS["ROOTSTOCK"]
"""The chain whose own coin is bitcoin. Its transactions are legacy ones."""


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """A key and its address."""

    key: PrivateKey = field(repr=False)
    address: bytes

    @classmethod
    def of(cls, key: PrivateKey) -> Self:
        """The account of a key."""
        return cls(key, address_of_public_key(key.public_key.format()))

    @classmethod
    def from_seed(cls, seed: bytes, name: str) -> Self:
        """Derive the account with this name; the same seed and name give the same account."""
        digest = hmac.digest(seed, f"simnet evm {name}".encode(), hashlib.sha512)
        secret = int.from_bytes(digest, "big") % (_CURVE_ORDER - 1) + 1
        return cls.of(PrivateKey(secret.to_bytes(32, "big")))

    def sign_call(
        self, nonce: int, to: bytes, data: bytes, gas_limit: int = 2_000_000, *, chain_id: int = CHAIN_IDS["BOB"]
    ) -> bytes:
        """Sign a transaction without value, with fees for a new chain, and return its encoding."""
        tip, most = _DEPLOYMENT_FEES
        transaction = (
            LegacyTransaction(chain_id, nonce, most, gas_limit, to, 0, data)
            if chain_id == _NATIVE
            else Eip1559Transaction(chain_id, nonce, tip, most, gas_limit, to, 0, data)
        )
        return transaction.signed(self.key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw

    def write_key(self, path: Path) -> None:
        """Write the key as 64 hexadecimal digits to a file that only its owner can read."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.key.secret.hex() + "\n")


def preparing_calls(parties: Iterable[bytes], chain_id: int) -> list[tuple[bytes, bytes]]:
    """The calls, as address and data, that prepare a chain.

    They deploy the HTLC through the factory. On BOB they also deploy the test token, and mint each party's tokens.
    """
    contract = (DETERMINISTIC_FACTORY, deployment_call(HTLC_SALT, htlc_init_code()))
    if chain_id == _NATIVE:
        return [contract]
    return [
        contract,
        (DETERMINISTIC_FACTORY, deployment_call(TEST_TOKEN_SALT, test_token_init_code())),
        *((TEST_TOKEN_ADDRESS, mint_call(party, START_SATOSHIS)) for party in parties),
    ]


def describe_chain(chain_id: int, rpc_url: str) -> LocalChain:
    """Describe a prepared chain whose node serves HTTP and websocket at one address."""
    is_native = chain_id == _NATIVE
    return LocalChain(
        rpc_url=rpc_url,
        websocket_url=rpc_url.replace("http://", "ws://"),
        chain_id=chain_id,
        htlc_address=to_checksum(HTLC_ADDRESS, chain_id),
        token_address="" if is_native else to_checksum(TEST_TOKEN_ADDRESS),
        token_decimals=LAYERS[Layer2ProtocolType.ROOTSTOCK].native_decimals if is_native else TEST_TOKEN_DECIMALS,
    )
