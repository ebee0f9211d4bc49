"""Foreign text in this package's errors."""

from __future__ import annotations

from layer2.formats.printable import printable


def test_words_keep_to_one_line_and_command_no_terminal() -> None:
    assert printable("no\r\nroute\x1b[2J \u202efound") == "no  route [2J  found"
    assert printable("häßlich ₿") == "häßlich ₿"


def test_long_words_are_cut_and_say_so() -> None:
    assert printable("x" * 300) == "x" * 300
    assert printable("x" * 301) == "x" * 300 + "..."
