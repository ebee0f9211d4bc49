"""Bitcoin's layers: their names, and the facts that are known without a node.

A layer has a name, a kind of leg, facts, and a client in ``protocols``. This registry contains everything that differs
between two layers of one kind. Durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["LAYERS", "ChainMargins", "HeadDepths", "Layer2ProtocolType", "LayerFacts"]

_HOUR: Final = 3600


class Layer2ProtocolType(Enum):
    """A layer. This version does not have a client for every layer.

    ``Layer2Manager`` raises ``ProtocolNotImplemented`` or ``ProtocolNotConfigured`` for a layer without a client.
    """

    BOB = "BOB"
    LIGHTNING = "LIGHTNING"
    ROOTSTOCK = "ROOTSTOCK"
    BITCOIN = "BITCOIN"
    LIQUID = "LIQUID"
    STACKS = "STACKS"
    TAPROOT_ASSETS = "TAPROOT_ASSETS"
    RGB = "RGB"
    DLC = "DLC"
    STATE_CHANNELS = "STATE_CHANNELS"


@dataclass(frozen=True, slots=True)
class ChainMargins:
    """The margins of a deadline in unix time on a chain. Each is a worst case."""

    clock_early: int
    """How far the chain's clock may run ahead of wall time."""
    inclusion: int
    """Time within which a transaction that is sent now is surely in a block, including a late clock."""
    safe_time: int
    """From inclusion until the layer's middle finality."""
    final_time: int
    """From inclusion until the layer's strongest finality."""
    landing_time: int
    """From a funding's start until its transaction is normally in a block."""


@dataclass(frozen=True, slots=True)
class HeadDepths:
    """How far below the newest block a block has each finality, on a chain whose nodes have no such heads."""

    safe: int
    final: int


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """The facts of a layer that are known without a node."""

    kind: str
    """The kind of its legs: ``evm``, ``lightning`` or ``bitcoin``."""
    native_asset: str
    """The coin in which fees are paid."""
    native_decimals: int
    coin_is_bitcoin: bool
    """Whether that coin is bitcoin itself."""
    fee_model: str
    """``op_stack`` (EIP-1559 and L1 data), ``minimum_gas_price`` (Rootstock), ``routing`` or ``vbytes``."""
    network_ids: Mapping[str, frozenset[str]]
    """By network, the ids that a leg may have: chain ids, or prefixes of BOLT 11."""
    margins: Mapping[str, ChainMargins] = field(default_factory=dict)
    """By network; empty if deadlines are not unix times on a chain."""
    genesis: Mapping[str, bytes] = field(default_factory=dict)
    """The hash of the chain's first block on the networks where it is fixed: 32 bytes."""
    depths: HeadDepths | None = None
    """The default depths of finality; None if the nodes have the heads ``safe`` and ``finalized``, or no such heads."""
    receipts: str = ""
    """The format of an EVM chain's headers and receipts: ``ethereum`` or ``rootstock``."""
    headers_have_work: bool = False
    """Whether the headers in its evidence show proof of work."""
    clients_on: frozenset[str] = frozenset()
    """The networks on which this version has a client for the layer."""


_LOCAL: Final = ChainMargins(clock_early=60, inclusion=60, safe_time=20, final_time=40, landing_time=60)
# OP Stack: the sequencer's drift is 1,800 s, its window 3,600 blocks of Ethereum.
_BOB: Final = ChainMargins(
    clock_early=1800, inclusion=12 * _HOUR, safe_time=5 * _HOUR // 4, final_time=5 * _HOUR // 2, landing_time=600
)
# Assumed, not measured: see docs/design/rootstock.md.
_ROOTSTOCK: Final = ChainMargins(
    clock_early=2 * _HOUR, inclusion=6 * _HOUR, safe_time=_HOUR, final_time=2 * _HOUR, landing_time=1800
)
_EVERYWHERE: Final = frozenset({"mainnet", "testnet", "regtest"})
_BITCOIN_PREFIXES: Final = {
    "mainnet": frozenset({"bc"}),
    "testnet": frozenset({"tb", "tbs"}),
    "regtest": frozenset({"bcrt"}),
}

LAYERS: Final[Mapping[Layer2ProtocolType, LayerFacts]] = {
    Layer2ProtocolType.BOB: LayerFacts(
        kind="evm",
        native_asset="ETH",
        native_decimals=18,
        coin_is_bitcoin=False,
        fee_model="op_stack",
        receipts="ethereum",
        # Local networks have the mainnet's chain id.
        network_ids={
            "mainnet": frozenset({"60808"}),
            "testnet": frozenset({"808813"}),
            "regtest": frozenset({"60808"}),
        },
        margins={"mainnet": _BOB, "testnet": _BOB, "regtest": _LOCAL},
        # Source: the Superchain registry, configs/mainnet/bob.toml.
        genesis={"mainnet": bytes.fromhex("8ed4903b7f9c3f7bb7a09374d63ae9c9852cd9aab1784b433c41dbeb47b4dba2")},
        clients_on=_EVERYWHERE,
    ),
    Layer2ProtocolType.ROOTSTOCK: LayerFacts(
        kind="evm",
        native_asset="RBTC",
        native_decimals=18,
        coin_is_bitcoin=True,
        fee_model="minimum_gas_price",
        receipts="rootstock",
        headers_have_work=True,
        # Assumptions: Rootstock has no rule of finality.
        depths=HeadDepths(safe=12, final=120),
        network_ids={"mainnet": frozenset({"30"}), "testnet": frozenset({"31"}), "regtest": frozenset({"33"})},
        margins={"mainnet": _ROOTSTOCK, "testnet": _ROOTSTOCK, "regtest": _LOCAL},
        # Source: rskj d987a4c, GenesisHashesTest.
        genesis={
            "mainnet": bytes.fromhex("f88529d4ab262c0f4d042e9d8d3f2472848eaafe1a9b7213f57617eb40a9f9e0"),
            "testnet": bytes.fromhex("cabb7fbe88cd6d922042a32ffc08ce8b1fbb37d650b9d4e7dbfe2a7469adfa42"),
        },
        clients_on=_EVERYWHERE,
    ),
    Layer2ProtocolType.LIGHTNING: LayerFacts(
        kind="lightning",
        native_asset="BTC",
        native_decimals=11,
        coin_is_bitcoin=True,
        fee_model="routing",
        network_ids=_BITCOIN_PREFIXES,
        clients_on=_EVERYWHERE,
    ),
    Layer2ProtocolType.BITCOIN: LayerFacts(
        kind="bitcoin",
        native_asset="BTC",
        native_decimals=8,
        coin_is_bitcoin=True,
        fee_model="vbytes",
        # BIP 173 has one prefix for every test network; only BOLT 11 tells signet apart.
        network_ids={**_BITCOIN_PREFIXES, "testnet": frozenset({"tb"})},
        headers_have_work=True,
        clients_on=_EVERYWHERE,
    ),
}
