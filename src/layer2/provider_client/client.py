"""The client of one remote provider: requests quotes and terms, and reads the state of a swap.

Only the signatures of a provider are trusted. ``swap_rules.quotes`` and ``swap_rules.agreement`` check the content of
quotes and terms. The taker's nodes show what happened to money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp

from layer2.errors import (
    AsyncRuntimeError,
    AuthenticationFailed,
    BadAnswer,
    FormatError,
    IdempotencyConflict,
    Layer2Error,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    QuoteExpired,
    QuoteRefused,
    StatementRefused,
    TermsRefused,
    UnknownTransfer,
)
from layer2.formats import canonical_json
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.printable import printable
from layer2.model.transactions import SwapId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.net.http_client import open_session, retry_after
from layer2.proofs.statement import SignedStatement, check_statement, read_signed_statement
from layer2.provider_client.endpoint import ProviderEndpoint
from layer2.provider_client.info import ProviderInfo, read_info
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.documents import SignedQuote, SignedTerms, Terms
from layer2.terms.signing import (
    check_quote_signature,
    check_terms_signature,
    read_signed_quote,
    read_signed_terms,
    write_signed_quote,
)
from layer2.terms.transfers import TransferRequest

__all__ = ["ProviderClient"]

T = TypeVar("T")
_LONGEST_ANSWER: Final = 256 * 1024
"""Bytes; terms with the longest invoice have 20,000."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    value: JsonValue
    """None if it is not JSON."""
    retry_after: float | None
    """The pause that the provider asks for, in seconds."""


