"""A dict with a limit on its size."""

from __future__ import annotations

from layer2.protocols.bounded_dict import BoundedDict


def test_the_oldest_entries_are_dropped_and_a_repeated_key_keeps_its_place() -> None:
    numbers = BoundedDict[str, int](2)
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        numbers[key] = value
    assert numbers == {"a": 3, "b": 2}
    numbers["c"] = 4
    assert numbers == {"b": 2, "c": 4}
