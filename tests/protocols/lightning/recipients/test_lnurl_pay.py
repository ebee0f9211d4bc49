"""Invoices from LNURL-pay services: requests, checks of the answers, and addresses that are never contacted."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from coincurve import PrivateKey
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    FormatError,
    InvalidAmount,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    Outcome,
)
from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields
from layer2.protocols.lightning.recipients.lnurl import MAX_BYTES, LnurlPay
from layer2.protocols.lightning.recipients.recipient import Lnurl, read_recipient
from lnurl_service import SECRET, LnurlService, running_service

KEY = PrivateKey(sha256(b"a payee").digest())
AMOUNT = 25_000_000
NAME = "pay.example"
Changes = dict[str, Any]


def written(amount_msat: int | None, **changes: Any) -> str:
    fields: Changes = {
        "prefix": "bcrt",
        "amount_msat": amount_msat,
        "timestamp": 1_800_000_000,
        "payment_hash": b"\x11" * 32,
        "payment_secret": b"\x22" * 32,
    }
    return bolt11.encode(InvoiceFields(**fields | changes), lambda digest: KEY.sign_recoverable(digest, hasher=None))


async def make_invoice(amount_msat: int, description_hash: bytes) -> str:
    return written(amount_msat, description_hash=description_hash)


@pytest.fixture
async def service() -> AsyncIterator[LnurlService]:
    async with running_service(make_invoice) as service:
        yield service


def client(**changes: Any) -> LnurlPay:
    return LnurlPay("bcrt", **{"this_machine_too": True} | changes)


async def asked(service: LnurlService, pay: LnurlPay | None = None, *, by: str | None = None) -> bolt11.Bolt11Invoice:
    payee = read_recipient(service.lnurl if by is None else by).payee
    assert not isinstance(payee, bolt11.Bolt11Invoice)
    return await (pay or client()).invoice(payee, AMOUNT)  # type: ignore[arg-type]  # an LNURL or an address


async def test_a_service_is_asked_twice_and_its_invoice_returned(service: LnurlService) -> None:
    invoice = await asked(service)
    assert (invoice.amount_msat, invoice.description_hash) == (AMOUNT, sha256(service.metadata.encode()).digest())
    assert [request.path_qs for request in service.requests] == [f"/pay?{SECRET}", f"/invoice?{SECRET}&amount={AMOUNT}"]


async def test_a_lightning_address_is_asked_where_lud_16_says(service: LnurlService) -> None:
    assert (await asked(service, by=service.address)).amount_msat == AMOUNT
    assert service.requests[0].path_qs == "/.well-known/lnurlp/alice"


async def test_the_service_learns_the_amount_and_nothing_else(service: LnurlService) -> None:
    async def with_a_cookie(request: web.Request) -> web.Response:
        answer = web.json_response(service.offer | {"commentAllowed": 100, "payerData": {"name": {"mandatory": False}}})
        answer.set_cookie("seen", "yes")
        return answer

    service.answer_first = with_a_cookie
    await asked(service)
    for request in service.requests:
        assert set(request.headers) == {"Host", "Accept", "Accept-Encoding"}
        assert request.method == "GET"
    assert set(service.requests[1].query) == {"token", "amount"}


async def test_the_status_and_the_type_of_an_answer_mean_nothing(service: LnurlService) -> None:
    async def odd(request: web.Request) -> web.Response:
        return web.Response(status=500, text=json.dumps(service.offer), content_type="text/html")

    service.answer_first = odd
    assert (await asked(service)).amount_msat == AMOUNT


async def test_a_service_that_calls_itself_otherwise_is_not_paid_for_an_address(service: LnurlService) -> None:
    service.identifier = "mallory@elsewhere.example"
    with pytest.raises(BadAnswer, match=r"answers for mallory@elsewhere\.example, not for alice@"):
        await asked(service, by=service.address)
    # An LNURL has no identifier.
    assert (await asked(service)).amount_msat == AMOUNT


async def test_a_service_may_repeat_or_omit_the_tag_of_an_address(
    named_service: LnurlService, certificate: Path
) -> None:
    table = Names({NAME: [[("127.0.0.1", named_service.port)]]})
    pay = client(resolver=table, authorities=ssl.create_default_context(cafile=str(certificate)))
    for identifier in (f"alice@{NAME}", f"alice+tea@{NAME}"):
        named_service.identifier = identifier
        assert (await asked(named_service, pay, by=f"alice+tea@{NAME}")).amount_msat == AMOUNT
    assert named_service.requests[0].path == "/.well-known/lnurlp/alice+tea"
    named_service.identifier = f"alice+coffee@{NAME}"
    with pytest.raises(BadAnswer, match="answers for"):
        await asked(named_service, pay, by=f"alice+tea@{NAME}")


@pytest.mark.parametrize("limits", [(AMOUNT + 1, AMOUNT * 2), (1, AMOUNT - 1)])
async def test_an_amount_beyond_the_service_s_limits_is_refused_with_numbers(
    service: LnurlService, limits: tuple[int, int]
) -> None:
    service.changes = dict(zip(("minSendable", "maxSendable"), limits, strict=True))
    with pytest.raises(InvalidAmount, match=rf"accepts {limits[0]} to {limits[1]} msat; .* of {AMOUNT} msat"):
        await asked(service)
    assert len(service.requests) == 1


async def test_an_amount_at_the_service_s_limits_is_taken(service: LnurlService) -> None:
    service.changes = {"minSendable": AMOUNT, "maxSendable": AMOUNT}
    assert (await asked(service)).amount_msat == AMOUNT


async def test_a_refusal_has_the_services_reason(service: LnurlService) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"status": "ERROR", "reason": "gone\x1b[2J fishing"}, status=404)

    service.answer_second = refuse
    with pytest.raises(NodeRefused, match=r"127\.0\.0\.1 refused: gone \[2J fishing") as second:
        await asked(service)
    service.answer_first = refuse
    with pytest.raises(NodeRefused) as first:
        await asked(service)
    for refused in (first, second):
        assert (refused.value.node_message, refused.value.outcome) == ("gone [2J fishing", Outcome.REJECTED)


def invoice_of(text: Callable[[bytes], str]) -> Callable[[int, bytes], Any]:
    async def make(amount_msat: int, description_hash: bytes) -> str:
        return text(description_hash)

    return make


WRONG_INVOICES: dict[str, tuple[Callable[[bytes], str], str]] = {
    "another amount": (
        lambda digest: written(AMOUNT + 1, description_hash=digest),
        f"is over {AMOUNT + 1} msat; {AMOUNT}",
    ),
    "no amount": (lambda digest: written(None, description_hash=digest), "its invoice has no amount"),
    "another network": (
        lambda digest: written(AMOUNT, description_hash=digest, prefix="bc"),
        "network 'bc', not 'bcrt'",
    ),
    "another hash": (
        lambda digest: written(AMOUNT, description_hash=bytes(32)),
        "does not have the hash of the metadata",
    ),
    "no hash": (lambda digest: written(AMOUNT, description="tea for two"), "does not have the hash of the metadata"),
    "a broken one": (lambda digest: written(AMOUNT, description_hash=digest)[:-6] + "qqqqqq", "checksum"),
    "an empty one": (lambda digest: "", "bech32"),
    "an offer": (lambda digest: "lno1pqpq86q2", "bech32"),
    "a long one": (lambda digest: "lnbcrt1" + "q" * 7_083, "longer than 7089"),
}


@pytest.mark.parametrize("case", WRONG_INVOICES)
async def test_an_invoice_that_is_not_as_asked_is_not_believed(service: LnurlService, case: str) -> None:
    text, words = WRONG_INVOICES[case]
    service.make_invoice = invoice_of(text)
    with pytest.raises(BadAnswer, match=words) as refused:
        await asked(service)
    assert refused.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tag": "withdrawRequest"}, "withdrawRequest"),
        ({"maxSendable": "1000000000"}, "maxSendable"),
        ({"minSendable": 1e3}, "minSendable"),
        ({"metadata": '[["text/long-desc", "x"]]'}, "exactly one text/plain"),
        ({"callback": "ftp://127.0.0.1/"}, "callback URL is not the URL of a web service"),
        ({"callback": "https://user:pass@127.0.0.1/"}, "callback URL contains a user name or a password"),
        ({"callback": "http://pay.example/"}, "callback URL is not https"),
        ({"callback": "https://pay.example:8443/"}, "callback URL leads to port 8443"),
        ({"callback": "https://pay.example:99999/"}, "callback URL is not the URL of a web service"),
        ({"callback": "https://abc.onion/"}, "callback URL leads to an onion address"),
        ({"callback": "/invoice"}, "callback URL is not the URL of a web service"),
    ],
)
async def test_an_offer_that_is_not_lud_06_is_not_followed(service: LnurlService, changes: Changes, words: str) -> None:
    service.changes = changes
    with pytest.raises(BadAnswer, match=words):
        await asked(service)
    assert len(service.requests) == 1


def redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


@pytest.mark.parametrize("which", ["first", "second"])
async def test_a_redirect_is_not_followed(service: LnurlService, which: str) -> None:
    async def to_elsewhere(request: web.Request) -> web.Response:
        return redirect(request)

    setattr(service, f"answer_{which}", to_elsewhere)
    with pytest.raises(BadAnswer, match="redirects"):
        await asked(service)
    assert [request.path for request in service.requests] == ["/pay", "/invoice"][: len(service.requests)]
    assert len(service.requests) == {"first": 1, "second": 2}[which]


@pytest.mark.parametrize("which", ["first", "second"])
async def test_an_endless_answer_is_cut_off(service: LnurlService, which: str) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" " * 65_536)
                sent += 65_536
        return response

    setattr(service, f"answer_{which}", endless)
    with pytest.raises(BadAnswer, match=f"longer than {MAX_BYTES} bytes"):
        await asked(service)
    # More than the limit was sent only because of the sockets' buffers.
    assert sent < 64 * MAX_BYTES


async def test_an_answer_of_exactly_the_limit_is_read(service: LnurlService) -> None:
    async def padded(request: web.Request) -> web.Response:
        return web.Response(body=json.dumps(service.offer).encode().ljust(MAX_BYTES))

    service.answer_first = padded
    assert (await asked(service)).amount_msat == AMOUNT


async def test_an_image_of_the_size_that_lud_06_allows_fits(service: LnurlService) -> None:
    words = json.dumps([["text/plain", "tea"], ["image/png;base64", "A" * 136_536]])
    service.changes = {"metadata": words}

    async def make(amount_msat: int, description_hash: bytes) -> str:
        return written(amount_msat, description_hash=sha256(words.encode()).digest())

    service.make_invoice = make
    assert (await asked(service)).amount_msat == AMOUNT


async def test_an_answer_that_unpacks_to_more_is_not_unpacked(service: LnurlService) -> None:
    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})

    service.answer_first = bomb
    with pytest.raises(BadAnswer, match="not UTF-8"):
        await asked(service)


@pytest.mark.parametrize("which", ["first", "second"])
async def test_both_answers_together_have_a_time(service: LnurlService, which: str) -> None:
    closed = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await closed.wait()
        return response

    setattr(service, f"answer_{which}", drip)
    with pytest.raises(NodeUnreachable, match=r"no answer within 0\.2 s") as late:
        await asked(service, client(seconds=0.2))
    assert (late.value.outcome, late.value.retryable) == (Outcome.NOT_SENT, True)
    closed.set()


async def test_a_call_that_is_cancelled_ends_at_once(service: LnurlService) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        reached.set()
        await closed.wait()
        return web.Response()

    service.answer_first = hang
    before = asyncio.all_tasks()
    call = asyncio.create_task(asked(service))
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    closed.set()
    assert call not in asyncio.all_tasks() - before


async def test_a_connection_that_breaks_is_a_typed_error(service: LnurlService) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    service.answer_second = hang_up
    with pytest.raises(NodeUnreachable, match="the connection broke") as broken:
        await asked(service)
    assert broken.value.outcome is Outcome.NOT_SENT


WRONG_HTTP = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "a body that breaks off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-Many: of these\r\n" * 200_000,
    "an endless header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2_000_000,
}


@pytest.mark.parametrize("case", WRONG_HTTP)
async def test_what_is_not_http_is_a_typed_error(case: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            writer.write(WRONG_HTTP[case])
            await writer.drain()
        writer.close()

    problem = "the answer ended early" if case == "a body that breaks off" else "the connection broke"
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NodeUnreachable, match=problem) as broken:
            await client().invoice(Lnurl(f"http://127.0.0.1:{port}/?{SECRET}"), AMOUNT)
    assert SECRET not in str(broken.value)


async def test_a_missing_server_is_a_typed_error(service: LnurlService) -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused, and no other process can take the port.
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NodeUnreachable, match="no connection"):
            await client().invoice(Lnurl(f"http://127.0.0.1:{taken.getsockname()[1]}/?{SECRET}"), AMOUNT)


async def test_no_error_shows_what_the_url_hides(service: LnurlService) -> None:
    errors: list[Layer2Error] = []

    async def collect(pay: LnurlPay) -> None:
        with pytest.raises(Layer2Error) as error:
            await asked(service, pay)
        errors.append(error.value)

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text=SECRET)

    async def moved(request: web.Request) -> web.Response:
        return redirect(request)

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    for answer in (empty, moved, hang_up):
        for which in ("answer_second", "answer_first"):
            setattr(service, which, answer)
            await collect(client())
            setattr(service, which, None)
    await collect(client(this_machine_too=False))
    service.changes = {"callback": f"https://user:pass@127.0.0.1/?{SECRET}"}
    await collect(client())
    assert len(errors) == 8
    for error in errors:
        shown: BaseException | None = error
        while shown is not None:
            assert SECRET not in f"{shown} {shown!r}"
            assert "pass" not in str(shown).replace("password", "")
            shown = shown.__cause__


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://pay.example/", "is not https"),
        ("https://pay.example:8443/", "leads to port 8443"),
        ("http://127.0.0.1/", "is not https"),
        ("https://localhost:8443/", "leads to port 8443"),
        ("https://user@pay.example/", "contains a user name or a password"),
        ("https://:secret@pay.example/", "contains a user name or a password"),
        ("https://pay.example@127.0.0.1/", "contains a user name or a password"),
        ("gopher://pay.example/", "is not the URL of a web service"),
        ("https://abc.onion/", "onion"),
    ],
)
async def test_a_url_that_may_not_be_asked_is_refused_before_anything_is_sent(url: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        await client(this_machine_too=False, resolver=Names({})).invoice(Lnurl(url), AMOUNT)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"]
)
async def test_an_address_in_the_url_itself_must_be_public(host: str) -> None:
    with pytest.raises(NodeUnreachable, match=r"not public|the host in its URL is not valid") as refused:
        await client(this_machine_too=False).invoice(Lnurl(f"https://{host}/?{SECRET}"), AMOUNT)
    assert not refused.value.retryable


class Names(AbstractResolver):
    """Resolves names from a table: each look-up returns the next address of the name, and then always the last."""

    def __init__(self, names: dict[str, list[list[tuple[str, int]]]]) -> None:
        self.names = names
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        rest = self.names[host]
        found = rest.pop(0) if len(rest) > 1 else rest[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=at,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, at in found
        ]

    async def close(self) -> None:
        """Has nothing to close."""


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "::ffff:10.0.0.1"]
)
async def test_a_name_that_leads_to_an_address_that_is_not_public_is_not_asked(address: str) -> None:
    table = Names({NAME: [[(address, 443)]]})
    for payee in (Lnurl(f"https://{NAME}/?{SECRET}"), read_recipient(f"alice@{NAME}").payee):
        with pytest.raises(NodeUnreachable, match=r"pay\.example: .* not public") as refused:
            await client(this_machine_too=False, resolver=table).invoice(payee, AMOUNT)  # type: ignore[arg-type]  # an LNURL or an address
        assert not refused.value.retryable
        assert address not in str(refused.value)


async def test_a_callback_to_an_address_that_is_not_public_is_not_asked(service: LnurlService) -> None:
    service.changes = {"callback": f"https://{NAME}/invoice"}
    table = Names({NAME: [[("10.0.0.1", 443)]]})
    with pytest.raises(NodeUnreachable, match="not public"):
        await asked(service, client(resolver=table))


async def test_names_without_an_answer_block_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up blocks a thread until the system ends it, but the event loop's threads stay free."""
    given_up, hanging = threading.Event(), threading.Semaphore(0)

    def never(*arguments: object, **more: object) -> object:
        hanging.release()
        given_up.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered")

    pay = client(seconds=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", never)
        calls = [pay.invoice(Lnurl(f"https://{host}.example/"), AMOUNT) for host in "abcdefghijklmnopqrstuvwxyz"]
        waits = asyncio.gather(*calls, return_exceptions=True)
        for _ in range(4):
            assert await asyncio.to_thread(hanging.acquire, timeout=10)
        ended = await waits
        given_up.set()
    assert {type(error) for error in ended} == {NodeUnreachable}
    assert all("no answer within 0.2 s" in str(error) for error in ended)
    await pay.aclose()


async def test_a_name_that_does_not_exist_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    pay = client()
    for _ in range(2):
        with pytest.raises(NodeUnreachable, match=r"nobody\.example: no connection"):
            await pay.invoice(Lnurl(f"https://nobody.example/?{SECRET}"), AMOUNT)
        await pay.aclose()


async def test_the_system_s_names_are_looked_up(service: LnurlService) -> None:
    url = f"http://localhost:{service.port}/pay?{SECRET}"
    pay = client()
    assert (await pay.invoice(Lnurl(url), AMOUNT)).amount_msat == AMOUNT
    await pay.aclose()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for a name with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path / "certificate.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return file


@pytest.fixture
async def named_service(certificate: Path) -> AsyncIterator[LnurlService]:
    """An https service with a name. It closes connections after each answer, so each request resolves the name."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with running_service(make_invoice, tls) as service:

        async def first(request: web.Request) -> web.Response:
            answer = web.json_response(service.offer | {"callback": f"https://{NAME}/invoice"})
            answer.force_close()
            return answer

        service.answer_first = first
        service.identifier = f"alice@{NAME}"
        yield service


async def test_a_service_is_asked_by_https_under_its_name(named_service: LnurlService, certificate: Path) -> None:
    table = Names({NAME: [[("127.0.0.1", named_service.port)]]})
    pay = client(resolver=table, authorities=ssl.create_default_context(cafile=str(certificate)))
    assert (await asked(named_service, pay, by=f"alice@{NAME}")).amount_msat == AMOUNT
    assert table.asked == 2


async def test_a_name_that_changes_its_mind_leads_nowhere(named_service: LnurlService, certificate: Path) -> None:
    """The first look-up returns an allowed address, and the second one an address inside the network."""
    table = Names({NAME: [[("127.0.0.1", named_service.port)], [("10.0.0.1", 443)]]})
    pay = client(resolver=table, authorities=ssl.create_default_context(cafile=str(certificate)))
    with pytest.raises(NodeUnreachable, match="not public"):
        await asked(named_service, pay, by=f"alice@{NAME}")
    assert (table.asked, len(named_service.requests)) == (2, 1)


async def test_of_several_addresses_only_those_that_may_be_asked_are(
    named_service: LnurlService, certificate: Path
) -> None:
    table = Names({NAME: [[("10.0.0.1", 443), ("127.0.0.1", named_service.port)]]})
    pay = client(resolver=table, authorities=ssl.create_default_context(cafile=str(certificate)))
    assert (await asked(named_service, pay, by=f"alice@{NAME}")).amount_msat == AMOUNT


async def test_an_untrusted_certificate_is_refused(named_service: LnurlService) -> None:
    table = Names({NAME: [[("127.0.0.1", named_service.port)]]})
    with pytest.raises(AuthenticationFailed, match="certificate"):
        await asked(named_service, client(resolver=table), by=f"alice@{NAME}")
    assert named_service.requests == []


async def test_a_certificate_for_another_name_is_refused(named_service: LnurlService, certificate: Path) -> None:
    other = "other.example"
    table = Names({other: [[("127.0.0.1", named_service.port)]]})
    pay = client(resolver=table, authorities=ssl.create_default_context(cafile=str(certificate)))
    with pytest.raises(AuthenticationFailed, match="certificate"):
        await asked(named_service, pay, by=f"alice@{other}")
    assert named_service.requests == []
