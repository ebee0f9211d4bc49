"""The HTLC contract on a chain: whether it is the genuine one and works there, and putting it there."""

from __future__ import annotations

import hashlib

from layer2.contracts.artefact import load_artefact
from layer2.contracts.factory import DETERMINISTIC_FACTORY, FACTORY_CODE, deployment_call
from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    HTLC_SALT,
    decode_probe_sha256,
    htlc_address,
    htlc_init_code,
    probe_sha256_call,
)
from layer2.errors import ConfigurationError, FormatError, FundsRulesError, NodeRefused
from layer2.formats.evm_address import to_checksum
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount, Message

__all__ = ["check_htlc", "deploy_htlc"]

_PROBE = hashlib.sha256(b"layer2: does this chain compute sha256?").digest()
_DEPLOYMENT_GAS = 2_000_000


async def check_htlc(node: EvmNode) -> None:
    """Check that the contract stands on the chain with its code, and that sha256 works there.

    Raises:
        FundsRulesError: there is other code, or none, or the chain lacks the sha256 precompile, in which case
            *anyone* could claim: no money may be locked.
        NodeError: the node did not say.

    It takes the node's word for code and answers; the address itself commits to the code (EIP-1014).
    """
    if htlc_address() != HTLC_ADDRESS:
        raise FundsRulesError("the contract in this package is not the one that its address commits to")
    code = await node.code(HTLC_ADDRESS)
    if not code:
        raise FundsRulesError(
            f"there is no HTLC contract at {to_checksum(HTLC_ADDRESS)} on this chain",
            code="no_contract",
            remedy="it can be deployed by anyone, once for each chain",
        )
    if code != load_artefact("htlc").runtime_code:
        raise FundsRulesError(f"the code at {to_checksum(HTLC_ADDRESS)} is not that of the HTLC contract")
    try:
        digest = decode_probe_sha256(await node.call(HTLC_ADDRESS, probe_sha256_call(_PROBE)))
    except (FormatError, NodeRefused) as error:
        raise FundsRulesError("the HTLC contract does not compute sha256 on this chain") from error
    if digest != hashlib.sha256(_PROBE).digest():
        raise FundsRulesError("the HTLC contract computes sha256 wrongly on this chain: no money may be locked")


async def deploy_htlc(node: EvmNode, account: EvmAccount, fees: Fees) -> bytes | None:
    """Put the contract on a chain through the deterministic factory, unless it is there.

    Returns:
        The hash of the transaction that was sent, None where the contract is there already. It is there once
        that transaction is included: then ``check_htlc``.

    Raises:
        ConfigurationError: the chain lacks the factory.
        TransactionError, NodeError: it could not be sent.
    """
    if await node.code(HTLC_ADDRESS):
        await check_htlc(node)
        return None
    if await node.code(DETERMINISTIC_FACTORY) != FACTORY_CODE:
        raise ConfigurationError(
            f"this chain has no deterministic factory at {to_checksum(DETERMINISTIC_FACTORY)}; "
            "the contract cannot come to its address"
        )
    data = deployment_call(HTLC_SALT, htlc_init_code())
    message = Message(DETERMINISTIC_FACTORY, data, 0, _DEPLOYMENT_GAS)
    (signed,) = await account.sign([message], await fees.quote())
    await account.send(signed)
    return signed.hash
