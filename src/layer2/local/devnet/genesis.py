"""The first block of a chain of the devnet, and the L1 facts that its blocks carry.

Every chain is configured like BOB's, but without an L1. The fees in a receipt (``l1Fee``,
``operatorFee``) are computed by op-geth from the storage of the predeploy ``L1Block``, so that storage is filled here,
with one set of values that stays the same for the life of the network. Rootstock's are zero: it has no such fees.

Sources: OP Stack specification, "Predeploys", "Isthmus L1 attributes" and "Deposits"; EIP-1559, EIP-4844.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from layer2.contracts.factory import DETERMINISTIC_FACTORY, FACTORY_CODE
from layer2.formats import rlp
from layer2.formats.keccak import keccak256

__all__ = [
    "BLOCK_GAS_LIMIT",
    "BOB_L1",
    "EIP1559_PARAMETERS",
    "FEE_VAULT",
    "NO_L1",
    "L1Facts",
    "genesis",
    "l1_attributes",
]

BLOCK_GAS_LIMIT = 60_000_000
FEE_VAULT = "0x4200000000000000000000000000000000000011"
EIP1559_PARAMETERS = "0x000000fa00000006"
"""Denominator 250 and elasticity 6, each as 32 bits: BOB's values."""

_L1_BLOCK = "4200000000000000000000000000000000000015"
_MESSAGE_PASSER = "4200000000000000000000000000000000000016"
_DEPOSITOR = bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0001")
_SET_L1_BLOCK_VALUES_ISTHMUS = bytes.fromhex("098999be")

_FIRST_BASE_FEE = 1_000_000


@dataclass(frozen=True, slots=True)
class L1Facts:
    """What the fees for data and for the operator are computed from."""

    base_fee: int = 0
    blob_base_fee: int = 0
    base_fee_scalar: int = 0
    blob_base_fee_scalar: int = 0
    operator_fee_scalar: int = 0
    operator_fee_constant: int = 0


BOB_L1: Final = L1Facts(
    base_fee=1_000_000_000,
    blob_base_fee=10_000_000,
    base_fee_scalar=5_227,
    blob_base_fee_scalar=1_014_213,
    operator_fee_scalar=1_000,
    operator_fee_constant=5_000,
)
"""Values in the range that BOB has seen; the operator fee is not zero, so that forgetting it is noticed."""
NO_L1: Final = L1Facts()


def genesis(chain_id: int, timestamp: int, balances: Mapping[bytes, int], l1: L1Facts) -> dict[str, object]:
    """Return the genesis document for ``geth init``.

    Args:
        chain_id: the EIP-155 id that the chain's transactions are signed for.
        timestamp: unix seconds of the first block.
        balances: wei by address (20 bytes).
        l1: what the fees beside gas are computed from.

    Returns:
        The JSON document. For chain 60808 op-geth uses its built-in list of forks; for another chain it uses
        this document.
    """
    scalars = l1.base_fee_scalar << 96 | l1.blob_base_fee_scalar << 64
    operator = l1.operator_fee_scalar << 64 | l1.operator_fee_constant
    alloc: dict[str, object] = {address.hex(): {"balance": hex(wei)} for address, wei in balances.items()}
    alloc[DETERMINISTIC_FACTORY.hex()] = {"balance": "0x0", "nonce": "0x1", "code": "0x" + FACTORY_CODE.hex()}
    alloc[_L1_BLOCK] = {
        "balance": "0x0",
        "nonce": "0x1",
        "storage": {
            _word(1): _word(l1.base_fee),
            _word(3): _word(scalars),
            _word(7): _word(l1.blob_base_fee),
            _word(8): _word(operator),
        },
    }
    # If this storage is empty, op-geth omits withdrawalsRoot from the payload and then rejects the payload.
    alloc[_MESSAGE_PASSER] = {"balance": "0x0", "nonce": "0x1", "storage": {_word(0): _word(1)}}
    return {
        "config": _chain_configuration(chain_id),
        "timestamp": hex(timestamp),
        "extraData": "0x00" + EIP1559_PARAMETERS[2:],
        "gasLimit": hex(BLOCK_GAS_LIMIT),
        "difficulty": "0x0",
        "baseFeePerGas": hex(_FIRST_BASE_FEE),
        "excessBlobGas": "0x0",
        "blobGasUsed": "0x0",
        "alloc": alloc,
    }


def l1_attributes(number: int, timestamp: int, l1: L1Facts) -> bytes:
    """Make the deposit transaction that opens every block of an OP Stack chain.

    Args:
        number: the number of the L1 block. Use each number once: it makes the deposit's hash unique.
        timestamp: unix seconds.
        l1: the chain's, as in its first block.

    Returns:
        The transaction of type 0x7E. The system's depositor sends it, without a signature.
    """
    l1_hash = keccak256(number.to_bytes(32, "big"))
    data = (
        _SET_L1_BLOCK_VALUES_ISTHMUS
        + l1.base_fee_scalar.to_bytes(4, "big")
        + l1.blob_base_fee_scalar.to_bytes(4, "big")
        + (0).to_bytes(8, "big")  # sequence number: each block has an L1 block of its own
        + timestamp.to_bytes(8, "big")
        + number.to_bytes(8, "big")
        + l1.base_fee.to_bytes(32, "big")
        + l1.blob_base_fee.to_bytes(32, "big")
        + l1_hash
        + bytes(32)  # the batcher's address: nothing is batched to an L1 here
        + l1.operator_fee_scalar.to_bytes(4, "big")
        + l1.operator_fee_constant.to_bytes(8, "big")
    )
    source_hash = keccak256((1).to_bytes(32, "big") + keccak256(l1_hash + bytes(32)))
    return b"\x7e" + rlp.encode(
        [
            source_hash,
            _DEPOSITOR,
            bytes.fromhex(_L1_BLOCK),
            b"",  # mint
            b"",  # value
            rlp.encode_int(1_000_000),  # gas
            b"",  # not a system transaction: since Regolith it pays for its gas
            data,
        ]
    )


def _chain_configuration(chain_id: int) -> dict[str, object]:
    blocks = (
        "homestead eip150 eip155 eip158 byzantium constantinople petersburg istanbul muirGlacier berlin london "
        "arrowGlacier grayGlacier mergeNetsplit bedrock"
    )
    times = "regolith shanghai canyon cancun ecotone fjord granite holocene prague isthmus"
    return {
        "chainId": chain_id,
        **{f"{fork}Block": 0 for fork in blocks.split()},
        **{f"{fork}Time": 0 for fork in times.split()},
        "terminalTotalDifficulty": 0,
        "optimism": {"eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250},
    }


def _word(value: int) -> str:
    return f"0x{value:064x}"
