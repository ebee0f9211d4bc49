"""The provider's HTTP interface, version 1. Every error is ``{"error": {"code", "message", "field"}}``."""

# This module does not postpone annotations: FastAPI reads those of the routes, which use names of their function.

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Header, Path, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from layer2.errors import FormatError, InvalidRequest, QuoteRefused
from layer2.formats import canonical_json
from layer2.formats.canonical_json import JsonValue
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.provider.http_errors import ERRORS, ErrorBody, add_error_handlers
from layer2.provider.quotes import QuoteRequest
from layer2.provider.request_bodies import WholeBody
from layer2.provider.service import SwapProvider
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.documents import SignedQuote
from layer2.terms.signing import read_signed_quote, write_signed_quote

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
    """The request for a quote: exactly one of ``amount`` and ``send_amount``."""

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
    """The request for a swap under a quote."""

    swap_id: _Id
    quote: dict[str, Any] = Field(description="the signed quote, as it was received")
    payment_hash: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the preimage, hex")
    source: str = Field(
        max_length=160, description="the taker's account or key on the source; empty if the layer needs none"
    )
    destination: str = Field(
        max_length=7_089, description="the payee on the destination: the taker's account or key, or an invoice"
    )
    access_hash: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the token that reads the swap later, hex"
    )


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description. FastAPI describes the errors of an event stream as events; they are JSON."""
        described = super().openapi()
        for path in described["paths"].values():
            for operation in path.values():
                for status, answer in operation["responses"].items():
                    if status != "200":
                        (kind,) = answer["content"].values()
                        answer["content"] = {"application/json": kind}
        return described


def create_app(provider: SwapProvider) -> FastAPI:
    """The ASGI application of a provider. Its OpenAPI description is at ``/openapi.json``.

    Put it behind TLS. The header ``Authorization`` holds access tokens: keep it out of the logs of a proxy.
    """
    # FastAPI's pages for browsers load scripts from other servers, so they are disabled.
    app = _Application(
        title="layer2 swap provider",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": ErrorBody, "description": text} for status, text in ERRORS.items()},
    )
    app.add_middleware(WholeBody, longest=LONGEST_BODY)
    add_error_handlers(app)
    _add_routes(app, provider)
    return app


def _add_routes(app: FastAPI, provider: SwapProvider) -> None:
    streams = asyncio.Semaphore(provider.limits.max_event_streams)
    bearer = HTTPBearer(auto_error=False, description="the access token of the swap, 64 hex digits")

    @app.get("/v1/info", summary="The offer of this provider, and whether it accepts swaps now")
    async def info() -> dict[str, object]:
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

    @app.post("/v1/swaps", summary="Signed terms; the same request returns the same bytes")
    async def swaps(body: SwapBody) -> Response:
        signed = _signed_quote(body.quote)
        request = SwapRequest(
            swap_id=SwapId(body.swap_id),
            quote_id=signed.quote.quote_id,
            payment_hash=bytes.fromhex(body.payment_hash),
            source=body.source,
            destination=body.destination,
            access_hash=bytes.fromhex(body.access_hash),
        )
        return _canonical(await provider.open_swap(request, signed))

    @app.get("/v1/swaps/{swap_id}", summary="The state of a swap, for people")
    async def status(
        swap_id: Annotated[_Id, Path()], access: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> dict[str, object]:
        return await provider.status(SwapId(swap_id), _token(access))

    @app.get(
        "/v1/swaps/{swap_id}/statement",
        summary="The signed statement of how a swap ended, once its end is final on both legs",
    )
    async def statement(
        swap_id: Annotated[_Id, Path()], access: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Response:
        return _canonical(await provider.statement(SwapId(swap_id), _token(access)))

    async def admitted(
        swap_id: Annotated[_Id, Path()],
        access: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        last_event_id: Annotated[str, Header(pattern="^[0-9]{1,9}$", description="the last version received")] = "0",
    ) -> AsyncIterator[tuple[SwapId, int]]:
        # Before the answer starts, because its status cannot change after that.
        await provider.check_access(SwapId(swap_id), _token(access))
        if streams.locked():
            raise QuoteRefused("too many event streams are open", code="too_many_streams")
        async with streams:
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
    """The token of a request; empty, which matches no swap, if there is none."""
    if access is None or not re.fullmatch("[0-9a-f]{64}", access.credentials):
        return b""
    return bytes.fromhex(access.credentials)


def _signed_quote(value: object) -> SignedQuote:
    try:
        return read_signed_quote(value)
    except FormatError as error:
        raise InvalidRequest(f"the quote cannot be read: {error.message}", code="quote_format") from error


def _canonical(value: JsonValue) -> Response:
    return Response(canonical_json.encode(value), media_type="application/json")
