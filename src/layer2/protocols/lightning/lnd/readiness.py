"""Why an lnd that answers does not take commands yet, and what its owner does about it."""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from layer2.errors import NodeRefused
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Call

__all__ = ["NotReady", "not_ready_error"]


class NotReady(Enum):
    """What a start of lnd waits for."""

    NO_WALLET = "its wallet is not created"
    LOCKED = "its wallet is locked"
    STARTING = "it is still starting"


def not_ready_error(why: NotReady, call: Call, *, node_code: int, node_message: str) -> NodeRefused:
    """The error of a call that lnd refuses for that reason, before it looks at it."""
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
        f"lnd does not take {call} yet: {why.value}",
        code=code,
        node_code=node_code,
        node_message=node_message,
        protocol=LIGHTNING,
        operation=str(call),
        retryable=True,
        remedy=remedy,
    )
