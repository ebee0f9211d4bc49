"""The composition root: creates clients, journal and runner from a configuration.

Managers, providers and the command line use it. Only this package and the typed overloads of ``get_protocol_async``
know the layers by name.
"""

from layer2.assembly.clients import Client, open_clients, open_provider, reading_client
from layer2.assembly.joining import JoiningLegs
from layer2.assembly.owners import check_owners, owner_conflicts, owners_of
from layer2.assembly.swaps import Layers, open_journal, open_layers

__all__ = [
    "Client",
    "JoiningLegs",
    "Layers",
    "check_owners",
    "open_clients",
    "open_journal",
    "open_layers",
    "open_provider",
    "owner_conflicts",
    "owners_of",
    "reading_client",
]
