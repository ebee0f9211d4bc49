"""The program ``layer2`` for ``forking``, which imports this module. Its commands import what they use; here that was
imported before. A test that measures or counts imports starts the program itself."""

from __future__ import annotations

import importlib

from layer2.cli import app

__all__ = ["main"]

for name in ("rich.console", "rich.table", "rich.live", "layer2.manager", "layer2.provider.process"):
    importlib.import_module(name)
for place, _ in app.COMMANDS.values():
    importlib.import_module(f"layer2.cli.{place.partition(':')[0]}")

main = app.main
