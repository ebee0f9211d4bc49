"""The provider's HTTP interface, version 1. Every error is ``{"error": {"code", "message", "field"}}``."""

# Annotations are evaluated at once here: FastAPI reads those of the routes, which name things of their function.

import contextlib
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layer2.errors import (
    FormatError,
    FundsRulesError,
    IdempotencyConflict,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    QuoteExpired,
    QuoteRefused,
    UnknownTransfer,
)
from layer2.formats import canonical_json
from layer2.formats.evm_address import parse_address
from layer2.formats.signed_terms import write_signed_quote
from layer2.layers import Layer2ProtocolType
from layer2.provider.service import SwapProvider
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.offers import NO_ADDRESS
from layer2.transactions import SwapId

__all__ = ["LONGEST_BODY", "create_app"]

LONGEST_BODY: Final = 16 * 1024
"""Bytes; the longest invoice has 7,089."""

_Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="32 lower-case hex digits")]
_Layer = Literal["BOB", "LIGHTNING"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QuoteBody(_Body):
    """What a quote is asked for."""

    asset: str = Field(max_length=16, examples=["BTC"])
    amount: str = Field(
        pattern="^[1-9][0-9]{0,18}$", description="what shall arrive, satoshi, as a decimal string", examples=["100000"]
    )
    source: _Layer
    destination: _Layer


class SwapBody(_Body):
    """What a swap is asked for, under an open quote."""

    swap_id: _Id
    quote_id: _Id
    payment_hash: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the preimage, hex")
    offer: str = Field(
        max_length=7_089,
        description="to Lightning: the BOLT 11 invoice to be paid, lower case; to BOB: the claim address",
    )
    taker_address: str = Field(
        pattern="^0x[0-9a-fA-F]{40}$", description="the taker's BOB account: payer of a source lock"
    )


class ErrorDetail(BaseModel):
    """What is wrong."""

    code: str = Field(description="a stable word")
    message: str
    field: str | None = Field(description="the field of the request that is wrong, where it is one")


class ErrorBody(BaseModel):
    """Every answer that is not 200."""

    error: ErrorDetail


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "a wrong request",
        404: "no such swap",
        409: "another request under an open id or hash; quote expired",
        413: "the request is too long",
        422: "outside the limits, or margins that do not hold",
        429: "too many open quotes, swaps or streams",
        503: "not able to finish such a swap now; ask again later",
    }.items()
}


def create_app(provider: SwapProvider) -> FastAPI:
    """The ASGI application that serves a provider. The OpenAPI description is at ``/openapi.json``.

    It keeps no secrets from whoever can reach it: put it behind TLS, and keep request paths, which hold swap ids,
    out of the logs of any proxy in front.
    """
    # The pages that FastAPI offers for browsers load scripts from elsewhere, so they stay off.
    app = FastAPI(title="layer2 swap provider", version="1", docs_url=None, redoc_url=None, responses=_ERRORS)
    app.add_middleware(_LimitedBody, longest=LONGEST_BODY)
    _add_error_handlers(app)
    _add_routes(app, provider)
    return app


def _add_routes(app: FastAPI, provider: SwapProvider) -> None:
    streams = _Streams(provider.limits.event_streams)

    @app.get("/v1/info", summary="What this provider offers, and whether it takes swaps now")
    async def info() -> dict[str, Any]:
        return await provider.info()

    @app.post("/v1/quotes", summary="A signed quote")
    async def quotes(body: QuoteBody) -> Response:
        signed = await provider.quote(
            body.asset, int(body.amount), Layer2ProtocolType(body.source), Layer2ProtocolType(body.destination)
        )
        return _canonical(write_signed_quote(signed))

    @app.post("/v1/swaps", summary="Signed terms; the same request gets the same bytes")
    async def swaps(body: SwapBody) -> Response:
        request = SwapRequest(
            swap_id=SwapId(body.swap_id),
            quote_id=body.quote_id,
            payment_hash=bytes.fromhex(body.payment_hash),
            offer=body.offer,
            taker_address=_address(body.taker_address),
        )
        return _canonical(await provider.open_swap(request))

    @app.get("/v1/swaps/{swap_id}", summary="A swap as the provider sees it, for people")
    async def status(swap_id: Annotated[_Id, Path()]) -> dict[str, Any]:
        return await provider.status(SwapId(swap_id))

    async def admitted(
        swap_id: Annotated[_Id, Path()],
        last_event_id: Annotated[str, Header(pattern="^[0-9]{1,9}$", description="the last version seen")] = "0",
    ) -> AsyncIterator[tuple[SwapId, int]]:
        # Before the answer begins, because afterwards its status cannot be changed.
        await provider.check_known(SwapId(swap_id))
        with streams.one():
            yield SwapId(swap_id), int(last_event_id)

    @app.get(
        "/v1/swaps/{swap_id}/events",
        summary="Every change of a swap, as server-sent events whose ids are versions",
        response_class=EventSourceResponse,
    )
    async def events(
        seen: Annotated[tuple[SwapId, int], Depends(admitted)],
    ) -> AsyncIterator[ServerSentEvent]:
        swap_id, after = seen
        async for event in provider.events(swap_id, after):
            yield ServerSentEvent(data=event, event="swap", id=str(event["version"]))


