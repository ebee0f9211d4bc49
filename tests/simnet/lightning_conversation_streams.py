"""A conversation with two Lightning nodes about all invoices and all payments: their streams and their lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from simnet.lightning_client import preimage_of, send_fields, standard, url_safe
from simnet.lightning_talk import Talk, hash_of, read_line

__all__ = ["StreamConversation"]


class StreamConversation(Talk):
    """Makes the calls at two nodes. Its hashes are numbered from 100; the memos contain the numbers."""

    async def hold(self) -> dict[str, Any]:
        """Make all calls and return status, shape and order of the answers, by the name of the call."""
        add_index = await self._newest_add_index()
        await self._all_invoices_live()
        await self._all_invoices_since(add_index)
        await self._all_payments_live()
        await self._payments_without_updates()
        await self._lists_of_invoices()
        await self._lists_of_payments()
        return self._heard

    async def _all_invoices_live(self) -> None:
        async def act() -> None:
            await self._reached("provider", 1)
            await self._pay(await self._plain(100))
            await self._accepted(101)
            await self._settle(101)
            await self._accepted(102)
            await self._cancel(102)
            await self._hold_invoice(103, memo="103")
            await self._cancel(103)
            await self._plain(104)

        lines = await _heard_while(act, self._provider.open("GET", "/v1/invoices/subscribe"), 7)
        self._keep("all invoices live", 200, lines)
        self._tell("all invoices live, in order", _invoices(lines))

    async def _all_invoices_since(self, add_index: int) -> None:
        settle_index = int((await self._provider.get(f"/v1/invoice/{hash_of(100).hex()}"))["settle_index"]) - 1
        for number, name, query, count in (
            (105, "made since", f"add_index={add_index}", 3),
            (106, "settled since", f"settle_index={settle_index}", 2),
            (107, "made or settled since", f"add_index={add_index}&settle_index={settle_index}", 7),
            (108, "none made yet", f"add_index={add_index + 9}", 0),
        ):

            async def act(number: int = number) -> None:
                await self._reached("provider", 1)
                await self._plain(number)
                await self._plain(number + 10)

            stream = self._provider.open("GET", f"/v1/invoices/subscribe?{query}")
            lines = await _heard_while(act, stream, count + 1)
            self._tell(f"all invoices: {name}", _invoices(lines))

    async def _all_payments_live(self) -> None:
        await self._accepted(120)
        async with self._taker.open("GET", "/v2/router/payments") as response:
            lines = [await read_line(response)]
            await self._settle(120)
            await self._pay(await self._plain(121))
            request = await self._hold_invoice(122)
            await self._cancel(122)
            await self._pay(request)
            lines += [await read_line(response) for _ in range(8)]
        self._keep("all payments live", response.status, lines)
        self._tell("all payments live, in order", _payments(lines))

    async def _payments_without_updates(self) -> None:
        await self._accepted(123)

        async def act() -> None:
            await self._reached("taker", 1)
            await self._pay(await self._plain(124))
            await self._settle(123)

        lines = await _heard_while(act, self._taker.open("GET", "/v2/router/payments?no_inflight_updates=true"), 2)
        self._tell("all payments without updates, in order", _payments(lines))
        await self._accepted(125)

        async def settle() -> None:
            await self._reached("taker", 1)
            await self._settle(125)

        path = f"/v2/router/track/{url_safe(hash_of(125))}?no_inflight_updates=true"
        self._tell("a payment without updates", _payments(await _heard_while(settle, self._taker.open("GET", path), 1)))

    async def _lists_of_invoices(self) -> None:
        base = await self._newest_add_index()
        for number in range(130, 135):
            await self._hold_invoice(number, memo=str(number))
        await self._cancel(131)
        for offset, rest in (
            (base, ""),
            (base, "&num_max_invoices=2"),
            (base, "&num_max_invoices=2&pending_only=true"),
            (base + 2, ""),
            (base + 4, "&reversed=true&num_max_invoices=2"),
            (base + 100, "&reversed=true&num_max_invoices=2"),
            (0, "&reversed=true&num_max_invoices=3&pending_only=true"),
            (base + 5, ""),
            (1, "&reversed=true"),
        ):
            answer = await self._provider.get(f"/v1/invoices?index_offset={offset}{rest}")
            self._tell(
                f"list of invoices: {_relative(offset, base)}{rest}",
                {
                    "memos": [invoice["memo"] for invoice in answer["invoices"]],
                    "first": _relative(answer["first_index_offset"], base),
                    "last": _relative(answer["last_index_offset"], base),
                },
            )

    async def _lists_of_payments(self) -> None:
        listed = await self._taker.get("/v1/payments?reversed=true&max_payments=1&include_incomplete=true")
        base = int(listed["last_index_offset"])
        await self._pay(await self._plain(140))
        cancelled = await self._hold_invoice(141)
        await self._cancel(141)
        await self._pay(cancelled)
        await self._accepted(142)
        await self._pay(cancelled)
        await self._pay(await self._plain(143))
        for offset, rest in (
            (base, ""),
            (base, "&include_incomplete=true"),
            (base, "&include_incomplete=true&max_payments=2"),
            (base + 2, "&include_incomplete=true&max_payments=2"),
            (base + 4, "&include_incomplete=true&max_payments=2&reversed=true"),
            (base + 100, "&include_incomplete=true&max_payments=2&reversed=true"),
            (0, "&max_payments=2&reversed=true"),
            (base + 5, "&include_incomplete=true"),
        ):
            answer = await self._taker.get(f"/v1/payments?index_offset={offset}{rest}")
            self._tell(
                f"list of payments: {_relative(offset, base)}{rest}",
                {
                    "payments": [
                        [_relative(payment["payment_index"], base), payment["status"]] for payment in answer["payments"]
                    ],
                    "first": _relative(answer["first_index_offset"], base),
                    "last": _relative(answer["last_index_offset"], base),
                },
            )
        await self._settle(142)

    async def _newest_add_index(self) -> int:
        return int((await self._provider.get("/v1/invoices?reversed=true&num_max_invoices=1"))["last_index_offset"])

    async def _plain(self, number: int) -> str:
        made = await self._provider.invoice(value="3000", memo=str(number), r_preimage=standard(preimage_of(number)))
        return str(made["payment_request"])

    async def _pay(self, request: str) -> None:
        """Send a payment, and return when it has ended."""
        async with self._taker.open("POST", "/v2/router/send", send_fields(request)) as payment:
            await payment.read()

    async def _accepted(self, number: int) -> None:
        """Have the taker pay a hold invoice of the provider, and close the streams."""
        request = await self._hold_invoice(number, memo=str(number))
        async with self._taker.open("POST", "/v2/router/send", send_fields(request)) as payment:
            await read_line(payment)
            async with self._provider.open("GET", f"/v2/invoices/subscribe/{url_safe(hash_of(number))}") as invoice:
                while (await read_line(invoice))["result"]["state"] != "ACCEPTED":
                    pass

    async def _settle(self, number: int) -> None:
        """Settle the invoice, and return when the payer knows."""
        await self._provider.post("/v2/invoices/settle", preimage=standard(preimage_of(number)))
        async with self._taker.open("GET", f"/v2/router/track/{url_safe(hash_of(number))}") as payment:
            await payment.read()

    async def _cancel(self, number: int) -> None:
        await self._provider.post("/v2/invoices/cancel", payment_hash=standard(hash_of(number)))


async def _heard_while(
    act: Callable[[], Coroutine[Any, Any, None]],
    stream: AbstractAsyncContextManager[aiohttp.ClientResponse],
    count: int,
) -> list[Any]:
    """Read the first messages of a stream that sends nothing, not even headers, until something happens."""
    acting = asyncio.create_task(act())
    try:
        async with stream as response:
            lines = [await read_line(response) for _ in range(count)]
    finally:
        await acting
    return lines


def _invoices(lines: list[Any]) -> list[list[str]]:
    return [[line["result"]["memo"], line["result"]["state"]] for line in lines]


def _payments(lines: list[Any]) -> list[list[Any]]:
    """The payment, its state, its failure reason and its HTLCs' states, for each message."""
    numbers = {hash_of(number).hex(): number for number in range(100, 200)}
    return [
        [
            numbers[payment["payment_hash"]],
            payment["status"],
            payment["failure_reason"],
            [htlc["status"] for htlc in payment["htlcs"]],
        ]
        for payment in (line["result"] for line in lines)
    ]


def _relative(index: str | int, base: int) -> str:
    """An index, absolute or relative to the base before the conversation."""
    return f"base+{int(index) - base}" if int(index) >= base else str(index)
