"""A conversation with a Lightning node whose only peer is offline."""

from __future__ import annotations

from typing import Any

from simnet.lightning_client import preimage_of, send_fields, standard, url_safe
from simnet.lightning_talk import Talk, hash_of, read_line

__all__ = ["AwayConversation"]


class AwayConversation(Talk):
    """Makes the taker's calls after it has stopped the provider. Its hashes are numbered from 300."""

    async def hold(self) -> dict[str, Any]:
        """Make all calls and return status and shape of each answer, by the name of the call."""
        request, held = [await self._hold_invoice(number) for number in (300, 301)]
        async with self._taker.open("POST", "/v2/router/send", send_fields(held)) as payment:
            await read_line(payment)
            async with self._provider.open("GET", f"/v2/invoices/subscribe/{url_safe(hash_of(301))}") as invoice:
                while (await read_line(invoice))["result"]["state"] != "ACCEPTED":
                    pass
            await self._stop_provider()
            for path in ("/v1/getinfo", "/v1/channels", "/v1/balance/channels", "/v1/channels/pending"):
                await self._ask(f"peer away: GET {path}", self._taker, "GET", path)
            information = await self._taker.get("/v1/getinfo")
            names = ("num_active_channels", "num_inactive_channels", "num_peers", "synced_to_chain")
            self._tell("peer away: what the node says", {name: information[name] for name in names})
            provider = standard(bytes.fromhex(self._provider.node.node_key))
            keysend = {
                "dest": provider,
                "payment_hash": standard(hash_of(302)),
                "amt_msat": "2500",
                "dest_custom_records": {"5482373484": standard(preimage_of(302))},
                "timeout_seconds": 60,
            }
            payments: dict[str, dict[str, Any]] = {
                "send": send_fields(request),
                "send again": send_fields(request, no_inflight_updates=True),
                "send what is in flight": send_fields(held),
                "keysend": keysend,
            }
            for name, body in payments.items():
                await self._ask(f"peer away: {name}", self._taker, "POST", "/v2/router/send", body)
            questions: dict[str, dict[str, Any]] = {
                "fee of a key": {"dest": provider, "amt_sat": "1000"},
                "fee of an invoice": {"payment_request": request, "timeout": 10},
            }
            for name, body in questions.items():
                await self._ask(f"peer away: {name}", self._taker, "POST", "/v2/router/route/estimatefee", body)
        return self._heard
