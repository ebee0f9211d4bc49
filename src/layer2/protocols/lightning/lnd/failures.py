"""Typed errors for failed calls of lnd: aiohttp's connection errors, and lnd's own error answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import aiohttp
import orjson
from yarl import URL

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.formats.printable import printable
from layer2.net.http_client import connection_failure
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Call
from layer2.protocols.lightning.lnd.credentials import Credentials
from layer2.protocols.lightning.settings import LightningSettings

__all__ = [
    "ALREADY_EXISTS",
    "NOT_FOUND",
    "Failures",
    "NotReady",
    "WalletState",
    "closed_error",
    "not_ready_error",
    "not_ready_in",
]

NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
"""gRPC status codes, as ``NodeRefused.node_code``."""
_MAY_HAVE_RUN: Final = frozenset({1, 4, 14})
"""gRPC codes CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE: the call may have been executed."""
_GATEWAY_STATUS: Final = frozenset({502, 503, 504})
_UNAUTHENTICATED: Final = frozenset({7, 16})
_DENIED: Final = "permission denied"
_MACAROON_PHRASES: Final = ("macaroon", "unmarshal v1", "unmarshal v2", "verification failed", _DENIED)
"""lnd reports macaroon errors with the code UNKNOWN, so only its message tells them apart."""


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
_NOT_READY_REMEDIES: Final = {
    NotReady.NO_WALLET: ("wallet_not_created", "create the node's wallet: lncli create"),
    NotReady.LOCKED: ("wallet_locked", "unlock the node's wallet: lncli unlock"),
    NotReady.STARTING: ("node_starting", "wait until the node has started: lncli state shows SERVER_ACTIVE"),
}
"""The code of the error, and its remedy."""
_NOT_READY_PHRASES: Final = {
    "wallet not created": NotReady.NO_WALLET,
    "wallet locked": NotReady.LOCKED,
    "waiting to start": NotReady.STARTING,
    "in the process of starting": NotReady.STARTING,
}


class Failures:
    """Makes the errors for calls of one node.

    Args:
        settings: the node's address and files, which the messages name.
        credentials: read again after the node has refused them.
    """

    def __init__(self, settings: LightningSettings, credentials: Credentials) -> None:
        self._settings = settings
        self._origin = URL(settings.rest_url).origin()
        self._credentials = credentials

    def refusal(self, call: Call, status: int, content: bytes) -> NodeError:
        """The error for an answer that reports a failure."""
        code, reason = _reason(content)
        if code in _MAY_HAVE_RUN or status in _GATEWAY_STATUS:
            return self.unreachable(call, reason or f"HTTP {status}")
        if status in {401, 403} or code in _UNAUTHENTICATED or any(phrase in reason for phrase in _MACAROON_PHRASES):
            self._credentials.forget()
            return AuthenticationFailed(
                f"lnd at {self._origin} refused the macaroon for {call}: {reason or f'HTTP {status}'}",
                code="permissions" if _DENIED in reason else "macaroon",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"check that {self._settings.macaroon_file} is a macaroon of this node and allows this call",
            )
        if code is None:
            return self.bad(call, f"HTTP {status} without a reason from lnd")
        not_ready = not_ready_in(reason)
        if not_ready is not None:
            return not_ready_error(not_ready, str(call), node_code=code, reason=reason)
        return NodeRefused(
            f"lnd at {self._origin} refused {call}: {reason}",
            node_code=code,
            node_message=reason,
            protocol=LIGHTNING,
            operation=str(call),
        )

    @contextmanager
    def typed(self, call: Call) -> Iterator[None]:
        """Turn a connection error of aiohttp into an error of this library."""
        # aiohttp's error is not kept as the cause: it may hold the request with its macaroon.
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            self._credentials.forget()
            raise AuthenticationFailed(
                f"the node at {self._origin} does not present the pinned certificate: "
                f"{printable(str(getattr(error.certificate_error, 'verify_message', error.certificate_error)))}",
                code="certificate",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"if the node has a new certificate, copy its tls.cert to {self._settings.certificate_file}",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            problem, was_connected = connection_failure(error, self._settings.default_timeout)
            raise self.unreachable(call, problem, outcome=None if was_connected else Outcome.NOT_SENT) from None

    def late(self, call: Call) -> NodeUnreachable:
        """The error for a call without an answer in time."""
        return self.unreachable(call, f"no answer within {self._settings.default_timeout:g} s")

    def unreachable(self, call: Call, problem: str, *, outcome: Outcome | None = None) -> NodeUnreachable:
        """The error for a call without an answer from lnd. By default, the outcome of a call that was sent."""
        return NodeUnreachable(
            f"lnd at {self._origin}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome if outcome is None else outcome,
        )

    def too_long(self, call: Call, max_bytes: int) -> BadAnswer:
        """The error for an answer that exceeds the limit."""
        return self.bad(call, f"the answer is longer than {max_bytes} bytes")

    def bad(self, call: Call, problem: str) -> BadAnswer:
        """The error for an answer that cannot be right."""
        return BadAnswer(
            f"lnd at {self._origin}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome,
        )


def closed_error(sent: Call | None = None) -> NodeUnreachable:
    """The error for callers that still wait when the client is closed.

    Args:
        sent: the call that was sent and not answered; None if no call was sent.
    """
    return NodeUnreachable(
        "the client was closed",
        protocol=LIGHTNING,
        operation=None if sent is None else str(sent),
        outcome=Outcome.NOT_SENT if sent is None else sent.outcome,
        retryable=False,
    )


def not_ready_in(reason: str) -> NotReady | None:
    """Recognize lnd's message that it is not ready; it has no code for it."""
    return next((why for phrase, why in _NOT_READY_PHRASES.items() if phrase in reason), None)


def not_ready_error(why: NotReady, operation: str, *, node_code: int | None = None, reason: str = "") -> NodeRefused:
    """The error for any call that lnd refuses because it is not ready."""
    code, remedy = _NOT_READY_REMEDIES[why]
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


def _reason(content: bytes) -> tuple[int | None, str]:
    """Code and message of a ``google.rpc.Status``, which streams wrap in an ``error`` field."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, ""
    if isinstance(status, dict) and isinstance(status.get("error"), dict):
        status = status["error"]
    if not isinstance(status, dict):
        return None, ""
    code, reason = status.get("code"), status.get("message")
    if not isinstance(code, int) or not isinstance(reason, str):
        return None, ""
    return code, printable(reason)
