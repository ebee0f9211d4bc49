"""The command line: ``layer2``."""

from layer2.cli.app import main

__all__ = ["main"]
