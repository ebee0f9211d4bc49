"""One simulated Lightning node: its status calls, invoice calls and payment calls.

Pure except for the clock: a call takes a ``Message`` and returns a JSON answer or a stream's subscription, or raises
``RestError``.
"""

from __future__ import annotations

from layer2.errors import FormatError
from layer2.formats.signed_message import encode_signature, message_digest, signer_of
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.answers import (
    channel_answer,
    channel_balance_answer,
    features_answer,
    invoice_answer,
    payment_answer,
)
from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.invoices import DEFAULT_CLTV_DELTA, InvoiceCalls
from layer2.local.simnet.lightning.ledger import HOLD_EXPIRY_DELTA, Ledger
from layer2.local.simnet.lightning.messages import Message, RestError
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
        self.invoices = InvoiceCalls(identity, ledger, clock)
        self.payments = PaymentCalls(identity, ledger, clock)
        self._ledger = ledger
        self._clock = clock
        self._started_at = clock.now()

    def state(self, _: Message) -> dict[str, object]:
        """``lnrpc.GetStateResponse``: a simulated node is always started."""
        return {"state": "SERVER_ACTIVE"}

    def check_macaroon(self, _: Message) -> dict[str, object]:
        """``lnrpc.CheckMacPermResponse``: the node's only macaroon, which every call needs, allows everything."""
        return {"valid": True}

    def get_info(self, _: Message) -> dict[str, object]:
        """``lnrpc.GetInfoResponse``."""
        height, channels, is_active = self._ledger.height, self._ledger.channels, self._ledger.channels.is_active
        return {
            "version": _VERSION,
            "commit_hash": "",
            "identity_pubkey": self.identity.public_key.hex(),
            "alias": _alias(self.side),
            "color": "#3399ff",
            "num_pending_channels": 0,
            "num_active_channels": len(channels.all) * is_active,
            "num_inactive_channels": len(channels.all) * (not is_active),
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

    def get_debug_info(self, _: Message) -> dict[str, object]:
        """``lnrpc.GetDebugInfoResponse``, with the settings that the simulation supports."""
        return {
            "config": {
                "alias": _alias(self.side),
                "bitcoin.regtest": "true",
                "bitcoin.timelockdelta": str(DEFAULT_CLTV_DELTA),
                "invoices.holdexpirydelta": str(HOLD_EXPIRY_DELTA),
                "max-cltv-expiry": str(MAX_CLTV_DELTA),
            },
            "log": [],
        }

    def wallet_balance(self, _: Message) -> dict[str, object]:
        """``lnrpc.WalletBalanceResponse``: all of the node's money is in its channels."""
        return {
            "total_balance": "0",
            "confirmed_balance": "0",
            "unconfirmed_balance": "0",
            "locked_balance": "0",
            "reserved_balance_anchor_chan": "0",
            "account_balance": {"default": {"confirmed_balance": "0", "unconfirmed_balance": "0"}},
        }

    def channel_balance(self, _: Message) -> dict[str, object]:
        """``lnrpc.ChannelBalanceResponse``."""
        return channel_balance_answer(self._ledger.channels, self.side)

    def list_channels(self, request: Message) -> dict[str, object]:
        """``lnrpc.ListChannelsResponse``."""
        for one, other in (("active_only", "inactive_only"), ("public_only", "private_only")):
            if request.flag(one) and request.flag(other):
                raise RestError(f"either `{one}` or `{other}` can be set, but not both")
        peer = request.data("peer")
        if peer and len(peer) != 33:
            raise RestError(f"invalid `peer` key: invalid vertex length of {len(peer)}, want 33")
        is_active = self._ledger.channels.is_active
        if (
            request.flag("inactive_only" if is_active else "active_only")
            or request.flag("private_only")
            or (peer and peer != self.identity.peer_key)
        ):
            return {"channels": []}
        channels = [
            channel_answer(
                channel,
                self.side,
                peer_key=self.identity.peer_key,
                channel_point=self.identity.channel_points[channel.number],
                channel_id=self.identity.channel_ids[channel.number],
                age=self._clock.now() - self._started_at,
                peer_alias=_alias(self.side.peer) if request.flag("peer_alias_lookup") else "",
            )
            for channel in self._ledger.channels.all
        ]
        return {"channels": channels}

    def closed_channels(self, _: Message) -> dict[str, object]:
        """``lnrpc.ClosedChannelsResponse``."""
        return {"channels": []}

    def pending_channels(self, _: Message) -> dict[str, object]:
        """``lnrpc.PendingChannelsResponse``: the channels are open, and are never closed."""
        return {
            "total_limbo_balance": "0",
            "pending_open_channels": [],
            "pending_closing_channels": [],
            "pending_force_closing_channels": [],
            "waiting_close_channels": [],
        }

    def sign_message(self, request: Message) -> dict[str, object]:
        """``lnrpc.SignMessageResponse``."""
        message = request.data("msg")
        if not message:
            raise RestError("need a message to sign")
        return {"signature": encode_signature(self.identity.sign(message_digest(message)))}

    def verify_message(self, request: Message) -> dict[str, object]:
        """``lnrpc.VerifyMessageResponse``: valid if one of the two nodes signed it, because lnd checks its graph."""
        message = request.data("msg")
        if not message:
            raise RestError("need a message to verify")
        try:
            signer = signer_of(message, request.text("signature"))
        except FormatError:
            return {"valid": False, "pubkey": ""}
        return {"valid": signer in (self.identity.public_key, self.identity.peer_key), "pubkey": signer.hex()}

    def answer(self, record: Record) -> dict[str, object]:
        """``lnrpc.Invoice`` or ``lnrpc.Payment``."""
        match record:
            case Invoice():
                return invoice_answer(record, self.identity.channel_ids)
            case Payment():
                return payment_answer(record, self.identity.channel_ids)


def _alias(side: Side) -> str:
    return f"simnet-{side.value}"
