"""Payouts over HTTP: one manager for the process; a request starts a transfer, and a later one looks at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from layer2 import BTC, Layer2Config, Layer2Error, Layer2Manager, Layer2ProtocolType, Outcome, TransferState


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        await layers.initialize_all_async()  # also resumes transfers that are open from an earlier run
        app.state.layers = layers
        yield


app = FastAPI(lifespan=lifespan)


def manager(request: Request) -> Layer2Manager:
    layers: Layer2Manager = request.app.state.layers
    return layers


Layers = Annotated[Layer2Manager, Depends(manager)]


class Payout(BaseModel):
    order: str
    satoshi: int


class Answer(BaseModel):
    order: str
    state: str


@app.post("/payouts", status_code=202)
async def pay(payout: Payout, layers: Layers) -> Answer:
    transfer = await layers.get_transfer_by_key_async(payout.order)
    if transfer is None or transfer.state is TransferState.ABANDONED:
        quote = await layers.quote_transfer_async(
            BTC, payout.satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
        )
        transfer = await layers.start_transfer_async(quote, idempotency_key=payout.order)
    return Answer(order=payout.order, state=transfer.state.value)


@app.get("/payouts/{order}")
async def look(order: str, layers: Layers) -> Answer:
    transfer = await layers.get_transfer_by_key_async(order)
    if transfer is None:
        raise HTTPException(404)
    return Answer(order=order, state=transfer.state.value)


@app.exception_handler(Layer2Error)
async def failed(request: Request, error: Layer2Error) -> JSONResponse:
    status = 503 if error.retryable or error.outcome is Outcome.UNKNOWN else 422
    return JSONResponse({"code": error.code, "retry": error.retryable}, status)
