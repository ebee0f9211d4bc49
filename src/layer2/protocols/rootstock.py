"""Rootstock, an EVM chain whose blocks are mined with Bitcoin's. Bitcoin is its own coin there, which also pays gas.

Sources and what was not verified: ``docs/design/rootstock.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

from layer2.contracts.htlc import NATIVE_COIN
from layer2.errors import ConfigurationError, FormatError
from layer2.formats.evm_address import parse_address
from layer2.model.layers import LAYERS, HeadDepths, Layer2ProtocolType, LayerFacts
from layer2.model.money import BTC
from layer2.net.setting_rules import at_least, one_of
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.evm.settings import EvmAsset, EvmSettings

__all__ = ["ROOTSTOCK_MAINNET", "ROOTSTOCK_REGTEST", "ROOTSTOCK_TESTNET", "RootstockClient", "RootstockSettings"]

ROOTSTOCK_MAINNET = 30
ROOTSTOCK_TESTNET = 31
ROOTSTOCK_REGTEST = 33
_LAYER: Final = Layer2ProtocolType.ROOTSTOCK
_REGTEST_TIP_WEI: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RootstockSettings(EvmSettings):
    """The settings of a ``RootstockClient``: those of ``EvmSettings``, and the contract.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    chain_id: Annotated[int, at_least(1)] = ROOTSTOCK_MAINNET
    """30 is mainnet, 31 testnet, 33 regtest"""
    contract_address: str
    """the HTLC contract; your counterparties must use the same one. Its code is checked before the first swap"""
    safe_depth: Annotated[int, at_least(1)] = 12
    """a block counts as safe when so many blocks follow it"""
    final_depth: Annotated[int, at_least(1)] = 120
    """a block counts as finalized when so many blocks follow it; not less than safe_depth. Rootstock has no finality:
    a longer reorganisation is possible and can cost money"""
    dialect: Annotated[str, one_of("rskj", "ethereum")] = "rskj"
    """the node's JSON-RPC: rskj, or on regtest ethereum for another node with Rootstock's chain id"""
    stale_after_seconds: Annotated[int, at_least(1)] = 900
    """seconds; if the newest block is older, the chain is stale, and no new transfer starts. Blocks are mined, so
    minutes may pass between two of them"""
    max_ahead_seconds: Annotated[int, at_least(0)] = 600
    """seconds by which the newest block may be ahead of this machine's clock when a transfer starts; the default is
    what nodes of the testnet accept, and a minute"""
    log_search_blocks: Annotated[int, at_least(1)] = 40_000
    """how many blocks back events are searched: about two weeks, longer than most locks last. The transaction id of an
    older lock is not shown; preimages and evidence are searched in the whole chain"""

    log_search_step_blocks: Annotated[int, at_least(1)] = 5_000
    """blocks per request for events: the most that rskj's default configuration allows"""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is another class than the one that its methods were defined in.
        EvmSettings.__post_init__(self)
        # A chain id of another network would come with margins of minutes on a chain of real money.
        chain_ids = LAYERS[_LAYER].network_ids.get(self.network, frozenset())
        if str(self.chain_id) not in chain_ids:
            allowed = " or ".join(sorted(chain_ids)) or "another network's: Rootstock has no such network"
            raise ConfigurationError(f'"chain_id": must be {allowed} on {self.network}', code="wrong_value")
        try:
            parse_address(self.contract_address, self.chain_id)
        except FormatError as error:
            raise ConfigurationError(f'"contract_address": {error.message}', code="wrong_value") from error
        if self.final_depth < self.safe_depth:
            raise ConfigurationError('"final_depth": must be at least safe_depth', code="wrong_value")
        if self.dialect != "rskj" and self.network != "regtest":
            raise ConfigurationError(f'"dialect": must be rskj on {self.network}', code="wrong_value")

    @property
    def tip_per_gas_wei(self) -> int:
        """0: gas has one price. Another node than rskj has EIP-1559, and accepts nothing without a tip."""
        return 0 if self.dialect == "rskj" else _REGTEST_TIP_WEI

    @property
    def asset(self) -> EvmAsset:
        """The native coin, in the configured contract."""
        decimals = LAYERS[_LAYER].native_decimals
        return EvmAsset(
            parse_address(self.contract_address, self.chain_id), NATIVE_COIN, decimals, coin_price_sat=10**BTC.decimals
        )

    def facts(self) -> LayerFacts:
        """The facts of Rootstock, with the configured depths."""
        facts = replace(LAYERS[_LAYER], depths=HeadDepths(self.safe_depth, self.final_depth))
        return facts if self.dialect == "rskj" else replace(facts, fee_model="op_stack", receipts="ethereum")


class RootstockClient(EvmClient):
    """Rootstock through the party's own node. The arguments are those of ``EvmClient``.

    BTC, in satoshi, and RBTC, in wei, are two names of the same money here. Gas is paid from it too.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = _LAYER

    # Set once: the narrower type is safe.
    settings: RootstockSettings  # pyright: ignore[reportIncompatibleVariableOverride]
