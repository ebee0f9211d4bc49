"""Writes a configuration file: every key with its description and, if it is known, its value. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

from layer2.config.definitions import settings_of
from layer2.errors import ConfigurationError

__all__ = ["file_text"]


def file_text(kind: type, values: Mapping[str, object], *, head: Sequence[str] = ()) -> str:
    """Write a TOML file for a settings class.

    Args:
        kind: its settings become keys and tables, their documentation comments.
        values: the known values, nested as in the file. A table with values is written with all its keys. A required
            key without a value stays a comment, so that loading the file reports it. Other tables are comments.
        head: comment lines at the top.

    Returns:
        The text; loading it returns the values.
    """
    lines = [f"# {line}".rstrip() for line in head]
    lines += [""] if head else []
    lines += _keys(kind, values)
    for setting in settings_of(kind):
        if setting.table is None:
            continue
        given = values.get(setting.name)
        opened, closed = ("[[", "]]") if setting.is_list else ("[", "]")
        for entry in given if isinstance(given, list | tuple) and given else (given,):
            has_defaults = not setting.is_list and setting.default is not None
            mark = "" if entry is not None or has_defaults else "# "
            about = " ".join((setting.table.__doc__ or "").partition("\n\n")[0].split())
            lines += ["", f"# {about}".rstrip(), f"{mark}{opened}{setting.name}{closed}"]
            keys = _keys(setting.table, entry if isinstance(entry, Mapping) else {})
            lines += [line if line.startswith("#") else f"{mark}{line}" for line in keys]
    return "\n".join(lines) + "\n"


def _keys(kind: type, values: Mapping[str, object]) -> Iterator[str]:
    for setting in settings_of(kind):
        if setting.table is not None:
            continue
        yield f"# {setting.meaning}"
        value = values.get(setting.name)
        if value is not None:
            yield f"{setting.name} = {_toml(value)}"
        elif setting.is_required:
            yield f"# {setting.name} =      (required)"
        elif setting.default is None:
            yield f"# {setting.name} ="
        else:
            # The default as a comment, so that it stays visible after a change.
            yield f"# {setting.name} = {_toml(setting.default)}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Enum():
            return _toml(value.value)
        case str() | Path():
            # TOML's basic strings accept JSON's escapes. Only DEL needs an additional one.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            raise ConfigurationError(f"a value of type {type(value).__name__} cannot be written to a file")
