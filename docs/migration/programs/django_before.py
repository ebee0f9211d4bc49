"""Payouts over HTTP (WSGI): each request opens a manager, and its thread waits until the transfer has ended."""

import json
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import path

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY=secrets.token_hex())


def pay(request: HttpRequest) -> JsonResponse:
    payout = json.loads(request.body)
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        layers.initialize_all_sync()
        layers.cross_layer_transfer_sync(
            BTC,
            payout["satoshi"],
            Layer2ProtocolType.BOB,
            Layer2ProtocolType.LIGHTNING,
            idempotency_key=payout["order"],
        )
    return JsonResponse({"order": payout["order"], "state": "completed"})


def look(request: HttpRequest, order: str) -> JsonResponse:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        transfer = layers.get_transfer_by_key_sync(order)
    if transfer is None:
        raise Http404
    return JsonResponse({"order": order, "state": transfer.state.value})


urlpatterns = [path("payouts", pay), path("payouts/<str:order>", look)]
app = get_wsgi_application()
