"""The provider as a process of its own, on the embedded network."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from forked_simnet import running_simnet
from forking import fork
from layer2.legs.lightning import LightningOffer
from layer2.local.network import LocalNetwork
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import SwapId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.documents import SignedQuote
from layer2.terms.transfers import TransferRequest
from networks.forwarder import Forwarder
from networks.parties import ProviderProcess
from networks.waiting import until

REQUEST = TransferRequest(BTC, 20_000, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB)
TOKEN = os.urandom(32)
START_PROVIDER = """
import subprocess, sys, os
command = [sys.executable, "-m", "layer2.provider.process", *sys.argv[1:], "--with-parent", str(os.getpid())]
child = subprocess.Popen(command)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_simnet(tmp_path_factory.mktemp("simnet")) as network:
        yield network


@pytest.fixture
def process(network: LocalNetwork, tmp_path: Path) -> Iterator[ProviderProcess]:
    process = ProviderProcess(network, tmp_path / "provider")
    process.start()
    yield process
    process.kill()


def client_of(process: ProviderProcess) -> ProviderClient:
    endpoint = ProviderEndpoint("provider", process.url, bytes.fromhex(process.identity_key))
    return ProviderClient(endpoint, ConnectionPoolConfig(), 10_000)


async def open_swap(client: ProviderClient, process: ProviderProcess) -> tuple[SwapRequest, SignedQuote]:
    """The request for a swap to BOB that is never funded, and its quote."""
    account = process.network.taker.evm_address
    quote = await client.quote(REQUEST)
    access_hash = hashlib.sha256(TOKEN).digest()
    swap_id = SwapId(os.urandom(16).hex())
    request = SwapRequest(swap_id, quote.quote.quote_id, os.urandom(32), "", account, access_hash)
    await client.open_swap(request, quote)
    return request, quote


async def ended(descriptor: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), 30)
    finally:
        loop.remove_reader(descriptor)


async def test_it_announces_where_it_serves_and_signs_with_the_key_that_it_names(process: ProviderProcess) -> None:
    ready = json.loads((process.directory / "ready.json").read_text())
    assert set(ready) == {"url", "identity_key", "process_id"}
    client = client_of(process)
    try:
        assert (await client.info()).is_ready
        quote = (await client.quote(REQUEST)).quote
        assert quote.network == "regtest"
        assert isinstance(quote.source, LightningOffer)
        assert quote.source.node_key.hex() == process.network.provider.lightning.node_key
    finally:
        await client.aclose()


async def test_a_swap_outlives_the_process_and_its_token_is_in_no_log(process: ProviderProcess) -> None:
    client = client_of(process)
    try:
        request, quote = await open_swap(client, process)
        terms = await client.open_swap(request, quote)
        process.kill()
        process.start()
        assert await client.open_swap(request, quote) == terms
        assert (await client.swap_status(request.swap_id, TOKEN))["state"] == "agreed"
        process.stop()
    finally:
        await client.aclose()
    lines = [json.loads(line) for line in process.log().splitlines()]
    assert [line["resumed_swaps"] for line in lines if line["event"] == "serving"] == [0, 1]
    assert [(line["open_swaps"], line["must_be_back_by"]) for line in lines if line["event"] == "stopped"] == [
        (1, None)
    ]
    assert [line["swap_id"] for line in lines if line["event"] == "swap_agreed"] == [request.swap_id]
    changed = [line for line in lines if line["event"] == "swap_changed"]
    assert {line["swap_id"] for line in changed} == {request.swap_id}
    assert all(line["deadline_utc"].endswith(" UTC") for line in changed)
    assert TOKEN.hex() not in process.log()


