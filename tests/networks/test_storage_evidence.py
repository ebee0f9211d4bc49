"""Evidence from the contract's storage, on nodes of both networks. Oracle: the libraries ``trie`` and ``rlp``."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import rlp as rlp_oracle  # type: ignore[import-untyped]  # a test oracle without types
from trie.hexary import HexaryTrie

from contracts.noisy_caller import claim_noisily
from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock
from layer2.errors import ProtocolNotImplemented
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmStorageEvidence, read_evidence, write_evidence
from layer2.legs.evm import EvmLeg
from layer2.legs.lock_evidence import shown_of
from layer2.legs.shown import LegOutcome, Shown
from layer2.legs.views import LegState, Side
from layer2.local.network import LocalNetworkControl
from layer2.protocols.evm.client import EvmClient
from networks.legs import FundedLeg, new_leg
from networks.parties import Clients

CLAIMED, REFUNDED = 2, 3


def lock_of(leg: FundedLeg) -> HtlcLock:
    assert isinstance(leg.htlc.leg, EvmLeg)
    return leg.htlc.leg.lock(leg.htlc.payment_hash, leg.htlc.terms_hash)


def found_by_the_library(evidence: EvmStorageEvidence) -> int:
    """The status of the lock under the state root of the header."""

    def found(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes:
        decoded = [rlp_oracle.decode(node) for node in nodes]
        value: bytes = HexaryTrie.get_from_proof(root, keccak256(key), decoded)  # type: ignore[no-untyped-call]  # an oracle's
        return value

    state_root = rlp_oracle.decode(evidence.header)[3]
    account = rlp_oracle.decode(found(state_root, HTLC_ADDRESS, evidence.account_proof))
    slot = keccak256((1).to_bytes(32, "big") + evidence.lock_id)
    return int.from_bytes(rlp_oracle.decode(found(account[2], slot, evidence.storage_proof)), "big")


async def of_storage(leg: FundedLeg, side: Side = Side.PAYER) -> EvmStorageEvidence | None:
    client = leg.side(side)
    assert isinstance(client, EvmClient)
    return await client.storage_evidence_async(leg.htlc)


@pytest.mark.parametrize("ends", ["collect", "release"])
async def test_the_storage_of_the_contract_shows_how_a_lock_ended(
    control: LocalNetworkControl, taker: Clients, provider: Clients, ends: str
) -> None:
    leg = await new_leg("bob", control, taker, provider)
    assert await of_storage(leg) is None
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    assert await of_storage(leg) is None
    if ends == "collect":
        await leg.collect()
        state, status, outcome = LegState.COLLECTED, CLAIMED, LegOutcome.COLLECTED
    else:
        await leg.release()
        state, status, outcome = LegState.RETURNED, REFUNDED, LegOutcome.RETURNED
    await leg.until_final(Side.PAYER, state=state)
    for side in Side:
        evidence = await of_storage(leg, side)
        assert evidence is not None
        assert read_evidence(write_evidence(evidence), "evidence") == evidence
        shown = shown_of(evidence, lock_of(leg))
        assert (shown.outcome, set(shown.shown)) == (outcome, {Shown.INCLUDED, Shown.GENUINE_CONTRACT})
        assert found_by_the_library(evidence) == status
        assert await leg.is_confirmed(side, evidence)


async def test_a_claim_whose_receipt_fits_no_proof_is_shown_by_the_storage(
    control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    leg = await new_leg("bob", control, taker, provider)
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await claim_noisily(provider.bob, lock_of(leg), leg.preimage, 110_000)
    await leg.until_final(Side.PAYER, state=LegState.COLLECTED)
    for side in Side:
        evidence = await leg.legs(side).evidence(leg.htlc, side)
        assert isinstance(evidence, EvmStorageEvidence)
        assert read_evidence(write_evidence(evidence), "evidence") == evidence
        assert shown_of(evidence, lock_of(leg)).outcome is LegOutcome.COLLECTED
        assert await leg.is_confirmed(side, evidence)


async def test_a_node_of_rootstock_has_no_proofs_of_storage(
    control: LocalNetworkControl, taker: Clients, provider: Clients, network_name: str
) -> None:
    leg = await new_leg("rootstock", control, taker, provider)
    if network_name == "simnet":
        with pytest.raises(ProtocolNotImplemented, match="ROOTSTOCK"):
            await of_storage(leg)
    else:
        # The real network runs op-geth as Rootstock.
        assert await of_storage(leg) is None
