"""The swap provider: quotes a price, signs terms, and carries swaps out. Start one from Python with ``serve``.

Names are loaded when they are first used: the settings do not need the web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layer2 import lazy_names

if TYPE_CHECKING:
    from layer2.provider.process import serve
    from layer2.provider.settings import PriceSection, ProviderSettings
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {"layer2.provider.process": ["serve"], "layer2.provider.settings": ["PriceSection", "ProviderSettings"]},
    )

__all__ = ["PriceSection", "ProviderSettings", "serve"]
