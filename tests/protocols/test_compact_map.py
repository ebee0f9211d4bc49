"""``CompactMap`` behaves as a dict, and takes little memory."""

from __future__ import annotations

import random
import sys

from layer2.protocols.compact_map import CompactMap


class SamePrint(bytes):
    """Keys that have the same fingerprint."""

    def __hash__(self) -> int:
        return 7


def test_it_behaves_as_a_dict() -> None:
    chance = random.Random(1)
    keys = [chance.randbytes(32) for _ in range(40)]
    ours: CompactMap[int] = CompactMap()
    model: dict[bytes, int] = {}
    for number in range(4_000):
        key = chance.choice(keys)
        if chance.random() < 0.5:
            ours[key] = model[key] = number
        else:
            assert ours.pop(key) == model.pop(key, None)
        assert len(ours) == len(model)
        assert sorted(ours.values()) == sorted(model.values())
        assert [ours.get(each) for each in keys] == [model.get(each) for each in keys]
    ours.clear()
    assert len(ours) == 0
    assert ours.get(keys[0]) is None


def test_an_entry_takes_at_most_twenty_bytes() -> None:
    ours: CompactMap[bool] = CompactMap()
    for number in range(10_000):
        ours[number.to_bytes(32)] = True
    parts = [getattr(ours, name) for name in vars(ours)]
    assert sum(map(sys.getsizeof, parts)) <= 20 * 10_000


def test_keys_with_the_same_fingerprint_are_one_key() -> None:
    ours: CompactMap[str] = CompactMap()
    ours[SamePrint(b"one")] = "first"
    ours[SamePrint(b"two")] = "second"
    assert ours.get(SamePrint(b"one")) == "second"
    assert len(ours) == 1
