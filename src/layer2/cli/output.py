"""The output of a command: the result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO, TypeAlias

from layer2.cli.exit_status import ExitStatus, exit_status
from layer2.cli.wording import fields_of, sentence
from layer2.errors import Layer2Error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Line", "Result", "Terminal", "table"]

_SCHEMA = 1
"""The version of the JSON object that every command writes with ``--json``."""
_ERROR_FIELDS = (
    "code",
    "message",
    "outcome",
    "transfer_id",
    "tx_id",
    "funds",
    "deadline",
    "remedy",
    "retryable",
)
_PATIENCE = 1.0
"""Seconds without output. A command that takes longer shows what it is doing."""
_WIDE = 240
"""Columns of output that is not a terminal, so that no line is broken."""


Line: TypeAlias = "str | Table"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table for people. Columns whose name begins with ``>`` are right-aligned."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        made.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command."""

    data: Mapping[str, object]
    """For machines: satoshi and unix seconds are integers, wei are decimal strings (they exceed 2^53)."""
    text: Sequence[Line]
    """The same for people."""
    warnings: tuple[str, ...] = ()
    problem: Layer2Error | None = None
    """The reason why a command with a result did not succeed."""
    ended: ExitStatus | None = None
    """The exit status, if it differs from that of the problem."""

    @property
    def status(self) -> ExitStatus:
        """The exit status of the program."""
        if self.problem is None:
            return ExitStatus.DONE
        return exit_status(self.problem) if self.ended is None else self.ended


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
        return _console(sys.stderr)

    def say(self, text: str) -> None:
        """Write one line of progress to stderr."""
        if "progress" in self.__dict__:
            self.progress.print(_shown(text), soft_wrap=True)
        else:
            # Nothing is shown that the line could break, so it needs no console: importing one takes long.
            print(_shown(text), file=sys.stderr, flush=True)

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

    @contextmanager
    def live(self, text: Callable[[], str]) -> Iterator[None]:
        """Show on a terminal, below what the block prints, a text that is current."""
        if not self.progress.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(get_renderable=text, console=self.progress, refresh_per_second=4, transient=True):
            yield

    def result(self, result: Result) -> None:
        """Write the result to stdout, and its problem to stderr."""
        if self.json:
            print(_envelope(result.data, result.problem, result.warnings), flush=True)
        else:
            for line in result.text:
                if isinstance(line, str):
                    print(_shown(line))
                else:
                    _console(sys.stdout).print(line)
            sys.stdout.flush()
        for warning in result.warnings:
            self.say(f"warning: {warning}")
        if result.problem is not None:
            self._say_error(result.problem)

    def error(self, error: Layer2Error) -> None:
        """Write the error as one sentence to stderr; with ``--json`` also as the envelope to stdout."""
        if self.json:
            print(_envelope(None, error), flush=True)
        self._say_error(error)

    def _say_error(self, error: Layer2Error) -> None:
        # It can name a file of a stranger, whose name must not look like another line.
        self.say(f"error: {_shown(sentence(error, time.time()), but='')}")


def _shown(text: str, *, but: str = "\n") -> str:
    """Text without what a terminal executes or no encoding has: names of files are bytes that anyone chooses."""
    return "".join([sign if sign.isprintable() or sign in but else " " for sign in text])


def _console(file: TextIO) -> Console:
    # Imported when something is shown, not at every start of the program.
    from rich.console import Console

    return Console(file=file, width=None if file.isatty() else _WIDE, highlight=False, markup=False)


def _envelope(data: Mapping[str, object] | None, error: Layer2Error | None, warnings: Sequence[str] = ()) -> str:
    """The JSON object of ``--json`` in one line."""
    described = None if error is None else fields_of(error, *_ERROR_FIELDS)
    content = {"schema": _SCHEMA, "ok": error is None, "data": data, "error": described, "warnings": list(warnings)}
    # In ASCII, so that no text in it is a control character of a terminal, or one that the output cannot encode.
    return json.dumps(content)
