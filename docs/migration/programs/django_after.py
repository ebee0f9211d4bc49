"""Payouts over HTTP (ASGI): the server's lifespan opens one manager, and the views are async."""

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import path

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType, TransferState

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY=secrets.token_hex())

Message = MutableMapping[str, Any]
shared: dict[str, Layer2Manager] = {}


async def pay(request: HttpRequest) -> JsonResponse:
    payout, layers = json.loads(request.body), shared["layers"]
    transfer = await layers.get_transfer_by_key_async(payout["order"])
    if transfer is None or transfer.state is TransferState.ABANDONED:
        quote = await layers.quote_transfer_async(
            BTC, payout["satoshi"], Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
        )
        transfer = await layers.start_transfer_async(quote, idempotency_key=payout["order"])
    return JsonResponse({"order": payout["order"], "state": transfer.state.value}, status=202)


async def look(request: HttpRequest, order: str) -> JsonResponse:
    transfer = await shared["layers"].get_transfer_by_key_async(order)
    if transfer is None:
        raise Http404
    return JsonResponse({"order": order, "state": transfer.state.value})


urlpatterns = [path("payouts", pay), path("payouts/<str:order>", look)]
django = get_asgi_application()


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Django's application does not serve the lifespan; this does."""
    if scope["type"] != "lifespan":
        await django(scope, receive, send)
        return
    await receive()
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        await layers.initialize_all_async()
        shared["layers"] = layers
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
