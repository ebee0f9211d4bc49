"""The mempool's rules for replacement, dust and fees are those of Bitcoin Core."""

from __future__ import annotations

import pytest

from layer2.formats.bitcoin_transaction import OutPoint
from layer2.local.simnet.bitcoin.chain import TransactionRefused
from layer2.local.simnet.bitcoin.mempool import MIN_RELAY, dust_limit
from simnet.bitcoin.coins import REWARD, reward_of, spend, started_node


def test_a_replacement_pays_more_than_what_it_replaces_and_for_its_own_size() -> None:
    node = started_node()
    first = spend(reward_of(node), [REWARD - 1_000])
    node.submit(first.encode())
    size = first.virtual_size
    for fee, accepted in ((1_000, False), (1_000 + size - 1, False), (1_000 + size, True)):
        other = spend(reward_of(node), [REWARD - fee], sequence=0xFFFF_FFFE)
        if accepted:
            node.submit(other.encode())
        else:
            with pytest.raises(TransactionRefused, match="insufficient fee"):
                node.submit(other.encode())
    assert node.find(first.hash) is None


def test_a_replacement_pays_for_every_descendant_that_it_removes() -> None:
    node = started_node()
    first = spend(reward_of(node), [REWARD - 1_000])
    child = spend(OutPoint(first.hash, 0), [REWARD - 51_000])
    node.submit(first.encode())
    node.submit(child.encode())
    with pytest.raises(TransactionRefused, match="insufficient fee"):
        node.submit(spend(reward_of(node), [REWARD - 40_000]).encode())
    node.submit(spend(reward_of(node), [REWARD - 60_000]).encode())
    assert node.find(child.hash) is None


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        (b"\x00\x14" + bytes(20), 294),
        (b"\x00\x20" + bytes(32), 330),
        (b"\x51\x20" + bytes(32), 330),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 546),
        (b"\xa9\x14" + bytes(20) + b"\x87", 540),
    ],
)
def test_dust_is_not_relayed(script: bytes, limit: int) -> None:
    node = started_node()
    assert dust_limit(script) == limit
    with pytest.raises(TransactionRefused, match="dust"):
        node.submit(spend(reward_of(node), [limit - 1, REWARD - 5_000], script=script).encode())
    node.submit(spend(reward_of(node), [limit, REWARD - 5_000], script=script).encode())


def test_a_transaction_below_the_relay_fee_is_refused() -> None:
    node = started_node()
    made = spend(reward_of(node), [REWARD - 10])
    with pytest.raises(TransactionRefused, match="min relay fee not met"):
        node.submit(made.encode())


def test_fee_pressure_evicts_and_refuses_what_is_cheap_and_a_child_pays_for_its_parent() -> None:
    node = started_node()
    cheap = spend(reward_of(node), [REWARD - 500])
    parent = spend(reward_of(node, 2), [REWARD - 500])
    child = spend(OutPoint(parent.hash, 0), [REWARD - 50_000])
    for each in (cheap, parent, child):
        node.submit(each.encode())
    node.set_fees(20_000)
    assert node.find(cheap.hash) is None
    assert node.find(parent.hash) is not None
    with pytest.raises(TransactionRefused, match="mempool min fee not met"):
        node.submit(cheap.encode())
    node.mine(1)
    assert [each.id for each in node.chain.tip.block.transactions[1:]] == [parent.id, child.id]
    node.set_fees(MIN_RELAY)
    node.submit(cheap.encode())


def test_a_known_transaction_is_accepted_again_in_the_mempool_and_in_a_block() -> None:
    node = started_node()
    made = spend(reward_of(node), [REWARD - 500])
    node.submit(made.encode())
    node.submit(made.encode())
    node.mine(1)
    node.submit(made.encode())
    assert not node.mempool.entries


def test_an_output_is_spent_once() -> None:
    node = started_node()
    node.submit(spend(reward_of(node), [REWARD - 500]).encode())
    node.mine(1)
    with pytest.raises(TransactionRefused, match="missingorspent"):
        node.submit(spend(reward_of(node), [REWARD - 600]).encode())
