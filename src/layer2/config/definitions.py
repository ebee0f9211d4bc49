"""What a settings class defines: its keys, their defaults and their documentation, which is the attribute docstring."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Final, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from layer2.net.client_settings import ClientSettings

__all__ = ["SHARED", "Setting", "settings_of"]

SHARED: Final = frozenset(field.name for field in fields(ClientSettings))
"""The settings that a file has once, for all layers."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a configuration file, or one of its tables."""

    name: str
    is_required: bool
    default: object
    """None if it is required."""
    meaning: str
    """Its documentation, in one line."""
    table: type | None
    """The class of the table, or of each table of a list."""
    is_list: bool


def settings_of(kind: type) -> tuple[Setting, ...]:
    """The settings of a table or of a whole file. A layer's table does not have the shared ones."""
    hints, meanings = get_type_hints(kind), dict(_meanings(kind))
    return tuple(
        [
            Setting(
                name,
                is_required,
                default,
                meanings.get(name, ""),
                next((each for each in (hints[name], *get_args(hints[name])) if _is_table(each)), None),
                get_origin(hints[name]) is tuple,
            )
            for name, is_required, default in _defaults(kind)
            if not (issubclass(kind, ClientSettings) and name in SHARED)
        ]
    )


def _defaults(kind: type) -> Iterator[tuple[str, bool, object]]:
    if issubclass(kind, BaseModel):
        for name, model_field in kind.model_fields.items():
            is_required = model_field.is_required()
            yield name, is_required, None if is_required else model_field.default
    elif is_dataclass(kind):
        for field in fields(kind):
            is_required = field.default is MISSING
            yield field.name, is_required, None if is_required else field.default


def _is_table(annotation: object) -> bool:
    return isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel))


def _meanings(kind: type) -> Iterator[tuple[str, str]]:
    """The attribute docstrings of a class and its bases."""
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("layer2."):
            (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for field, text in zip(tree.body, tree.body[1:], strict=False):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as meaning)):
                        yield name, " ".join(meaning.split())
