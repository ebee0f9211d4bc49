from __future__ import annotations

from layer2.provider.logs import without_ids
from layer2.provider.service import swap_tag
from layer2.transactions import SwapId

SWAP_ID = SwapId("ab" * 16)


def test_whatever_looks_like_the_id_of_a_swap_becomes_its_tag() -> None:
    event = without_ids(None, "info", {"event": f"swap {SWAP_ID} moved", "path": f"/v1/swaps/{SWAP_ID}/events"})
    assert event == {"event": f"swap {swap_tag(SWAP_ID)} moved", "path": f"/v1/swaps/{swap_tag(SWAP_ID)}/events"}


def test_hashes_and_numbers_stay_as_they_are() -> None:
    event = {"payment_hash": "cd" * 32, "amount_sat": 100_000, "tx": "0x" + "ef" * 32}
    assert without_ids(None, "info", dict(event)) == event
