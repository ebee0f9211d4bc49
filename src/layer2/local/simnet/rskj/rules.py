"""The rules of Rootstock's blocks: no base fee, a minimum gas price that moves slowly, and sealed headers.

py-evm executes them under Prague's rules, so gas differs from Rootstock's. ``BLOCKHASH`` gives py-evm's hashes.

Sources: rskj (``BlockGasPriceRange``, ``MinimumGasPriceCalculator``, ``reference.conf``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eth.abc import BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.consensus.noproof import NoProofConsensus
from eth.validation import validate_gas_limit
from eth.vm.forks.prague import PragueVM
from eth_typing import Address

from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.recorded_state import RecordedState
from layer2.local.simnet.rskj.seals import REMASC, RskSeal, genesis_seal, seal

__all__ = ["BLOCK_GAS_LIMIT", "FIRST_MINIMUM_GAS_PRICE", "RskRules", "seal_of"]

BLOCK_GAS_LIMIT: Final = 6_800_000
FIRST_MINIMUM_GAS_PRICE: Final = 60_000_000
"""Wei; mainnet's blocks had 59,240,000."""


class _RootstockVM(PragueVM):
    """Prague's rules without a base fee."""

    consensus_class = NoProofConsensus
    _state_class = RecordedState

    @classmethod
    def validate_gas(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        validate_gas_limit(header.gas_limit, parent_header.gas_limit)


class RskRules:
    """Rootstock's rules. Miners move the minimum gas price by at most 1 % a block towards ``wanted_price``."""

    vm: type[PragueVM] = _RootstockVM
    coinbase = Address(REMASC)
    extra_data = b""
    gas_limit = BLOCK_GAS_LIMIT
    genesis_base_fee = 0

    def __init__(self) -> None:
        self.wanted_price = FIRST_MINIMUM_GAS_PRICE
        """Wei."""

    def base_fee_after(self, parent: BlockHeaderAPI) -> int:
        """Zero: there is no base fee."""
        return 0

    def least_price(self, head: MinedBlock) -> int:
        """The minimum gas price of the next block."""
        price = seal_of(head).minimum_gas_price
        change = max(price // 100, 1)
        return min(max(self.wanted_price, price - change), price + change)

    def seal(
        self,
        header: BlockHeaderAPI,
        transactions: Sequence[SignedTransactionAPI],
        receipts: Sequence[ReceiptAPI],
        parent: MinedBlock | None,
    ) -> RskSeal:
        """Mine the block."""
        if parent is None:
            return genesis_seal(header, FIRST_MINIMUM_GAS_PRICE)
        return seal(header, transactions, receipts, parent.hash, self.least_price(parent))


def seal_of(block: MinedBlock) -> RskSeal:
    """The seal of a block of Rootstock."""
    assert block.seal is not None
    return block.seal
