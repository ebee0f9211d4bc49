"""The deterministic deployment factory. It deploys the same code to the same address, regardless of the sender.

Its own address results from a transaction with an invented signature, for which no key exists, so any chain can have
it. OP-Stack chains have it from their first block. ``FACTORY_CODE`` is used in the genesis of local networks, and to
check that a chain has the factory.
"""

from __future__ import annotations

from layer2.errors.base import FormatError
from layer2.formats.evm_address import create2_address
from layer2.formats.keccak import keccak256

__all__ = ["DETERMINISTIC_FACTORY", "FACTORY_CODE", "deployed_address", "deployment_call"]

DETERMINISTIC_FACTORY = bytes.fromhex("4e59b44847b379578588920cA78FbF26c0B4956C")
"""20 bytes. The same address on every chain that has the factory."""

FACTORY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
"""The factory's runtime code, 69 bytes."""


def deployment_call(salt: bytes, init_code: bytes) -> bytes:
    """Encode the call to the factory that creates a contract. Any account can send it.

    Args:
        salt: 32 bytes.
        init_code: creation code, with the constructor's arguments if it has any.

    Raises:
        FormatError: the salt has a wrong size, or the code is empty.

    The factory reverts if the contract already exists.
    """
    if len(salt) != 32:
        raise FormatError(f"CREATE2: salt of {len(salt)} bytes, expected 32")
    if not init_code:
        raise FormatError("CREATE2: the creation code is empty")
    return salt + init_code


def deployed_address(salt: bytes, init_code: bytes) -> bytes:
    """Compute the address to which the factory deploys a contract.

    Args:
        salt: 32 bytes.
        init_code: creation code, with the constructor's arguments if it has any.

    Returns:
        20 bytes.

    Raises:
        FormatError: the salt has a wrong size.

    Source: EIP-1014. The contract may not be deployed.
    """
    return create2_address(DETERMINISTIC_FACTORY, salt, keccak256(init_code))
