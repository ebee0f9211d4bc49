"""A stranger who asks a served provider over HTTP."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from provider.made_providers import World, token_of


class Caller:
    """Asks a served provider as a stranger would."""

    def __init__(self, made: World, url: str, session: aiohttp.ClientSession) -> None:
        self.made, self.url, self.session = made, url, session

    async def post(self, path: str, body: Any = None, *, data: bytes | None = None) -> tuple[int, Any]:
        data = json.dumps(body).encode() if data is None else data
        headers = {"Content-Type": "application/json"}
        async with self.session.post(self.url + path, data=data, headers=headers) as response:
            return response.status, json.loads(await response.read())

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, json.loads(await response.read())


def bearer(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(number).hex()}"}


def error(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    """Status, code and field; the shape of an error is checked on the way."""
    status, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "field"}
    assert isinstance(body["error"]["message"], str)
    return status, body["error"]["code"], body["error"]["field"]
