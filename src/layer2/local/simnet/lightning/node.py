"""One simulated Lightning node: its status calls, invoice calls and payment calls.

Pure except for the clock: a call takes a ``Message`` and returns a JSON answer or a stream's subscription, or raises
``RestError``.
"""

from __future__ import annotations

from typing import Any

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.answers import (
    channel_answer,
    channel_balance_answer,
    features_answer,
    invoice_answer,
    payment_answer,
)
from layer2.local.simnet.lightning.host import SimulatedHost
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.invoices import DEFAULT_CLTV_DELTA, InvoiceCalls
from layer2.local.simnet.lightning.ledger import HOLD_EXPIRY_DELTA, Ledger
from layer2.local.simnet.lightning.messages import Message
from layer2.local.simnet.lightning.payments import MAX_CLTV_DELTA, NETWORK, PaymentCalls
from layer2.local.simnet.lightning.records import Invoice, Payment, Record

__all__ = ["SimulatedNode"]

_VERSION = "0.21.2-beta commit=layer2-simnet"
_NODE_FEATURES = frozenset({0, 7, 8, 12, 14, 17, 23, 25})


class SimulatedNode:
    """The node's calls, named as in lnd's services.

    Args:
        identity: its keys.
        ledger: shared with its peer.
        clock: for the times that it reports and for the expiry of invoices.
    """

    def __init__(self, identity: LightningIdentity, ledger: Ledger, clock: SimClock) -> None:
        self.identity = identity
        self.side = identity.side
        self.host = SimulatedHost(identity)
        self.invoices = InvoiceCalls(identity, ledger, clock)
        self.payments = PaymentCalls(identity, ledger, clock)
        self._ledger = ledger
        self._clock = clock
        self._started_at = clock.now()

    def get_info(self, _: Message) -> dict[str, Any]:
        """``lnrpc.GetInfoResponse``."""
        height, is_active = self._ledger.height, self._ledger.channel.is_active
        return {
            "version": _VERSION,
            "commit_hash": "",
            "identity_pubkey": self.identity.public_key.hex(),
            "alias": f"simnet-{self.side.value}",
            "color": "#3399ff",
            "num_pending_channels": 0,
            "num_active_channels": int(is_active),
            "num_inactive_channels": int(not is_active),
            "num_peers": int(is_active),
            "block_height": height,
            "block_hash": self.identity.block_hash(height),
            "best_header_timestamp": str(self._clock.now()),
            "synced_to_chain": True,
            "synced_to_graph": True,
            "testnet": False,
            "chains": [{"chain": "bitcoin", "network": NETWORK}],
            "uris": [],
            "features": features_answer(_NODE_FEATURES),
            "require_htlc_interceptor": False,
            "store_final_htlc_resolutions": False,
            "wallet_synced": True,
            "graph_cache_status": "GRAPH_CACHE_STATUS_LOADED",
        }

    def get_debug_info(self, _: Message) -> dict[str, Any]:
        """``lnrpc.GetDebugInfoResponse``, with the settings that the simulation supports."""
        return {
            "config": {
                "alias": f"simnet-{self.side.value}",
                "bitcoin.regtest": "true",
                "bitcoin.timelockdelta": str(DEFAULT_CLTV_DELTA),
                "invoices.holdexpirydelta": str(HOLD_EXPIRY_DELTA),
                "max-cltv-expiry": str(MAX_CLTV_DELTA),
            },
            "log": [],
        }

    def wallet_balance(self, _: Message) -> dict[str, Any]:
        """``lnrpc.WalletBalanceResponse``: all of the node's money is in its channel."""
        return {
            "total_balance": "0",
            "confirmed_balance": "0",
            "unconfirmed_balance": "0",
            "locked_balance": "0",
            "reserved_balance_anchor_chan": "0",
            "account_balance": {"default": {"confirmed_balance": "0", "unconfirmed_balance": "0"}},
        }

    def channel_balance(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ChannelBalanceResponse``."""
        return channel_balance_answer(self._ledger.channel, self.side)

    def list_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ListChannelsResponse``."""
        channel = channel_answer(
            self._ledger.channel,
            self.side,
            peer_key=self.identity.peer_key,
            channel_point=self.identity.channel_point,
            channel_id=self.identity.channel_id,
            age=self._clock.now() - self._started_at,
        )
        return {"channels": [channel]}

    def closed_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.ClosedChannelsResponse``."""
        return {"channels": []}

    def pending_channels(self, _: Message) -> dict[str, Any]:
        """``lnrpc.PendingChannelsResponse``: the one channel is open, and is never closed."""
        return {
            "total_limbo_balance": "0",
            "pending_open_channels": [],
            "pending_closing_channels": [],
            "pending_force_closing_channels": [],
            "waiting_close_channels": [],
        }

    def answer(self, record: Record) -> dict[str, Any]:
        """``lnrpc.Invoice`` or ``lnrpc.Payment``."""
        match record:
            case Invoice():
                return invoice_answer(record, self.identity.channel_id)
            case Payment():
                return payment_answer(record, self.identity.channel_id, self.identity.peer_key)
