"""The taker's view of one remote provider: ask for a quote, ask for terms, look at a swap.

Nothing that a provider says is believed beyond its signature. ``swap_rules.quotes`` and ``swap_rules.agreement``
check what quotes and terms say; what happened to money the taker asks its own nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NoReturn

import aiohttp
from yarl import URL

from layer2.errors import (
    BadAnswer,
    ConfigurationError,
    FormatError,
    IdempotencyConflict,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    QuoteExpired,
    QuoteRefused,
    TermsRefused,
    UnknownTransfer,
)
from layer2.foreign_text import printable
from layer2.formats import canonical_json
from layer2.formats.canonical_json import JsonValue
from layer2.formats.evm_address import to_checksum
from layer2.formats.json_object import JsonObject
from layer2.formats.signed_terms import (
    check_quote_signature,
    check_terms_signature,
    read_signed_quote,
    read_signed_terms,
)
from layer2.http_client import is_this_machine, open_session
from layer2.layers import Layer2ProtocolType
from layer2.settings import ConnectionPoolConfig
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms import SignedQuote, SignedTerms
from layer2.transactions import SwapId
from layer2.transfers import TransferRequest

__all__ = ["ProviderClient", "ProviderEndpoint", "ProviderInfo"]

_LONGEST_ANSWER: Final = 256 * 1024
"""Bytes; terms with the longest invoice have 20,000."""


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """Where a provider is, and the key that it must sign with.

    Args:
        name: the caller's own name for it, for messages.
        url: ``https://``, or ``http://`` on this machine. User and password in it are removed: a provider needs none.
        identity_key: 32 bytes, BIP 340 x-only.

    Raises:
        ConfigurationError: another kind of address, or a key of another length.
    """

    name: str
    url: str
    identity_key: bytes

    def __post_init__(self) -> None:
        try:
            url = URL(self.url)
        except ValueError:
            raise ConfigurationError(f"provider {self.name!r}: its address cannot be read") from None
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigurationError(
                f"provider {self.name!r}: the address must be https://HOST[:PORT][/PATH] without a query"
            )
        if url.scheme == "http" and not is_this_machine(url.host):
            raise ConfigurationError(
                f"provider {self.name!r}: plain http is allowed on this machine only", remedy="use https"
            )
        if len(self.identity_key) != 32:
            raise ConfigurationError(f"provider {self.name!r}: an identity key has 32 bytes")
        object.__setattr__(self, "url", str(url.with_user(None)).rstrip("/"))


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What a provider says of itself, for people and for choosing. Not signed, and nothing to rely on."""

    network: str
    pairs: tuple[tuple[Layer2ProtocolType, Layer2ProtocolType], ...]
    """(source, destination)"""
    min_amount: int
    """Satoshi, as all amounts here."""
    max_amount: int
    fee_ppm: int
    """Millionths of the amount."""
    base_fee: int
    network_fee: int
    chain_id: int
    contract: bytes
    token: bytes
    token_decimals: int
    lightning_network: str
    node_key: bytes
    is_ready: bool
    """Whether it takes new swaps now."""
    reason: str | None
    """Why not."""


