"""Write the tables of ``docs/configuration.md`` from the settings' definitions; a test compares the two.

Run: ``python tools/write_config_docs.py``. The text above the tables is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from layer2.config import Layer2Config
from layer2.config.definitions import Setting, settings_of
from layer2.provider.settings import ProviderSettings

PAGE: Final = Path(__file__).parent.parent / "docs" / "configuration.md"
_MARKER: Final = "<!-- The rest is written by tools/write_config_docs.py. -->\n"
_PROGRAMS: Final = ((Layer2Config, "layer2.toml"), (ProviderSettings, "provider.toml"))
_NOTES: Final = {
    "[[prices]]": "Price and limits of one pair of layers; a key that is left out is as at the top of the file.",
    "[temporal]": "The Temporal server. A taker with this table uses workers, a provider with `--engine temporal`.",
}


def page(written: str) -> str:
    """The whole page.

    Args:
        written: the current page; its text above the marker is kept.
    """
    text, _, _ = written.partition(_MARKER)
    return text + _MARKER + "".join(_tables())


def _tables() -> Iterator[str]:
    """The top of each file, and each table once: the tables of layers are the same in both files."""
    tables = [{setting.name: setting for setting in settings_of(program) if setting.table} for program, _ in _PROGRAMS]
    shared = tables[0].keys() & tables[1].keys()
    for (program, file), own in zip(_PROGRAMS, tables, strict=True):
        yield from _table(f"{file}: Top of the file", "", "LAYER2_", program)
        for name, setting in own.items():
            if name not in shared or program is _PROGRAMS[0][0]:
                assert setting.table is not None
                heading = f"[[{name}]]" if setting.is_list else f"[{name}]"
                title = f"`{heading}`" if name in shared else f"{file}: {heading}"
                prefix = None if setting.is_list else f"LAYER2_{name.upper()}__"
                yield from _table(title, _NOTES.get(heading, ""), prefix, setting.table)


def _table(title: str, note: str, prefix: str | None, kind: type) -> Iterator[str]:
    yield "\n".join(["", f"## {title}", "", *([note, ""] if note else []), ""])
    yield "| key | default | environment | meaning |\n|---|---|---|---|\n"
    for setting in settings_of(kind):
        if setting.table is None:
            if not setting.meaning:
                raise AssertionError(f"{kind.__name__}.{setting.name} has no docstring")
            variable = "" if prefix is None else f"`{prefix}{setting.name.upper()}`"
            meaning = setting.meaning.replace("|", "\\|")
            yield f"| `{setting.name}` | {_default(setting)} | {variable} | {meaning} |\n"


def _default(setting: Setting) -> str:
    match setting.default:
        case None:
            return "required" if setting.is_required else "none"
        case bool() as default:
            # As in TOML.
            return f"`{str(default).lower()}`"
        case Enum() as default:
            return f"`{default.value}`"
        case ():
            return "`[]`"
        case default:
            return f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
