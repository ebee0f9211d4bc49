from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from layer2.errors import (
    AsyncRuntimeError,
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    IdempotencyConflict,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    Outcome,
    ProofRefused,
    QuoteExpired,
    QuoteRefused,
    StatementRefused,
    TermsRefused,
    UnknownTransfer,
)
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import SwapId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.proofs.statement import write_signed_statement
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.swap_rules.agreement import check_terms
from layer2.swap_rules.quotes import TakerOffers, check_quote
from layer2.terms.signing import write_signed_quote, write_signed_terms
from layer2.terms.transfers import TransferRequest
from proofs import made_proofs as made
from proofs.made_statements import signed, statement
from provider.made_providers import BOB, LIGHTNING, World, served, token_of, world
from swap_rules.example_terms import (
    AMOUNT,
    IDENTITY_KEY,
    NOW,
    STRANGERS_NODE,
    agreement_of,
    offer_of,
    quote_of,
    signed_quote,
    signed_terms,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TERMS = agreement_of()
QUOTE = signed_quote(TERMS.quote)
OWN = TakerOffers({layer: offer_of(layer, taker=True) for layer in (BOB, LIGHTNING)})


def transfer(source: Layer2ProtocolType = BOB, **changes: Any) -> TransferRequest:
    made = TransferRequest(BTC, AMOUNT, source, LIGHTNING if source is BOB else BOB, max_fee=1_000)
    return replace(made, **changes)


@contextlib.asynccontextmanager
async def client_of(url: str, *, key: bytes = IDENTITY_KEY, timeout_ms: int = 5_000) -> AsyncIterator[ProviderClient]:
    client = ProviderClient(ProviderEndpoint("alice", url, key), ConnectionPoolConfig(), timeout_ms)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def liar(handler: Handler, **settings: Any) -> AsyncIterator[ProviderClient]:
    """A client for a server that answers every request with the handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with client_of(f"http://127.0.0.1:{runner.addresses[0][1]}", **settings) as client:
            yield client
    finally:
        await runner.cleanup()


def answering(body: Any, status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=data, status=status, content_type="application/json", headers=named)

    return handler


async def refused(asked: Awaitable[object]) -> Layer2Error:
    with pytest.raises(Layer2Error) as caught:
        await asked
    return caught.value


@pytest.fixture
async def honest(tmp_path: Path) -> AsyncIterator[tuple[World, ProviderClient]]:
    async with world(tmp_path) as made, served(made) as (url, _), client_of(url) as client:
        yield made, client


@pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])
@pytest.mark.parametrize("amounts", [{}, {"amount": None, "send_amount": AMOUNT}], ids=["amount", "send_amount"])
async def test_what_an_honest_provider_answers_passes_every_check_of_the_taker(
    honest: tuple[World, ProviderClient], source: Layer2ProtocolType, amounts: dict[str, Any]
) -> None:
    made, client = honest
    asked = transfer(source, **amounts)
    signed = await client.quote(asked)
    check_quote(signed, asked, IDENTITY_KEY, OWN, NOW, REGTEST, max_fee=1_000)
    request = await made.request(1, source, amount=signed.quote.amount)
    request = replace(request, quote_id=signed.quote.quote_id)
    terms = await client.open_swap(request, signed)
    check_terms(terms, signed.quote, request, NOW, REGTEST)
    assert await client.open_swap(request, signed) == terms
    assert (await client.swap_status(request.swap_id, token_of(1)))["state"] == "agreed"


async def test_a_swap_is_read_with_its_own_token_alone(honest: tuple[World, ProviderClient]) -> None:
    made, client = honest
    request = await made.accept(1)
    error = await refused(client.swap_status(request.swap_id, token_of(2)))
    assert isinstance(error, AuthenticationFailed)
    assert token_of(2).hex() not in f"{error} {error!r}"


async def test_a_closed_client_refuses_calls_and_opens_no_connection(honest: tuple[World, ProviderClient]) -> None:
    _, client = honest
    await client.info()
    await client.aclose()
    calls: list[Callable[[], Awaitable[object]]] = [client.info, lambda: client.quote(transfer())]
    for call in calls:
        error = await refused(call())
        assert (type(error), error.code) == (AsyncRuntimeError, "closed")
        assert error.remedy
    await client.aclose()


async def test_info_is_read_whole(honest: tuple[World, ProviderClient]) -> None:
    made, client = honest
    info = await client.info()
    assert info.network == "regtest"
    assert info.layers == {layer: offer_of(layer) for layer in (BOB, LIGHTNING)}
    pairs = {(pair.source, pair.destination): pair for pair in info.pairs}
    assert set(pairs) == {(BOB, LIGHTNING), (LIGHTNING, BOB)}
    pair = pairs[BOB, LIGHTNING]
    assert (pair.provider_name, pair.min_amount, pair.fee_ppm, pair.base_fee, pair.network_fee) == (
        "alice", 10_000, 3_000, 120, 50,
    )  # fmt: skip
    assert 0 < pair.min_amount <= pair.max_amount
    assert 0 < pair.collect_by < pair.known <= pair.source_deadline <= pair.worst
    assert (info.is_ready, info.reason) == (True, None)
    await made.provider.drain()
    info = await client.info()
    assert not info.is_ready
    assert info.reason


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>hello", 200), (b"<html>not found", 404), (b'{"hello": "world"}', 200), (b'{"detail": "Not Found"}', 404)],
)
async def test_an_address_where_something_else_answers_is_named_as_no_provider(body: bytes, status: int) -> None:
    async with liar(answering(body, status)) as client:
        error = await refused(client.info())
        assert f"{client.endpoint.url} is not a layer2 provider" in error.message
        assert (error.code, error.retryable) == ("no_provider_there", False)
        assert "[[providers]]" in str(error)
        if status != 200:
            assert "is not a layer2 provider" in (await refused(client.quote(transfer()))).message


async def test_a_provider_that_refuses_is_quoted_with_its_reason(honest: tuple[World, ProviderClient]) -> None:
    made, client = honest
    error = await refused(client.quote(transfer(amount=1)))
    assert isinstance(error, QuoteRefused)
    assert "outside_limits" in error.message
    assert (error.outcome, error.retryable) == (Outcome.REJECTED, False)
    await made.provider.drain()
    error = await refused(client.quote(transfer()))
    assert isinstance(error, QuoteRefused)
    assert error.retryable


async def test_a_quote_that_is_too_old_has_expired(honest: tuple[World, ProviderClient]) -> None:
    made, client = honest
    request = await made.request(1)
    made.clock.time += REGTEST.quote_validity + 1
    error = await refused(client.open_swap(request, made.quotes[request.quote_id]))
    assert isinstance(error, QuoteExpired)
    assert error.remedy == "request a new quote"


async def test_another_request_under_a_known_id_is_a_conflict(honest: tuple[World, ProviderClient]) -> None:
    made, client = honest
    request = await made.request(1)
    quote = made.quotes[request.quote_id]
    await client.open_swap(request, quote)
    error = await refused(client.open_swap(replace(request, access_hash=b"\x66" * 32), quote))
    assert isinstance(error, IdempotencyConflict)


async def test_a_swap_that_the_provider_does_not_have_is_unknown(honest: tuple[World, ProviderClient]) -> None:
    error = await refused(honest[1].swap_status(SwapId("cd" * 16), bytes(32)))
    assert isinstance(error, UnknownTransfer)


async def test_another_provider_at_the_same_address_is_refused(tmp_path: Path) -> None:
    other = STRANGERS_NODE.public_key.format()[1:]
    async with world(tmp_path) as made, served(made) as (url, _), client_of(url, key=other) as client:
        for asked in (client.info(), client.quote(transfer()), client.open_swap(await made.request(1), QUOTE)):
            error = await refused(asked)
            assert isinstance(error, TermsRefused)
            assert error.code == "provider_key"


async def test_a_forged_quote_is_refused() -> None:
    forged = write_signed_quote(signed_quote(quote_of(), STRANGERS_NODE))
    async with liar(answering(forged)) as client:
        assert (await refused(client.quote(transfer()))).code == "quote_signature"


async def test_forged_terms_and_those_of_another_swap_are_refused() -> None:
    forged = write_signed_terms(signed_terms(TERMS.terms, STRANGERS_NODE))
    async with liar(answering(forged)) as client:
        assert (await refused(client.open_swap(TERMS.request, QUOTE))).code == "terms_signature"
    async with liar(answering(write_signed_terms(signed_terms(TERMS.terms)))) as client:
        other = replace(TERMS.request, swap_id=SwapId("cd" * 16))
        assert (await refused(client.open_swap(other, QUOTE))).code == "terms_swap_id"


NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<html>",
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "a float": b'{"quote": 1.5}',
    "not UTF-8": b"\xff",
    "deep": b"[" * 10_000,
    "a key twice": b'{"a": 1, "a": 1}',
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_a_bad_answer_to_every_call(body: bytes) -> None:
    async with liar(answering(body)) as client:
        for asked in (client.info(), client.quote(transfer()), client.open_swap(TERMS.request, QUOTE)):
            assert isinstance(await refused(asked), BadAnswer)


async def test_a_field_too_many_in_terms_is_a_bad_answer() -> None:
    body: dict[str, Any] = write_signed_terms(signed_terms(TERMS.terms))
    body["terms"]["tip"] = "1"
    async with liar(answering(body)) as client:
        assert isinstance(await refused(client.open_swap(TERMS.request, QUOTE)), BadAnswer)


async def test_an_answer_that_is_too_long_is_refused_also_when_it_is_compressed() -> None:
    async def bomb(_: web.Request) -> web.Response:
        body = gzip.compress(b" " * 50_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"}, content_type="application/json")

    async with liar(bomb) as client:
        error = await refused(client.info())
    assert isinstance(error, BadAnswer)
    assert "more than" in error.message


async def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    async def away(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with liar(away) as client:
        assert isinstance(await refused(client.open_swap(TERMS.request, QUOTE)), NodeRefused)
    assert asked == ["/v1/swaps"]


@pytest.mark.parametrize(
    ("status", "code", "kind", "known_as", "pause"),
    [
        (503, "busy", QuoteRefused, "busy", 7),
        (503, "not_ready", QuoteRefused, "quote_refused", 7),
        (429, "too_many_swaps", QuoteRefused, "quote_refused", 7),
        (422, "outside_limits", QuoteRefused, "quote_refused", None),
        (409, "quote_expired", QuoteExpired, "quote_expired", None),
        (500, "internal", NodeRefused, "node_refused", 7),
    ],
)
async def test_the_pause_that_a_provider_asks_for_is_in_the_error_of_a_refusal_that_can_be_retried(
    status: int, code: str, kind: type[Layer2Error], known_as: str, pause: float | None
) -> None:
    body = {"error": {"code": code, "message": "no", "field": None}}
    async with liar(answering(body, status, Retry_After="7")) as client:
        error = await refused(client.open_swap(TERMS.request, QUOTE))
    assert (type(error), error.code, error.retry_after, error.retryable) == (kind, known_as, pause, pause is not None)
    assert f"{code}, HTTP {status}" in error.message


async def test_a_pause_that_is_no_number_is_none() -> None:
    body = {"error": {"code": "busy", "message": "no", "field": None}}
    async with liar(answering(body, 503, Retry_After="soon")) as client:
        assert (await refused(client.open_swap(TERMS.request, QUOTE))).retry_after is None


async def test_waiting_for_a_connection_is_not_silence_of_the_provider() -> None:
    under_way = most = 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal under_way, most
        if request.path == "/v1/swaps":
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.1)
            under_way -= 1
        return web.json_response({"error": {"code": "funds_rules", "message": "no", "field": None}}, status=422)

    async with liar(slow, timeout_ms=800) as client:
        # More than ten rounds of 0.1 s at the connections of one client.
        swaps = asyncio.gather(*(refused(client.open_swap(TERMS.request, QUOTE)) for _ in range(150)))
        quotes = asyncio.gather(*(refused(client.quote(transfer())) for _ in range(4)))
        assert {type(error) for error in [*await quotes, *await swaps]} == {QuoteRefused}
    assert 1 < most < ConnectionPoolConfig().max_connections


async def test_a_failure_that_is_not_explained_leaves_the_outcome_unknown() -> None:
    async with liar(answering(b"<html>bad gateway", 502)) as client:
        error = await refused(client.open_swap(TERMS.request, QUOTE))
    assert isinstance(error, NodeRefused)
    assert (error.outcome, error.retryable, error.node_code) == (Outcome.UNKNOWN, True, 502)


async def test_no_answer_in_time_leaves_the_outcome_of_a_swap_unknown_and_repeating_allowed() -> None:
    # The kernel accepts the connection, and no process reads from it.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with client_of(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=100) as client:
            error = await refused(client.open_swap(TERMS.request, QUOTE))
            assert isinstance(error, NodeUnreachable)
            assert (error.outcome, error.retryable) == (Outcome.UNKNOWN, True)
            assert (await refused(client.info())).outcome is Outcome.NOT_SENT


async def test_a_connection_that_breaks_off_leaves_the_outcome_unknown() -> None:
    async def breaking(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with liar(breaking) as client:
        error = await refused(client.open_swap(TERMS.request, QUOTE))
    assert isinstance(error, NodeUnreachable)
    assert error.outcome is Outcome.UNKNOWN


async def test_without_a_server_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with client_of(f"http://127.0.0.1:{port}") as client:
        error = await refused(client.open_swap(TERMS.request, QUOTE))
    assert isinstance(error, NodeUnreachable)
    assert (error.outcome, error.retryable) == (Outcome.NOT_SENT, True)


async def test_a_providers_text_cannot_control_a_terminal() -> None:
    body = {"error": {"code": "x\x1b[2J", "message": "\x1b]0;owned\x07" + "a" * 10_000, "field": None}}
    async with liar(answering(body, 422)) as client:
        error = await refused(client.quote(transfer()))
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert len(str(error)) < 1_000


async def test_no_error_shows_the_access_token_of_a_swap() -> None:
    token = bytes.fromhex("cd" * 32)
    async with liar(answering(b"<html>")) as client:
        error = await refused(client.swap_status(SwapId("ab" * 16), token))
    assert token.hex() not in f"{error} {error!r} {error.operation}"


@pytest.mark.parametrize(
    "url",
    [
        "http://provider.example",
        "http://10.0.0.7:8390",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "127.0.0.1:8390",
        "https://",
        "",
        "https://provider.example/?key=secret",
        "https://provider.example/#part",
        "http://[::1",
    ],
)
def test_an_address_that_would_not_be_private_or_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ProviderEndpoint("alice", url, IDENTITY_KEY)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://provider.example", "https://provider.example"),
        ("https://user:secret@provider.example/swaps/", "https://provider.example/swaps"),
        ("http://127.0.0.1:8390/", "http://127.0.0.1:8390"),
        ("http://[::1]:8390", "http://[::1]:8390"),
        ("http://localhost:8390", "http://localhost:8390"),
    ],
)
def test_an_address_is_kept_without_user_and_password(given: str, used: str) -> None:
    endpoint = ProviderEndpoint("alice", given, IDENTITY_KEY)
    assert endpoint.url == used
    assert "secret" not in repr(endpoint)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        ProviderEndpoint("alice", "https://provider.example", bytes(31))


@pytest.mark.parametrize("length", [32, 33])
def test_a_key_of_either_scheme_is_taken(length: int) -> None:
    assert len(ProviderEndpoint("alice", "https://provider.example", bytes(length)).identity_key) == length


async def test_a_statement_is_checked_against_the_terms() -> None:
    terms = made.terms()
    own = signed(statement(terms))
    async with liar(answering(write_signed_statement(own))) as client:
        assert await client.completion_statement(terms, bytes(32)) == own
    for forged in (signed(statement(terms), made.PAYEE), signed(statement(replace(terms, quote_id="ef" * 16)))):
        async with liar(answering(write_signed_statement(forged))) as client:
            assert isinstance(await refused(client.completion_statement(terms, bytes(32))), ProofRefused)
    other: list[Any] = [
        {},
        [],
        {**write_signed_statement(own), "more": 1},
        {**write_signed_statement(own), "statement": {}},
    ]
    for wrong in other:
        async with liar(answering(wrong)) as client:
            assert isinstance(await refused(client.completion_statement(terms, bytes(32))), BadAnswer)


@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        (503, "end_not_final", StatementRefused, True),
        (409, "no_statement", StatementRefused, False),
        (503, "busy", QuoteRefused, True),
        (503, "not_ready", QuoteRefused, True),
        (404, "not_found", UnknownTransfer, False),
        (401, "access", AuthenticationFailed, False),
    ],
)
async def test_a_refused_statement_says_whether_a_later_request_can_succeed(
    status: int, code: str, kind: type[Layer2Error], retryable: bool
) -> None:
    body = {"error": {"code": code, "message": "no", "field": None}}
    async with liar(answering(body, status, Retry_After="30")) as client:
        error = await refused(client.completion_statement(made.terms(), bytes(32)))
    assert (type(error), error.retryable) == (kind, retryable)
    if retryable:
        assert error.retry_after == 30


async def test_the_operation_of_a_statement_contains_no_swap() -> None:
    async with client_of("http://127.0.0.1:1") as client:
        error = await refused(client.completion_statement(made.terms(), bytes(32)))
    assert isinstance(error, NodeUnreachable)
    assert error.operation == "/v1/swaps/statement"
