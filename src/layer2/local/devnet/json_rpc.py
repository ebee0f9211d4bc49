"""A JSON-RPC client over HTTP that controls geth and btcd on loopback."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson

from layer2.errors import BadAnswer, NodeRefused, NodeUnreachable, Outcome

__all__ = ["JsonRpc"]


class JsonRpc:
    """One node's JSON-RPC endpoint.

    Args:
        name: the node's name in error messages.
        url: the node's address.
        session: the HTTP session to use; the caller closes it.
        headers: returns the headers of one request (credentials).
        tls: the TLS context for an ``https`` URL, None for ``http``.
        timeout: seconds for one call.
    """

    def __init__(
        self,
        name: str,
        url: str,
        session: aiohttp.ClientSession,
        *,
        headers: Callable[[], Mapping[str, str]] = dict,
        tls: ssl.SSLContext | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._name = name
        self._url = url
        self._session = session
        self._headers = headers
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._ids = itertools.count(1)

    async def call(self, method: str, *parameters: object) -> Any:
        """Call a method and return its result.

        Raises:
            NodeUnreachable: the connection failed or timed out.
            NodeRefused: the node answered with an error.
            BadAnswer: the answer is not JSON-RPC.
        """
        number = next(self._ids)
        body = orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})
        headers = {"Content-Type": "application/json", **self._headers()}
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, ssl=self._tls, timeout=self._timeout
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NodeUnreachable(
                f"{self._name} does not answer: {type(error).__name__}",
                operation=method,
                outcome=Outcome.UNKNOWN,
            ) from error
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise BadAnswer(
                f"{self._name} answered {method} with status {response.status} and without JSON", operation=method
            ) from error
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise BadAnswer(f"{self._name} did not answer {method} with JSON-RPC", operation=method)
        failure = answer.get("error")
        if failure:
            raise NodeRefused(
                f"{self._name} refused {method}: {failure.get('message')}",
                node_code=failure.get("code"),
                node_message=str(failure.get("message", "")),
                operation=method,
            )
        return answer.get("result")
