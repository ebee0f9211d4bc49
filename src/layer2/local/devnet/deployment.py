"""Prepares a chain of the devnet: deploys the contracts and funds the parties."""

from __future__ import annotations

from collections.abc import Sequence

from coincurve import PrivateKey

from layer2.contracts.erc20 import balance_of_call, decode_uint256
from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.htlc import HTLC_ADDRESS, HTLC_SALT, htlc_init_code
from layer2.contracts.test_token import (
    TEST_TOKEN_ADDRESS,
    TEST_TOKEN_SALT,
    mint_call,
    test_token_init_code,
)
from layer2.errors import BadAnswer
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.devnet.op_geth import OpGeth
from layer2.local.devnet.sequencer import Sequencer

__all__ = ["TOKENS_EACH", "deploy", "token_balance", "wei_balance"]

TOKENS_EACH = 100_000_000
"""Units of the test token (8 decimals) for each party: one whole token."""

_GAS_LIMIT = 4_000_000
_MAX_FEE_PER_GAS = 10**9


async def deploy(node: OpGeth, sequencer: Sequencer, faucet: PrivateKey, parties: Sequence[bytes]) -> None:
    """Create the HTLC and the test token through the CREATE2 factory, and mint for the parties (20 bytes each).

    Raises:
        BadAnswer: a transaction failed, or a contract is not at its expected address.
    """
    rpc = node.rpc
    calls = [
        (DETERMINISTIC_FACTORY, deployment_call(HTLC_SALT, htlc_init_code())),
        (DETERMINISTIC_FACTORY, deployment_call(TEST_TOKEN_SALT, test_token_init_code())),
        *[(TEST_TOKEN_ADDRESS, mint_call(party, TOKENS_EACH)) for party in parties],
    ]
    hashes = [await _send(node, faucet, nonce, to, data) for nonce, (to, data) in enumerate(calls)]
    await sequencer.mine(1)
    for transaction_hash in hashes:
        receipt = await rpc.call("eth_getTransactionReceipt", transaction_hash)
        if receipt is None or receipt["status"] != "0x1":
            raise BadAnswer(f"a transaction that sets up the chain failed: {receipt}")
    for address in (HTLC_ADDRESS, TEST_TOKEN_ADDRESS):
        if await rpc.call("eth_getCode", "0x" + address.hex(), "latest") == "0x":
            raise BadAnswer(f"there is no contract at 0x{address.hex()} after its deployment")


async def token_balance(rpc: JsonRpc, owner: bytes) -> int:
    """Units of the test token that an address has at the latest block."""
    call = {"to": "0x" + TEST_TOKEN_ADDRESS.hex(), "data": "0x" + balance_of_call(owner).hex()}
    return decode_uint256(bytes.fromhex((await rpc.call("eth_call", call, "latest"))[2:]))


async def wei_balance(rpc: JsonRpc, owner: bytes) -> int:
    """Wei that an address has at the latest block."""
    return int(await rpc.call("eth_getBalance", "0x" + owner.hex(), "latest"), 16)


async def _send(node: OpGeth, key: PrivateKey, nonce: int, to: bytes, data: bytes) -> str:
    transaction = Eip1559Transaction(
        chain_id=node.chain_id,
        nonce=nonce,
        max_priority_fee_per_gas=1_000_000,
        max_fee_per_gas=_MAX_FEE_PER_GAS,
        gas_limit=_GAS_LIMIT,
        to=to,
        value=0,
        data=data,
    )
    signature = key.sign_recoverable(transaction.signing_hash(), hasher=None)
    return str(await node.rpc.call("eth_sendRawTransaction", "0x" + transaction.signed(signature).raw.hex()))