class ProviderClient:
    """One provider over HTTP. Belongs to the event loop in which it is first used; close it with ``aclose``.

    Args:
        endpoint: the provider.
        pool: how connections are kept.
        timeout_ms: within which each call has to be answered.

    Raises, all methods:
        NodeUnreachable: no connection, or no answer in time.
        NodeRefused: it failed in a way that it does not explain.
        BadAnswer: it answered with something that cannot be right.
    """

    def __init__(self, endpoint: ProviderEndpoint, pool: ConnectionPoolConfig, timeout_ms: int) -> None:
        self.endpoint = endpoint
        self._pool = pool
        self._timeout = timeout_ms / 1000
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections. Can be repeated."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def info(self) -> ProviderInfo:
        """Ask what it offers.

        Raises:
            TermsRefused: another provider answers at this address; code ``provider_key``.
        """
        status, answer = await self._call("GET", "/v1/info")
        if status != HTTPStatus.OK:
            self._refuse("info", status, answer)
        try:
            return self._read_info(answer)
        except FormatError as error:
            raise self._bad_answer("info", error) from error

    async def quote(self, request: TransferRequest) -> SignedQuote:
        """Ask for a quote. Its signature is checked; what it says is for ``swap_rules.quotes.check_quote``.

        Raises:
            QuoteRefused: the provider gives none.
            TermsRefused: not signed by the configured key.
        """
        body: dict[str, JsonValue] = {
            "asset": request.asset.code,
            "amount": str(request.amount),
            "source": request.source.value,
            "destination": request.destination.value,
        }
        status, answer = await self._call("POST", "/v1/quotes", body)
        if status != HTTPStatus.OK:
            self._refuse("quote", status, answer)
        try:
            signed = read_signed_quote(answer)
        except FormatError as error:
            raise self._bad_answer("quote", error) from error
        self._check_key(signed.quote.provider)
        check_quote_signature(signed)
        return signed

    async def open_swap(self, request: SwapRequest) -> SignedTerms:
        """Ask for terms. The same request can be repeated and gets the same terms, also after a lost answer.

        The signature is checked; what the terms say is for ``swap_rules.agreement.check_terms``.

        Raises:
            QuoteExpired: the quote is over, or the provider has forgotten it.
            IdempotencyConflict: the provider has another request under this swap id, or an open swap under this
                payment hash.
            QuoteRefused: the provider does not take the swap.
            TermsRefused: not signed by the configured key, or for another swap.
            NodeUnreachable: outcome UNKNOWN; repeating is harmless.
        """
        # An EVM offer is the address in text, an invoice its own text: both go as they are.
        body: dict[str, JsonValue] = {
            "swap_id": request.swap_id,
            "quote_id": request.quote_id,
            "payment_hash": request.payment_hash.hex(),
            "offer": request.offer,
            "taker_address": to_checksum(request.taker_address),
        }
        status, answer = await self._call("POST", "/v1/swaps", body)
        if status != HTTPStatus.OK:
            self._refuse("open_swap", status, answer)
        try:
            signed = read_signed_terms(answer)
        except FormatError as error:
            raise self._bad_answer("open_swap", error) from error
        self._check_key(signed.terms.provider)
        check_terms_signature(signed)
        if signed.terms.swap_id != request.swap_id:
            raise TermsRefused("the terms are those of another swap", code="terms_swap_id")
        return signed

    async def swap_status(self, swap_id: SwapId) -> dict[str, Any]:
        """The swap as the provider sees it, to show to people. Never decide on it.

        Raises:
            UnknownTransfer: the provider has no such swap.
        """
        status, answer = await self._call("GET", f"/v1/swaps/{swap_id}")
        if status == HTTPStatus.NOT_FOUND:
            raise UnknownTransfer(f"provider {self.endpoint.name!r} has no such swap", transfer_id=swap_id)
        if status != HTTPStatus.OK:
            self._refuse("swap_status", status, answer)
        if not isinstance(answer, dict):
            raise self._bad_answer("swap_status", FormatError("the status is not a JSON object"))
        return answer

    async def _call(self, method: str, path: str, body: dict[str, JsonValue] | None = None) -> tuple[int, JsonValue]:
        try:
            status, data = await self._exchange(method, path, body, Outcome.NOT_SENT)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection ends so when the provider was started anew. Every call may be repeated, but a POST
            # may have been acted on already.
            sent = Outcome.NOT_SENT if method == "GET" else Outcome.UNKNOWN
            try:
                status, data = await self._exchange(method, path, body, sent)
            except aiohttp.ClientError as error:
                raise self._unreachable("broke the connection off", path, sent) from error
        try:
            return status, canonical_json.decode(data)
        except FormatError as error:
            if status == HTTPStatus.OK:
                raise self._bad_answer(path, error) from error
            # A proxy in front of the provider speaks HTML.
            return status, None

    async def _exchange(
        self, method: str, path: str, body: dict[str, JsonValue] | None, unconnected: Outcome
    ) -> tuple[int, bytes]:
        """One request; ``unconnected`` is the outcome where this one cannot even connect."""
        outcome = Outcome.NOT_SENT if method == "GET" else Outcome.UNKNOWN
        try:
            async with self._opened().request(
                method,
                f"{self.endpoint.url}{path}",
                data=None if body is None else canonical_json.encode(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                return response.status, await self._read(response)
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable("cannot be reached", path, unconnected) from error
        except TimeoutError as error:
            raise self._unreachable(f"did not answer within {self._timeout:g} s", path, outcome) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            raise
        except aiohttp.ClientError as error:
            raise self._unreachable("broke the connection off", path, outcome) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        longest = min(_LONGEST_ANSWER, self._pool.max_response_bytes)
        data = bytearray()
        # Counted after decompression, so that a small answer cannot become a large one.
        async for chunk in response.content.iter_chunked(16 * 1024):
            data += chunk
            if len(data) > longest:
                raise BadAnswer(f"provider {self.endpoint.name!r} answered with more than {longest} bytes")
        return bytes(data)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(self._pool, timeout=self._timeout)
        return self._session

    def _refuse(self, operation: str, status: int, answer: JsonValue) -> NoReturn:
        code, message = _read_error(answer)
        said = f"provider {self.endpoint.name!r} refused: {message} ({code}, HTTP {status})"
        is_busy = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        error: Layer2Error
        if code == "quote_expired":
            error = QuoteExpired(said, operation=operation, outcome=Outcome.REJECTED, remedy="ask for a new quote")
        elif status == HTTPStatus.CONFLICT:
            error = IdempotencyConflict(said, operation=operation, outcome=Outcome.REJECTED)
        elif operation != "info" and code and (is_busy or HTTPStatus.BAD_REQUEST <= status < 500):
            error = QuoteRefused(said, operation=operation, outcome=Outcome.REJECTED, retryable=is_busy)
        else:
            error = NodeRefused(
                said,
                node_code=status,
                node_message=message,
                operation=operation,
                outcome=Outcome.UNKNOWN if status >= 500 else Outcome.REJECTED,
                retryable=status >= 500,
            )
        raise error

    def _read_info(self, answer: JsonValue) -> ProviderInfo:
        fields = JsonObject(answer, "info")
        self._check_key(fields.hex("identity_key", length=32))
        limits, fees, health = fields.nested("limits"), fields.nested("fees"), fields.nested("health")
        pairs = [JsonObject(pair, "info.pairs") for pair in fields.items("pairs")]
        reason, is_ready = health.take("reason"), health.take("ready")
        # A layer that this version does not know is no pair for it.
        known = {each.value: each for each in Layer2ProtocolType}
        named = [(pair.text("source"), pair.text("destination")) for pair in pairs]
        return ProviderInfo(
            network=fields.text("network", max_length=16),
            pairs=tuple((known[s], known[d]) for s, d in named if s in known and d in known),
            min_amount=limits.amount("min_amount"),
            max_amount=limits.amount("max_amount"),
            fee_ppm=fees.integer("fee_ppm"),
            base_fee=fees.amount("base_fee"),
            network_fee=fees.amount("network_fee"),
            chain_id=fields.integer("chain_id"),
            contract=fields.hex("contract", length=20),
            token=fields.hex("token", length=20),
            token_decimals=fields.integer("token_decimals", maximum=36),
            lightning_network=fields.text("lightning_network", max_length=8),
            node_key=fields.hex("node_key", length=33),
            is_ready=is_ready is True,
            reason=printable(reason) if isinstance(reason, str) else None,
        )

    def _check_key(self, key: bytes) -> None:
        if key != self.endpoint.identity_key:
            raise TermsRefused(
                f"provider {self.endpoint.name!r} answers with another identity key than the configured one",
                code="provider_key",
                remedy="ask the provider over another channel whether its key has changed",
            )

    def _unreachable(self, problem: str, operation: str, outcome: Outcome) -> NodeUnreachable:
        return NodeUnreachable(
            f"provider {self.endpoint.name!r} at {self.endpoint.url} {problem}",
            # The path of a swap holds its id, which is a capability.
            operation=operation.rpartition("/")[0] if operation.startswith("/v1/swaps/") else operation,
            outcome=outcome,
        )

    def _bad_answer(self, operation: str, error: FormatError) -> BadAnswer:
        operation = operation.rpartition("/")[0] if operation.startswith("/v1/swaps/") else operation
        return BadAnswer(
            f"provider {self.endpoint.name!r} answered with what cannot be right: {error.message}",
            operation=operation,
            outcome=Outcome.UNKNOWN,
        )


def _read_error(answer: JsonValue) -> tuple[str, str]:
    """Code and message of ``{"error": {"code", "message", "field"}}``; the code is empty where it is not that."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return "", "it gave no reason"
    code, message = error.get("code"), error.get("message")
    return printable(code) if isinstance(code, str) else "", printable(message) if isinstance(message, str) else ""
