"""L1Block, the contract with the additional fees of an OP-stack chain: for L1 data (Fjord) and for its operator
(Isthmus, Jovian).

Sources: OP stack specification, Ecotone, Fjord, Isthmus and Jovian, "L1 fee" and "operator fee".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layer2.formats.fastlz import compressed_size, largest_compressed_size

__all__ = ["L1_BLOCK", "L1_BLOCK_SLOTS", "L1Parameters", "operator_fee"]

L1_BLOCK = bytes.fromhex("4200000000000000000000000000000000000015")
"""The predeployed contract from whose storage op-geth reads the parameters, 20 bytes."""
L1_BLOCK_SLOTS = (1, 3, 7, 8)
"""The L1 base fee, its two scalars, the blob base fee, and the operator's parameters."""

_JOVIAN_EXTRA_DATA = 17
_JOVIAN_VERSION = 1


def _is_jovian(extra_data: bytes) -> bool:
    """Whether a header's extra data is of Jovian or later, which add a minimum base fee (version 1)."""
    return len(extra_data) >= _JOVIAN_EXTRA_DATA and extra_data[0] >= _JOVIAN_VERSION


def operator_fee(gas: int, scalar: int, constant: int, *, jovian: bool) -> int:
    """The operator's fee in wei. The unit of the scalar is 100 wei since Jovian, and a millionth of a wei before."""
    return (gas * scalar * 100 if jovian else gas * scalar // 1_000_000) + constant


@dataclass(frozen=True, slots=True)
class L1Parameters:
    """The parameters of the fees for L1 data and for the operator in one block."""

    base_fee: int
    blob_base_fee: int
    base_fee_scalar: int
    blob_base_fee_scalar: int
    operator_fee_scalar: int
    operator_fee_constant: int
    jovian: bool = False
    """Whether Jovian's formula applies to the operator's fee."""

    @classmethod
    def from_storage(cls, values: Sequence[int], extra_data: bytes) -> L1Parameters:
        """Decode the values of ``L1_BLOCK_SLOTS`` and a header's extra data. Zeros mean no fees."""
        base_fee, scalars, blob_base_fee, operator = values
        scalar_word, operator_word = scalars.to_bytes(32, "big"), operator.to_bytes(32, "big")
        return cls(
            base_fee=base_fee,
            blob_base_fee=blob_base_fee,
            base_fee_scalar=int.from_bytes(scalar_word[16:20], "big"),
            blob_base_fee_scalar=int.from_bytes(scalar_word[20:24], "big"),
            operator_fee_scalar=int.from_bytes(operator_word[20:24], "big"),
            operator_fee_constant=int.from_bytes(operator_word[24:32], "big"),
            jovian=_is_jovian(extra_data),
        )

    def data_fee(self, raw: bytes) -> int:
        """The fee for a transaction's L1 data, in wei, in the block of these parameters.

        Args:
            raw: the signed transaction with its type byte.
        """
        return self._data_fee(compressed_size(raw))

    def data_fee_bound(self, size: int) -> int:
        """The maximum fee for a transaction's L1 data, in wei.

        Args:
            size: bytes of the signed transaction. The actual fee depends on its compressed size.
        """
        return self._data_fee(largest_compressed_size(size))

    def operator_fee(self, gas: int) -> int:
        """The operator's fee in wei."""
        return operator_fee(gas, self.operator_fee_scalar, self.operator_fee_constant, jovian=self.jovian)

    def _data_fee(self, compressed: int) -> int:
        scaled_size = max(100_000_000, 836_500 * compressed - 42_585_600)
        price = 16 * self.base_fee_scalar * self.base_fee + self.blob_base_fee_scalar * self.blob_base_fee
        return scaled_size * price // 10**12
