from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from layer2.errors import InsufficientFunds, NodeUnreachable
from layer2.formats import canonical_json
from layer2.legs.leg import Htlc
from layer2.legs.views import Side
from layer2.model.layers import Layer2ProtocolType
from layer2.provider.http import LONGEST_BODY
from layer2.terms.signing import check_quote_signature, check_terms_signature, read_signed_quote, read_signed_terms
from provider.callers import Caller, bearer, error
from provider.made_providers import LIGHTNING, OTHER_TAKERS, served, token_of, until, world
from swap_rules.example_terms import AMOUNT

QUOTE = {"asset": "BTC", "amount": "100000", "source": "BOB", "destination": "LIGHTNING"}
WRITTEN_QUOTE = json.dumps(QUOTE).encode()


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with world(tmp_path) as made, served(made) as (url, session):
        yield Caller(made, url, session)


async def test_info_has_what_is_offered(caller: Caller) -> None:
    status, info = await caller.get("/v1/info")
    assert status == 200
    assert info["identity_key"] == caller.made.identity.public_key.hex()
    assert set(info["layers"]) == {"BOB", "LIGHTNING"}
    assert info["health"] == {"ready": True, "reason": None}
    pairs = {(pair["source"], pair["destination"]): pair for pair in info["pairs"]}
    assert set(pairs) == {("LIGHTNING", "BOB"), ("BOB", "LIGHTNING")}
    assert set(pairs["BOB", "LIGHTNING"]) == {
        "source",
        "destination",
        "min_amount",
        "max_amount",
        "fee_ppm",
        "base_fee",
        "network_fee",
        "collect_by",
        "known",
        "source_deadline",
        "worst",
    }


async def test_a_quote_can_be_asked_for_by_what_leaves(caller: Caller) -> None:
    body = {name: value for name, value in QUOTE.items() if name != "amount"}
    status, quote = await caller.post("/v1/quotes", {**body, "send_amount": "50000"})
    assert status == 200
    assert read_signed_quote(quote).quote.source_amount == 50_000


async def test_a_quote_and_terms_come_signed(caller: Caller) -> None:
    status, quote = await caller.post("/v1/quotes", QUOTE)
    assert status == 200
    check_quote_signature(read_signed_quote(quote))
    request = await caller.made.request(1)
    status, terms = await caller.post("/v1/swaps", {**caller.made.written(request), "quote": quote})
    assert status == 200
    check_terms_signature(read_signed_terms(terms))


async def test_the_same_request_gets_the_same_bytes(caller: Caller) -> None:
    body = canonical_json.encode(caller.made.written(await caller.made.request(1, LIGHTNING)))
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
    ("a send amount that is none", {**QUOTE, "send_amount": "0"}, "send_amount"),
    ("null", {**QUOTE, "amount": None}, "amount"),
    ("a layer that is not one", {**QUOTE, "source": "bob"}, "source"),
    ("a layer as a number", {**QUOTE, "source": 1}, "source"),
    ("an unknown field", {**QUOTE, "tip": "1"}, "tip"),
]


async def test_a_quote_with_no_amount_or_two_is_refused(caller: Caller) -> None:
    no_amount = {name: value for name, value in QUOTE.items() if name != "amount"}
    for body in (no_amount, {**QUOTE, "send_amount": "100000"}):
        assert error(await caller.post("/v1/quotes", body)) == (400, "amount", None)


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


async def test_a_body_that_is_not_a_request_is_refused(caller: Caller) -> None:
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
        assert error(answer) == (422, "outside_limits", None)


async def test_an_unknown_asset_or_pair_is_400(caller: Caller) -> None:
    assert error(await caller.post("/v1/quotes", {**QUOTE, "asset": "ETH"})) == (400, "unknown_asset", "asset")
    answer = await caller.post("/v1/quotes", {**QUOTE, "destination": "BOB"})
    assert error(answer) == (400, "pair", None)


