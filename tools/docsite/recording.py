"""Record ``layer2 demo`` as an SVG: ``python -m tools.docsite.recording``, into ``docs/diagrams``.

The demo runs in a pseudo-terminal of 120 columns. The picture shows what it leaves on the screen, in the reader's
fonts.
"""

from __future__ import annotations

import os
import pty
import re
import sys
import tempfile
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

__all__ = ["RECORDING", "drawn", "on_screen"]

RECORDING: Final = Path(__file__).parents[2] / "docs" / "diagrams" / "demo.svg"
_COLUMNS, _ROWS = 120, 60
_PROGRAM: Final = "from layer2.cli import main; main()"
_CURSOR: Final = re.compile(r"\x1b\[(\d*)([A-HJKfhl])|\x1b\[\?\d+[hl]|\r(?!\n)")
# Rich's own template loads a font from another host.
_FRAME: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" \
aria-label="A terminal in which make demo ran">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>\
</clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#1e1e1e"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def on_screen(output: str) -> list[str]:
    """The lines that a program leaves on a terminal: moves up, erasures and carriage returns are carried out."""
    lines, row, place = [""], 0, 0
    while place < len(output):
        move = _CURSOR.match(output, place)
        if move is not None:
            place = move.end()
            if move[0] == "\r" or move[2] == "K":
                lines[row] = ""
            elif move[2] == "A":
                row = max(0, row - int(move[1] or 1))
            continue
        character = output[place]
        place += 1
        if character == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif character != "\r":
            lines[row] += character
    return lines


def drawn(lines: list[str]) -> str:
    """The lines as a picture of a terminal."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
        for line in lines:
            console.print(Text.from_ansi(line), soft_wrap=False)
        return console.export_svg(code_format=_FRAME, theme=MONOKAI, unique_id="demo")


def _recorded(command: list[str], directory: str) -> str:
    """Run a command in a terminal of its own, and return everything that it wrote.

    Raises:
        SystemExit: the command failed.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.environ.update(TERM="xterm-256color", COLUMNS=str(_COLUMNS), LINES=str(_ROWS))
        os.execv(command[0], command)  # noqa: S606  # this program's own interpreter
    termios.tcsetwinsize(terminal, (_ROWS, _COLUMNS))
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break  # Linux ends a terminal with EIO
        if not part:
            break
        written += part
    _, status = os.waitpid(process, 0)
    text = written.decode()
    if status != 0:
        raise SystemExit(f"the demo failed:\n{text}")
    return text


def main() -> int:
    """Run the demo and draw it."""
    with tempfile.TemporaryDirectory(prefix="layer2-recording-") as directory:
        output = _recorded([sys.executable, "-c", _PROGRAM, "demo"], directory)
    lines = ["\x1b[1m$ make demo\x1b[0m", *on_screen(output.rstrip())]
    RECORDING.parent.mkdir(exist_ok=True)
    RECORDING.write_text(drawn(lines), encoding="utf-8")
    print(f"{len(lines)} lines: {RECORDING}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