class _Streams:
    """How many event streams are open, and no more than are allowed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        if self._open >= self._most:
            raise QuoteRefused("too many event streams are open", code="too_many_streams")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class _LimitedBody:
    """Read each request's body before anything is done with it, and refuse a longer one in our errors' shape."""

    def __init__(self, app: ASGIApp, longest: int) -> None:
        self._app = app
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, message = bytearray(), await receive()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > self._longest:
                answer = _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", f"at most {self._longest} bytes")
                await answer(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
            message = await receive()
        if message["type"] != "http.request":
            return
        whole: Message = {"type": "http.request", "body": bytes(body), "more_body": False}
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return whole

        await self._app(scope, replay, send)


def _add_error_handlers(app: FastAPI) -> None:
    log = structlog.get_logger("layer2.provider.http")

    @app.exception_handler(RequestValidationError)
    async def wrong_request(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return _error(HTTPStatus.BAD_REQUEST, "invalid_request", str(first["msg"]), field)

    @app.exception_handler(HTTPException)
    async def not_here(_: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == HTTPStatus.NOT_FOUND else "invalid_request"
        return _error(error.status_code, code, str(error.detail))

    @app.exception_handler(Layer2Error)
    async def refused(_: Request, error: Layer2Error) -> JSONResponse:
        status = _status_of(error)
        if status is None:
            # Why it cannot be done now is the operator's to know; nodes, keys and balances are nobody else's.
            log.warning("request_failed", code=error.code, error=str(error))
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "the provider cannot finish such a swap now")
        return _error(status, error.code, error.message, _FIELDS.get(error.code))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        log.error("request_broke", kind=type(error).__name__)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the provider failed; repeating is harmless")


_FIELDS: Final = {
    "outside_limits": "amount",
    "unknown_asset": "asset",
    "quote_expired": "quote_id",
    "swap_conflict": "swap_id",
    "payment_hash_used": "payment_hash",
    "offer_address": "offer",
    "taker_address": "taker_address",
    "invoice_format": "offer",
    "invoice_network": "offer",
    "invoice_amount": "offer",
    "invoice_hash": "offer",
    "invoice_payee": "offer",
    "invoice_expired": "offer",
    "invoice_timestamp": "offer",
    "invoice_blinded_paths": "offer",
    "invoice_amp": "offer",
    "invoice_ambiguous": "offer",
}
"""The field of the request that an error's code is about."""


def _status_of(error: Layer2Error) -> HTTPStatus | None:
    match error:
        case UnknownTransfer():
            return HTTPStatus.NOT_FOUND
        case IdempotencyConflict() | QuoteExpired():
            return HTTPStatus.CONFLICT
        case QuoteRefused(code="not_ready"):
            return HTTPStatus.SERVICE_UNAVAILABLE
        case QuoteRefused():
            return HTTPStatus.TOO_MANY_REQUESTS
        case FundsRulesError() | InvalidAmount(code="outside_limits"):
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case InvalidRequest():
            return HTTPStatus.BAD_REQUEST
        case _:
            return None


def _error(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "field": field}}, status_code=int(status))


def _canonical(value: Any) -> Response:
    return Response(canonical_json.encode(value), media_type="application/json")


def _address(text: str) -> bytes:
    try:
        address = parse_address(text)
    except FormatError as error:
        raise InvalidRequest(error.message, code="taker_address") from error
    if address == NO_ADDRESS:
        raise InvalidRequest("the zero address is nobody's account", code="taker_address")
    return address
