"""Text from nodes, providers and contracts in this package's errors and logs."""

from __future__ import annotations

from layer2.formats.printable import printable


def test_text_stays_on_one_line_without_control_characters() -> None:
    assert printable("no\r\nroute\x1b[2J \u202efound") == "no  route [2J  found"
    assert printable("häßlich ₿") == "häßlich ₿"


def test_a_long_text_is_cut_and_marked() -> None:
    assert printable("x" * 300) == "x" * 300
    assert printable("x" * 301) == "x" * 300 + "..."
