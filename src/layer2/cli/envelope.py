"""The JSON object that every command writes to stdout with ``--json``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from layer2.cli.exit_status import ExitStatus, exit_status
from layer2.errors import Layer2Error

__all__ = ["SCHEMA", "Line", "Result", "Table", "envelope"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people. Columns whose name begins with ``>`` are right-aligned."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Line: TypeAlias = "str | Table"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command."""

    data: Mapping[str, Any]
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
        if self.problem is None:
            return ExitStatus.DONE
        return exit_status(self.problem) if self.ended is None else self.ended


def envelope(result: Result | None, error: Layer2Error | None, warnings: Sequence[str] = ()) -> str:
    """The envelope as one line of JSON."""
    if result is not None:
        error, warnings = result.problem, [*result.warnings, *warnings]
    content = {
        "schema": SCHEMA,
        "ok": error is None,
        "data": None if result is None else result.data,
        "error": None if error is None else _described(error),
        "warnings": list(warnings),
    }
    return json.dumps(content, ensure_ascii=False)


def _described(error: Layer2Error) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "outcome": error.outcome.value,
        "transfer_id": error.transfer_id,
        "tx_id": error.tx_id,
        "funds": error.funds,
        "deadline": error.deadline,
        "remedy": error.remedy,
        "retryable": error.retryable,
    }
