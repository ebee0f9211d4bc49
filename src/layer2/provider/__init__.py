"""The swap provider: quotes a price, signs terms, and carries swaps out. Start one from Python with ``serve``.

Names are loaded when they are first used (PEP 562): the settings do not need the web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layer2.provider.process import serve
    from layer2.provider.settings import PriceSection, ProviderSettings

__all__ = ["PriceSection", "ProviderSettings", "serve"]

_HOMES = {"PriceSection": "settings", "ProviderSettings": "settings", "serve": "process"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
