"""The parts that an EVM layer's client shares with its legs, created in one place."""

from __future__ import annotations

from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock
from layer2.ports.journal import NonceRecords, SendRecords
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.approvals import Approvals
from layer2.protocols.evm.locks.checks import LockChecks
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.gas_reserves import GasReserves
from layer2.protocols.evm.locks.money import CoinMoney
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.chain_format import chain_format
from layer2.protocols.evm.rpc.endpoints import open_rpc
from layer2.protocols.evm.rpc.head_notices import HeadNotices
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import SendHistory
from layer2.protocols.evm.sending.replacements import Replacements
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["EvmParts"]


class EvmParts:
    """One instance of each part. Two allocators of nonces, or two gas reserves, would not know of each other.

    Args:
        layer: the layer.
        settings: its settings.
        signer: the party's key.
        sends: the durable record of sends.
        clock: this machine's clock.
        nonces: the nonces in the same journal; None if no other client uses the key.
    """

    def __init__(
        self,
        layer: Layer2ProtocolType,
        settings: EvmSettings,
        signer: EvmSigner,
        sends: SendRecords,
        clock: Clock,
        nonces: NonceRecords | None,
    ) -> None:
        name = layer.value
        self.layer = layer
        self.facts = settings.facts()
        self.settings = settings
        self.clock = clock
        self.asset = settings.asset
        self.token = self.asset.token
        """20 bytes; ``NATIVE_COIN`` if bitcoin is the chain's own coin."""
        self.token_decimals = self.asset.decimals
        self.contract = self.asset.contract
        """The HTLC contract, 20 bytes."""
        self.rpc = open_rpc(settings, protocol=name)
        self.node = EvmNode(self.rpc, name, chain_format(self.facts.receipts), self.facts.depths)
        self.notices: HeadNotices | None = None
        """None if no websocket is configured."""
        if settings.websocket_url is not None:
            self.notices = HeadNotices(
                settings.websocket_url,
                protocol=name,
                pool=settings.connection_pool,
                timeout=settings.default_timeout,
            )
        self.watcher = HeadWatcher(self.node, settings.chain_id, settings.poll_interval_ms / 1000, self.notices)
        self.fees = Fees(self.node, settings, self.facts)
        self.account = EvmAccount(
            self.node, signer, self.fees, chain_id=settings.chain_id, protocol=name, records=nonces
        )
        self.history = SendHistory(sends, name, nonces)
        self.replacements = Replacements(
            self.account, self.fees, self.node, self.history, cap=settings.max_fee_per_gas_wei
        )
        self.events = LockEvents(self.node, settings)
        self.locks = Locks(self.node, self.watcher, self.events, settings, layer)
        payments = self._payments if self.asset.is_native else None
        self.gas = GasReserves(self.node, signer.address, self.fees, payments)
        self.money = (CoinMoney if self.asset.is_native else Approvals)(self.node, self.account, self.gas)
        self.checks = LockChecks(self.node, signer.address, self.watcher, self.locks, self.events, self.money)

    def _payments(self) -> list[SignedTransaction]:
        """The sent and not yet final transactions, except acts on locks, which have reserves."""
        sent = self.account.sent_below(1 << 64)
        return [each for each in sent if each.transaction.to != self.contract]
