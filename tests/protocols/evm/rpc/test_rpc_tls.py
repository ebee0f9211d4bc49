"""JSON-RPC over TLS: the certificates that the client accepts."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from layer2.errors import AuthenticationFailed, NodeUnreachable, Outcome
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.json_rpc import JsonRpc


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    key_file, certificate_file = directory / "key.pem", directory / "certificate.pem"
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    certificate_file.write_bytes(certificate.public_bytes(pem))
    return certificate_file, key_file


async def test_a_node_is_believed_by_the_authorities_that_were_given_and_by_no_others(tmp_path: Path) -> None:
    certificate_file, key_file = write_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate_file, key_file)
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": "0x1"})

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    url = f"https://127.0.0.1:{port}"
    given = JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(ca_file=str(certificate_file)), timeout=5)
    usual = JsonRpc(url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    plain = JsonRpc(f"http://127.0.0.1:{port}", protocol="BOB", pool=ConnectionPoolConfig(retry_seconds=0), timeout=5)
    try:
        assert await given.call("eth_chainId") == "0x1"
        with pytest.raises(AuthenticationFailed, match="certificate") as error:
            await usual.call(SEND, "0x00")
        assert error.value.outcome is Outcome.NOT_SENT
        with pytest.raises(NodeUnreachable):
            await plain.call("eth_chainId")
        assert asked == 1
    finally:
        for client in (given, usual, plain):
            await client.aclose()
        await runner.cleanup()