WRONG_SWAPS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("an id in capitals", {"swap_id": "AB" * 16}, "invalid_request", "swap_id"),
    ("a short id", {"swap_id": "ab"}, "invalid_request", "swap_id"),
    ("an id as a number", {"swap_id": 1}, "invalid_request", "swap_id"),
    ("a short hash", {"payment_hash": "ab" * 31}, "invalid_request", "payment_hash"),
    ("a hash in base64", {"payment_hash": "q6ur" * 10 + "q6s="}, "invalid_request", "payment_hash"),
    ("another hash than the invoice's", {"payment_hash": "ab" * 32}, "invoice_hash", None),
    ("no invoice", {"destination": "lnbcrt1"}, "invoice_format", None),
    ("a destination that is too long", {"destination": "l" * 7_090}, "invalid_request", "destination"),
    ("an account without 0x", {"source": "66" * 20}, "offer_address", None),
    ("a mistyped account", {"source": "0x" + "aA" * 20}, "offer_address", None),
    ("the zero account", {"source": "0x" + "00" * 20}, "offer_address", None),
    ("a source that is too long", {"source": "0" * 161}, "invalid_request", "source"),
    ("a short access hash", {"access_hash": "ab" * 31}, "invalid_request", "access_hash"),
    ("an access hash in capitals", {"access_hash": "AB" * 32}, "invalid_request", "access_hash"),
    ("a quote as a text", {"quote": "cd" * 16}, "invalid_request", "quote"),
    ("a quote that is none", {"quote": {}}, "quote_format", "quote"),
]  # fmt: skip


async def test_a_wrong_swap_request_is_refused_by_what_is_wrong(caller: Caller) -> None:
    honest = caller.made.written(await caller.made.request(1))
    for name, changes, code, field in WRONG_SWAPS:
        answer = await caller.post("/v1/swaps", {**honest, **changes})
        assert error(answer) == (400, code, field), name
    assert await caller.made.records() == ()


async def test_a_known_id_or_hash_with_another_request_is_409(caller: Caller) -> None:
    first = caller.made.written(await caller.made.request(1))
    assert (await caller.post("/v1/swaps", first))[0] == 200
    other = {**first, "source": "0x" + "66" * 20}
    assert error(await caller.post("/v1/swaps", other)) == (409, "swap_conflict", "swap_id")
    same_hash = {**caller.made.written(await caller.made.request(1)), "swap_id": "cd" * 16}
    assert error(await caller.post("/v1/swaps", same_hash)) == (409, "payment_hash_used", "payment_hash")


async def test_margins_that_do_not_hold_are_422(caller: Caller) -> None:
    request = await caller.made.request(1)
    short = caller.made.invoice(request.payment_hash, expiry=100)
    answer = await caller.post("/v1/swaps", {**caller.made.written(request), "destination": short})
    assert error(answer) == (422, "funds_rules", None)


async def test_too_many_open_swaps_are_429(caller: Caller) -> None:
    for number in (1, 2):
        await caller.post("/v1/swaps", caller.made.written(await caller.made.request(number)))
    answer = await caller.post("/v1/swaps", caller.made.written(await caller.made.request(3)))
    assert error(answer) == (429, "too_many_swaps", None)


async def test_why_the_provider_cannot_finish_is_in_its_log_and_not_in_the_answer(caller: Caller) -> None:
    body = caller.made.written(await caller.made.request(1))
    caller.made.bob.cannot_finish = InsufficientFunds("only 17 wei are left")
    with structlog.testing.capture_logs() as logs:
        status, answer = await caller.post("/v1/swaps", body)
    assert error((status, answer)) == (503, "not_ready", None)
    assert "17" not in json.dumps(answer)
    assert "17 wei" in json.dumps(logs)


async def test_a_refusal_for_which_a_later_try_can_work_names_the_pause(caller: Caller) -> None:
    async def pause(path: str, body: Any) -> tuple[int, str, str | None]:
        async with caller.session.post(caller.url + path, json=body) as response:
            answer = await response.json()
            return response.status, answer.get("error", {}).get("code", ""), response.headers.get("Retry-After")

    for number in (1, 2):
        assert (await pause("/v1/swaps", caller.made.written(await caller.made.request(number))))[0] == 200
    assert await pause("/v1/swaps", caller.made.written(await caller.made.request(3))) == (429, "too_many_swaps", "5")
    assert await pause("/v1/quotes", {**QUOTE, "amount": "1"}) == (422, "outside_limits", None)
    caller.made.lightning.cannot_finish = InsufficientFunds("no liquidity")
    request = caller.made.written(await caller.made.request(4, taker=OTHER_TAKERS[4]))
    assert await pause("/v1/swaps", request) == (503, "not_ready", "2")
    caller.made.bob.away = NodeUnreachable("down")
    caller.made.clock.time += 10
    assert await pause("/v1/quotes", QUOTE) == (503, "not_ready", "2")


