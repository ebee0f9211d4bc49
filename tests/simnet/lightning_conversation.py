"""A conversation with two Lightning nodes about the calls of a swap: hold invoices, payments, and refusals."""

from __future__ import annotations

import json
import re
from typing import Any

from simnet.lightning_client import preimage_of, send_fields, standard, url_safe
from simnet.lightning_talk import Talk, hash_of, read_line

__all__ = ["Conversation"]


class Conversation(Talk):
    """Leads two nodes through the calls."""

    async def hold(self) -> dict[str, Any]:
        """Make all calls and return status and shape of each answer, by the name of the call."""
        await self._what_the_nodes_are()
        await self._a_plain_payment()
        await self._a_hold_invoice_that_is_settled()
        await self._a_hold_invoice_that_is_cancelled()
        await self._payments_that_fail()
        await self._refused_invoices()
        await self._refused_payments()
        await self._refused_requests()
        await self._a_hold_invoice_that_the_node_gives_up()
        return self._heard

    async def _what_the_nodes_are(self) -> None:
        for path in (
            "/v1/getinfo",
            "/v1/getdebuginfo",
            "/v1/balance/blockchain",
            "/v1/balance/channels",
            "/v1/channels",
            "/v1/channels/pending",
            "/v1/channels/closed",
            "/v1/invoices?reversed=true&index_offset=1",
            "/v1/payments?index_offset=1000",
        ):
            await self._ask(f"GET {path}", self._taker, "GET", path)

    async def _a_plain_payment(self) -> None:
        body = {"value": "30000", "memo": "tea", "r_preimage": standard(preimage_of(1)), "expiry": "3600"}
        made = await self._ask("add invoice", self._provider, "POST", "/v1/invoices", body)
        request, payment_hash = made["payment_request"], hash_of(1)
        await self._ask("lookup open", self._provider, "GET", f"/v1/invoice/{payment_hash.hex()}")
        await self._ask("decode", self._taker, "GET", f"/v1/payreq/{request}")
        send = send_fields(request)
        await self._ask("send", self._taker, "POST", "/v2/router/send", send)
        await self._ask("send what is paid", self._taker, "POST", "/v2/router/send", send)
        track = f"/v2/router/track/{url_safe(payment_hash)}"
        await self._ask("track succeeded", self._taker, "GET", track)
        await self._ask("lookup settled", self._provider, "GET", f"/v1/invoice/{payment_hash.hex()}")
        settled = f"/v2/invoices/lookup?payment_hash={url_safe(payment_hash)}"
        await self._ask("lookup v2", self._provider, "GET", settled)
        subscribe = f"/v2/invoices/subscribe/{url_safe(payment_hash)}"
        await self._ask("subscribe settled", self._provider, "GET", subscribe)
        await self._ask("list invoices", self._provider, "GET", "/v1/invoices?reversed=true&num_max_invoices=1")
        await self._ask("list payments", self._taker, "GET", "/v1/payments?reversed=true&max_payments=1")

    async def _a_hold_invoice_that_is_settled(self) -> None:
        body = {"hash": standard(hash_of(2)), "value_msat": "20000500", "cltv_expiry": "100", "memo": "swap"}
        made = await self._ask("add hold invoice", self._provider, "POST", "/v2/invoices/hodl", body)
        await self._ask("add hold invoice twice", self._provider, "POST", "/v2/invoices/hodl", body)
        settle = {"preimage": standard(preimage_of(2))}
        await self._ask("settle open", self._provider, "POST", "/v2/invoices/settle", settle)
        send = send_fields(made["payment_request"])
        subscribe = f"/v2/invoices/subscribe/{url_safe(hash_of(2))}"
        track = f"/v2/router/track/{url_safe(hash_of(2))}"
        async with (
            self._provider.open("GET", subscribe) as invoice,
            self._taker.open("POST", "/v2/router/send", send) as payment,
        ):
            invoices = [await read_line(invoice) for _ in range(2)]
            payments = [await read_line(payment) for _ in range(2)]
            await self._ask("send what is in flight", self._taker, "POST", "/v2/router/send", send)
            await self._ask("balances while held", self._taker, "GET", "/v1/balance/channels")
            await self._ask("payer's channel while held", self._taker, "GET", "/v1/channels")
            await self._ask("payee's channel while held", self._provider, "GET", "/v1/channels")
            async with self._taker.open("GET", track) as tracked:
                self._keep("track in flight", tracked.status, [await read_line(tracked)])
            await self._ask("settle", self._provider, "POST", "/v2/invoices/settle", settle)
            invoices += [json.loads(line) for line in (await invoice.read()).splitlines()]
            payments += [json.loads(line) for line in (await payment.read()).splitlines()]
            self._keep("subscribe to a settled hold invoice", invoice.status, invoices)
            self._keep("send to a settled hold invoice", payment.status, payments)
        await self._ask("settle twice", self._provider, "POST", "/v2/invoices/settle", settle)
        cancel = {"payment_hash": standard(hash_of(2))}
        await self._ask("cancel settled", self._provider, "POST", "/v2/invoices/cancel", cancel)

    async def _a_hold_invoice_that_is_cancelled(self) -> None:
        send = send_fields(await self._hold_invoice(3))
        cancel = {"payment_hash": standard(hash_of(3))}
        subscribe = f"/v2/invoices/subscribe/{url_safe(hash_of(3))}"
        async with (
            self._provider.open("GET", subscribe) as invoice,
            self._taker.open("POST", "/v2/router/send", send) as payment,
        ):
            invoices = [await read_line(invoice) for _ in range(2)]
            await self._ask("cancel", self._provider, "POST", "/v2/invoices/cancel", cancel)
            invoices += [json.loads(line) for line in (await invoice.read()).splitlines()]
            payments = [json.loads(line) for line in (await payment.read()).splitlines()]
            self._keep("subscribe to a cancelled hold invoice", invoice.status, invoices)
            self._keep("send to a cancelled hold invoice", payment.status, payments)
        await self._ask("cancel twice", self._provider, "POST", "/v2/invoices/cancel", cancel)
        settle = {"preimage": standard(preimage_of(3))}
        await self._ask("settle cancelled", self._provider, "POST", "/v2/invoices/settle", settle)

    async def _payments_that_fail(self) -> None:
        much = await self._hold_invoice(4, value="6000000")
        await self._ask("send too much", self._taker, "POST", "/v2/router/send", send_fields(much))
        await self._ask("send it again", self._taker, "POST", "/v2/router/send", send_fields(much))
        cancelled = await self._hold_invoice(5)
        await self._provider.post("/v2/invoices/cancel", payment_hash=standard(hash_of(5)))
        send = send_fields(cancelled, no_inflight_updates=True)
        await self._ask("send to a cancelled invoice", self._taker, "POST", "/v2/router/send", send)

    async def _refused_invoices(self) -> None:
        base = {"hash": standard(hash_of(6)), "value": "1000"}
        for name, fields in {
            "short final delta": {"cltv_expiry": "23"},
            "long final delta": {"cltv_expiry": "2017"},
            "negative value": {"value": "-1"},
            "two values": {"value_msat": "1000"},
            "long expiry": {"expiry": "31536001"},
            "short hash": {"hash": standard(b"short")},
            "long memo": {"memo": "m" * 640},
        }.items():
            await self._ask(f"invoice: {name}", self._provider, "POST", "/v2/invoices/hodl", base | fields)
        unstable: dict[str, dict[str, Any]] = {
            "unknown field": {"nothing": 1},
            "text for a number": {"value": "many"},
            "number for a text": {"memo": 1},
            "no base64": {"hash": "***"},
        }
        for name, wrong in unstable.items():
            await self._ask(
                f"invoice: {name}", self._provider, "POST", "/v2/invoices/hodl", base | wrong, own_words=False
            )
        for name, body in {
            "short preimage": {"r_preimage": standard(b"short")},
            "known preimage": {"r_preimage": standard(preimage_of(1))},
        }.items():
            await self._ask(f"invoice: {name}", self._provider, "POST", "/v1/invoices", body)

    async def _refused_payments(self) -> None:
        request = await self._hold_invoice(7, cltv_expiry="100")
        without_amount = await self._hold_invoice(8, value="0")
        own = (await self._taker.invoice(value="1000"))["payment_request"]
        for name, body in {
            "amount given twice": send_fields(request, amt="20000"),
            "no amount at all": send_fields(without_amount),
            "cltv limit without room": send_fields(request, cltv_limit=103),
            "cltv limit too large": send_fields(request, cltv_limit=2017),
            "to itself": send_fields(own),
        }.items():
            await self._ask(f"send: {name}", self._taker, "POST", "/v2/router/send", body)
        expired = await self._hold_invoice(9, expiry="1")
        await self._pass_time(3)
        async with self._taker.open("POST", "/v2/router/send", send_fields(expired)) as response:
            refusal = json.loads(await response.read())
            message = refusal["error"]["message"]
            refusal["error"]["message"] = re.sub(r"[0-9]{4}-.*", "(a time)", message)
            self._keep("send: expired", response.status, [refusal])
        await self._ask("lookup expired", self._provider, "GET", f"/v1/invoice/{hash_of(9).hex()}")

    async def _refused_requests(self) -> None:
        unknown = hash_of(10)
        for name, method, path, body in (
            ("unknown invoice", "GET", f"/v1/invoice/{unknown.hex()}", None),
            ("short hash of an invoice", "GET", "/v1/invoice/abcd", None),
            ("unknown invoice v2", "GET", f"/v2/invoices/lookup?payment_hash={url_safe(unknown)}", None),
            ("lookup without a hash", "GET", "/v2/invoices/lookup", None),
            ("unknown payment", "GET", f"/v2/router/track/{url_safe(unknown)}", None),
            ("short hash of a payment", "GET", f"/v2/router/track/{url_safe(b'short')}", None),
            ("settle unknown", "POST", "/v2/invoices/settle", {"preimage": standard(preimage_of(10))}),
            ("settle short", "POST", "/v2/invoices/settle", {"preimage": standard(b"short")}),
            ("letters for a hash", "GET", "/v1/invoice/hash", None),
            ("odd hash", "GET", "/v1/invoice/abc", None),
            ("cancel unknown", "POST", "/v2/invoices/cancel", {"payment_hash": standard(unknown)}),
            ("no such path", "GET", "/v1/nothing", None),
            ("no such method", "POST", "/v1/getinfo", {}),
        ):
            await self._ask(name, self._provider, method, path, body)
        for name, path in {
            "no invoice": "/v1/payreq/lnbcrt1nothing",
            "no base64 for a stream": "/v2/router/track/***",
        }.items():
            await self._ask(name, self._provider, "GET", path, own_words=False)
        macaroon = self._provider.macaroon
        assert macaroon is not None
        wrong = macaroon[:-2] + f"{int(macaroon[-2:], 16) ^ 1:02x}"
        for name, shown in {"no macaroon": None, "wrong macaroon": wrong, "no hex macaroon": "macaroon"}.items():
            self._provider.macaroon = shown
            await self._ask(name, self._provider, "GET", "/v1/getinfo")
            track = f"/v2/router/track/{url_safe(unknown)}"
            await self._ask(f"{name} for a stream", self._provider, "GET", track)
        self._provider.macaroon = macaroon

    async def _a_hold_invoice_that_the_node_gives_up(self) -> None:
        send = send_fields(await self._hold_invoice(11, cltv_expiry="24"))
        subscribe = f"/v2/invoices/subscribe/{url_safe(hash_of(11))}"
        async with (
            self._provider.open("GET", subscribe) as invoice,
            self._taker.open("POST", "/v2/router/send", send) as payment,
        ):
            invoices = [await read_line(invoice) for _ in range(2)]
            await self._mine(24 + 3 - 18 - 1)
            await self._ask("one block before", self._provider, "GET", f"/v1/invoice/{hash_of(11).hex()}")
            await self._mine(1)
            invoices += [json.loads(line) for line in (await invoice.read()).splitlines()]
            payments = [json.loads(line) for line in (await payment.read()).splitlines()]
            self._keep("subscribe to an invoice that is given up", invoice.status, invoices)
            self._keep("send to an invoice that is given up", payment.status, payments)
