"""Settings from arguments, the environment and a TOML file.

A value comes from the first of these that has it: an argument (or command-line option), the environment
(``LAYER2_BOB__RPC_URL``), the file, the default. Paths in a file are relative to the file. Every secret can be passed
as a file (``key_file``). Secrets are never shown.
"""

from layer2.config.loading import LayerSettings
from layer2.config.sections import (
    BitcoinSection,
    BobSection,
    EvmSection,
    JournalSection,
    NetworkName,
    ProviderSection,
    RootstockSection,
)
from layer2.config.taker import Layer2Config

__all__ = [
    "BitcoinSection",
    "BobSection",
    "EvmSection",
    "JournalSection",
    "Layer2Config",
    "LayerSettings",
    "NetworkName",
    "ProviderSection",
    "RootstockSection",
]
