"""The number of channels between the devnet's Lightning nodes."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest

from layer2.errors import ConfigurationError
from layer2.local import devnet
from layer2.local.devnet.lightning_pair import CHANNEL_SATOSHI
from layer2.local.network import Party


def macaroon_header(party: Party) -> dict[str, str]:
    return {"Grpc-Metadata-macaroon": Path(party.lightning.macaroon_file).read_bytes().hex()}


async def active_capacities(party: Party) -> list[int]:
    """The capacity of each active channel, in satoshi."""
    lightning = party.lightning
    tls = ssl.create_default_context(cafile=lightning.certificate_file)
    headers = macaroon_header(party)
    url = f"{lightning.rest_url}/v1/channels?active_only=true"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=tls) as response:
        assert response.status == 200
        return [int(channel["capacity"]) for channel in (await response.json())["channels"]]


@pytest.mark.devnet
async def test_starts_with_as_many_active_channels_as_asked_for(built_nodes: None, tmp_path: Path) -> None:
    network = devnet.up(tmp_path, with_parent=True, channels=4)
    try:
        for party in (network.taker, network.provider):
            assert await active_capacities(party) == [CHANNEL_SATOSHI] * 4
    finally:
        devnet.down(tmp_path)


def test_a_devnet_without_a_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least one channel, not 0"):
        devnet.up(tmp_path / "network", channels=0)
    assert not (tmp_path / "network").exists()
