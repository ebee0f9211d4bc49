"""The time and pauses in a server's answer, and the cookies of a session."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from layer2.net.client_settings import ConnectionPoolConfig
from layer2.net.http_client import open_session, retry_after, server_time

NO_DATE = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
"""Numbers that do not fit into a date."""


async def answer(request: web.Request) -> web.Response:
    response = web.Response(headers={"Date": request.query["date"]} if "date" in request.query else None)
    response.set_cookie("seen", "yes")
    response.headers["X-Cookies"] = str(len(request.cookies))
    return response


async def test_the_time_is_read_where_it_is_a_date_and_absent_otherwise() -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server, open_session(ConnectionPoolConfig(), timeout=5) as session:
        for date, expected in (("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777.0), ("yesterday", None), (NO_DATE, None)):
            async with session.get(server.make_url("/"), params={"date": date}) as response:
                assert server_time(response) == expected


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
        ("soon", None),
        (NO_DATE, None),
        ("", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(said: str, seconds: float | None) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(headers={"Retry-After": said, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"})

    application = web.Application()
    application.router.add_get("/", busy)
    async with (
        TestServer(application) as server,
        open_session(ConnectionPoolConfig(), timeout=5) as session,
        session.get(server.make_url("/")) as response,
    ):
        assert retry_after(response) == seconds


async def test_cookies_are_not_kept() -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server, open_session(ConnectionPoolConfig(), timeout=5) as session:
        # By name, because no cookie jar keeps cookies of a bare IP address.
        by_name = server.make_url("/").with_host("localhost")
        for _ in range(2):
            async with session.get(by_name) as response:
                assert response.headers["X-Cookies"] == "0"
