"""Writes ``docs/cli.md`` from the program's own help; a test compares the two. Run: python tools/write_cli_docs.py"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from layer2.cli.app import COMMANDS, build

PAGE: Final = Path(__file__).parent.parent / "docs" / "cli.md"
_HEAD: Final = """# The command line

Written by `tools/write_cli_docs.py` from the program's own help.

**Options of every command**: `--json` writes the result to stdout as one JSON object; `--config`, `-c` names the
configuration file, else `LAYER2_CONFIG`, else `layer2.toml` in the current directory; `--verbose`, `-v` shows hashes
and keys whole and what the libraries log; `--debug` shows tracebacks; `--version`.

**Output**: stdout holds the result alone. Progress and errors go to stderr; an error is one sentence: what happened to
the money, the deadline of the party that must act, and what to do. A transfer that a human has to look at is shown with
`ATTENTION`, one in which money was lost with `LOST`. Times are UTC; a deadline that is past is shown as past.

**Several processes**: one process at a time acts on a journal. `transfer`, `resume` and `provider serve` are refused
beside it, with its process id. `list`, `show`, `wait`, `balance`, `quote`, `pairs`, `doctor`, `journal` and `proof`
work: they only read the journal. `wait` watches what the other process does, and `journal add` writes owners alone.

**Exit status**: 0 done, 1 refused or failed, 2 outcome unknown or still under way, 3 wrong use, 4 action needed (money,
gas, a key, a node that is another one, another process on the journal, a transfer that needs you), 5 unreachable,
130 interrupted with nothing under way.

**Envelope** of `--json`: `schema` (1), `ok`, `data`, `error` (`code`, `message`, `outcome`, `transfer_id`, `tx_id`,
`funds`, `deadline`, `remedy`, `retryable`; null where there is none), `warnings`. Satoshi and unix seconds are
integers, wei decimal strings.

"""


def page() -> str:
    """The whole page."""
    words = [word for name in COMMANDS for word in name.split()]
    reference: str = build(words).generate_docs(output_format="markdown")
    return _HEAD + reference.replace("# layer2\n", "## layer2\n", 1).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
