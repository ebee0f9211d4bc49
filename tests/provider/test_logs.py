from __future__ import annotations

from layer2.provider.logs import utc


def test_a_time_is_written_as_people_read_it() -> None:
    assert utc(1_800_000_000) == "2027-01-15 08:00:00 UTC"
    assert utc(None) is None
