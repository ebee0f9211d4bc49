"""Payouts over HTTP: each request opens a manager, and its thread waits until the transfer has ended."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType

app = FastAPI()


class Payout(BaseModel):
    order: str
    satoshi: int


class Answer(BaseModel):
    order: str
    state: str


@app.post("/payouts")
def pay(payout: Payout) -> Answer:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        layers.initialize_all_sync()
        layers.cross_layer_transfer_sync(
            BTC,
            payout.satoshi,
            Layer2ProtocolType.BOB,
            Layer2ProtocolType.LIGHTNING,
            idempotency_key=payout.order,
        )
    return Answer(order=payout.order, state="completed")


@app.get("/payouts/{order}")
def look(order: str) -> Answer:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        transfer = layers.get_transfer_by_key_sync(order)
    if transfer is None:
        raise HTTPException(404)
    return Answer(order=order, state=transfer.state.value)
