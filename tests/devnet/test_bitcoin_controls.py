"""The controls of the devnet's Bitcoin chain: what it refuses, with a reason."""

from __future__ import annotations

import pytest

from layer2.errors import NodeRefused
from layer2.local.network import LocalNetworkControl

pytestmark = pytest.mark.devnet


async def test_what_a_real_node_cannot_do_is_refused_with_a_reason(control: LocalNetworkControl) -> None:
    before = (await control.status())["bitcoin"]["height"]
    with pytest.raises(NodeRefused, match="keeps the transactions"):
        await control.reorganise(1, keep_transactions=False, chain="BITCOIN")
    with pytest.raises(NodeRefused, match="expected 1 to 100"):
        await control.reorganise(0, chain="BITCOIN")
    with pytest.raises(NodeRefused, match="ahead of the machine's clock"):
        await control.advance_chain_time(10_000, chain="BITCOIN")
    with pytest.raises(NodeRefused, match="at least 1"):
        await control.mine(0, chain="BITCOIN")
    assert (await control.status())["bitcoin"]["height"] == before


async def test_a_reorganisation_is_one_block_longer_and_its_blocks_are_empty(control: LocalNetworkControl) -> None:
    height = await control.mine(3, chain="BITCOIN")
    assert await control.reorganise(2, chain="BITCOIN") == height + 1
    status = (await control.status())["bitcoin"]
    assert status["height"] == height + 1
    assert status["empty_blocks"] >= 3
