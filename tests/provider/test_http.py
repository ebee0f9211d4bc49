from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from layer2.errors import InsufficientFunds, NodeUnreachable
from layer2.formats import canonical_json
from layer2.formats.evm_address import to_checksum
from layer2.formats.signed_terms import (
    check_quote_signature,
    check_terms_signature,
    read_signed_quote,
    read_signed_terms,
)
from layer2.provider.http import LONGEST_BODY
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import ProviderCollecting, ProviderCompleted
from provider.made_providers import World, served, world
from swap_rules.made_agreements import AMOUNT, LIGHTNING, invoice

QUOTE = {"asset": "BTC", "amount": "100000", "source": "BOB", "destination": "LIGHTNING"}


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


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with world(tmp_path) as made, served(made) as (url, session):
        yield Caller(made, url, session)


def written(request: SwapRequest) -> dict[str, Any]:
    return {
        "swap_id": request.swap_id,
        "quote_id": request.quote_id,
        "payment_hash": request.payment_hash.hex(),
        "offer": request.offer,
        "taker_address": to_checksum(request.taker_address),
    }


def error(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    """Status, code and field; the shape of an error is checked on the way."""
    status, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "field"}
    assert isinstance(body["error"]["message"], str)
    return status, body["error"]["code"], body["error"]["field"]


async def test_info_says_what_is_offered(caller: Caller) -> None:
    status, info = await caller.get("/v1/info")
    assert status == 200
    assert info["identity_key"] == caller.made.identity.public_key.hex()
    assert info["limits"] == {"min_amount": "10000", "max_amount": "4000000"}
    assert info["health"] == {"ready": True, "reason": None}
    assert {"source": "LIGHTNING", "destination": "BOB"} in info["pairs"]


async def test_a_quote_and_terms_come_signed(caller: Caller) -> None:
    status, quote = await caller.post("/v1/quotes", QUOTE)
    assert status == 200
    check_quote_signature(read_signed_quote(quote))
    request = await caller.made.request(1)
    status, terms = await caller.post("/v1/swaps", {**written(request), "quote_id": quote["quote"]["quote_id"]})
    assert status == 200
    check_terms_signature(read_signed_terms(terms))


async def test_the_same_request_gets_the_same_bytes(caller: Caller) -> None:
    body = canonical_json.encode(written(await caller.made.request(1, LIGHTNING)))
    answers = []
    for _ in range(2):
        async with caller.session.post(
            f"{caller.url}/v1/swaps", data=body, headers={"Content-Type": "application/json"}
        ) as response:
            answers.append(await response.read())
    assert answers[0] == answers[1]
    assert canonical_json.decode_strict(answers[0])


WRONG_QUOTES: list[tuple[str, Any, str]] = [
    ("an amount as a number", {**QUOTE, "amount": 100_000}, "amount"),
    ("an amount as a float", {**QUOTE, "amount": 1.5}, "amount"),
    ("a float in text", {**QUOTE, "amount": "1.5"}, "amount"),
    ("zero", {**QUOTE, "amount": "0"}, "amount"),
    ("a negative amount", {**QUOTE, "amount": "-1"}, "amount"),
    ("leading zeros", {**QUOTE, "amount": "0100000"}, "amount"),
    ("an amount of a thousand digits", {**QUOTE, "amount": "1" * 1000}, "amount"),
    ("other digits than ASCII's", {**QUOTE, "amount": "\u0661\u0660\u0660\u0660\u0660\u0660"}, "amount"),
    ("a line feed at the end", {**QUOTE, "amount": "100000\n"}, "amount"),
    ("no amount", {k: v for k, v in QUOTE.items() if k != "amount"}, "amount"),
    ("null", {**QUOTE, "amount": None}, "amount"),
    ("a layer that is not one", {**QUOTE, "source": "bob"}, "source"),
    ("an unknown field", {**QUOTE, "tip": "1"}, "tip"),
]


async def test_a_wrong_quote_request_names_the_field(caller: Caller) -> None:
    for name, body, field in WRONG_QUOTES:
        assert error(await caller.post("/v1/quotes", body)) == (400, "invalid_request", field), name


NO_REQUESTS = {
    "empty": b"",
    "cut off": b"{",
    "a list": b"[]",
    "null": b"null",
    "text": b'"text"',
    "not UTF-8": b"\xff\xfe",
    "deep lists": b"[" * 10_000,
    "deep objects": b'{"a":' * 3_000,
    "a huge number": b'{"amount":' + b"9" * 9_000 + b"}",
}


async def test_a_body_that_is_no_request_is_refused(caller: Caller) -> None:
    for name, data in NO_REQUESTS.items():
        assert error(await caller.post("/v1/quotes", data=data))[:2] == (400, "invalid_request"), name


