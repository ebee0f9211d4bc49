"""Terms that are signed wrongly, contradict themselves, or do not meet a policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eth_keys.constants import SECPK1_N

from vectors import bases, evm, invoices
from vectors.documents import AMOUNT, FEE, PROVIDER, Document, changed, proof, sign, terms
from vectors.keys import Key
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]

STRANGER: Final = Key("stranger")
OTHER_TOKEN: Final = "99" * 20


def vectors() -> Iterator[Vector]:
    """Cases of the classes ``terms``, ``owed`` and ``policy``."""
    yield from _signatures()
    yield from _networks_and_legs()
    yield from _owed()
    yield from _policies()


def _signatures() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    other = changed(base, terms__fund_by=1)
    yield refused("terms/changed-after-signing", "terms_signature", other)
    yield refused("terms/signed-by-a-stranger", "terms_signature", _with(base, sign(base["terms"], STRANGER)))
    signature = base["attestations"][0]
    yield refused(
        "terms/ecdsa-scheme-for-a-bip-340-key", "terms_signature", _with(base, signature | {"scheme": "ecdsa"})
    )
    flipped = f"{int(signature['signature'][:2], 16) ^ 1:02x}{signature['signature'][2:]}"
    yield refused("terms/changed-signature", "terms_signature", _with(base, signature | {"signature": flipped}))
    yield refused("terms/zero-signature", "terms_signature", _with(base, signature | {"signature": "00" * 64}))
    by_ecdsa = bases.bob_to_lightning(bases.bob_terms(provider=PROVIDER.compressed.hex()))
    yield valid("terms/signed-by-ecdsa", by_ecdsa)
    ecdsa = by_ecdsa["attestations"][0]
    r, s = ecdsa["signature"][:64], int(ecdsa["signature"][64:], 16)
    high = ecdsa | {"signature": f"{r}{SECPK1_N - s:064x}"}
    yield refused("terms/ecdsa-with-a-high-s", "terms_signature", _with(by_ecdsa, high))
    yield refused(
        "terms/bip-340-scheme-for-an-ecdsa-key", "terms_signature", _with(by_ecdsa, ecdsa | {"scheme": "bip340"})
    )
    no_point = bases.bob_to_lightning(bases.bob_terms(provider="02" + "ff" * 32))
    yield refused("terms/ecdsa-key-that-is-not-on-the-curve", "terms_signature", no_point)
    off_curve = bases.bob_to_lightning(bases.bob_terms(provider="ff" * 32))
    yield refused("terms/key-that-is-not-on-the-curve", "terms_signature", off_curve)


def _networks_and_legs() -> Iterator[Vector]:
    yield refused("terms/unknown-asset", "asset", _signed(asset="ETH"))
    yield refused("terms/amount-of-zero", "amount", _signed(amount="0"))
    yield refused("terms/unknown-network", "network", _signed(network="signet"))
    yield refused("terms/chain-of-another-network", "network", _signed(network="testnet"))
    yield refused("terms/invoice-of-another-network", "network", _signed(destination=invoices.leg(prefix="bc")))
    yield refused("terms/evm-leg-on-lightning", "legs", _signed(source=evm.leg(layer="LIGHTNING")))
    yield refused("terms/evm-leg-on-a-layer-without-legs", "legs", _signed(source=evm.leg(layer="LIQUID")))
    two = terms(evm.leg(), evm.leg(amount=str(AMOUNT)))
    nothing = terms(evm.leg(amount=str(FEE)), evm.leg(layer="ROOTSTOCK", chain_id=33, amount="0"), amount="0")
    yield refused(
        "terms/amount-of-zero-and-legs-that-fit",
        "amount",
        proof(nothing, evm.claimed(nothing["source"], nothing), None),
    )
    yield refused("terms/both-legs-on-one-layer", "legs", proof(two, evm.claimed(two["source"], two), None))


def _owed() -> Iterator[Vector]:
    yield refused("owed/lock-of-less", "amount", _signed(source=evm.leg(amount=str(AMOUNT))))
    yield refused("owed/lock-of-more", "amount", _signed(source=evm.leg(amount=str(AMOUNT + FEE + 1))))
    yield refused("owed/lock-in-other-decimals", "amount", _signed(source=evm.leg(token_decimals=18)))
    yield refused("owed/decimals-that-round", "amount", _signed(source=evm.leg(token_decimals=0, amount="0")))
    yield refused("owed/foreign-contract", "contract", _signed(source=evm.leg(contract="77" * 20)))
    coin = evm.leg(layer="ROOTSTOCK", chain_id=33, token="00" * 20)
    yield refused("owed/coin-with-8-decimals", "token", _signed(source=coin))
    whole = evm.leg(token_decimals=18, amount=str((AMOUNT + FEE) * 10**10))
    yield valid("owed/token-with-18-decimals", bases.bob_to_lightning(terms(whole, invoices.leg())))


def _policies() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    key, payee = PROVIDER.x.hex(), invoices.PAYEE.compressed.hex()
    known: Document = {
        "providers": [key],
        "networks": ["regtest"],
        "tokens": {"60808": {evm.TOKEN.hex(): 8}},
        "own_preimage_payees": [payee],
    }
    yield valid("policy/all-requirements-are-met", base, policy=known)
    yield refused("policy/another-provider", "provider", base, policy={"providers": [STRANGER.x.hex()]})
    yield refused("policy/no-provider", "provider", base, policy={"providers": []})
    yield refused("policy/another-network", "network", base, policy={"networks": ["mainnet"]})
    yield refused("policy/another-token", "token", base, policy={"tokens": {"60808": {OTHER_TOKEN: 8}}})
    yield refused("policy/no-token-of-the-chain", "token", base, policy={"tokens": {"30": {evm.TOKEN.hex(): 8}}})
    yield refused("policy/other-decimals", "token", base, policy={"tokens": {"60808": {evm.TOKEN.hex(): 0}}})
    yield refused("policy/another-payee", "payee", base, policy={"own_preimage_payees": [STRANGER.compressed.hex()]})
    source = bases.lightning_to_bob()
    yield refused("policy/payee-of-a-source", "payee", source, policy={"own_preimage_payees": [payee]})
    foreign = bases.bob_to_lightning(terms(evm.leg(contract="77" * 20), invoices.leg()))
    yield valid("policy/listed-contract", foreign, policy={"contracts": {"60808": ["77" * 20]}})
    yield refused("policy/contract-of-another-chain", "contract", foreign, policy={"contracts": {"30": ["77" * 20]}})


def _signed(**changes: Document | str) -> Document:
    """The proof of other terms, signed, with evidence that fits them."""
    return bases.bob_to_lightning(bases.bob_terms(**changes))


def _with(base: Document, attestation: Document) -> Document:
    return base | {"attestations": [attestation]}
