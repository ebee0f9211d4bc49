"""Reads the bodies of HTTP requests before the application, and refuses those that are too long, slow or ambiguous."""

from __future__ import annotations

import asyncio
import codecs
import json
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layer2.errors import FormatError
from layer2.formats import canonical_json
from layer2.provider.http_errors import error_answer

__all__ = ["WholeBody"]

_BODY_SECONDS: Final = 10.0
"""The time in which the body of a request must arrive."""


class WholeBody:
    """Reads the whole body of each request first, and refuses one that is too long or ambiguous."""

    def __init__(self, app: ASGIApp, longest: int) -> None:
        self._app = app
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._body(receive)
        except TimeoutError:
            refusal = error_answer(HTTPStatus.REQUEST_TIMEOUT, "too_slow", f"the limit is {_BODY_SECONDS:g} s")
        except FormatError as error:
            refusal = error_answer(HTTPStatus.BAD_REQUEST, "invalid_request", error.message)
        else:
            if body is None:
                return
            if len(body) <= self._longest:
                await self._app(scope, _replayed(body, receive), send)
                return
            text = f"the limit is {self._longest} bytes"
            refusal = error_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", text)
        await refusal(scope, receive, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or its beginning if that is already too long; None if the client disconnected.

        Raises:
            FormatError: as ``_check_unambiguous``.
        """
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > self._longest:
                return bytes(body)
            if not message.get("more_body", False):
                _check_unambiguous(bytes(body))
                return bytes(body)
        return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that first returns the body that was read."""
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return read.pop() if read else await receive()

    return replay


def _check_unambiguous(body: bytes) -> None:
    """Check that all parsers read a body in the same way.

    Without this check, a repeated key has the last of its values, and UTF-16 is accepted.

    Raises:
        FormatError: a byte order mark, a repeated key, too deep nesting, or not JSON in UTF-8.
    """
    if not body:
        return
    if body.startswith(codecs.BOM_UTF8):
        raise FormatError("the body starts with a byte order mark")
    canonical_json.check_nesting(body)
    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=_unique)
    except FormatError:
        raise
    except ValueError:
        raise FormatError("the body is not JSON in UTF-8") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FormatError("an object in the body repeats a key")
    return members
