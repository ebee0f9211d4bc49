"""Print the public names of the package with their signatures: ``python tools/public_api.py > tests/public_api.txt``.

The public names are those in ``__all__`` of the modules in ``PUBLIC``; every other module is internal and may change.
A test compares the output with ``tests/public_api.txt``.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
from collections.abc import Iterator
from typing import Final, NewType

PUBLIC: Final = (
    "layer2",
    "layer2.config",
    "layer2.errors",
    "layer2.proofs",
    "layer2.protocols.bitcoin",
    "layer2.protocols.bob",
    "layer2.protocols.lightning",
    "layer2.protocols.rootstock",
    "layer2.provider",
    "layer2.signers",
    "layer2.testing",
)


def lines() -> Iterator[str]:
    """One line for each public name, and one for each public attribute of a class."""
    described: dict[int, str] = {}
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            path, thing = f"{module_name}.{name}", getattr(module, name)
            if (known := described.setdefault(id(thing), path)) != path:
                yield f"{path} = {known}"
            else:
                yield from _described(path, thing)


def _described(path: str, thing: object) -> Iterator[str]:
    if inspect.isclass(thing):
        yield f"class {path}({', '.join(base.__name__ for base in thing.__bases__ if base is not object)})"
        yield from sorted(_attributes(path, thing))
    elif isinstance(thing, NewType):
        yield f"type {path} = {thing.__supertype__.__name__}"
    elif callable(thing):
        yield f"def {path}{inspect.signature(thing)}"
    else:
        yield f"{path}: {type(thing).__name__}"


def _attributes(path: str, owner: type) -> Iterator[str]:
    if issubclass(owner, enum.Enum):
        yield from (f"{path}.{member.name} = {member.value!r}" for member in owner)
    if dataclasses.is_dataclass(owner):
        yield from (f"{path}.{field.name}: {field.type}" for field in dataclasses.fields(owner))
    for name, value in inspect.getmembers_static(owner):
        if name.startswith("_") and name != "__init__":
            continue
        if not any(name in vars(base) for base in owner.__mro__ if base.__module__.startswith("layer2")):
            continue
        if isinstance(value, property):
            yield f"{path}.{name} -> {inspect.signature(value.fget).return_annotation if value.fget else ''}"
        elif isinstance(value, classmethod | staticmethod) or inspect.isfunction(value):
            bound = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if name != "__init__" or not dataclasses.is_dataclass(owner):
                yield f"def {path}.{name}{inspect.signature(bound)}"
        elif not inspect.isdatadescriptor(value) and not issubclass(owner, enum.Enum):
            yield f"{path}.{name}: {type(value).__name__}"


if __name__ == "__main__":
    print(*lines(), sep="\n")
