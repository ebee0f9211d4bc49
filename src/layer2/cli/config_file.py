"""Writes a configuration file: every key with its description and, if it is known, its value. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from layer2.errors import ConfigurationError

__all__ = ["file_text"]


def file_text(model: type[BaseModel], values: Mapping[str, Any], *, head: Sequence[str] = ()) -> str:
    """Write a TOML file for a settings class.

    Args:
        model: its fields become keys and tables, their descriptions comments.
        values: the known values, nested as in the file. A table with values is written with all its keys. A required
            key without a value stays a comment, so that loading the file reports it. Other tables are comments.
        head: comment lines at the top.

    Returns:
        The text; loading it returns the values.
    """
    lines = [f"# {line}".rstrip() for line in head]
    lines += [""] if head else []
    lines += _keys(model, values)
    for name, field, section, is_list in _tables(model):
        given = values.get(name)
        opened, closed = ("[[", "]]") if is_list else ("[", "]")
        entries: list[Mapping[str, Any] | None] = list(given or [None]) if is_list else [given]
        for entry in entries:
            mark = "# " if entry is None and (is_list or not _has_defaults(field)) else ""
            about = (section.__doc__ or "").split("\n", 1)[0]
            lines += ["", f"# {about}".rstrip(), f"{mark}{opened}{name}{closed}"]
            lines += [line if line.startswith("#") else f"{mark}{line}" for line in _keys(section, entry or {})]
    return "\n".join(lines) + "\n"


def _keys(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    tables = {name for name, *_ in _tables(model)}
    for name, field in model.model_fields.items():
        if name in tables:
            continue
        yield f"# {field.description or name}"
        value = values.get(name)
        if value is not None:
            yield f"{name} = {_toml(value)}"
        elif field.is_required():
            yield f"# {name} =      (required)"
        elif field.default is None:
            yield f"# {name} ="
        else:
            # The default as a comment, so that it stays visible after a change.
            yield f"# {name} = {_toml(field.default)}"


def _tables(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, type[BaseModel], bool]]:
    for name, field in model.model_fields.items():
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield name, field, candidate, candidate is not field.annotation and _is_tuple(field)
                break


def _is_tuple(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is tuple


def _has_defaults(field: FieldInfo) -> bool:
    return isinstance(field.default, BaseModel)


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str() | Path():
            # TOML's basic strings accept JSON's escapes. Only DEL needs an additional one.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            raise ConfigurationError(f"a value of type {type(value).__name__} cannot be written to a file")
