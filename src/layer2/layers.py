"""The names of Bitcoin's layers."""

from __future__ import annotations

from enum import Enum

__all__ = ["Layer2ProtocolType"]


class Layer2ProtocolType(Enum):
    """A layer. Having a name here does not mean that this version has a client for it.

    ``Layer2Manager`` raises ``ProtocolNotImplemented`` or ``ProtocolNotConfigured`` for one that it cannot serve.
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
