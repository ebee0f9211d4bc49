"""What a completed swap costs on Bitcoin's chain in every direction, and for how long it binds money. Not measured."""

from __future__ import annotations

from typing import Final

from figures import Figure, alone

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.legs.bitcoin import BitcoinOffer
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import LegOffer
from layer2.legs.lightning import LightningOffer
from layer2.legs.timelock_settings import MAINNET
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.protocols.bitcoin.htlc.spending import CLAIM_SIZE
from layer2.swap_rules.timelocks import pair_durations

__all__ = ["cost_figures"]

FUNDING_SIZE: Final = 153
"""Virtual bytes of a funding with one P2WPKH input and change."""
RATES: Final = (2, 20, 200)
"""sat/vB."""
HOUR: Final = 3_600
KEYS: Final = (b"\x02" + bytes([1]) * 32, b"\x02" + bytes([2]) * 32)

OFFERS: Final[tuple[LegOffer, ...]] = (
    BitcoinOffer("bc", *KEYS, fee_floor=1_000, finality=Finality.FINALIZED),
    LightningOffer("bc", KEYS[0]),
    *[
        EvmOffer(layer, chain, HTLC_ADDRESS, bytes(20), 18, b"\x01" * 20, Finality.SAFE)
        for layer, chain in ((Layer2ProtocolType.BOB, 60808), (Layer2ProtocolType.ROOTSTOCK, 30))
    ],
)


def cost_figures() -> list[Figure]:
    """For each direction: the fees on Bitcoin's chain of both parties together, and the hours that the taker's money is
    bound if the provider disappears."""
    found: list[Figure] = []
    for source in OFFERS:
        for destination in OFFERS:
            if source is destination:
                continue
            names = f"{source.protocol.value} to {destination.protocol.value}"
            hours = pair_durations(source, destination, MAINNET).worst / HOUR
            found.append(alone(f"{names}: money bound at worst", "h", hours))
            if Layer2ProtocolType.BITCOIN in (source.protocol, destination.protocol):
                size = FUNDING_SIZE + CLAIM_SIZE
                found += [
                    alone(f"{names}: fees on Bitcoin's chain at {rate} sat/vB", "sat", size * rate) for rate in RATES
                ]
    return found
