"""A starting node creates its files before it writes them. The devnet waits instead of failing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from layer2.local.devnet.bitcoin import BitcoinNode
from layer2.local.devnet.lightning import Lnd

NO_ONE = Path("no-such-program")


async def test_a_certificate_that_is_not_written_yet_is_waited_for(tmp_path: Path) -> None:
    for name in ("rpc.cert", "tls.cert", "admin.macaroon"):
        (tmp_path / name).touch()
    async with aiohttp.ClientSession() as session:
        bitcoin = BitcoinNode(NO_ONE, tmp_path, (9, 9), session)
        lightning = Lnd("taker", NO_ONE, tmp_path, (9, 9, 9), session)
        for node in (bitcoin, lightning):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(node.wait_until_answering(), 0.2)
