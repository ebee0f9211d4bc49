"""The loopback HTTP server that controls a running devnet; see ``LocalNetworkControl``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from layer2.errors import InvalidRequest, Layer2Error
from layer2.local.devnet.nodes import DevnetNodes
from layer2.local.devnet.sequencer import Sequencer

__all__ = ["serving"]


@contextlib.asynccontextmanager
async def serving(nodes: DevnetNodes) -> AsyncIterator[str]:
    """Serve the controls of these nodes on a free loopback port, and yield their URL."""
    control = _Control(nodes)
    application = web.Application()
    application.router.add_post("/{operation}", control.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class _Control:
    def __init__(self, nodes: DevnetNodes) -> None:
        self._nodes = nodes

    async def answer(self, request: web.Request) -> web.Response:
        # A web page can send a form to loopback. It can send JSON only if this server allows it (CORS).
        if request.content_type != "application/json":
            return _response(415, {"error": "expected application/json"})
        try:
            arguments = orjson.loads(await request.read())
            if not isinstance(arguments, dict):
                raise InvalidRequest("expected a JSON object of arguments")
            return _response(200, await self._perform(request.match_info["operation"], arguments))
        except (InvalidRequest, orjson.JSONDecodeError) as error:
            return _response(400, {"error": str(error)})
        except Layer2Error as error:
            return _response(502, {"error": str(error)})

    async def _perform(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        match operation:
            case "mine" | "automatic" | "chain_time" | "finality" | "reorganise":
                return await self._steer(self._sequencer(_text(arguments, "chain")), operation, arguments)
            case "mine_bitcoin":
                blocks = _integer(arguments, "blocks")
                if blocks < 1:
                    raise InvalidRequest(f"blocks: expected at least 1, not {blocks}")
                return {"height": await self._nodes.lightning.mine_bitcoin(blocks)}
            case "stop_lightning":
                await self._nodes.lightning.stop_lightning(_text(arguments, "party"))
                return {}
            case "start_lightning":
                await self._nodes.lightning.start_lightning(
                    _text(arguments, "party"), new_certificate=_boolean(arguments, "new_certificate")
                )
                return {}
            case "status":
                return await self._nodes.status()
            case "fault" | "clock":
                raise InvalidRequest(f"the devnet runs real nodes and does not support {operation}; the simnet does")
            case _:
                raise InvalidRequest(f"the devnet does not support {operation}")

    def _sequencer(self, name: str) -> Sequencer:
        chain = self._nodes.chains.get(name)
        if chain is None:
            raise InvalidRequest(f"no chain {name!r}: {' or '.join(self._nodes.chains)}")
        return chain.sequencer

    async def _steer(self, sequencer: Sequencer, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation on one chain."""
        match operation:
            case "mine":
                return {"height": (await sequencer.mine(_integer(arguments, "blocks"))).number}
            case "automatic":
                await sequencer.set_automatic(_boolean(arguments, "enabled"))
                return {}
            case "chain_time":
                block = await sequencer.advance_time(_integer(arguments, "seconds"))
                return {"timestamp": block.timestamp}
            case "finality":
                await sequencer.set_finality(_height(arguments, "safe"), _height(arguments, "finalized"))
                return {}
            case _:
                if not _boolean(arguments, "keep"):
                    raise InvalidRequest(
                        "op-geth puts the transactions of removed blocks back into its pool; "
                        "only the simnet can forget them"
                    )
                block = await sequencer.reorganise(_integer(arguments, "depth"), _texts(arguments, "transactions"))
                return {"height": block.number}


def _integer(arguments: Mapping[str, Any], name: str) -> int:
    value = arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"{name}: expected an integer")
    return value


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{name}: expected a string")
    return value


def _height(arguments: Mapping[str, Any], name: str) -> int | None:
    return None if arguments.get(name) is None else _integer(arguments, name)


def _texts(arguments: Mapping[str, Any], name: str) -> list[str]:
    value = arguments.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidRequest(f"{name}: expected a list of strings")
    return value


def _boolean(arguments: Mapping[str, Any], name: str) -> bool:
    value = arguments.get(name)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}: expected true or false")
    return value


def _response(status: int, answer: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")
