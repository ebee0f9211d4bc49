"""wrk, the HTTP load generator in C: the node's rate for a client that ignores the answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson

__all__ = ["installed", "reads", "sends"]

_LONGEST_SECONDS = 60
_HEADER = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies = {}
function init()
  for line in io.lines("BODIES") do bodies[#bodies + 1] = wrk.format(nil, nil, nil, line) end
end
"""
_READS = (
    _HEADER
    + """
local place = 0
function request() place = place % #bodies + 1; return bodies[place] end
function done(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"done": %d, "seconds": %f, "bad": %d}\\n', summary.requests, summary.duration / 1e6, bad))
end
"""
)
# wrk generates one request before it starts, and stops only after a given time. So each connection waits when no
# request is left, and the last answer ends the program. wrk's own duration would include that waiting.
_SENDS = (
    _HEADER
    + """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long us; } timeval_t; int gettimeofday(timeval_t *t, void *zone);")
local function now()
  local t = ffi.new("timeval_t"); ffi.C.gettimeofday(t, nil); return tonumber(t.s) + tonumber(t.us) / 1e6
end
local tickets, place, answered, began = 0, 0, 0, nil
function delay()
  tickets = tickets + 1
  return tickets <= #bodies and 0 or 600000
end
function request()
  if tickets == 0 then return bodies[1] end
  if began == nil then began = now() end
  place = place + 1
  return bodies[math.min(place, #bodies)]
end
local bad = 0
function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 or not string.find(body, '"result"', 1, true) then bad = bad + 1 end
  if answered == #bodies then
    io.write(string.format('\\n{"done": %d, "seconds": %f, "bad": %d}\\n', answered, now() - began, bad))
    io.flush()
    os.exit(0)
  end
end
"""
)


def installed() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


async def reads(directory: Path, url: str, concurrency: int, seconds: float, tx_ids: Sequence[str]) -> float:
    """Receipts per second over that many connections, one request for each receipt.

    Args:
        seconds: rounded to whole seconds, at least one.
    """
    bodies = [_body("eth_getTransactionReceipt", tx_id) for tx_id in tx_ids]
    return await _run(directory, url, _READS, bodies, concurrency, max(1, round(seconds)))


async def sends(directory: Path, url: str, concurrency: int, raw: Sequence[bytes]) -> float:
    """Transactions per second that the node accepted, one request for each."""
    bodies = [_body("eth_sendRawTransaction", "0x" + each.hex()) for each in raw]
    return await _run(directory, url, _SENDS, bodies, concurrency, _LONGEST_SECONDS)


def _body(method: str, parameter: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]})


async def _run(
    directory: Path, url: str, script: str, bodies: Sequence[bytes], concurrency: int, seconds: int
) -> float:
    lines, lua = directory / "wrk-bodies", directory / "wrk.lua"
    lines.write_bytes(b"\n".join(bodies) + b"\n")
    lua.write_text(script.replace("BODIES", str(lines)))
    process = await asyncio.create_subprocess_exec(
        "wrk",
        *("-t1", f"-c{concurrency}", f"-d{seconds}s", "-s", str(lua), url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    found = [line for line in output.splitlines() if line.startswith(b'{"done"')]
    if not found:
        raise SystemExit(f"wrk did not finish: {output.decode(errors='replace')}")
    result = json.loads(found[-1])
    if result["bad"]:
        raise SystemExit(f"wrk: {result['bad']} of {result['done']} requests failed")
    return float(result["done"] / result["seconds"])
