"""A hash-locked leg on each layer, between the taker as its payer and the provider as its payee."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from layer2 import BTC, LightningNetwork, Preimage
from layer2.formats import bolt11
from layer2.formats.evm_address import parse_address
from layer2.legs.bitcoin import BitcoinKeys, BitcoinLeg
from layer2.legs.evidence import LegEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg, LightningOffer
from layer2.legs.views import LegView, OfferRequest, Release, Side, Verb
from layer2.local.network import LocalNetworkControl
from layer2.model.transactions import Finality
from layer2.ports.legs import HtlcLayer
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.evm.client import EvmClient
from layer2.protocols.rootstock import RootstockClient
from networks.coins import coins_of
from networks.money import mining_fees_of
from networks.parties import Clients
from networks.waiting import until

__all__ = ["AMOUNT", "LAYERS", "FundedLeg", "new_leg"]

AMOUNT = 30_000
LAYERS = ("bob", "rootstock", "bitcoin", "lightning")
Client: TypeAlias = EvmClient | BitcoinClient | LightningNetwork

_BLOCK_SECONDS = 60
"""Of a block on Bitcoin's chain, for the deadline of a leg there, which is a height."""


@dataclass
class FundedLeg:
    """Both parties' clients of one layer, and a leg between them that is funded by ``fund``, not before."""

    payer: Client
    payee: Client
    preimage: Preimage
    htlc: Htlc
    control: LocalNetworkControl

    @property
    def is_lightning(self) -> bool:
        return isinstance(self.htlc.leg, LightningLeg)

    def side(self, side: Side) -> Client:
        return self.payer if side is Side.PAYER else self.payee

    def legs(self, side: Side) -> HtlcLayer:
        """That party's ability to swap on the layer."""
        return self.side(side).legs

    async def mine(self, blocks: int) -> None:
        """Make blocks on the leg's chain; Lightning has none."""
        if isinstance(self.htlc.leg, BitcoinLeg):
            await self.control.mine_bitcoin(blocks)
        elif not self.is_lightning:
            await self.control.mine(blocks, chain=self.htlc.leg.protocol.value)

    async def see(self, side: Side, htlc: Htlc | None = None) -> LegView:
        """Read the leg, or another one, at that party's node."""
        return await self.legs(side).observe(self.htlc if htlc is None else htlc, side)

    async def until_seen(self, side: Side, **wanted: Any) -> LegView:
        """Wait until that party sees the leg with these values."""
        seen: list[LegView] = []

        async def holds() -> bool:
            seen.append(await self.see(side))
            return all(getattr(seen[-1], name) == value for name, value in wanted.items())

        await until(holds, f"the {side.value} sees {wanted}")
        return seen[-1]

    async def until_final(self, side: Side, **wanted: Any) -> LegView:
        """Wait until the leg has arrived and is final; a chain needs some more blocks for that."""
        arrived = await self.until_seen(side, arrived=True, **wanted)
        assert self.is_lightning or arrived.final or arrived.final_at is not None
        await self.mine(5)
        return await self.until_seen(side, arrived=True, final=True, **wanted)

    async def act(self, side: Side, verb: Verb, preimage: Preimage | None = None) -> dict[str, Any]:
        """Prepare and perform an act, and return it."""
        legs = self.legs(side)
        act = await legs.prepare(verb, self.htlc, preimage)
        await legs.perform(act)
        return dict(act)

    async def fund(self) -> dict[str, Any]:
        return await self.act(Side.PAYER, Verb.FUND)

    async def collect(self) -> dict[str, Any]:
        return await self.act(Side.PAYEE, Verb.COLLECT, self.preimage)

    async def release(self) -> dict[str, Any]:
        """The payee gives the money back. Returns the payee's act."""
        act = await self.act(Side.PAYEE, Verb.RELEASE)
        if self.htlc.leg.release is Release.COSIGNED:
            await self.payer.legs.take_release(self.htlc, act)
            await self.act(Side.PAYER, Verb.RECLAIM)
        return act

    async def is_confirmed(self, side: Side, evidence: LegEvidence | None) -> bool:
        """Whether that party's client confirms the evidence."""
        return await self.side(side).verify_proof_async(evidence)  # type: ignore[arg-type]  # of its own layer

    async def owned(self, side: Side) -> int:
        """Satoshi that the party owns, with the fees that it has paid on Bitcoin's chain and on Rootstock."""
        client = self.side(side)
        if isinstance(client, RootstockClient):
            return (await coins_of(client))[0]
        balance = (await client.balances_async())[BTC]
        fees = await mining_fees_of(client) if isinstance(client, BitcoinClient) else 0
        return balance.spendable + balance.reserved + fees

    async def until_owned(self, wanted: list[int]) -> None:
        """Wait until payer and payee, or only the payer, own these amounts. A Lightning payer learns of its payment
        before the payee's channel shows it.
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
        if isinstance(leg, BitcoinLeg):
            return {
                "amount": replace(self.htlc, leg=replace(leg, amount=leg.amount + 1)),
                "hash": replace(other_hash, leg=replace(leg, payment_hash=other_hash.payment_hash)),
                "deadline": replace(self.htlc, leg=replace(leg, locktime=leg.locktime + 1)),
            }
        assert isinstance(leg, EvmLeg)
        return {
            "amount": replace(self.htlc, leg=replace(leg, amount=leg.amount + 1)),
            "hash": other_hash,
            "deadline": replace(self.htlc, leg=replace(leg, deadline=leg.deadline + 1)),
            "terms": replace(self.htlc, terms_hash=os.urandom(32)),
        }


async def new_leg(
    layer: str,
    control: LocalNetworkControl,
    taker: Clients,
    provider: Clients,
    *,
    lasting: int = 3600,
) -> FundedLeg:
    """Agree on a leg under a new preimage; nothing is funded.

    Args:
        layer: one of ``LAYERS``.
        lasting: seconds from the chain's newest block to the deadline of a lock or an output.
    """
    preimage, terms_hash = Preimage(os.urandom(32)), os.urandom(32)
    if layer == "lightning":
        leg = await _payment(preimage, provider)
        htlc = Htlc(leg, preimage.payment_hash, terms_hash)
        return FundedLeg(taker.lightning, provider.lightning, preimage, htlc, control)
    if layer == "bitcoin":
        output = await _output(preimage, taker.bitcoin, provider.bitcoin, lasting)
        return FundedLeg(
            taker.bitcoin, provider.bitcoin, preimage, Htlc(output, preimage.payment_hash, terms_hash), control
        )
    payer, payee = (taker.bob, provider.bob) if layer == "bob" else (taker.rootstock, provider.rootstock)
    lock = await _lock(preimage, payer, payee, lasting)
    return FundedLeg(payer, payee, preimage, Htlc(lock, preimage.payment_hash, terms_hash), control)


async def _lock(preimage: Preimage, payer: EvmClient, payee: EvmClient, lasting: int) -> EvmLeg:
    offer = await payee.legs.leg_offer()
    head = await payee.legs.read_clock()
    return EvmLeg(
        protocol=offer.protocol,
        chain_id=offer.chain_id,
        contract=offer.contract,
        token=offer.token,
        token_decimals=offer.token_decimals,
        amount=AMOUNT * 10 ** (offer.token_decimals - BTC.decimals),
        payer=parse_address(await payer.legs.offer(_request(preimage, Side.PAYER)), offer.chain_id),
        payee=parse_address(await payee.legs.offer(_request(preimage, Side.PAYEE)), offer.chain_id),
        deadline=head.chain_time + lasting,
        finality=offer.finality,
    )


async def _output(preimage: Preimage, payer: BitcoinClient, payee: BitcoinClient, lasting: int) -> BitcoinLeg:
    offer = await payee.legs.leg_offer()
    head = await payee.legs.read_clock()
    payer_keys = BitcoinKeys.read(await payer.legs.offer(_request(preimage, Side.PAYER)))
    payee_keys = BitcoinKeys.read(await payee.legs.offer(_request(preimage, Side.PAYEE)))
    return BitcoinLeg(
        prefix=offer.prefix,
        amount=AMOUNT,
        payer=payer_keys.key,
        payee=payee_keys.key,
        payee_release=payee_keys.release_key,
        payment_hash=preimage.payment_hash,
        locktime=head.height + lasting // _BLOCK_SECONDS,
        issued_height=head.height,
        depth=1,
        fee_floor=offer.fee_floor,
        finality=Finality.LATEST,
    )


async def _payment(preimage: Preimage, provider: Clients) -> LightningLeg:
    offer = await provider.lightning.legs.leg_offer()
    invoice = bolt11.decode(await provider.lightning.legs.offer(_request(preimage, Side.PAYEE)))
    assert isinstance(offer, LightningOffer)
    assert invoice.amount_msat is not None
    return LightningLeg(
        prefix=offer.prefix,
        invoice=invoice.text,
        payee=invoice.payee,
        amount_msat=invoice.amount_msat,
        cltv_limit=invoice.min_final_cltv_expiry_delta + 20,
        min_blocks_left=40,
        fee_limit_msat=1_000,
    )


def _request(preimage: Preimage, side: Side) -> OfferRequest:
    """A party's request to its layer: money under the hash, whose preimage only this test knows."""
    return OfferRequest(
        side=side,
        payment_hash=preimage.payment_hash,
        amount=AMOUNT,
        memo="a leg",
        expiry_seconds=600,
        min_blocks=80,
    )
