"""What a server's answer says of the time, and what a session keeps."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestServer

from layer2.http_client import open_session, server_time
from layer2.settings import ConnectionPoolConfig


async def answer(request: web.Request) -> web.Response:
    response = web.Response(headers={"Date": request.query["date"]} if "date" in request.query else None)
    response.set_cookie("seen", "yes")
    response.headers["X-Cookies"] = str(len(request.cookies))
    return response


async def test_the_time_is_read_where_it_is_a_date_and_absent_otherwise() -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server, open_session(ConnectionPoolConfig(), timeout=5) as session:
        for date, expected in (("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777.0), ("yesterday", None)):
            async with session.get(server.make_url("/"), params={"date": date}) as response:
                assert server_time(response) == expected


async def test_cookies_are_not_kept() -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server, open_session(ConnectionPoolConfig(), timeout=5) as session:
        # By name: cookies of a bare IP address are kept by no jar.
        by_name = server.make_url("/").with_host("localhost")
        for _ in range(2):
            async with session.get(by_name) as response:
                assert response.headers["X-Cookies"] == "0"
