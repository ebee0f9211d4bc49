"""Writes ``docs/cli.md`` from the help of the program; a test compares them. Run: python tools/write_cli_docs.py"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from layer2.cli.app import COMMANDS, build

PAGE: Final = Path(__file__).parent.parent / "docs" / "cli.md"
_HEAD: Final = """# The command line

`tools/write_cli_docs.py` writes this page from the help of the program.

**Options of every command**: `--json` writes the result to stdout as one JSON object. `--config`, `-c` names the
configuration file; the default is `LAYER2_CONFIG`, or `layer2.toml` in the current directory. `--verbose`, `-v` shows
whole hashes and keys, every change of a transfer, and the logs of the libraries. `--debug` shows tracebacks.
`--version` shows the version.

**Configuration**: `config check`, `config show`, `doctor`, `balance`, `list`, `journal` and `worker` read the file of a
taker or of a provider; the keys of the file show which it is. Without a file, the environment is enough if it sets
`LAYER2_NETWORK`.

**Output**: stdout contains only the result. Progress and errors go to stderr. An error is one sentence: what happened,
where the money is, the deadline, and the remedy, with the options of this run. A transfer that needs a person is shown
with `ATTENTION`, one that lost money with `LOST`. Times are UTC. While a command waits, it shows a node that goes down.

**Several processes**: one process at a time acts on a journal. While it does, `transfer`, `resume` and
`provider serve` are refused with its process id. `list`, `show`, `wait`, `balance`, `quote`, `pairs`, `doctor`,
`journal` and `proof` only read the journal. `wait` then watches the other process. `journal add` only writes owners.
With the table `[temporal]`, and with `provider serve --engine temporal`, any number of processes act on a journal.

**Exit status**: 0 done, 1 refused or failed, 2 outcome unknown or transfer still open, 3 wrong use, 4 action needed
(money, gas, a key, access to a node, another process on the journal, a transfer that needs a person, an unconfirmed
proof), 5 unreachable, 130 interrupted while no transfer was open.

**Envelope** of `--json`: `schema` (1), `ok`, `data`, `error` (`code`, `message`, `outcome`, `transfer_id`, `tx_id`,
`funds`, `deadline`, `remedy`, `retryable`; each can be null), `warnings`. Satoshi and unix seconds are integers, wei
are decimal strings.

"""


def page() -> str:
    """The whole page."""
    words = [word for name in COMMANDS for word in name.split()]
    reference: str = build(words).generate_docs(output_format="markdown")
    return _HEAD + reference.replace("# layer2\n", "## layer2\n", 1).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
