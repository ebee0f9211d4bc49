"""Import every module of the installed package, to find names that the installed dependencies lack."""

from __future__ import annotations

import importlib
import pkgutil

import layer2

_NOT_IMPORTED = (
    "layer2.__main__",
    "layer2.testing.fixtures",
    "layer2.journal.migrations",
    "layer2.workers",
    "layer2.cli.demo_workers",
    "layer2.cli.worker",
    "layer2.provider.workflows",
)
"""Not imported: a program, a pytest plugin, scripts that alembic runs, and what needs the extra ``temporal``."""

for module in pkgutil.walk_packages(layer2.__path__, "layer2."):
    is_left_out = any(f"{module.name}.".startswith(f"{each}.") for each in _NOT_IMPORTED)
    if not is_left_out and not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
