"""The taker's public calls: ``Layer2Manager``."""

from layer2.manager.manager import Layer2Manager

__all__ = ["Layer2Manager"]
