"""The HTLC contract on a chain: check that it is the genuine one and works there, and deploy it."""

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
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["check_htlc", "htlc_deployment"]

_PROBE = hashlib.sha256(b"layer2: does this chain compute sha256?").digest()


async def check_htlc(node: EvmNode, contract: bytes = HTLC_ADDRESS, chain_id: int | None = None) -> None:
    """Check that the contract's code is at its address on the chain, and that sha256 works there.

    Args:
        node: the party's own node.
        contract: the contract, 20 bytes.
        chain_id: of the chain, for the checksum of the address in errors.

    Raises:
        FundsRulesError: there is other code, or none (code ``no_contract``); or the chain lacks the sha256 precompile,
            in which case *anyone* could claim: no money may be locked.
        NodeError: the node does not answer.

    It trusts the node's answers; ``HTLC_ADDRESS`` itself commits to the code (EIP-1014).
    """
    if htlc_address() != HTLC_ADDRESS:
        raise FundsRulesError("the contract in this package does not match its address")
    code, address = await node.code(contract), to_checksum(contract, chain_id)
    if not code:
        raise FundsRulesError(
            f"there is no HTLC contract at {address} on this chain",
            code="no_contract",
            remedy="deploy it, once for each chain, from any account: layer2 contract deploy"
            if contract == HTLC_ADDRESS
            else "correct contract_address",
        )
    if code != load_artefact("htlc").runtime_code:
        raise FundsRulesError(f"the code at {address} is not the HTLC contract")
    try:
        digest = decode_probe_sha256(await node.call(contract, probe_sha256_call(_PROBE)))
    except (FormatError, NodeRefused) as error:
        raise FundsRulesError("the HTLC contract does not compute sha256 on this chain") from error
    if digest != hashlib.sha256(_PROBE).digest():
        raise FundsRulesError("the HTLC contract computes sha256 wrongly on this chain: no money may be locked")


async def htlc_deployment(
    node: EvmNode, contract: bytes = HTLC_ADDRESS, chain_id: int | None = None
) -> EvmTransactionRequest | None:
    """The transaction that deploys the contract through the deterministic factory; None if the contract is deployed.

    Args:
        node: the party's own node.
        contract: the configured contract, 20 bytes.
        chain_id: of the chain, for the checksums of addresses.

    Any account can send it. After it is included, ``check_htlc`` confirms the deployment.

    Raises:
        ConfigurationError: code ``no_factory``: the chain has no factory; code ``contract_address``: the factory cannot
            deploy the contract to the configured address.
        FundsRulesError: as ``check_htlc``, if there is code at the contract's address.
        NodeError: the node does not answer.
    """
    if await node.code(contract):
        await check_htlc(node, contract, chain_id)
        return None
    if contract != HTLC_ADDRESS:
        raise ConfigurationError(
            f"there is no contract at contract_address, and the deterministic factory can only deploy it at "
            f"{to_checksum(HTLC_ADDRESS, chain_id)}",
            code="contract_address",
            remedy="set contract_address to that address, or deploy layer2's HTLC by another tool",
        )
    factory = to_checksum(DETERMINISTIC_FACTORY, chain_id)
    if await node.code(DETERMINISTIC_FACTORY) != FACTORY_CODE:
        raise ConfigurationError(
            f"this chain has no deterministic factory at {factory}, so the contract cannot have its address here",
            code="no_factory",
            remedy="see https://github.com/Arachnid/deterministic-deployment-proxy",
        )
    return EvmTransactionRequest(to=factory, data=deployment_call(HTLC_SALT, htlc_init_code()))
