"""The deterministic deployment factory: whoever uses it, the same code comes to the same address.

Its own address comes from a transaction that nobody holds a key for (a made-up signature), so it can stand on
every chain; OP-Stack chains have it from their first block. ``FACTORY_CODE`` is for the genesis of local
networks and for checking that a chain has it.
"""

from __future__ import annotations

from layer2.errors import FormatError
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
    """Write the data of a call to the factory that creates a contract; anyone can send it.

    Args:
        salt: 32 bytes.
        init_code: creation code, with its constructor's arguments if it has any.

    Raises:
        FormatError: the salt has another size, or there is no code.

    The factory reverts if the contract is there already.
    """
    if len(salt) != 32:
        raise FormatError(f"CREATE2: salt of {len(salt)} bytes, expected 32")
    if not init_code:
        raise FormatError("CREATE2: no creation code")
    return salt + init_code


def deployed_address(salt: bytes, init_code: bytes) -> bytes:
    """Compute where the factory puts a contract.

    Args:
        salt: 32 bytes.
        init_code: creation code, with its constructor's arguments if it has any.

    Returns:
        20 bytes.

    Raises:
        FormatError: the salt has another size.

    Source: EIP-1014. Says nothing of whether the contract is there.
    """
    return create2_address(DETERMINISTIC_FACTORY, salt, keccak256(init_code))
