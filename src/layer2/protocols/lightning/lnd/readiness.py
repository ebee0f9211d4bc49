"""Why an lnd that answers does not take commands yet, and what its owner does about it."""

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
    """It answers about itself; it stays so until it is synced for the first time."""
    SERVER_ACTIVE = "SERVER_ACTIVE"

    @property
    def not_ready(self) -> NotReady | None:
        """What keeps it from taking any command."""
        return _NOT_READY_STATES.get(self)


class NotReady(Enum):
    """What a start of lnd waits for."""

    NO_WALLET = "its wallet is not created"
    LOCKED = "its wallet is locked"
    STARTING = "it is still starting"


_NOT_READY_STATES: Final = {
    WalletState.WAITING_TO_START: NotReady.STARTING,
    WalletState.NON_EXISTING: NotReady.NO_WALLET,
    WalletState.LOCKED: NotReady.LOCKED,
    WalletState.UNLOCKED: NotReady.STARTING,
}
_NOT_READY_WORDS: Final = {
    "wallet not created": NotReady.NO_WALLET,
    "wallet locked": NotReady.LOCKED,
    "waiting to start": NotReady.STARTING,
    "in the process of starting": NotReady.STARTING,
}


def not_ready_in(words: str) -> NotReady | None:
    """What lnd's words say of its start; it has no code for it."""
    return next((why for phrase, why in _NOT_READY_WORDS.items() if phrase in words), None)


def not_ready_error(why: NotReady, operation: str, *, node_code: int | None = None, words: str = "") -> NodeRefused:
    """The error of a call that lnd refuses for that reason, whatever it asks for."""
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
        f"lnd takes no commands yet: {why.value}",
        code=code,
        node_code=node_code,
        node_message=words,
        protocol=LIGHTNING,
        operation=operation,
        retryable=True,
        remedy=remedy,
    )
