"""The composition root: creates the clients and the journal of a configuration.

Managers, providers and the command line use it. It alone decides which client a table of the configuration gets.
"""

from layer2.assembly.clients import open_clients, open_provider, open_providers, reading_client
from layer2.assembly.extras import temporal_is_missing
from layer2.assembly.holders import answer_challenge, held_key
from layer2.assembly.joining import JoiningLegs
from layer2.assembly.owners import check_owners, owner_conflicts, owners_of
from layer2.assembly.swaps import Layers, journal_place, open_journal, open_layers, register_place, swap_seed

__all__ = [
    "JoiningLegs",
    "Layers",
    "answer_challenge",
    "check_owners",
    "held_key",
    "journal_place",
    "open_clients",
    "open_journal",
    "open_layers",
    "open_provider",
    "open_providers",
    "owner_conflicts",
    "owners_of",
    "reading_client",
    "register_place",
    "swap_seed",
    "temporal_is_missing",
]
