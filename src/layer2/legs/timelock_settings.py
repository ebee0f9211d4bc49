"""The named durations of each network, from which every deadline and margin of a swap is computed.

Durations are in seconds, unless the name ends in ``blocks``. Source of the figures: docs/design/clocks.md; lnd 0.21 for
its own margins; the registry of layers for each chain's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from layer2.errors.base import ConfigurationError
from layer2.legs.block_times import BlockTimes
from layer2.model.layers import LAYERS, ChainMargins, Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["MAINNET", "REGTEST", "TESTNET", "TimelockSettings", "finality_seconds", "settings_for"]

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class TimelockSettings:
    """The named durations of one network. Both parties of a swap use the same values."""

    network: str
    bitcoin: BlockTimes
    settle_margin: int
    """Time for a party to see an event, and to act on it at its node."""
    provider_absence: int
    """How long a provider may be offline after the deadline of its funding."""
    quote_validity: int
    funding_window: int
    """From the terms to the latest start of the taker's funding."""
    counter_funding_window: int
    """From the funding of the source to the latest start of the provider's funding."""
    collect_window: int
    """How long the taker can wait to collect after the destination is funded."""
    max_lock: int
    """Maximum lock of a leg after the terms, by the unfavourable bound of its clock."""
    courtesy: int
    """How long a completed swap waits for the other party to collect, so that the proof is complete."""
    # Lightning
    payment_timeout: int
    """How long a payer's node tries routes."""
    own_invoice_expiry: int
    own_final_cltv_delta: int
    """Blocks; lnd's minimum of 24 blocks can pass in less than an hour."""
    hold_expiry_blocks: int
    """lnd fails a held payment this many blocks before its expiry (``invoices.holdexpirydelta``)."""
    late_tip_blocks: int
    """How many blocks a party's node may be behind."""
    close_blocks: int
    """From the end of a CLTV limit until a force-closed HTLC is resolved, including lnd's padding."""
    accept_blocks: int
    """Blocks that may arrive between the terms and the acceptance of a payment or of a funding on Bitcoin, beyond the
    fast mean."""
    route_blocks: int
    """Blocks that the hops of a route may add to the final delta."""
    max_cltv_limit: int
    """Maximum number of blocks for which a payment is locked."""
    max_parts: int
    """A payment with more HTLCs is returned: each may have to be claimed on chain."""
    smallest_part_msat: int
    """A payment with a smaller HTLC is returned: the HTLC is trimmed, or not worth a claim."""
    # Bitcoin
    claim_blocks: int
    """Blocks within which a transaction is surely confirmed, if its fee is raised."""
    final_depth: int
    safe_depth: int
    mtp_early: int
    """How far the median time past may run ahead of wall time."""
    mtp_late: int
    """How far it may lag, in addition to six blocks."""
    deep_time: int
    """Time within which a funding normally has the depth of the terms; otherwise the swap is released."""

    def margins(self, layer: Layer2ProtocolType) -> ChainMargins:
        """The clock and inclusion bounds of a chain on this network.

        Raises:
            ConfigurationError: the registry has none for this layer.
        """
        margins = LAYERS[layer].margins.get(self.network) if layer in LAYERS else None
        if margins is None:
            raise ConfigurationError(f"{layer.value} has no deadlines in unix time on {self.network}")
        return margins


MAINNET: Final = TimelockSettings(
    network="mainnet",
    bitcoin=BlockTimes(fast_seconds=8 * 60, slow_seconds=15 * 60, tail_probability=1e-9),
    settle_margin=HOUR,
    provider_absence=HOUR,
    quote_validity=60,
    funding_window=600,
    counter_funding_window=1200,
    collect_window=8 * HOUR,
    max_lock=240 * HOUR,
    courtesy=HOUR,
    payment_timeout=60,
    own_invoice_expiry=5 * HOUR,
    own_final_cltv_delta=80,
    hold_expiry_blocks=18,
    late_tip_blocks=3,
    close_blocks=18,
    accept_blocks=6,
    route_blocks=117,
    max_cltv_limit=1008,
    max_parts=16,
    smallest_part_msat=5_000_000,
    claim_blocks=36,
    final_depth=6,
    safe_depth=3,
    mtp_early=2 * HOUR,
    mtp_late=2 * HOUR,
    deep_time=4 * HOUR,
)

# Testnets have the mainnet's rollup constants, and their Bitcoin blocks are no more regular.
TESTNET: Final = replace(MAINNET, network="testnet", smallest_part_msat=1_000_000)

# Local networks: blocks every few seconds, without Ethereum. The rules are the same, only these values differ.
REGTEST: Final = replace(
    MAINNET,
    network="regtest",
    bitcoin=BlockTimes(fast_seconds=6, slow_seconds=11, tail_probability=1e-9),
    settle_margin=60,
    provider_absence=30,
    funding_window=120,
    counter_funding_window=120,
    collect_window=240,
    max_lock=4 * HOUR,
    courtesy=30,
    payment_timeout=20,
    own_invoice_expiry=600,
    accept_blocks=20,
    route_blocks=17,
    smallest_part_msat=1_000,
    mtp_early=60,
    mtp_late=60,
    deep_time=240,
)


def settings_for(network: str) -> TimelockSettings:
    """The settings of ``mainnet``, ``testnet`` or ``regtest``.

    Raises:
        ConfigurationError: there is no such network.
    """
    for settings in (MAINNET, TESTNET, REGTEST):
        if settings.network == network:
            return settings
    raise ConfigurationError(f"unknown network {network!r}; the networks are mainnet, testnet and regtest")


def finality_seconds(finality: Finality, margins: ChainMargins) -> int:
    """Seconds from inclusion in a block until that finality is normally reached."""
    return {Finality.LATEST: 0, Finality.SAFE: margins.safe_time, Finality.FINALIZED: margins.final_time}[finality]
