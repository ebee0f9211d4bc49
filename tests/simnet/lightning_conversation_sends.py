"""A conversation with two Lightning nodes about ways to send, and about a client's other calls."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from simnet.lightning_client import preimage_of, send_fields, standard, url_safe
from simnet.lightning_talk import Talk, hash_of, read_line

__all__ = ["SendConversation"]

KEYSEND = "5482373484"
STRANGER = b"\x02" + bytes(31) + b"\x01"
"""A key that belongs to none of the nodes."""


class SendConversation(Talk):
    """Makes the calls at two nodes. Its hashes are numbered from 200."""

    async def hold(self) -> dict[str, Any]:
        """Make all calls and return status and shape of each answer, by the name of the call."""
        await self._invoices_of_other_kinds()
        await self._keysend()
        await self._refused_sends_without_an_invoice()
        await self._a_payment_in_parts()
        await self._fees()
        await self._messages()
        await self._the_node()
        return self._heard

    async def _invoices_of_other_kinds(self) -> None:
        body: dict[str, Any] = {"memo": "any amount", "r_preimage": standard(preimage_of(200)), "value": "0"}
        made = await self._ask("add invoice without amount", self._provider, "POST", "/v1/invoices", body)
        request = made["payment_request"]
        await self._ask("decode without amount", self._taker, "GET", f"/v1/payreq/{request}")
        await self._ask("lookup without amount", self._provider, "GET", f"/v1/invoice/{hash_of(200).hex()}")
        send = send_fields(request, amt_msat="1234567", no_inflight_updates=True)
        await self._ask("send to an invoice without amount", self._taker, "POST", "/v2/router/send", send)
        path = f"/v1/invoice/{hash_of(200).hex()}"
        await self._ask("lookup paid without amount", self._provider, "GET", path)
        any_amount = str((await self._provider.invoice(r_preimage=standard(preimage_of(202))))["payment_request"])
        for name, amount in (("less than a channel carries", "999"), ("more than there is", "6000000000")):
            send = send_fields(any_amount, amt_msat=amount, no_inflight_updates=True)
            await self._ask(f"send {name}", self._taker, "POST", "/v2/router/send", send)
        body = {"description_hash": standard(sha256(b"metadata").digest()), "value": "1000", "private": True}
        body |= {"r_preimage": standard(preimage_of(201))}
        made = await self._ask("add invoice with a description hash", self._provider, "POST", "/v1/invoices", body)
        await self._ask("decode with a description hash", self._taker, "GET", f"/v1/payreq/{made['payment_request']}")
        path = f"/v1/invoice/{hash_of(201).hex()}"
        await self._ask("lookup with a description hash", self._provider, "GET", path)
        await self._an_invoice_with_hints()
        body = {"description_hash": standard(b"short"), "value": "1000"}
        await self._ask("invoice: short description hash", self._provider, "POST", "/v1/invoices", body)

    async def _an_invoice_with_hints(self) -> None:
        hop = {
            "node_id": STRANGER.hex(),
            "chan_id": "770000000000000001",
            "fee_base_msat": 1000,
            "fee_proportional_millionths": 100,
            "cltv_expiry_delta": 40,
        }
        body = {"value": "1000", "r_preimage": standard(preimage_of(203)), "route_hints": [{"hop_hints": [hop, hop]}]}
        request = (await self._provider.invoice(**body))["payment_request"]
        await self._ask("decode with hints", self._taker, "GET", f"/v1/payreq/{request}")
        await self._ask("lookup with hints", self._provider, "GET", f"/v1/invoice/{hash_of(203).hex()}")
        estimate = {"payment_request": request, "timeout": 10}
        await self._ask("fee with hints", self._taker, "POST", "/v2/router/route/estimatefee", estimate)
        await self._send("send with hints", send_fields(request, no_inflight_updates=True))
        for name, hints in (("too many", [{"hop_hints": [hop]}] * 21), ("an empty one", [{"hop_hints": []}])):
            body = {"value": "1000", "route_hints": hints}
            await self._ask(f"invoice with hints: {name}", self._provider, "POST", "/v1/invoices", body)
        decoded = await self._taker.get(f"/v1/payreq/{request}")
        self._tell("hints as they are read", decoded["route_hints"])
        await self._ask("list payments without hops", self._taker, "GET", "/v1/payments?reversed=true&omit_hops=true")

    def _keysend_fields(self, number: int, **fields: Any) -> dict[str, Any]:
        return {
            "dest": standard(bytes.fromhex(self._provider.node.node_key)),
            "payment_hash": standard(hash_of(number)),
            "amt_msat": "2500",
            "final_cltv_delta": 40,
            "dest_custom_records": {KEYSEND: standard(preimage_of(number))},
            "timeout_seconds": 60,
            "fee_limit_msat": "0",
            "no_inflight_updates": True,
        } | fields

    async def _send(self, name: str, body: dict[str, Any]) -> None:
        await self._ask(name, self._taker, "POST", "/v2/router/send", body)

    async def _keysend(self) -> None:
        newest = (await self._provider.get("/v1/invoices?reversed=true&num_max_invoices=1"))["last_index_offset"]
        await self._send("keysend", self._keysend_fields(210))
        await self._send("keysend again", self._keysend_fields(210))
        await self._ask("keysend to the payee", self._provider, "GET", f"/v1/invoice/{hash_of(210).hex()}")
        await self._ask("keysend tracked", self._taker, "GET", f"/v2/router/track/{url_safe(hash_of(210))}")
        stream = f"/v1/invoices/subscribe?add_index={newest}"
        async with self._provider.open("GET", stream) as response:
            self._keep("keysend in the payee's stream", response.status, [await read_line(response)])
        wrong = {KEYSEND: standard(preimage_of(212))}
        await self._send("keysend with another preimage", self._keysend_fields(211, dest_custom_records=wrong))
        await self._send("keysend with few blocks", self._keysend_fields(213, final_cltv_delta=15))
        await self._send("keysend with blocks just enough", self._keysend_fields(214, final_cltv_delta=16))
        much = self._keysend_fields(215, amt_msat=str(6_000_000_000))
        await self._send("keysend of too much", much)
        nobody = self._keysend_fields(216, dest=standard(STRANGER))
        await self._send("keysend to nobody", nobody)
        records = {KEYSEND: standard(preimage_of(217)), "70000": standard(b"tea")}
        await self._send("keysend with a record", self._keysend_fields(217, dest_custom_records=records))
        await self._ask("record of a keysend", self._provider, "GET", f"/v1/invoice/{hash_of(217).hex()}")
        await self._send("nothing known of the hash", self._keysend_fields(218, dest_custom_records={}))
        made = await self._provider.invoice(value="2", r_preimage=standard(preimage_of(219)))
        assert made["payment_request"]
        await self._send("keysend to the hash of an invoice", self._keysend_fields(219))

    async def _refused_sends_without_an_invoice(self) -> None:
        request = await self._hold_invoice(220)
        own = standard(bytes.fromhex(self._taker.node.node_key))
        await self._send("send: nothing", {})
        without_invoice: dict[str, dict[str, Any]] = {
            "no payee": {"dest": None},
            "a short key": {"dest": standard(b"\x02" * 32)},
            "no amount": {"amt_msat": None},
            "two amounts": {"amt": "2"},
            "negative amount": {"amt_msat": "-1"},
            "no hash": {"payment_hash": None},
            "a short hash": {"payment_hash": standard(b"short")},
            "a record of BOLT 4": {"dest_custom_records": {"65535": standard(b"tea")}},
            "in parts of a size": {"max_shard_size_msat": "1000"},
            "an invoice too": {"payment_request": request},
            "itself": {"dest": own},
            "cltv limit without room": {"cltv_limit": 43},
            "cltv limit too large": {"cltv_limit": 2017},
        }
        for name, fields in without_invoice.items():
            body = {key: value for key, value in (self._keysend_fields(221) | fields).items() if value is not None}
            await self._send(f"keysend: {name}", body)
        with_invoice: dict[str, dict[str, Any]] = {
            "a hash too": {"payment_hash": standard(hash_of(220))},
            "a final delta too": {"final_cltv_delta": 40},
            "two fee limits": {"fee_limit_msat": "1"},
            "parts too small": {"max_shard_size_msat": "1000000", "max_parts": 2},
            "too many parts": {"max_shard_size_msat": "1000000", "max_parts": 1001},
        }
        for name, fields in with_invoice.items():
            await self._send(f"send: {name}", send_fields(request, **fields))

    async def _a_payment_in_parts(self) -> None:
        request = await self._hold_invoice(230, value="25")
        body = send_fields(request, max_shard_size_msat="10000", max_parts=3)
        async with self._taker.open("POST", "/v2/router/send", body) as payment:
            states = [await read_line(payment)]
            subscribe = f"/v2/invoices/subscribe/{url_safe(hash_of(230))}"
            async with self._provider.open("GET", subscribe) as response:
                while (invoice := await read_line(response))["result"]["state"] != "ACCEPTED":
                    pass
            await self._provider.post("/v2/invoices/settle", preimage=standard(preimage_of(230)))
            states += [json.loads(line) for line in (await payment.read()).splitlines()]
        self._keep("invoice accepted in parts", 200, [invoice])
        self._tell("amounts of an invoice's parts", _amounts(invoice["result"]["htlcs"]))
        self._keep("payment in parts", payment.status, [states[0], states[-1]])
        self._tell("amounts of a payment's parts", _routes(states[-1]["result"]["htlcs"]))
        cancelled = await self._hold_invoice(231, value="25")
        await self._provider.post("/v2/invoices/cancel", payment_hash=standard(hash_of(231)))
        body = send_fields(cancelled, max_shard_size_msat="10000", no_inflight_updates=True)
        await self._send("failed payment in parts", body)

    async def _fees(self) -> None:
        estimate = "/v2/router/route/estimatefee"
        provider = standard(bytes.fromhex(self._provider.node.node_key))
        request = await self._hold_invoice(240)
        without_amount = await self._hold_invoice(241, value="0")
        questions: dict[str, dict[str, Any]] = {
            "of a key": {"dest": provider, "amt_sat": "1000"},
            "of an invoice": {"payment_request": request, "timeout": 10},
            "of nothing": {},
            "of both": {"dest": provider, "amt_sat": "1", "payment_request": request},
            "of a short key": {"dest": standard(b"short"), "amt_sat": "1"},
            "of a key without amount": {"dest": provider},
            "of an invoice without amount": {"payment_request": without_amount, "timeout": 10},
            "of too much to a key": {"dest": provider, "amt_sat": "6000000"},
            "of a stranger": {"dest": standard(STRANGER), "amt_sat": "1"},
        }
        for name, body in questions.items():
            await self._ask(f"fee {name}", self._taker, "POST", estimate, body)
        much = await self._hold_invoice(242, value="6000000")
        body = {"payment_request": much, "timeout": 10}
        await self._ask("fee of an invoice over too much", self._taker, "POST", estimate, body)
        path = f"/v1/invoice/{hash_of(240).hex()}"
        await self._ask("an invoice whose fee was asked", self._provider, "GET", path)
        listed = await self._taker.get("/v1/payments?reversed=true&max_payments=2&include_incomplete=true")
        probes = [[probe["status"], probe["failure_reason"], probe["payment_request"]] for probe in listed["payments"]]
        self._tell("probes in the list of payments", probes)
        key = await self._taker.post(estimate, dest=provider, amt_sat="1000")
        height = (await self._taker.get("/v1/getinfo"))["block_height"]
        self._tell("blocks of a key's estimate", int(key["time_lock_delay"]) - height)
        invoice = await self._taker.post(estimate, payment_request=request, timeout=10)
        self._tell("blocks of an invoice's estimate", int(invoice["time_lock_delay"]) - height)

    async def _messages(self) -> None:
        message = {"msg": standard(b"a message")}
        signed = await self._ask("sign", self._taker, "POST", "/v1/signmessage", message)
        await self._ask("sign nothing", self._taker, "POST", "/v1/signmessage", {})
        signature = signed["signature"]
        for name, client, body in (
            ("of the peer", self._provider, message | {"signature": signature}),
            ("of its own", self._taker, message | {"signature": signature}),
            ("of no message", self._provider, {"signature": signature}),
        ):
            await self._ask(f"verify a signature {name}", client, "POST", "/v1/verifymessage", body)
        # For another message the recovered key belongs to no node, and differs from call to call.
        answer = await self._provider.post("/v1/verifymessage", msg=standard(b"another"), signature=signature)
        self._tell("verify a signature of another message", answer["valid"])

    async def _the_node(self) -> None:
        await self._ask("state", self._taker, "GET", "/v1/state")
        macaroon, self._taker.macaroon = self._taker.macaroon, None
        assert macaroon is not None
        await self._ask("state without a macaroon", self._taker, "GET", "/v1/state")
        self._taker.macaroon = macaroon
        body = {
            "macaroon": standard(bytes.fromhex(macaroon)),
            "permissions": [{"entity": "invoices", "action": "write"}],
        }
        check = "/v1/macaroon/checkpermissions"
        await self._ask("permissions of its own macaroon", self._taker, "POST", check, body)


def _amounts(htlcs: list[Any]) -> list[Any]:
    return sorted([htlc["amt_msat"], htlc["mpp_total_amt_msat"], htlc["state"]] for htlc in htlcs)


def _routes(htlcs: list[Any]) -> list[Any]:
    return sorted(
        [htlc["route"]["total_amt_msat"], htlc["route"]["hops"][-1]["mpp_record"]["total_amt_msat"], htlc["status"]]
        for htlc in htlcs
    )
