"""The HTTP server that controls a local network. ``LocalNetworkControl`` is its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import orjson
from aiohttp import web

from layer2.errors import InvalidRequest, Layer2Error
from layer2.formats.evm_hex import parse_data
from layer2.local.loopback import listen

__all__ = ["ChainControls", "ControlServer", "LightningControls", "NetworkControls"]

_Fields: TypeAlias = Mapping[str, object]
_Value = TypeVar("_Value", int, bool, str)


class ChainControls(Protocol):
    """Controls one EVM chain. Each operation returns when its change is visible at the node.

    Raises, all operations: ValueError (such as InvalidRequest), if the chain cannot do what is requested.
    """

    async def mine(self, blocks: int) -> int:
        """Make blocks and return the height."""
        ...

    async def set_automatic(self, enabled: bool) -> None:
        """Switch automatic blocks on or off."""
        ...

    async def advance_time(self, seconds: int) -> int:
        """Move the chain's clock forward, make a block and return its timestamp."""
        ...

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads, or let them follow."""
        ...

    async def reorganise(self, depth: int, *, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the last blocks and return the height."""
        ...


class LightningControls(Protocol):
    """Controls both Lightning nodes, as ``ChainControls`` does a chain."""

    async def stop_node(self, party: str) -> None:
        """Kill that party's node."""
        ...

    async def start_node(self, party: str, *, new_certificate: bool) -> None:
        """Restart that party's node."""
        ...


class NetworkControls(Protocol):
    """Controls a whole network."""

    @property
    def controls(self) -> Mapping[str, ChainControls]:
        """Each chain's controls by the name of its layer."""
        ...

    @property
    def lightning(self) -> LightningControls:
        """The Lightning nodes' controls."""
        ...

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make Bitcoin blocks, wait until each running Lightning node sees them, and return the height."""
        ...

    def advance_clock(self, seconds: int) -> int:
        """Move the machines' clock and return its time."""
        ...

    def set_fault(self, target: str, kind: str, arguments: Mapping[str, object]) -> None:
        """Set a fault switch of a node."""
        ...

    async def status(self) -> dict[str, object]:
        """Heights, times and balances, for display."""
        ...


class ControlServer:
    """Serves ``POST /OPERATION`` with a JSON object of arguments, on a loopback port.

    An operation that fails has the body ``{"error": MESSAGE}``, and the status 400, or 502 if a node failed.
    """

    def __init__(self, network: NetworkControls) -> None:
        self._network = network
        application = web.Application()
        application.router.add_post("/{operation}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """Listen on a free port of 127.0.0.1 and return the URL."""
        return f"http://127.0.0.1:{await listen(self._runner)}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        # A web page can send a form to loopback. It can send JSON only if this server allows it (CORS).
        if request.content_type != "application/json":
            return _respond(415, {"error": "expected application/json"})
        try:
            fields = orjson.loads(await request.read())
            if not isinstance(fields, dict):
                raise InvalidRequest("expected a JSON object of arguments")
            return _respond(200, await self._perform(request.match_info["operation"], fields))
        except (ValueError, TypeError) as error:
            return _respond(400, {"error": str(error)})
        except Layer2Error as error:
            return _respond(502, {"error": str(error)})

    async def _perform(self, operation: str, fields: _Fields) -> _Fields:
        network = self._network
        match operation:
            case "mine_bitcoin":
                return {"height": await network.mine_bitcoin(_take(fields, "blocks", int))}
            case "clock":
                return {"time": network.advance_clock(_take(fields, "seconds", int))}
            case "stop_lightning":
                await network.lightning.stop_node(_party(fields))
            case "start_lightning":
                new_certificate = _take(fields, "new_certificate", bool)
                await network.lightning.start_node(_party(fields), new_certificate=new_certificate)
            case "fault":
                rest = {name: value for name, value in fields.items() if name not in ("target", "kind")}
                network.set_fault(_take(fields, "target", str), _take(fields, "kind", str), rest)
            case "status":
                return await network.status()
            case _:
                chain = network.controls.get(_take(fields, "chain", str))
                if chain is None:
                    raise InvalidRequest(f"no chain {fields['chain']!r}: {' or '.join(network.controls)}")
                return await _steer(chain, operation, fields)
        return {}


async def _steer(chain: ChainControls, operation: str, fields: _Fields) -> _Fields:
    """Carry out an operation on one chain."""
    match operation:
        case "mine":
            return {"height": await chain.mine(_take(fields, "blocks", int))}
        case "automatic":
            await chain.set_automatic(_take(fields, "enabled", bool))
        case "chain_time":
            return {"timestamp": await chain.advance_time(_take(fields, "seconds", int))}
        case "finality":
            await chain.set_finality(_height(fields, "safe"), _height(fields, "finalized"))
        case "reorganise":
            depth, keep = _take(fields, "depth", int), _take(fields, "keep", bool)
            transactions = _transactions(fields)
            return {"height": await chain.reorganise(depth, keep_transactions=keep, transactions=transactions)}
        case _:
            raise InvalidRequest(f"there is no operation {operation!r}")
    return {}


def _take(fields: _Fields, name: str, kind: type[_Value]) -> _Value:
    value = fields.get(name)
    # A bool is an int in Python, and not in JSON.
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise InvalidRequest(f"{name} must be of type {kind.__name__}")
    return value


def _height(fields: _Fields, name: str) -> int | None:
    return None if fields.get(name) is None else _take(fields, name, int)


def _transactions(fields: _Fields) -> list[bytes]:
    value = fields.get("transactions", [])
    if not isinstance(value, list):
        raise InvalidRequest("transactions must be a list")
    return [parse_data(raw, "transactions") for raw in value]


def _party(fields: _Fields) -> str:
    party = _take(fields, "party", str)
    if party not in ("taker", "provider"):
        raise InvalidRequest(f"unknown party {party!r}: expected taker or provider")
    return party


def _respond(status: int, answer: _Fields) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")
