"""A contract that passes its call on to another one and then emits a log of a chosen size."""

from __future__ import annotations

import aiohttp

from layer2.contracts.htlc import HtlcLock, claim_call
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.model.transactions import Preimage
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.requests import EvmTransactionRequest

__all__ = ["claim_noisily"]

_GAS = 1_500_000


async def claim_noisily(client: EvmClient, lock: HtlcLock, preimage: Preimage, log_size: int) -> None:
    """Claim a lock through such a contract, so that the claim's receipt is larger than the log.

    Args:
        client: sends the transactions and pays the gas; anyone can.
        log_size: bytes; below 120,000, because the gas is limited.
    """
    creation = EvmTransactionRequest(to=None, data=_init_code(lock.contract, log_size))
    tx_id = (await client.submit_transaction_async(creation)).tx_id
    await client.wait_for_status_async(tx_id)
    async with aiohttp.ClientSession() as session:
        receipt = await JsonRpc("node", client.settings.rpc_url, session).call("eth_getTransactionReceipt", tx_id)
    claim = EvmTransactionRequest(to=receipt["contractAddress"], data=claim_call(lock, preimage), gas_limit=_GAS)
    await client.wait_for_status_async((await client.submit_transaction_async(claim)).tx_id)


def _init_code(target: bytes, log_size: int) -> bytes:
    """The creation code of a contract that calls ``target`` with the data of its own call.

    Args:
        target: 20 bytes.
        log_size: bytes of the log, which begin with the data of the call; below 2**24.
    """
    # Copies the call's data to memory, calls, reverts if the call did, and emits LOG0.
    code = (
        bytes.fromhex("365f5f375f5f365f5f73")
        + target
        + bytes.fromhex("5af16026575f5ffd5b62")
        + log_size.to_bytes(3, "big")
        + bytes.fromhex("5fa000")
    )
    # Copies the code after these ten bytes to memory, and returns it.
    return bytes.fromhex(f"60{len(code):02x}600a5f3960{len(code):02x}5ff3") + code
