"""Calls to a simulated node that are not about Lightning: its state, its macaroon's permissions, signatures."""

from __future__ import annotations

from typing import Any

from layer2.errors import FormatError
from layer2.formats.signed_message import encode_signature, message_digest, signer_of
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.messages import Message, RestError

__all__ = ["SimulatedHost"]


class SimulatedHost:
    """lnd's calls that are not about Lightning.

    Args:
        identity: the node's keys.
    """

    def __init__(self, identity: LightningIdentity) -> None:
        self._identity = identity

    def state(self, _: Message) -> dict[str, Any]:
        """``lnrpc.GetStateResponse``: a simulated node is always started."""
        return {"state": "SERVER_ACTIVE"}

    def check_macaroon(self, _: Message) -> dict[str, Any]:
        """``lnrpc.CheckMacPermResponse``: the node's only macaroon, which every call needs, allows everything."""
        return {"valid": True}

    def sign_message(self, request: Message) -> dict[str, Any]:
        """``lnrpc.SignMessageResponse``."""
        message = request.data("msg")
        if not message:
            raise RestError("need a message to sign")
        return {"signature": encode_signature(self._identity.sign(message_digest(message)))}

    def verify_message(self, request: Message) -> dict[str, Any]:
        """``lnrpc.VerifyMessageResponse``: valid if one of the two nodes signed it, because lnd checks its graph."""
        message = request.data("msg")
        if not message:
            raise RestError("need a message to verify")
        try:
            signer = signer_of(message, request.text("signature"))
        except FormatError:
            return {"valid": False, "pubkey": ""}
        return {"valid": signer in (self._identity.public_key, self._identity.peer_key), "pubkey": signer.hex()}