class ProviderClient:
    """The client of one provider over HTTP. Belongs to the event loop of its first use; close it with ``aclose``.

    Args:
        endpoint: the provider.
        pool: the settings of its connections.
        timeout_ms: the time limit of each call in milliseconds.

    Raises, all methods:
        NodeUnreachable: no connection, or no answer in time.
        NodeRefused: the provider failed without a reason.
        BadAnswer: the answer is invalid.
        AsyncRuntimeError: the client is closed.
    """

    def __init__(self, endpoint: ProviderEndpoint, pool: ConnectionPoolConfig, timeout_ms: int) -> None:
        self.endpoint = endpoint
        self._pool = pool
        self._timeout = timeout_ms / 1000
        self._session: aiohttp.ClientSession | None = None
        # A request for a swap takes longer than the others, which keep some of the connections. It waits here and not
        # for a connection, because that wait would count as silence of the provider.
        self._swaps = asyncio.Semaphore(max(1, 3 * pool.max_connections // 4))
        self._is_closed = False

    async def aclose(self) -> None:
        """Close the connections. Later calls are refused. Can be repeated."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def info(self) -> ProviderInfo:
        """Read the provider's offer.

        Raises:
            TermsRefused: another provider answers at this address; code ``provider_key``.
        """
        answer = await self._call("GET", "/v1/info")
        is_info = isinstance(answer.value, dict) and "identity_key" in answer.value
        if answer.status == HTTPStatus.OK and not is_info:
            raise self._no_provider("info", answer.status, BadAnswer)
        info = self._read("info", answer, lambda value: read_info(value, self.endpoint.name))
        self._check_key(info.identity_key)
        return info

    async def quote(self, request: TransferRequest) -> SignedQuote:
        """Request a quote and check its signature. ``swap_rules.quotes.check_quote`` checks its content.

        Raises:
            QuoteRefused: the provider refused.
            TermsRefused: not signed by the configured key.
        """
        body: dict[str, JsonValue] = {
            "asset": request.asset.code,
            "source": request.source.value,
            "destination": request.destination.value,
        }
        if request.amount is not None:
            body["amount"] = str(request.amount)
        else:
            body["send_amount"] = str(request.send_amount)
        signed = self._read("quote", await self._call("POST", "/v1/quotes", body), read_signed_quote)
        self._check_key(signed.quote.provider)
        check_quote_signature(signed)
        return signed

    async def open_swap(self, request: SwapRequest, quote: SignedQuote) -> SignedTerms:
        """Request terms and check their signature. ``swap_rules.agreement.check_terms`` checks their content.

        The request can be repeated, also if its answer was lost: the same request returns the same terms.

        Args:
            quote: the one that the request names, as the provider signed it.

        Raises:
            QuoteExpired: the quote has expired, or another swap was agreed under it.
            IdempotencyConflict: the provider has another request with this swap id, or an open swap with this
                payment hash.
            QuoteRefused: the provider refused the swap.
            TermsRefused: not signed by the configured key, or for another swap.
            NodeUnreachable: outcome UNKNOWN; a retry is harmless.
        """
        body: dict[str, JsonValue] = {
            "swap_id": request.swap_id,
            "quote": write_signed_quote(quote),
            "payment_hash": request.payment_hash.hex(),
            "source": request.source,
            "destination": request.destination,
            "access_hash": request.access_hash.hex(),
        }
        async with self._swaps:
            answer = await self._call("POST", "/v1/swaps", body)
        signed = self._read("open_swap", answer, read_signed_terms)
        self._check_key(signed.terms.provider)
        check_terms_signature(signed)
        if signed.terms.swap_id != request.swap_id:
            raise TermsRefused("the terms are those of another swap", code="terms_swap_id")
        return signed

    async def swap_status(self, swap_id: SwapId, access_token: bytes) -> Mapping[str, JsonValue]:
        """The provider's state of a swap, for people. Do not base decisions on it.

        Args:
            access_token: the 32 bytes whose hash was in the request for the swap.

        Raises:
            UnknownTransfer: the provider has no such swap.
            AuthenticationFailed: the token belongs to another swap.
        """
        answer = await self._call_of_swap("swap_status", swap_id, "", access_token)
        return self._read("swap_status", answer, _read_status)

    async def release_of(self, swap_id: SwapId, access_token: bytes) -> Mapping[str, JsonValue] | None:
        """The provider's release of a leg that needs the taker's signature too; None if it has not released it.

        Raises:
            As ``swap_status``.
        """
        release = (await self.swap_status(swap_id, access_token)).get("release")
        return release if isinstance(release, Mapping) else None

    async def completion_statement(self, terms: Terms, access_token: bytes) -> SignedStatement:
        """The provider's statement of how the swap of these terms ended, checked by ``check_statement``.

        Raises:
            StatementRefused: it states nothing, or nothing yet (``retryable``).
            ProofRefused: it is no statement of the terms' signer about this swap.
            UnknownTransfer, AuthenticationFailed: as ``swap_status``.
        """
        answer = await self._call_of_swap("statement", terms.swap_id, "/statement", access_token)
        code, message = _read_error(answer.value)
        if answer.status != HTTPStatus.OK and code in ("end_not_final", "no_statement"):
            refused = StatementRefused(
                f"provider {self.endpoint.name!r} does not state how the transfer ended: {message}",
                code=code,
                operation="statement",
                outcome=Outcome.REJECTED,
                retryable=code == "end_not_final",
            )
            refused.retry_after = answer.retry_after
            raise refused
        signed = self._read("statement", answer, _read_statement)
        check_statement(signed, terms)
        return signed

    async def _call_of_swap(self, operation: str, swap_id: SwapId, path: str, access_token: bytes) -> _Answer:
        """Read what only the holder of a swap's token may.

        Raises:
            UnknownTransfer: the provider has no such swap.
            AuthenticationFailed: the token belongs to another swap.
        """
        answer = await self._call("GET", f"/v1/swaps/{swap_id}{path}", access_token=access_token)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise AuthenticationFailed(
                f"provider {self.endpoint.name!r} refused the access token of the swap",
                operation=operation,
                outcome=Outcome.REJECTED,
            )
        if answer.status == HTTPStatus.NOT_FOUND:
            raise UnknownTransfer(f"provider {self.endpoint.name!r} has no such swap", transfer_id=swap_id)
        return answer

    async def _call(
        self, method: str, path: str, body: dict[str, JsonValue] | None = None, *, access_token: bytes | None = None
    ) -> _Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if access_token is not None:
            headers["Authorization"] = f"Bearer {access_token.hex()}"
        status, data, pause = await self._exchange(method, path, body, headers)
        try:
            return _Answer(status, canonical_json.decode(data), pause)
        except FormatError as error:
            if status == HTTPStatus.OK:
                raise self._no_provider(path, status, BadAnswer) from error
            # A proxy in front of the provider answers in HTML.
            return _Answer(status, None, pause)

    async def _exchange(
        self, method: str, path: str, body: dict[str, JsonValue] | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        """Send a request, a second time if the provider closed a kept connection. Status, body, and ``Retry-After``."""
        sent, unconnected = Outcome.NOT_SENT if method == "GET" else Outcome.UNKNOWN, Outcome.NOT_SENT
        for is_last in (False, True):
            try:
                async with self._opened().request(
                    method,
                    f"{self.endpoint.url}{path}",
                    data=None if body is None else canonical_json.encode(body),
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    return response.status, await self._body(response), retry_after(response)
            except aiohttp.ClientConnectorError as error:
                raise self._unreachable("cannot be reached", path, unconnected) from error
            except TimeoutError as error:
                raise self._unreachable(f"did not answer within {self._timeout:g} s", path, sent) from error
            except aiohttp.ClientError as error:
                is_closed = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
                if is_last or not is_closed:
                    raise self._unreachable("closed the connection", path, sent) from error
                # A restart of the provider ends a kept connection like this. Every call can be repeated, but the
                # provider may already have carried out a POST.
                unconnected = sent
        raise AssertionError("the second try returns or raises")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        longest = min(_LONGEST_ANSWER, self._pool.max_response_bytes or _LONGEST_ANSWER)
        data = bytearray()
        # Counted after decompression, so that a small answer cannot become a large one.
        async for chunk in response.content.iter_chunked(16 * 1024):
            data += chunk
            if len(data) > longest:
                raise BadAnswer(f"provider {self.endpoint.name!r} answered with more than {longest} bytes")
        return bytes(data)

    def _read(self, operation: str, answer: _Answer, read: Callable[[JsonValue], T]) -> T:
        if answer.status != HTTPStatus.OK:
            refusal = self._refusal(operation, answer.status, answer.value)
            if refusal.retryable:
                refusal.retry_after = answer.retry_after
            raise refusal
        try:
            return read(answer.value)
        except FormatError as error:
            raise BadAnswer(
                f"provider {self.endpoint.name!r} sent an invalid answer: {error.message}",
                operation=operation,
                outcome=Outcome.UNKNOWN,
            ) from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise AsyncRuntimeError(
                f"the client of provider {self.endpoint.name!r} is closed",
                code="closed",
                remedy="create another client, or enter the manager again",
            )
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        return self._session

    def _refusal(self, operation: str, status: int, answer: JsonValue) -> Layer2Error:
        code, message = _read_error(answer)
        if not code and status < 500:
            return self._no_provider(operation, status, NodeRefused)
        said = f"provider {self.endpoint.name!r} refused: {message} ({code}, HTTP {status})"
        is_busy = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        if code == "quote_expired":
            return QuoteExpired(said, operation=operation, outcome=Outcome.REJECTED, remedy="request a new quote")
        if status == HTTPStatus.CONFLICT:
            return IdempotencyConflict(said, operation=operation, outcome=Outcome.REJECTED)
        if operation != "info" and code and (is_busy or HTTPStatus.BAD_REQUEST <= status < 500):
            # A busy provider serves the next try. What else it refuses can last.
            known = "busy" if code == "busy" else None
            return QuoteRefused(said, code=known, operation=operation, outcome=Outcome.REJECTED, retryable=is_busy)
        return NodeRefused(
            said,
            node_code=status,
            node_message=message,
            operation=operation,
            outcome=Outcome.UNKNOWN if status >= 500 else Outcome.REJECTED,
            retryable=status >= 500,
        )

    def _check_key(self, key: bytes) -> None:
        if key != self.endpoint.identity_key:
            raise TermsRefused(
                f"provider {self.endpoint.name!r} answers with another identity key than the configured one",
                code="provider_key",
                remedy="ask the provider through another channel whether its key has changed",
            )

    def _unreachable(self, problem: str, operation: str, outcome: Outcome) -> NodeUnreachable:
        return NodeUnreachable(
            f"provider {self.endpoint.name!r} at {self.endpoint.url} {problem}",
            operation=_operation(operation),
            outcome=outcome,
        )

    def _no_provider(self, operation: str, status: int, kind: type[BadAnswer] | type[NodeRefused]) -> NodeError:
        return kind(
            f"{self.endpoint.url} is not a layer2 provider: it answered HTTP {status} without a provider's content",
            code="no_provider_there",
            operation=_operation(operation),
            outcome=Outcome.REJECTED,
            retryable=False,
            remedy=f"correct the url of the provider {self.endpoint.name!r} in [[providers]]",
        )


def _operation(operation: str) -> str:
    """The name of a remote call without the swap's id, so that calls of one kind have one name."""
    if not operation.startswith("/v1/swaps/"):
        return operation
    version, swaps, _, *rest = operation.removeprefix("/").split("/")
    return "/" + "/".join((version, swaps, *rest))


def _read_statement(answer: JsonValue) -> SignedStatement:
    fields = JsonObject(answer, "completion statement")
    signed = read_signed_statement(fields)
    fields.end()
    return signed


def _read_status(answer: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(answer, Mapping):
        raise FormatError("the status is not a JSON object")
    return answer


def _read_error(answer: JsonValue) -> tuple[str, str]:
    """Code and message of ``{"error": {"code", "message", "field"}}``. The code is empty if the answer differs."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return "", "it gave no reason"
    code, message = error.get("code"), error.get("message")
    return printable(code) if isinstance(code, str) else "", printable(message) if isinstance(message, str) else ""
