"""The errors of the provider's HTTP interface: ``{"error": {"code", "message", "field"}}``."""

# This module does not postpone annotations: FastAPI reads those of the handlers.

import math
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from layer2.errors import (
    FundsRulesError,
    IdempotencyConflict,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    QuoteExpired,
    QuoteRefused,
    StatementRefused,
    UnknownTransfer,
)
from layer2.provider.service import AccessRefused

__all__ = ["ERRORS", "ErrorBody", "add_error_handlers", "error_answer"]


class ErrorDetail(BaseModel):
    """The error."""

    code: str = Field(description="a stable word")
    message: str
    field: str | None = Field(description="the invalid field of the request, or null")


class ErrorBody(BaseModel):
    """The body of every answer other than 200."""

    error: ErrorDetail


ERRORS: Final = {
    400: "invalid request",
    401: "the access token is missing, or belongs to another swap",
    404: "no such path or swap",
    405: "the path does not allow this method; the header Allow names those that it allows",
    408: "the body did not arrive in time",
    409: "another request has this id or hash; or the quote has expired; or the provider states nothing about the swap",
    413: "the request is too long",
    422: "the amount is outside the limits, or the deadlines do not hold",
    429: "too many open swaps or streams",
    500: "internal error; a retry is harmless",
    503: "the provider is busy, or such a swap cannot be completed now, or its end is not final; try again later",
}
"""The errors of every path, for the OpenAPI description."""


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the application in this form."""
    log = structlog.get_logger("layer2.provider.http")

    @app.exception_handler(RequestValidationError)
    async def wrong_request(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return error_answer(HTTPStatus.BAD_REQUEST, "invalid_request", str(first["msg"]), field)

    @app.exception_handler(HTTPException)
    async def not_here(_: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == HTTPStatus.NOT_FOUND else "invalid_request"
        answer = error_answer(error.status_code, code, str(error.detail))
        # For example Allow, which a 405 must have.
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Layer2Error)
    async def refused(_: Request, error: Layer2Error) -> JSONResponse:
        status = _status_of(error)
        if status is None:
            # Only the operator may see the reason: it can name nodes, keys and balances.
            log.warning("request_failed", code=error.code, error=str(error))
            answer = error_answer(
                HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "the provider cannot complete such a swap now"
            )
        else:
            answer = error_answer(status, error.code, error.message, _FIELDS.get(error.code))
        if status is HTTPStatus.UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = "Bearer"
        if answer.status_code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            seconds = _RETRY_SECONDS if error.retry_after is None else error.retry_after
            answer.headers["Retry-After"] = str(math.ceil(seconds))
        return answer

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        log.error("request_failed_internally", kind=type(error).__name__)
        return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the provider failed; a retry is harmless")


_RETRY_SECONDS: Final = 2.0
"""The pause before the next try, if the error names none: the provider reads its nodes about as often."""
_FIELDS: Final = {
    "unknown_asset": "asset",
    "quote_expired": "quote",
    "quote_format": "quote",
    "quote_network": "quote",
    "quote_signature": "quote",
    "swap_conflict": "swap_id",
    "payment_hash_used": "payment_hash",
}
"""The field of the request to which an error's code refers."""


def _status_of(error: Layer2Error) -> HTTPStatus | None:
    match error:
        case UnknownTransfer():
            return HTTPStatus.NOT_FOUND
        case AccessRefused():
            return HTTPStatus.UNAUTHORIZED
        case IdempotencyConflict() | QuoteExpired():
            return HTTPStatus.CONFLICT
        case StatementRefused(retryable=False):
            return HTTPStatus.CONFLICT
        case QuoteRefused(code="not_ready" | "busy") | StatementRefused():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case QuoteRefused():
            return HTTPStatus.TOO_MANY_REQUESTS
        case FundsRulesError() | InvalidAmount(code="outside_limits"):
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case InvalidRequest():
            return HTTPStatus.BAD_REQUEST
        case _:
            return None


def error_answer(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    """The answer for one error."""
    return JSONResponse({"error": {"code": code, "message": message, "field": field}}, status_code=int(status))