async def test_a_body_that_is_too_long_is_refused_before_it_is_read_as_json(caller: Caller) -> None:
    longest = b'"' + b"a" * (LONGEST_BODY - 2) + b'"'
    assert error(await caller.post("/v1/quotes", data=longest))[0] == 400
    assert error(await caller.post("/v1/quotes", data=longest + b" "))[:2] == (413, "too_long")


async def test_a_body_that_comes_in_pieces_is_counted_as_a_whole(caller: Caller) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LONGEST_BODY // 1024 + 1):
            yield b" " * 1024

    async with caller.session.post(f"{caller.url}/v1/quotes", data=pieces()) as response:
        assert response.status == 413


async def test_an_amount_outside_the_limits_is_422(caller: Caller) -> None:
    for amount in ("9999", "4000001", "9" * 19):
        answer = await caller.post("/v1/quotes", {**QUOTE, "amount": amount})
        assert error(answer) == (422, "outside_limits", "amount")


async def test_an_unknown_asset_or_pair_is_400(caller: Caller) -> None:
    assert error(await caller.post("/v1/quotes", {**QUOTE, "asset": "ETH"})) == (400, "unknown_asset", "asset")
    answer = await caller.post("/v1/quotes", {**QUOTE, "destination": "BOB"})
    assert error(answer) == (400, "pair", None)


WRONG_SWAPS: list[tuple[str, dict[str, Any], str, str]] = [
    ("an id in capitals", {"swap_id": "AB" * 16}, "invalid_request", "swap_id"),
    ("a short id", {"swap_id": "ab"}, "invalid_request", "swap_id"),
    ("an id as a number", {"swap_id": 1}, "invalid_request", "swap_id"),
    ("a short hash", {"payment_hash": "ab" * 31}, "invalid_request", "payment_hash"),
    ("a hash in base64", {"payment_hash": "q6ur" * 10 + "q6s="}, "invalid_request", "payment_hash"),
    ("another hash than the invoice's", {"payment_hash": "ab" * 32}, "invoice_hash", "offer"),
    ("no invoice", {"offer": "lnbcrt1"}, "invoice_format", "offer"),
    ("an offer that is too long", {"offer": "l" * 7_090}, "invalid_request", "offer"),
    ("an account without 0x", {"taker_address": "66" * 20}, "invalid_request", "taker_address"),
    ("a mistyped account", {"taker_address": "0x" + "aA" * 20}, "taker_address", "taker_address"),
    ("the zero account", {"taker_address": "0x" + "00" * 20}, "taker_address", "taker_address"),
    ("a quote that is none", {"quote_id": "cd" * 16}, "quote_expired", "quote_id"),
]  # fmt: skip


async def test_a_wrong_swap_request_says_what_is_wrong(caller: Caller) -> None:
    honest = written(await caller.made.request(1))
    for name, changes, code, field in WRONG_SWAPS:
        status = 409 if code == "quote_expired" else 400
        answer = await caller.post("/v1/swaps", {**honest, **changes})
        assert error(answer) == (status, code, field), name
    assert await caller.made.records() == []


async def test_a_known_id_or_hash_with_another_request_is_409(caller: Caller) -> None:
    first = written(await caller.made.request(1))
    assert (await caller.post("/v1/swaps", first))[0] == 200
    other = {**first, "taker_address": "0x" + "66" * 20}
    assert error(await caller.post("/v1/swaps", other)) == (409, "swap_conflict", "swap_id")
    same_hash = {**written(await caller.made.request(1)), "swap_id": "cd" * 16}
    assert error(await caller.post("/v1/swaps", same_hash)) == (409, "payment_hash_used", "payment_hash")


async def test_margins_that_do_not_hold_are_422(caller: Caller) -> None:
    request = await caller.made.request(1)
    short = invoice(payment_hash=request.payment_hash, expiry=100)
    answer = await caller.post("/v1/swaps", {**written(request), "offer": short})
    assert error(answer) == (422, "funds_rules", None)


async def test_too_many_open_swaps_are_429(caller: Caller) -> None:
    for number in (1, 2):
        await caller.post("/v1/swaps", written(await caller.made.request(number)))
    answer = await caller.post("/v1/swaps", written(await caller.made.request(3)))
    assert error(answer) == (429, "too_many_swaps", None)


async def test_why_the_provider_cannot_finish_is_in_its_log_and_not_in_the_answer(caller: Caller) -> None:
    body = written(await caller.made.request(1))
    caller.made.bob.cannot_finish = InsufficientFunds("only 17 wei are left")
    with structlog.testing.capture_logs() as logs:
        status, answer = await caller.post("/v1/swaps", body)
    assert error((status, answer)) == (503, "not_ready", None)
    assert "17" not in json.dumps(answer)
    assert "17 wei" in json.dumps(logs)


