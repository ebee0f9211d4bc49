"""Payouts over HTTP: one manager for the process, in an event loop of its own; the views stay blocking."""

import atexit
from contextlib import ExitStack
from typing import Any

from flask import Flask, abort, request

from layer2 import BTC, Layer2Config, Layer2Error, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.errors import InitializationError


def create_app() -> Flask:
    app = Flask(__name__)
    closing = ExitStack()
    # In the process that serves: with gunicorn, after the fork (no --preload), in one worker with threads.
    layers = closing.enter_context(Layer2Manager(Layer2Config.load("layer2.toml")))
    atexit.register(closing.close)
    try:
        layers.initialize_all_sync()
    except InitializationError as error:
        if not error.retryable:
            raise
        app.logger.warning("%s", error)  # a node is down: its layer joins later

    @app.post("/payouts")
    def pay() -> tuple[dict[str, Any], int]:
        order, satoshi = request.get_json()["order"], request.get_json()["satoshi"]
        transfer = layers.get_transfer_by_key_sync(order)
        if transfer is None or transfer.state is TransferState.ABANDONED:
            quote = layers.quote_transfer_sync(BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)
            transfer = layers.start_transfer_sync(quote, idempotency_key=order)
        return {"order": order, "state": transfer.state.value}, 202

    @app.get("/payouts/<order>")
    def look(order: str) -> dict[str, Any]:
        transfer = layers.get_transfer_by_key_sync(order)
        if transfer is None:
            abort(404)
        return {"order": order, "state": transfer.state.value}

    @app.errorhandler(Layer2Error)
    def failed(error: Layer2Error) -> tuple[dict[str, Any], int]:
        return {"code": error.code, "retry": error.retryable}, 503 if error.retryable else 422

    return app


app = create_app()
