"""Settings from arguments, the environment and a TOML file, in that order; wrong ones are named exactly.

Every value has one of four origins, the first that has it wins: an argument (or command-line flag), the environment
(``LAYER2_BOB__RPC_URL``), the file, the default. Paths in a file are relative to the file. Secrets can be given by
file everywhere (``key_file``), and are never shown.
"""

from layer2.config.loading import FileSettings, LayerSettings
from layer2.config.sections import (
    BobSection,
    ConnectionPoolSection,
    EvmSection,
    JournalSection,
    LayerSection,
    LightningSection,
    NetworkName,
    ProviderSection,
    RootstockSection,
)
from layer2.config.taker import Layer2Config

__all__ = [
    "BobSection",
    "ConnectionPoolSection",
    "EvmSection",
    "FileSettings",
    "JournalSection",
    "Layer2Config",
    "LayerSection",
    "LayerSettings",
    "LightningSection",
    "NetworkName",
    "ProviderSection",
    "RootstockSection",
]