async def test_a_node_that_is_down_is_503_and_named_without_its_address(caller: Caller) -> None:
    caller.made.bob.error = NodeUnreachable("http://user:secret@10.0.0.7:8545 does not answer")
    status, answer = await caller.post("/v1/quotes", QUOTE)
    assert error((status, answer)) == (503, "not_ready", None)
    assert "10.0.0.7" not in json.dumps(answer)
    _, info = await caller.get("/v1/info")
    assert info["health"] == {"ready": False, "reason": "the provider's BOB node is not ready"}


async def test_a_fault_of_the_provider_is_500_without_its_words(caller: Caller) -> None:
    body = written(await caller.made.request(1))
    caller.made.bob.cannot_finish = RuntimeError("secret")
    status, answer = await caller.post("/v1/swaps", body)
    assert error((status, answer)) == (500, "internal", None)
    assert "secret" not in json.dumps(answer)


async def test_no_log_line_holds_a_swap_id_or_an_offer(caller: Caller) -> None:
    request = await caller.made.request(1)
    with structlog.testing.capture_logs() as logs:
        await caller.post("/v1/swaps", written(request))
        await caller.get(f"/v1/swaps/{request.swap_id}")
    text = json.dumps(logs)
    assert "swap_agreed" in text
    for hidden in (request.swap_id, request.quote_id, request.offer, request.payment_hash.hex()):
        assert hidden not in text


async def test_a_swap_can_be_looked_at_by_who_knows_its_id(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", written(request))
    status, swap = await caller.get(f"/v1/swaps/{request.swap_id}")
    assert (status, swap["state"], swap["next_actor"]) == (200, "agreed", "taker")
    assert int(swap["terms"]["terms"]["amount"]) == AMOUNT


async def test_what_is_not_there_is_404_in_the_same_shape(caller: Caller) -> None:
    assert error(await caller.get(f"/v1/swaps/{'cd' * 16}")) == (404, "unknown_swap", None)
    assert error(await caller.get(f"/v1/swaps/{'cd' * 16}/events")) == (404, "unknown_swap", None)
    assert error(await caller.get("/v1/nothing")) == (404, "not_found", None)
    assert error(await caller.get("/docs")) == (404, "not_found", None)
    assert error(await caller.get("/v1/quotes")) == (405, "invalid_request", None)
    assert error(await caller.get("/v1/swaps/AB")) == (400, "invalid_request", "swap_id")


async def _next_event(response: aiohttp.ClientResponse) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = json.loads(value) if name == "data" else value
    return fields


async def test_events_are_streamed_with_their_versions_as_ids(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", written(request))
    async with caller.session.get(f"{caller.url}/v1/swaps/{request.swap_id}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        first = await _next_event(response)
        assert (first["event"], first["id"], first["data"]["state"]) == ("swap", "1", "agreed")
        await caller.made.runner.move(request.swap_id, ProviderCollecting("0x01", "02"), "the preimage is out")
        second = await _next_event(response)
        assert (second["id"], second["data"]["state"]) == ("2", "collecting")
        await caller.made.runner.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
        assert (await _next_event(response))["data"]["state"] == "completed"
        assert await response.content.read() == b""


async def test_a_reader_that_comes_back_gets_only_what_it_has_not_seen(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", written(request))
    await caller.made.runner.move(request.swap_id, ProviderCompleted("0x01", "02"), "completed")
    path = f"{caller.url}/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(path, headers={"Last-Event-ID": "1"}) as response:
        assert (await _next_event(response))["id"] == "2"
        assert await response.content.read() == b""
    assert error(await caller.get(path.removeprefix(caller.url), **{"Last-Event-ID": "x"}))[0] == 400


async def test_streams_are_limited_and_a_reader_that_leaves_makes_room(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", written(request))
    path = f"/v1/swaps/{request.swap_id}/events"
    async with caller.session.get(caller.url + path) as response:
        await _next_event(response)
        assert error(await caller.get(path)) == (429, "too_many_streams", None)
    await asyncio.wait_for(caller.made.runner.left.wait(), 5)
    async with caller.session.get(caller.url + path) as response:
        assert response.status == 200
        assert (await _next_event(response))["id"] == "1"


async def test_streams_end_when_the_provider_stops(caller: Caller) -> None:
    request = await caller.made.request(1)
    await caller.post("/v1/swaps", written(request))
    async with caller.session.get(f"{caller.url}/v1/swaps/{request.swap_id}/events") as response:
        await _next_event(response)
        caller.made.runner.close()
        assert await response.content.read() == b""


async def test_the_interface_describes_itself(caller: Caller) -> None:
    status, described = await caller.get("/openapi.json")
    assert (status, described["openapi"][:3]) == (200, "3.1")
    assert set(described["paths"]) == {
        "/v1/info",
        "/v1/quotes",
        "/v1/swaps",
        "/v1/swaps/{swap_id}",
        "/v1/swaps/{swap_id}/events",
    }
    assert {"400", "409", "422", "429", "503"} <= set(described["paths"]["/v1/swaps"]["post"]["responses"])
