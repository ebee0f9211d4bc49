"""A conversation with two Lightning nodes about the forms of a request that lnd's gateway accepts and refuses."""

from __future__ import annotations

import json
from typing import Any

from simnet.lightning_client import from_base64, standard, url_safe
from simnet.lightning_talk import Talk, hash_of

__all__ = ["RequestConversation"]

HODL = "/v2/invoices/hodl"


class RequestConversation(Talk):
    """Makes the calls at the provider. Its hashes are numbered from 400."""

    async def hold(self) -> dict[str, Any]:
        """Make all calls and return status and shape of each answer, by the name of the call."""
        await self._accepted_bodies()
        await self._refused_bodies()
        await self._filtered_channels()
        await self._refused_queries()
        await self._invoices_by_address()
        return self._heard

    async def _accepted_bodies(self) -> None:
        accepted = {
            "names in camelCase": '"valueMsat": "21000", "cltvExpiry": "100"',
            "a number with an exponent": '"value": 2.1e1',
            "a number with a fraction of zeros": '"value": 21.0',
            "a text with an exponent": '"value": "210e-1"',
            "nulls": '"value": 21, "memo": null, "route_hints": null, "private": null',
            "an emoji in two escapes": '"value": 21, "memo": "\\ud83d\\ude00"',
        }
        for number, (name, fields) in enumerate(accepted.items(), 400):
            await self._ask(f"body: {name}", self._provider, "POST", HODL, f'{{"hash": "{_hash(number)}", {fields}}}')
            invoice = await self._provider.get(f"/v1/invoice/{hash_of(number).hex()}")
            self._tell(f"body: {name}: the invoice", [invoice["value_msat"], invoice["cltv_expiry"], invoice["memo"]])
        encodings = {
            "base64 without padding": standard(hash_of(410)).rstrip("="),
            "URL-safe base64 without padding": url_safe(hash_of(411)).rstrip("="),
            "URL-safe base64": url_safe(hash_of(412)),
        }
        for name, text in encodings.items():
            await self._ask(f"body: {name}", self._provider, "POST", HODL, {"hash": text, "value": "21"})

    async def _refused_bodies(self) -> None:
        await self._ask("body: a final delta of 17 bits", self._provider, "POST", HODL, _body('"cltv_expiry": 70000'))
        refused: dict[str, str | bytes] = {
            "a text for a flag": _body('"private": "true"'),
            "a number for a flag": _body('"private": 1'),
            "a name twice": _body('"value": 1, "value": 1'),
            "a name twice, once null": _body('"value": null, "value": 1'),
            "a name in both forms": _body('"value_msat": 1, "valueMsat": 1'),
            "a fraction": _body('"value": 1.5'),
            "a flag for a number": _body('"value": true'),
            "a number in spaces": _body('"value": " 1"'),
            "a number with a plus": _body('"value": "+1"'),
            "a number with a leading zero": _body('"value": "01"'),
            "a number of more than 64 bits": _body('"value": "9223372036854775808"'),
            "a huge exponent": _body('"value": 1e1000000000'),
            "a negative number without sign": _body('"cltv_expiry": "-1"'),
            "both alphabets of base64": _body('"description_hash": "+_+_"'),
            "base64 with half its padding": _body('"description_hash": "aa="'),
            "a lone surrogate": _body('"memo": "\\ud800"'),
            "text that is not UTF-8": _body('"memo": "\xff"').encode("latin-1"),
            "not a number": _body('"value": NaN'),
            "a comma too many": _body('"value": 1,'),
            "a list": "[]",
            "a hint that is not a list": _body('"route_hints": {"hop_hints": []}'),
            "an unknown field in a hint": _body('"route_hints": [{"hops": []}]'),
            "a null among the hints": _body('"route_hints": [null]'),
        }
        for name, body in refused.items():
            await self._ask(f"body: {name}", self._provider, "POST", HODL, body, own_words=False)

    async def _filtered_channels(self) -> None:
        peer, stranger = url_safe(bytes.fromhex(self._taker.node.node_key)), url_safe(b"\x02" + bytes(31) + b"\x01")
        for query in (
            *("active_only=true", "inactive_only=1", "public_only=T", "private_only=True"),
            *("activeOnly=true&inactiveOnly=false", "active_only=true&inactive_only=true"),
            "public_only=true&private_only=true",
            *(f"peer={peer}", f"peer={stranger}", "peer=AAAA", "nothing=1"),
        ):
            name = f"GET /v1/channels?{query.replace(peer, '(peer)')}"
            await self._ask(name, self._provider, "GET", f"/v1/channels?{query}")

    async def _refused_queries(self) -> None:
        hash_without_padding = url_safe(hash_of(400)).rstrip("=")
        for path in (
            "/v1/channels?active_only=yes",
            "/v1/channels?active_only=true&active_only=true",
            "/v1/invoices?num_max_invoices=1e1",
            "/v1/invoices?num_max_invoices=+1",
            "/v1/invoices?num_max_invoices=-1",
            f"/v2/invoices/lookup?payment_hash={hash_without_padding}",
            f"/v2/invoices/subscribe/{hash_without_padding}",
        ):
            await self._ask(f"query: {path}", self._provider, "GET", path, own_words=False)

    async def _invoices_by_address(self) -> None:
        made = await self._provider.post(HODL, hash=_hash(420), value="21")
        address = url_safe(from_base64(made["payment_addr"]))
        lookup = "/v2/invoices/lookup"
        for name, query in {
            "by its address": f"payment_addr={address}",
            "by an unknown address": f"paymentAddr={url_safe(bytes(31) + b'1')}",
            "by a short address": f"payment_addr={url_safe(b'short')}",
        }.items():
            await self._ask(f"an invoice {name}", self._provider, "GET", f"{lookup}?{query}")
        both = f"{lookup}?payment_addr={address}&payment_hash={url_safe(hash_of(420))}"
        await self._ask("an invoice by hash and address", self._provider, "GET", both, own_words=False)


def _hash(number: int) -> str:
    return standard(hash_of(number))


def _body(fields: str) -> str:
    """A body with these fields and a hash that has no invoice."""
    return f'{{"hash": {json.dumps(_hash(430))}, {fields}}}'
