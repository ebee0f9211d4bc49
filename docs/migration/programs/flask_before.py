"""Payouts over HTTP: each request opens a manager, and its thread waits until the transfer has ended."""

from typing import Any

from flask import Flask, abort, request

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType

app = Flask(__name__)


@app.post("/payouts")
def pay() -> dict[str, Any]:
    order, satoshi = request.get_json()["order"], request.get_json()["satoshi"]
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        layers.initialize_all_sync()
        layers.cross_layer_transfer_sync(
            BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, idempotency_key=order
        )
    return {"order": order, "state": "completed"}


@app.get("/payouts/<order>")
def look(order: str) -> dict[str, Any]:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        transfer = layers.get_transfer_by_key_sync(order)
    if transfer is None:
        abort(404)
    return {"order": order, "state": transfer.state.value}