async def test_a_provider_that_is_busy_says_so_at_once_and_asks_no_node(tmp_path: Path) -> None:
    async with world(tmp_path, max_acceptances=1) as made, served(made) as (url, session):
        caller, released = Caller(made, url, session), asyncio.Event()
        requests = [made.written(await made.request(number, taker=OTHER_TAKERS[number])) for number in (1, 2, 3)]
        check = made.bob.check_can_finish

        async def held(htlc: Htlc, side: Side) -> None:
            await check(htlc, side)
            await released.wait()

        made.bob.check_can_finish = held  # type: ignore[method-assign]
        calls = [asyncio.create_task(caller.post("/v1/swaps", each)) for each in requests[:2]]
        await until(lambda: made.bob.checked and len(made.provider._under_way) == 2)
        async with session.post(f"{url}/v1/swaps", json=requests[2]) as response:
            assert response.status == 503
            assert (await response.json())["error"]["code"] == "busy"
            assert int(response.headers["Retry-After"]) >= 1
        # The second waited for a moment.
        assert error(await calls[1])[:2] == (503, "busy")
        assert len(made.bob.checked) == 1
        released.set()
        assert (await calls[0])[0] == 200
        assert (await caller.post("/v1/swaps", requests[2]))[0] == 200


async def test_a_node_that_is_down_is_503_and_named_without_its_address(caller: Caller) -> None:
    caller.made.bob.away = NodeUnreachable("http://user:secret@10.0.0.7:8545 does not answer")
    status, answer = await caller.post("/v1/quotes", QUOTE)
    assert error((status, answer)) == (503, "not_ready", None)
    assert "10.0.0.7" not in json.dumps(answer)
    _, info = await caller.get("/v1/info")
    assert info["health"] == {"ready": False, "reason": "the provider's BOB node is not ready"}


async def test_a_fault_of_the_provider_is_500_without_its_message(caller: Caller) -> None:
    body = caller.made.written(await caller.made.request(1))
    caller.made.bob.cannot_finish = RuntimeError("secret")
    status, answer = await caller.post("/v1/swaps", body)
    assert error((status, answer)) == (500, "internal", None)
    assert "secret" not in json.dumps(answer)


async def test_a_log_line_names_the_swap_and_holds_no_token_and_no_invoice(caller: Caller) -> None:
    request = await caller.made.request(1)
    with structlog.testing.capture_logs() as logs:
        await caller.post("/v1/swaps", caller.made.written(request))
        await caller.get(f"/v1/swaps/{request.swap_id}", **bearer(1))
        await caller.get(f"/v1/swaps/{request.swap_id}", **bearer(2))
    [agreed] = [line for line in logs if line["event"] == "swap_agreed"]
    assert (agreed["swap_id"], agreed["amount_sat"], agreed["fee_sat"]) == (request.swap_id, AMOUNT, 470)
    text = json.dumps(logs)
    for hidden in (token_of(1).hex(), token_of(2).hex(), request.destination, request.payment_hash.hex()):
        assert hidden not in text


async def test_a_swap_can_be_looked_at_with_its_token(caller: Caller) -> None:
    request = await caller.made.accept(1)
    status, swap = await caller.get(f"/v1/swaps/{request.swap_id}", **bearer(1))
    assert (status, swap["state"], swap["next_actor"]) == (200, "agreed", "taker")
    assert int(swap["terms"]["terms"]["amount"]) == AMOUNT


