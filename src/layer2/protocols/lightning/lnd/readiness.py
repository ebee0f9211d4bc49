"""An lnd that answers but does not accept calls yet: the reasons, and the remedy for each."""

from __future__ import annotations

from enum import Enum
from typing import Final, assert_never

from layer2.errors import NodeRefused
from layer2.protocols.lightning.lnd.answers import LIGHTNING

__all__ = ["NotReady", "WalletState", "not_ready_error", "not_ready_in"]


class WalletState(Enum):
    """lnd's ``WalletState``."""

    WAITING_TO_START = "WAITING_TO_START"
    NON_EXISTING = "NON_EXISTING"
    LOCKED = "LOCKED"
    UNLOCKED = "UNLOCKED"
    RPC_ACTIVE = "RPC_ACTIVE"
    """It answers calls about itself. It stays in this state until its first sync is complete."""
    SERVER_ACTIVE = "SERVER_ACTIVE"

    @property
    def not_ready(self) -> NotReady | None:
        """The reason for which it accepts no calls; None if it accepts them."""
        return _NOT_READY_STATES.get(self)


class NotReady(Enum):
    """What the start of lnd waits for."""

    NO_WALLET = "its wallet is not created"
    LOCKED = "its wallet is locked"
    STARTING = "it is still starting"


_NOT_READY_STATES: Final = {
    WalletState.WAITING_TO_START: NotReady.STARTING,
    WalletState.NON_EXISTING: NotReady.NO_WALLET,
    WalletState.LOCKED: NotReady.LOCKED,
    WalletState.UNLOCKED: NotReady.STARTING,
}
_NOT_READY_PHRASES: Final = {
    "wallet not created": NotReady.NO_WALLET,
    "wallet locked": NotReady.LOCKED,
    "waiting to start": NotReady.STARTING,
    "in the process of starting": NotReady.STARTING,
}


def not_ready_in(reason: str) -> NotReady | None:
    """Recognize lnd's message that it is not ready; it has no code for it."""
    return next((why for phrase, why in _NOT_READY_PHRASES.items() if phrase in reason), None)


def not_ready_error(why: NotReady, operation: str, *, node_code: int | None = None, reason: str = "") -> NodeRefused:
    """The error for any call that lnd refuses because it is not ready."""
    match why:
        case NotReady.NO_WALLET:
            code, remedy = "wallet_not_created", "create the node's wallet: lncli create"
        case NotReady.LOCKED:
            code, remedy = "wallet_locked", "unlock the node's wallet: lncli unlock"
        case NotReady.STARTING:
            code, remedy = "node_starting", "wait until the node has started: lncli state shows SERVER_ACTIVE"
        case _:
            assert_never(why)
    return NodeRefused(
        f"lnd accepts no calls yet: {why.value}",
        code=code,
        node_code=node_code,
        node_message=reason,
        protocol=LIGHTNING,
        operation=operation,
        retryable=True,
        remedy=remedy,
    )
