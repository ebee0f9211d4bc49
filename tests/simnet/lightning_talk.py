"""Makes calls to two Lightning nodes, and records the shape of every answer.

Real lnd and the simulated nodes receive the same calls. The comparison covers what a client depends on: the HTTP
status, the exact error body, the names of all fields, the form of each value, and constants such as SETTLED.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

from simnet.lightning_client import Client, preimage_of, standard

__all__ = ["Talk", "hash_of", "read_line", "shape"]

_MAPS = frozenset({"features", "config", "account_balance", "custom_records", "first_hop_custom_records"})
"""Fields that are maps: their keys are data."""
_OWN_WORDS = frozenset({"message", "version", "alias", "commit_hash", "color", "memo", "description"})


def shape(value: Any, name: str = "") -> Any:
    """The shape of a JSON value: names of fields, forms of values, and constants in capitals unchanged."""
    match value:
        case dict() if name in _MAPS:
            shapes = [shape(item) for item in value.values()]
            return {"*": shapes[0]} if shapes else {}
        case dict():
            return {key: shape(item, key) for key, item in value.items()}
        case list():
            return [shape(value[0])] if value else []
        case bool() | None:
            return value
        case int():
            return "number"
        case str():
            return "text" if name in _OWN_WORDS else _form(value)
        case _:
            raise TypeError(type(value))


def _form(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z_]+", text):
        return text
    for form, pattern in (
        ("", r""),
        ("decimal", r"-?[0-9]{1,19}"),
        ("hex32", r"[0-9a-f]{64}"),
        ("hex33", r"0[23][0-9a-f]{64}"),
        ("outpoint", r"[0-9a-f]{64}:[0-9]+"),
        ("invoice", r"lnbcrt[0-9a-z]+"),
    ):
        if re.fullmatch(pattern, text):
            return form
    if re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text) and len(text) % 4 == 0:
        return f"base64 of {len(b64decode(text))}"
    return "text"


class Talk:
    """Makes calls to two nodes and keeps their answers.

    Args:
        taker: pays.
        provider: is paid.
        mine: makes that many Bitcoin blocks and returns when both nodes have seen them.
        pass_time: lets that many seconds pass at both nodes.
        reached: returns when that number of requests are open at the named node.
        stop_provider: stops the provider, and returns when the taker has noticed.
    """

    def __init__(
        self,
        taker: Client,
        provider: Client,
        mine: Callable[[int], Awaitable[object]],
        pass_time: Callable[[int], Awaitable[object]],
        reached: Callable[[str, int], Awaitable[object]],
        stop_provider: Callable[[], Awaitable[object]],
    ) -> None:
        self._taker = taker
        self._provider = provider
        self._mine = mine
        self._pass_time = pass_time
        self._reached = reached
        self._stop_provider = stop_provider
        self._heard: dict[str, Any] = {}

    async def _ask(
        self,
        name: str,
        client: Client,
        method: str,
        path: str,
        body: dict[str, Any] | str | bytes | None = None,
        *,
        own_words: bool = True,
    ) -> Any:
        """Make one call with a finite answer, and return the first line.

        Without ``own_words`` the message of an error is omitted, because lnd's libraries vary it on purpose.
        """
        async with client.open(method, path, body) as response:
            lines = [json.loads(line) for line in (await response.read()).splitlines() if line.strip()]
            if not own_words:
                lines[0].get("error", lines[0])["message"] = "(any)"
            self._keep(name, response.status, lines)
            return lines[0]

    def _keep(self, name: str, status: int, lines: list[Any]) -> None:
        assert name not in self._heard, name
        refusal = status != 200
        answers = lines if refusal else [shape(line) for line in lines]
        self._heard[name] = {"status": status, "lines": answers}

    def _tell(self, name: str, what: Any) -> None:
        """Record a value that must be exactly equal."""
        assert name not in self._heard, name
        self._heard[name] = what

    async def _hold_invoice(self, number: int, **fields: Any) -> str:
        fields = {"hash": standard(hash_of(number)), "value": "20000"} | fields
        return str((await self._provider.post("/v2/invoices/hodl", **fields))["payment_request"])


def hash_of(number: int) -> bytes:
    return sha256(preimage_of(number)).digest()


async def read_line(response: Any) -> Any:
    return json.loads(await response.content.readline())
