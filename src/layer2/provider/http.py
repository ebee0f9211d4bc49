"""The provider's HTTP interface, version 1. Every error is ``{"error": {"code", "message", "field"}}``."""

# Annotations are evaluated at once here: FastAPI reads those of the routes, which name things of their function.

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layer2.errors import (
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
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.provider.quotes import QuoteRequest
from layer2.provider.service import AccessRefused, SwapProvider
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.signing import write_signed_quote

__all__ = ["LONGEST_BODY", "create_app"]

LONGEST_BODY: Final = 16 * 1024
"""Bytes; the longest invoice has 7,089."""

_Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="32 lower-case hex digits")]
_Amount = Annotated[str, Field(pattern="^[1-9][0-9]{0,18}$", description="satoshi, as a decimal string")]
_LAYERS: Final = [layer.value for layer in Layer2ProtocolType]


def _known_layer(name: str) -> str:
    if name not in _LAYERS:
        raise ValueError(f"not one of {', '.join(_LAYERS)}")
    return name


_Layer = Annotated[str, AfterValidator(_known_layer), WithJsonSchema({"type": "string", "enum": _LAYERS})]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QuoteBody(_Body):
    """What a quote is asked for: exactly one of ``amount`` and ``send_amount``."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["amount"]}, {"required": ["send_amount"]}],
            "examples": [{"asset": "BTC", "amount": "100000", "source": _LAYERS[0], "destination": _LAYERS[1]}],
        }
    )

    asset: str = Field(max_length=16)
    source: _Layer
    destination: _Layer
    amount: _Amount = Field(default="", description="what arrives at the destination")
    send_amount: _Amount = Field(default="", description="what leaves the source")


class SwapBody(_Body):
    """What a swap is asked for, under an open quote."""

    swap_id: _Id
    quote_id: _Id
    payment_hash: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the preimage, hex")
    source: str = Field(
        max_length=128, description="what the taker pays from: its account or key there; empty where it names nothing"
    )
    destination: str = Field(
        max_length=7_089, description="what is to be paid: the taker's account or key there, or an invoice"
    )
    access_hash: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the token with which the swap can be read later, hex"
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
        401: "the access token is missing, or another swap's",
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

    Put it behind TLS, and keep the header ``Authorization``, which holds access tokens, out of the logs of any proxy
    in front.
    """
    # The pages that FastAPI offers for browsers load scripts from elsewhere, so they stay off.
    app = FastAPI(
        title="layer2 swap provider",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_ERRORS,
    )
    app.add_middleware(_LimitedBody, longest=LONGEST_BODY)
    _add_error_handlers(app)
    _add_routes(app, provider)
    return app


def _add_routes(app: FastAPI, provider: SwapProvider) -> None:
    streams = _Streams(provider.limits.event_streams)
    bearer = HTTPBearer(auto_error=False, description="the access token of the swap, 64 hex digits")

    @app.get("/v1/info", summary="What this provider offers, and whether it takes swaps now")
    async def info() -> dict[str, Any]:
        return await provider.info()

    @app.post("/v1/quotes", summary="A signed quote")
    async def quotes(body: QuoteBody) -> Response:
        request = QuoteRequest(
            asset=body.asset,
            source=Layer2ProtocolType(body.source),
            destination=Layer2ProtocolType(body.destination),
            amount=int(body.amount) if body.amount else None,
            send_amount=int(body.send_amount) if body.send_amount else None,
        )
        return _canonical(write_signed_quote(await provider.quote(request)))

    @app.post("/v1/swaps", summary="Signed terms; the same request gets the same bytes")
    async def swaps(body: SwapBody) -> Response:
        request = SwapRequest(
            swap_id=SwapId(body.swap_id),
            quote_id=body.quote_id,
            payment_hash=bytes.fromhex(body.payment_hash),
            source=body.source,
            destination=body.destination,
            access_hash=bytes.fromhex(body.access_hash),
        )
        return _canonical(await provider.open_swap(request))

    @app.get("/v1/swaps/{swap_id}", summary="A swap as the provider sees it, for people")
    async def status(
        swap_id: Annotated[_Id, Path()], access: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> dict[str, Any]:
        return await provider.status(SwapId(swap_id), _token(access))

    async def admitted(
        swap_id: Annotated[_Id, Path()],
        access: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        last_event_id: Annotated[str, Header(pattern="^[0-9]{1,9}$", description="the last version seen")] = "0",
    ) -> AsyncIterator[tuple[SwapId, int]]:
        # Before the answer begins, because afterwards its status cannot be changed.
        await provider.check_access(SwapId(swap_id), _token(access))
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


def _token(access: HTTPAuthorizationCredentials | None) -> bytes:
    """The token of a request; empty, and so nobody's, where there is none."""
    if access is None or not re.fullmatch("[0-9a-f]{64}", access.credentials):
        return b""
    return bytes.fromhex(access.credentials)


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
        answer = _error(error.status_code, code, str(error.detail))
        # Such as Allow, which belongs to a 405.
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Layer2Error)
    async def refused(_: Request, error: Layer2Error) -> JSONResponse:
        status = _status_of(error)
        if status is None:
            # Why it cannot be done now is the operator's to know; nodes, keys and balances are nobody else's.
            log.warning("request_failed", code=error.code, error=str(error))
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "the provider cannot finish such a swap now")
        answer = _error(status, error.code, error.message, _FIELDS.get(error.code))
        if status is HTTPStatus.UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        log.error("request_broke", kind=type(error).__name__)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the provider failed; repeating is harmless")


_FIELDS: Final = {
    "unknown_asset": "asset",
    "quote_expired": "quote_id",
    "swap_conflict": "swap_id",
    "payment_hash_used": "payment_hash",
}
"""The field of the request that an error's code is about."""


def _status_of(error: Layer2Error) -> HTTPStatus | None:
    match error:
        case UnknownTransfer():
            return HTTPStatus.NOT_FOUND
        case AccessRefused():
            return HTTPStatus.UNAUTHORIZED
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