async def test_it_starts_with_a_dead_node_and_that_layer_joins_when_it_is_back(
    process: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(process)
    forwarder = Forwarder(URL(process.network.bob.rpc_url))
    try:
        request, _ = await open_swap(client, process)
        process.kill()
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        monkeypatch.setenv("LAYER2_BOB__RPC_URL", f"http://127.0.0.1:{port}")
        process.start()
        info = await client.info()
        # The pair of the two other layers serves meanwhile.
        assert (info.is_ready, info.reason) == (True, "the provider's BOB node is not ready")
        assert (await client.swap_status(request.swap_id, TOKEN))["state"] == "agreed"
        lines = [json.loads(line) for line in process.log().splitlines()]
        assert [line["resumed_swaps"] for line in lines if line["event"] == "serving"] == [0, 1]
        # The swap continued before any node had answered.
        names = [line["event"] for line in lines]
        assert "swap_changed" in names[names.index("serving") + 1 : names.index("node_not_ready")]
        await forwarder.start(port)

        async def has_joined() -> bool:
            return (await client.info()).reason is None

        await until(has_joined, "the layer joins")
    finally:
        await client.aclose()
        process.kill()
        # What the forwarder still passes on ends with the process.
        passing_on = asyncio.all_tasks() - {asyncio.current_task()}
        if passing_on:
            await asyncio.wait(passing_on, timeout=30)
        await forwarder.stop()


def test_a_second_provider_on_one_journal_is_refused(process: ProviderProcess) -> None:
    status, message = run(process, journal=str(process.directory / "provider-journal.sqlite"))
    assert status == 1
    assert "[journal_busy]" in message
    assert f"process {process_id(process)} " in message


async def test_a_journal_of_another_account_is_refused(process: ProviderProcess) -> None:
    client = client_of(process)
    await open_swap(client, process)
    await client.aclose()
    process.kill()
    journal = str(process.directory / "provider-journal.sqlite")
    other = process.network.taker.evm_key_file
    status, message = await asyncio.to_thread(run, process, journal=journal, key_file=other)
    assert status == 1
    assert "[journal_owner]" in message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_it_stops_when_asked_though_a_stream_is_open(process: ProviderProcess, number: signal.Signals) -> None:
    ready = json.loads((process.directory / "ready.json").read_text())
    client = client_of(process)
    request, _ = await open_swap(client, process)
    descriptor = os.pidfd_open(ready["process_id"])
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{process.url}/v1/swaps/{request.swap_id}/events", headers={"Authorization": f"Bearer {TOKEN.hex()}"}
            ) as stream,
        ):
            assert await stream.content.readline() == b"event: swap\n"
            signal.pidfd_send_signal(descriptor, number)
            await stream.content.read()
            await ended(descriptor)
    finally:
        os.close(descriptor)
        await client.aclose()
    process.stop()
    assert not (process.directory / "ready.json").exists()
    assert json.loads(process.log().splitlines()[-1])["event"] == "stopped"


def test_it_ends_with_the_process_that_started_it_even_by_sigkill(process: ProviderProcess) -> None:
    process.stop()
    ready = process.directory / "ready.json"
    arguments = [str(process.directory / "provider.toml"), "--ready-file", str(ready)]
    with (process.directory / "log").open("ab") as log:
        parent = subprocess.Popen(
            [sys.executable, "-c", START_PROVIDER, *arguments], stdout=subprocess.PIPE, stderr=log
        )
    assert parent.stdout is not None
    with parent.stdout:
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
    try:
        give_up = time.monotonic() + 30
        while not ready.exists():
            # The descriptor can be read when the process has ended; waiting for that is also the pause here.
            assert not select.select([descriptor], [], [], 0.02)[0], process.log()
            assert time.monotonic() < give_up, process.log()
        parent.kill()
        parent.wait()
        assert select.select([descriptor], [], [], 30)[0], "it outlived its parent"
    finally:
        os.close(descriptor)


def process_id(process: ProviderProcess) -> int:
    ready = json.loads((process.directory / "ready.json").read_text())
    return int(ready["process_id"])


def run(process: ProviderProcess, journal: str = "", **settings: str | int) -> tuple[int, str]:
    """Start a second provider from a changed file; return its exit status and its message."""
    directory = process.directory / "changed"
    directory.mkdir(exist_ok=True)
    text = (process.directory / "provider.toml").read_text()
    for name, value in settings.items():
        # The first table that has it: BOB's, whose settings allow any chain id.
        text = re.sub(rf"^{name} = .*$", f"{name} = {json.dumps(value)}", text, count=1, flags=re.MULTILINE)
    if journal:
        text += f"[journal]\npath = {json.dumps(journal)}\n"
    (directory / "provider.toml").write_text(text)
    errors = directory / "errors"
    with (directory / "output").open("wb") as output, errors.open("wb") as to_errors:
        started = fork("layer2.provider.process", [str(directory / "provider.toml")], output=output, errors=to_errors)
    return started.wait(60), errors.read_text()


def test_what_prevents_the_start_is_one_sentence_and_no_traceback(process: ProviderProcess) -> None:
    port = int(process.url.rpartition(":")[2])
    for settings, code in (
        ({"listen_port": port}, "[listen]"),
        ({"chain_id": 1}, "[chain_id]"),
        ({"identity_key_file": "nowhere"}, "[signer]"),
        ({"listen_port": -1}, "[wrong_value]"),
    ):
        status, message = run(process, **settings)
        assert status == 1
        assert code in message
        assert "Traceback" not in message


def test_the_configuration_is_read_from_the_named_file_only(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "layer2.provider.process", str(tmp_path / "none.toml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "there is no configuration file" in ended.stderr
