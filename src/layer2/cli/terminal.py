"""The output of a command: the result on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from layer2.cli.envelope import Line, Result, Table, envelope
from layer2.cli.wording import sentence
from layer2.errors import Layer2Error

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Terminal"]

_PATIENCE = 1.0
"""Seconds without output. A command that takes longer shows what it is doing."""
_WIDE = 240
"""Columns of output that is not a terminal, so that no line is broken."""


class Terminal:
    """One command's output.

    Args:
        json: the result goes to stdout as one JSON object.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json

    @cached_property
    def progress(self) -> Console:
        """The console on stderr."""
        # Imported when something is shown, not at every start of the program.
        from rich.console import Console

        return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False, markup=False)

    def say(self, text: str) -> None:
        """Write one line of progress to stderr."""
        self.progress.print(text, soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show what the block does: a spinner on a terminal, otherwise a line after a second."""
        if self.progress.is_terminal:
            with self.progress.status(text):
                yield
            return
        timer = threading.Timer(_PATIENCE, self.say, [f"{text} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def result(self, result: Result) -> None:
        """Write the result to stdout, and its problem to stderr."""
        if self.json:
            print(envelope(result, None), flush=True)
        else:
            for line in result.text:
                self._print(line)
            sys.stdout.flush()
        for warning in result.warnings:
            self.say(f"warning: {warning}")
        if result.problem is not None:
            self.say(f"error: {sentence(result.problem, time.time())}")

    def error(self, error: Layer2Error) -> None:
        """Write the error as one sentence to stderr; with ``--json`` also as the envelope to stdout."""
        if self.json:
            print(envelope(None, error), flush=True)
        self.say(f"error: {sentence(error, time.time())}")

    @staticmethod
    def _print(line: Line) -> None:
        match line:
            case str():
                print(line)
            case Table():
                from rich.console import Console

                Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(_rich(line))


def _rich(table: Table) -> object:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in table.columns:
        made.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    for row in table.rows:
        made.add_row(*[Text(cell) for cell in row])
    return made
