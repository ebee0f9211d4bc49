"""The named durations of each network, from which every deadline and margin of a swap is computed.

Source of the figures: docs/design/transfer-protocol.md (Clocks), the OP Stack's specification for the rollup's clock,
lnd 0.21 for its own margins. ``timelocks`` checks the inequalities between them when it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["MAINNET", "REGTEST", "TESTNET", "TimelockSettings"]

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class TimelockSettings:
    """The named durations of one network. Both parties of a swap use the same ones."""

    network: str
    fast_seconds_per_block: int
    """Mean of a fast difficulty period of Bitcoin: bounds how early a height can come."""
    slow_seconds_per_block: int
    """Mean of a slow one: bounds how late."""
    tail_probability: float
    """Chance, within such a period, that a bound does not hold."""
    rollup_clock_early: int
    """How far the rollup's clock may run ahead of wall time (OP Stack: max sequencer drift, 1800 s)."""
    inclusion: int
    """By when a transaction sent now is surely in a block: the sequencing window (3600 Ethereum blocks)."""
    safe_time: int
    """From inclusion until the batch is on Ethereum."""
    finality_time: int
    """From inclusion until that Ethereum block is final."""
    claim_margin: int
    """The preimage is shown no later than this before the deadline as the rollup's clock may show it."""
    settle_margin: int
    """For a party to see a fact, and to act on it at its own node."""
    hold_expiry_delta: int
    """lnd gives up a hold invoice so many blocks before its expiry (``invoices.holdexpirydelta``)."""
    close_blocks: int
    """From the end of a CLTV limit until a force-closed HTLC is resolved, lnd's padding included."""
    late_tip_blocks: int
    """How many blocks the own node's tip may be behind."""
    accept_blocks: int
    """Blocks that may come between the terms and the acceptance of a hold invoice's HTLCs, beyond the fast mean."""
    route_cltv_blocks: int
    """What the hops of a route may add to the final delta."""
    payment_timeout: int
    """How long a payer's node looks for routes."""
    own_invoice_expiry: int
    """Life of an invoice that the taker makes to be paid."""
    own_final_cltv_delta: int
    """Final CLTV delta of such an invoice; lnd's minimum of 24 can pass in less than an hour."""
    quote_validity: int
    funding_window: int
    """From terms to the latest begin of the taker's funding."""
    counter_funding_window: int
    """Lightning to EVM: from the latest begin of the taker's funding to the latest begin of the provider's."""
    collect_window: int
    """How long the taker can wait with its claim after the provider's lock is final."""
    provider_grace: int
    """How long a paid taker leaves the claim of the source lock to the provider before it publishes it itself."""
    max_source_lock: int
    """No source lock on a chain lasts longer than this after the terms."""
    max_destination_lock: int
    max_cltv_limit: int
    """No payment is locked for more blocks."""
    max_parts: int
    """A hold invoice with more HTLCs is cancelled: each may have to be claimed on chain."""
    smallest_part_msat: int
    """A hold invoice with a smaller HTLC is cancelled: it is trimmed, or not worth its own claim."""


MAINNET: Final = TimelockSettings(
    network="mainnet",
    fast_seconds_per_block=8 * 60,
    slow_seconds_per_block=15 * 60,
    tail_probability=1e-9,
    rollup_clock_early=1800,
    inclusion=12 * HOUR,
    safe_time=5 * HOUR // 4,
    finality_time=5 * HOUR // 2,
    claim_margin=12 * HOUR,
    settle_margin=HOUR,
    hold_expiry_delta=18,
    close_blocks=18,
    late_tip_blocks=3,
    accept_blocks=6,
    route_cltv_blocks=117,
    payment_timeout=60,
    own_invoice_expiry=4 * HOUR,
    own_final_cltv_delta=80,
    quote_validity=60,
    funding_window=600,
    counter_funding_window=1200,
    collect_window=8 * HOUR,
    provider_grace=HOUR,
    max_source_lock=168 * HOUR,
    max_destination_lock=36 * HOUR,
    max_cltv_limit=1008,
    max_parts=16,
    smallest_part_msat=5_000_000,
)

# Testnets share the mainnet's rollup constants, and their Bitcoin blocks come no more regularly.
TESTNET: Final = replace(MAINNET, network="testnet", smallest_part_msat=1_000_000)

# Local networks: blocks every few seconds, no Ethereum underneath. The rules are the same, only these differ.
REGTEST: Final = TimelockSettings(
    network="regtest",
    fast_seconds_per_block=6,
    slow_seconds_per_block=11,
    tail_probability=1e-9,
    rollup_clock_early=60,
    inclusion=60,
    safe_time=20,
    finality_time=40,
    claim_margin=60,
    settle_margin=60,
    hold_expiry_delta=18,
    close_blocks=18,
    late_tip_blocks=3,
    accept_blocks=20,
    route_cltv_blocks=17,
    payment_timeout=20,
    own_invoice_expiry=600,
    own_final_cltv_delta=80,
    quote_validity=60,
    funding_window=120,
    counter_funding_window=120,
    collect_window=240,
    provider_grace=30,
    max_source_lock=2 * HOUR,
    max_destination_lock=HOUR,
    max_cltv_limit=1008,
    max_parts=16,
    smallest_part_msat=1_000,
)
