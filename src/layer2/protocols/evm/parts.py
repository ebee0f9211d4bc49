"""The parts that an EVM layer's client shares with its legs, created in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from layer2.errors import ConfigurationError, FormatError
from layer2.formats.evm_address import parse_address
from layer2.model.layers import LAYERS, Layer2ProtocolType, LayerFacts
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecords
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.acts import LockActs
from layer2.protocols.evm.locks.courtesy import Courtesies
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.gas_reserves import GasReserves
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.endpoints import NodeRpc, open_rpc
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import SendHistory
from layer2.protocols.evm.sending.replacements import Replacements
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["EvmParts"]


@dataclass(frozen=True, slots=True)
class EvmParts:
    """One instance of each part. Two allocators of nonces, or two gas reserves, would not know of each other."""

    layer: Layer2ProtocolType
    facts: LayerFacts
    settings: EvmSettings
    clock: Clock
    token: bytes
    """20 bytes."""
    rpc: NodeRpc
    node: EvmNode
    notices: HeadNotices | None
    """None if no websocket is configured."""
    watcher: HeadWatcher
    fees: Fees
    account: EvmAccount
    history: SendHistory
    replacements: Replacements
    events: LockEvents
    locks: Locks
    acts: LockActs
    courtesies: Courtesies

    @classmethod
    def build(
        cls,
        layer: Layer2ProtocolType,
        settings: EvmSettings,
        signer: EvmSigner,
        sends: SendRecords,
        clock: Clock,
    ) -> Self:
        """Create the parts. Nothing is sent.

        Raises:
            ConfigurationError: a setting is invalid.
        """
        name, facts = layer.value, LAYERS[layer]
        try:
            token = parse_address(settings.token)
        except FormatError as error:
            raise ConfigurationError(f"token: {error.message}") from error
        if settings.native_price_sat is not None and settings.native_price_sat < 1:
            raise ConfigurationError(f"native_price_sat is {settings.native_price_sat}; it must be positive")
        rpc = open_rpc(settings, protocol=name)
        node = EvmNode(rpc, name)
        notices = None
        if settings.websocket_url is not None:
            seconds = settings.default_timeout_ms / 1000
            notices = HeadNotices(settings.websocket_url, protocol=name, pool=settings.connection_pool, timeout=seconds)
        watcher = HeadWatcher(node, settings.poll_interval_seconds, notices)
        fees = Fees(node, settings, facts)
        account = EvmAccount(node, signer, fees, chain_id=settings.chain_id, protocol=name)
        history = SendHistory(sends, name)
        replacements = Replacements(account, fees, node, history, cap=settings.max_fee_per_gas, protocol=name)
        events = LockEvents(node, settings)
        locks = Locks(node, watcher, events, settings, layer)
        gas = GasReserves(node, account.address, fees)
        return cls(
            layer=layer,
            facts=facts,
            settings=settings,
            clock=clock,
            token=token,
            rpc=rpc,
            node=node,
            notices=notices,
            watcher=watcher,
            fees=fees,
            account=account,
            history=history,
            replacements=replacements,
            events=events,
            locks=locks,
            acts=LockActs(node, account, fees, watcher, locks, events, replacements, gas, name),
            courtesies=Courtesies(node, account, fees, watcher, locks, gas, name),
        )
