"""Import every module of the installed package, to find names that the installed dependencies lack."""

from __future__ import annotations

import importlib
import pkgutil

import layer2

_NOT_IMPORTED = ("layer2.__main__", "layer2.testing.fixtures", "layer2.journal.migrations")
"""Not imported: a program, a pytest plugin, and scripts that alembic runs."""

for module in pkgutil.walk_packages(layer2.__path__, "layer2."):
    if not module.name.startswith(_NOT_IMPORTED) and not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
