"""The HTTP server that controls a simnet. ``LocalNetworkControl`` is its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson
from aiohttp import web

from layer2.formats.evm_hex import parse_data

__all__ = ["ControlServer", "Controllable"]

_Answer: TypeAlias = dict[str, Any]
_Value = TypeVar("_Value", int, bool, str)


class Controllable(Protocol):
    """A network that can be controlled. Each operation returns when its change is visible at the nodes."""

    def mine(self, chain: str, blocks: int) -> int: ...
    def set_automatic(self, chain: str, enabled: bool) -> None: ...
    def advance_chain_time(self, chain: str, seconds: int) -> int: ...
    def advance_clock(self, seconds: int) -> int: ...
    def set_finality(self, chain: str, safe: int | None, finalized: int | None) -> None: ...
    def reorganise(self, chain: str, depth: int, keep_transactions: bool, transactions: Sequence[bytes]) -> int: ...
    async def mine_bitcoin(self, blocks: int) -> int: ...
    async def stop_lightning(self, party: str) -> None: ...
    async def start_lightning(self, party: str, *, new_certificate: bool) -> None: ...
    def set_fault(self, target: str, kind: str, arguments: Mapping[str, Any]) -> None: ...
    async def status(self) -> dict[str, Any]: ...


class ControlServer:
    """Serves ``POST /OPERATION`` with a JSON object of arguments, on a loopback port.

    An operation that fails has the status 400 and the body ``{"error": MESSAGE}``.
    """

    def __init__(self, network: Controllable) -> None:
        self._network = network
        self._operations: dict[str, Callable[[_Answer], Awaitable[_Answer]]] = {
            "mine": self._mine,
            "automatic": self._automatic,
            "chain_time": self._chain_time,
            "clock": self._clock,
            "finality": self._finality,
            "reorganise": self._reorganise,
            "mine_bitcoin": self._mine_bitcoin,
            "stop_lightning": self._stop_lightning,
            "start_lightning": self._start_lightning,
            "fault": self._fault,
            "status": self._status,
        }
        application = web.Application()
        application.router.add_post("/{operation}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """Listen on a free port of 127.0.0.1 and return the URL."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        operation = self._operations.get(request.match_info["operation"])
        if operation is None:
            return _respond(404, {"error": "no such operation"})
        try:
            arguments = orjson.loads(await request.read() or b"{}")
            if not isinstance(arguments, dict):
                raise TypeError("the arguments must be an object")
            return _respond(200, await operation(arguments))
        except (ValueError, TypeError) as error:
            return _respond(400, {"error": str(error)})

    async def _mine(self, arguments: _Answer) -> _Answer:
        return {"height": self._network.mine(_expect(arguments, "chain", str), _expect(arguments, "blocks", int))}

    async def _automatic(self, arguments: _Answer) -> _Answer:
        self._network.set_automatic(_expect(arguments, "chain", str), _expect(arguments, "enabled", bool))
        return {}

    async def _chain_time(self, arguments: _Answer) -> _Answer:
        chain, seconds = _expect(arguments, "chain", str), _expect(arguments, "seconds", int)
        return {"timestamp": self._network.advance_chain_time(chain, seconds)}

    async def _clock(self, arguments: _Answer) -> _Answer:
        return {"time": self._network.advance_clock(_expect(arguments, "seconds", int))}

    async def _finality(self, arguments: _Answer) -> _Answer:
        held = [
            None if arguments.get(name) is None else _expect(arguments, name, int) for name in ("safe", "finalized")
        ]
        self._network.set_finality(_expect(arguments, "chain", str), *held)
        return {}

    async def _reorganise(self, arguments: _Answer) -> _Answer:
        chain, depth, keep = (
            _expect(arguments, "chain", str),
            _expect(arguments, "depth", int),
            _expect(arguments, "keep", bool),
        )
        return {"height": self._network.reorganise(chain, depth, keep, _transactions(arguments))}

    async def _mine_bitcoin(self, arguments: _Answer) -> _Answer:
        return {"height": await self._network.mine_bitcoin(_expect(arguments, "blocks", int))}

    async def _stop_lightning(self, arguments: _Answer) -> _Answer:
        await self._network.stop_lightning(_party(arguments))
        return {}

    async def _start_lightning(self, arguments: _Answer) -> _Answer:
        new_certificate = _expect(arguments, "new_certificate", bool)
        await self._network.start_lightning(_party(arguments), new_certificate=new_certificate)
        return {}

    async def _fault(self, arguments: _Answer) -> _Answer:
        target, kind = (_expect(arguments, name, str) for name in ("target", "kind"))
        rest = {name: value for name, value in arguments.items() if name not in ("target", "kind")}
        self._network.set_fault(target, kind, rest)
        return {}

    async def _status(self, _arguments: _Answer) -> _Answer:
        return await self._network.status()


def _expect(arguments: _Answer, name: str, kind: type[_Value]) -> _Value:
    value = arguments.get(name)
    # A bool is an int in Python, and not in JSON.
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise TypeError(f"{name} must be of type {kind.__name__}")
    return value


def _transactions(arguments: _Answer) -> list[bytes]:
    value = arguments.get("transactions", [])
    if not isinstance(value, list):
        raise TypeError("transactions must be a list")
    return [parse_data(raw, "transactions") for raw in value]


def _party(arguments: _Answer) -> str:
    party = _expect(arguments, "party", str)
    if party not in ("taker", "provider"):
        raise ValueError(f"no party {party!r}: taker or provider")
    return party


def _respond(status: int, answer: _Answer) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")
