"""How a call of lnd fails, as typed errors: what aiohttp says of its connection, and what lnd says itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import orjson
from yarl import URL

from layer2.errors import AuthenticationFailed, BadAnswer, NodeError, NodeRefused, NodeUnreachable, Outcome
from layer2.formats.printable import printable
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Call
from layer2.protocols.lightning.lnd.credentials import Credentials
from layer2.protocols.lightning.lnd.readiness import not_ready_error, not_ready_in
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["ALREADY_EXISTS", "NOT_FOUND", "Failures", "closed_error"]

NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
"""gRPC status codes, as ``NodeRefused.node_code``."""
_NO_ANSWER_OF_ITS_OWN: Final = frozenset({1, 4, 14})
"""gRPC codes CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE: the request may have been executed."""
_NO_ANSWER_STATUS: Final = frozenset({502, 503, 504})
_UNAUTHENTICATED: Final = frozenset({7, 16})
_DENIED: Final = "permission denied"
_MACAROON_WORDS: Final = ("macaroon", "unmarshal v1", "unmarshal v2", "verification failed", _DENIED)
"""lnd reports these with the code UNKNOWN, so its words are all there is."""


class Failures:
    """Makes the errors of one node's calls.

    Args:
        settings: where the node is, for the errors' words.
        credentials: forgotten whenever the node refuses them.
    """

    def __init__(self, settings: LightningSettings, credentials: Credentials) -> None:
        self._settings = settings
        self._origin = URL(settings.rest_url).origin()
        self._credentials = credentials

    def refusal(self, call: Call, status: int, content: bytes) -> NodeError:
        """The error that an answer with this HTTP status stands for."""
        code, words = _reason(content)
        if code in _NO_ANSWER_OF_ITS_OWN or status in _NO_ANSWER_STATUS:
            return self.unreachable(call, words or f"HTTP {status}")
        if status in {401, 403} or code in _UNAUTHENTICATED or any(word in words for word in _MACAROON_WORDS):
            self._credentials.forget()
            return AuthenticationFailed(
                f"lnd at {self._origin} refused the macaroon for {call}: {words or f'HTTP {status}'}",
                code="permissions" if _DENIED in words else "macaroon",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"check that {self._settings.macaroon_file} is this node's own, and that it allows this call",
            )
        if code is None:
            return self.bad(call, f"HTTP {status} without lnd's reason")
        not_ready = not_ready_in(words)
        if not_ready is not None:
            return not_ready_error(not_ready, str(call), node_code=code, words=words)
        return NodeRefused(
            f"lnd at {self._origin} refused {call}: {words}",
            node_code=code,
            node_message=words,
            protocol=LIGHTNING,
            operation=str(call),
        )

    @contextmanager
    def typed(self, call: Call) -> Iterator[None]:
        """Raise what breaks the call's connection as an error of this library."""
        # An error of aiohttp is not kept as the cause: it may hold the request with its macaroon.
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            self._credentials.forget()
            raise AuthenticationFailed(
                f"the node at {self._origin} does not show the pinned certificate: "
                f"{printable(str(getattr(error.certificate_error, 'verify_message', error.certificate_error)))}",
                code="certificate",
                protocol=LIGHTNING,
                operation=str(call),
                remedy=f"if the node made a new certificate, copy its tls.cert to {self._settings.certificate_file}",
            ) from None
        except aiohttp.ClientConnectorError as error:
            problem = f"no connection ({printable(error.strerror or type(error).__name__)})"
            raise self.unreachable(call, problem, outcome=Outcome.NOT_SENT) from None
        except aiohttp.ConnectionTimeoutError:
            raise self.unreachable(call, "no connection in time", outcome=Outcome.NOT_SENT) from None
        except TimeoutError:
            raise self.late(call) from None
        except (aiohttp.ClientError, OSError) as error:
            kind = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise self.unreachable(call, f"the connection broke ({kind})") from None

    def late(self, call: Call) -> NodeUnreachable:
        """No answer in time."""
        return self.unreachable(call, f"no answer within {self._settings.default_timeout:g} s")

    def unreachable(self, call: Call, problem: str, *, outcome: Outcome | None = None) -> NodeUnreachable:
        """No answer of lnd's own; without an outcome, what is known of a call that was sent."""
        return NodeUnreachable(
            f"lnd at {self._origin}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome if outcome is None else outcome,
        )

    def too_long(self, call: Call, most_bytes: int) -> BadAnswer:
        """More than is read."""
        return self.bad(call, f"its answer is longer than {most_bytes} bytes")

    def bad(self, call: Call, problem: str) -> BadAnswer:
        """An answer that cannot be right."""
        return BadAnswer(
            f"lnd at {self._origin}, {call}: {problem}",
            protocol=LIGHTNING,
            operation=str(call),
            outcome=call.outcome,
        )


def closed_error(sent: Call | None = None) -> NodeUnreachable:
    """What those are told who still wait or listen when the client is closed.

    Args:
        sent: the call that was not answered by then; None where there is none, or it was not sent.
    """
    return NodeUnreachable(
        "the client was closed",
        protocol=LIGHTNING,
        operation=None if sent is None else str(sent),
        outcome=Outcome.NOT_SENT if sent is None else sent.outcome,
        retryable=False,
    )


def _reason(content: bytes) -> tuple[int | None, str]:
    """Code and words of ``google.rpc.Status``, which streams wrap once more."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, ""
    if isinstance(status, dict) and isinstance(status.get("error"), dict):
        status = status["error"]
    if not isinstance(status, dict):
        return None, ""
    code, words = status.get("code"), status.get("message")
    if not isinstance(code, int) or not isinstance(words, str):
        return None, ""
    return code, printable(words)