async def test_without_the_token_of_the_swap_nothing_is_shown_of_it(caller: Caller) -> None:
    request = await caller.made.accept(1)
    await caller.made.accept(2)
    right = token_of(1).hex()
    for headers in (
        {},
        bearer(2),
        {"Authorization": right},
        {"Authorization": f"Basic {right}"},
        {"Authorization": f"Bearer {right.upper()}"},
        {"Authorization": f"Bearer {right}00"},
        {"Authorization": "Bearer "},
    ):
        for path in (f"/v1/swaps/{request.swap_id}", f"/v1/swaps/{request.swap_id}/events"):
            async with caller.session.get(caller.url + path, headers=headers) as response:
                assert response.headers["WWW-Authenticate"] == "Bearer"
                answer = response.status, json.loads(await response.read())
            assert error(answer) == (401, "access", None), headers


async def test_what_is_not_there_is_404_in_the_same_shape(caller: Caller) -> None:
    assert error(await caller.get(f"/v1/swaps/{'cd' * 16}")) == (404, "unknown_swap", None)
    assert error(await caller.get(f"/v1/swaps/{'cd' * 16}/events")) == (404, "unknown_swap", None)
    assert error(await caller.get("/v1/nothing")) == (404, "not_found", None)
    assert error(await caller.get("/docs")) == (404, "not_found", None)
    assert error(await caller.get("/v1/info/")) == (404, "not_found", None)
    assert error(await caller.get("/v1/swaps/AB")) == (400, "invalid_request", "swap_id")


async def test_another_method_is_405_and_names_those_that_are_allowed(caller: Caller) -> None:
    async with caller.session.get(f"{caller.url}/v1/quotes") as response:
        assert error((response.status, await response.json())) == (405, "invalid_request", None)
        assert response.headers["Allow"] == "POST"


AMBIGUOUS = {
    "a repeated key": WRITTEN_QUOTE.replace(b'"amount"', b'"amount":"200000","amount"'),
    "a byte order mark": b"\xef\xbb\xbf" + WRITTEN_QUOTE,
    "UTF-16": WRITTEN_QUOTE.decode().encode("utf-16"),
    "UTF-16 without a mark": WRITTEN_QUOTE.decode().encode("utf-16-le"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_a_body_that_two_parsers_could_read_differently_is_refused(caller: Caller, case: str) -> None:
    assert (await caller.post("/v1/quotes", data=WRITTEN_QUOTE))[0] == 200
    assert error(await caller.post("/v1/quotes", data=AMBIGUOUS[case])) == (400, "invalid_request", None)


async def test_every_error_is_described_as_the_json_that_it_is(caller: Caller) -> None:
    _, described = await caller.get("/openapi.json")
    for path in described["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            assert {"405", "500"} <= set(answers)
            for status, answer in answers.items():
                if status != "200":
                    assert list(answer["content"]) == ["application/json"]
    events = described["paths"]["/v1/swaps/{swap_id}/events"]["get"]["responses"]
    assert list(events["200"]["content"]) == ["text/event-stream"]


async def test_the_interface_describes_itself(caller: Caller) -> None:
    status, described = await caller.get("/openapi.json")
    assert (status, described["openapi"][:3]) == (200, "3.1")
    assert set(described["paths"]) == {
        "/v1/info",
        "/v1/quotes",
        "/v1/swaps",
        "/v1/swaps/{swap_id}",
        "/v1/swaps/{swap_id}/events",
        "/v1/swaps/{swap_id}/statement",
    }
    assert {"400", "409", "422", "429", "503"} <= set(described["paths"]["/v1/swaps"]["post"]["responses"])
    schemas = described["components"]["schemas"]
    assert schemas["QuoteBody"]["oneOf"] == [{"required": ["amount"]}, {"required": ["send_amount"]}]
    names = [layer.value for layer in Layer2ProtocolType]
    assert schemas["QuoteBody"]["properties"]["source"]["enum"] == names
    assert set(schemas["SwapBody"]["required"]) == {
        "swap_id",
        "quote",
        "payment_hash",
        "source",
        "destination",
        "access_hash",
    }
    for path in ("/v1/swaps/{swap_id}", "/v1/swaps/{swap_id}/events"):
        assert described["paths"][path]["get"]["security"] == [{"HTTPBearer": []}]
