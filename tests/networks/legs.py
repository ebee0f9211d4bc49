"""A hash-locked leg on each layer, between the taker as its payer and the provider as its payee."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from layer2 import BTC, BobClient, LightningNetwork, Preimage
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.formats import bolt11
from layer2.formats.evm_address import parse_address
from layer2.layers import Layer2ProtocolType
from layer2.local_network import LocalNetwork, LocalNetworkControl
from layer2.protocol_client import OfferRequest
from layer2.swap_rules.legs import Htlc, LegView, Side, Verb
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Finality
from networks.parties import Clients
from networks.waiting import until

__all__ = ["AMOUNT", "FundedLeg", "new_leg"]

AMOUNT = 30_000


@dataclass
class FundedLeg:
    """Both parties' clients of one layer, and a leg between them that is funded by ``fund``, not before."""

    payer: BobClient | LightningNetwork
    payee: BobClient | LightningNetwork
    preimage: Preimage
    htlc: Htlc
    control: LocalNetworkControl

    @property
    def is_lightning(self) -> bool:
        return isinstance(self.htlc.leg, LightningLeg)

    def side(self, side: Side) -> BobClient | LightningNetwork:
        return self.payer if side is Side.PAYER else self.payee

    async def see(self, side: Side, htlc: Htlc | None = None) -> LegView:
        """What that party's own node shows of the leg, or of another one."""
        return await self.side(side).observe(self.htlc if htlc is None else htlc, side, Finality.LATEST)

    async def until_seen(self, side: Side, **wanted: Any) -> LegView:
        """Wait until that party sees the leg with these values, in BOB's case with more blocks."""
        seen: list[LegView] = []

        async def holds() -> bool:
            seen.append(await self.see(side))
            return all(getattr(seen[-1], name) == value for name, value in wanted.items())

        await until(holds, f"the {side.value} sees {wanted}")
        return seen[-1]

    async def act(self, side: Side, verb: Verb, preimage: Preimage | None = None) -> dict[str, Any]:
        """Prepare and perform an act, and return it."""
        client = self.side(side)
        act = await client.prepare(verb, self.htlc, preimage)
        await client.perform(act)
        return dict(act)

    async def fund(self) -> dict[str, Any]:
        return await self.act(Side.PAYER, Verb.FUND)

    async def collect(self) -> dict[str, Any]:
        return await self.act(Side.PAYEE, Verb.COLLECT, self.preimage)

    async def owned(self, side: Side) -> int:
        """Satoshi that the party owns on this layer."""
        balance = (await self.side(side).balances_async())[BTC]
        return balance.spendable + balance.reserved

    async def until_owned(self, wanted: list[int]) -> None:
        """Wait until payer and payee, or the payer alone, own so much. A Lightning payer knows that it has paid
        before the payee's channel does.
        """

        async def holds() -> bool:
            owned = [await self.owned(side) for side in Side]
            return owned[: len(wanted)] == wanted

        await until(holds, f"payer and payee own {wanted}")

    def decoys(self) -> dict[str, Htlc]:
        """Legs that differ from this one in one detail."""
        leg = self.htlc.leg
        other_hash = replace(self.htlc, payment_hash=Preimage(os.urandom(32)).payment_hash)
        if isinstance(leg, LightningLeg):
            amount = replace(self.htlc, leg=replace(leg, amount_msat=leg.amount_msat + 1000))
            return {"amount": amount, "hash": other_hash}
        return {
            "amount": replace(self.htlc, leg=replace(leg, amount=leg.amount + 1)),
            "hash": other_hash,
            "deadline": replace(self.htlc, leg=replace(leg, deadline=leg.deadline + 1)),
            "terms": replace(self.htlc, terms_hash=os.urandom(32)),
        }


async def new_leg(
    layer: str,
    network: LocalNetwork,
    control: LocalNetworkControl,
    taker: Clients,
    provider: Clients,
    *,
    lasting: int = 3600,
) -> FundedLeg:
    """Agree on a leg under a new preimage; nothing is funded.

    Args:
        lasting: seconds from the chain's newest block to a lock's deadline.
    """
    preimage, terms_hash = Preimage(os.urandom(32)), os.urandom(32)
    if layer == "bob":
        head = await provider.bob.read_clock()
        lock = EvmLeg(
            protocol=Layer2ProtocolType.BOB,
            chain_id=network.chain_id,
            contract=HTLC_ADDRESS,
            token=parse_address(network.token_address),
            token_decimals=network.token_decimals,
            amount=AMOUNT,
            payer=parse_address(await taker.bob.receive_address_async()),
            payee=parse_address(await provider.bob.offer(offer_request(preimage))),
            deadline=head.chain_time + lasting,
            finality=Finality.LATEST,
        )
        htlc = Htlc(lock, preimage.payment_hash, terms_hash)
        return FundedLeg(taker.bob, provider.bob, preimage, htlc, control)
    invoice = bolt11.decode(await provider.lightning.offer(offer_request(preimage)))
    assert invoice.amount_msat is not None
    payment = LightningLeg(
        network="bcrt",
        invoice=invoice.text,
        payee=invoice.payee,
        amount_msat=invoice.amount_msat,
        cltv_limit=invoice.min_final_cltv_expiry_delta + 20,
        min_blocks_left=40,
        fee_limit_msat=1_000,
    )
    return FundedLeg(
        taker.lightning, provider.lightning, preimage, Htlc(payment, preimage.payment_hash, terms_hash), control
    )


def offer_request(preimage: Preimage) -> OfferRequest:
    """What the payee asks its layer for: money under the hash, whose preimage only this test knows."""
    return OfferRequest(
        payment_hash=preimage.payment_hash,
        amount=AMOUNT,
        preimage=None,
        memo="a leg",
        expiry_seconds=600,
        final_cltv_delta=80,
    )
