"""Completing the proof of a whole transfer: a stranger has the file and nodes of its own, and no journal."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from layer2 import BTC, FINAL, OFFLINE, Layer2Manager, ProofOutcome, TransferProof, check_proof
from layer2.errors import NodeUnreachable, ProofRefused, ProofUndecided, ProtocolNotImplemented
from layer2.legs.evidence import EvmReceiptEvidence, EvmStorageEvidence
from networks.swaps import AMOUNT, DIRECTIONS, Swaps
from networks.waiting import until


def stranger(swaps: Swaps, tmp_path: Path, **tables: dict[str, str]) -> AbstractAsyncContextManager[Layer2Manager]:
    """A manager with an empty journal, and no statement to ask for."""
    journal = {"path": str(tmp_path / "of-a-stranger.sqlite")}
    return Layer2Manager(swaps.config(journal=journal, **tables))


async def transferred(swaps: Swaps, direction: str) -> TransferProof:
    async with swaps.manager() as layers, swaps.quick_finality():
        proof = await layers.cross_layer_transfer_async(BTC, AMOUNT, *DIRECTIONS[direction], timeout=60)
    return replace(proof, statement=None)


async def is_final(layers: Layer2Manager, proof: TransferProof) -> bool:
    """Whether the proof shows a completed transfer in final blocks. A block becomes final some time after a proof."""
    try:
        report = await layers.check_transfer_proof_async(proof, policy=FINAL)
    except ProofUndecided:
        return False
    assert report.outcome is ProofOutcome.COMPLETED
    return True


async def test_a_stranger_completes_a_proof_without_evidence_of_the_lock(swaps: Swaps, tmp_path: Path) -> None:
    proof = await transferred(swaps, "bob_to_lightning")
    file = replace(proof, source_leg=None).save(tmp_path / "transfer.json")
    given = TransferProof.load(file)
    with pytest.raises(ProofRefused, match="evidence"):
        check_proof(given, OFFLINE)
    async with stranger(swaps, tmp_path) as layers, swaps.quick_finality():
        completed = await layers.complete_proof_async(given)
        assert isinstance(completed.source_leg, EvmStorageEvidence)
        assert replace(completed, source_leg=None) == given
        await until(partial(is_final, layers, completed), "the block of the storage is final")
        # The given one has more, so it stays until the stranger asks for the other.
        assert isinstance(proof.source_leg, EvmReceiptEvidence)
        again = await layers.complete_proof_async(proof, from_storage=True)
        assert isinstance(again.source_leg, EvmStorageEvidence)


@pytest.mark.only_on("simnet", reason="the devnet runs op-geth as Rootstock, which proves storage")
async def test_the_nodes_of_rootstock_prove_no_storage(swaps: Swaps, tmp_path: Path) -> None:
    proof = await transferred(swaps, "rootstock_to_bob")
    async with stranger(swaps, tmp_path) as layers, swaps.quick_finality():
        with pytest.raises(ProtocolNotImplemented, match="ROOTSTOCK have no proofs of storage"):
            await layers.complete_proof_async(replace(proof, source_leg=None))
        # What the other layer can show is not lost.
        half = await layers.complete_proof_async(replace(proof, source_leg=None, destination_leg=None))
        assert half.source_leg is None
        assert isinstance(half.destination_leg, EvmStorageEvidence)


@pytest.mark.only_on("simnet", reason="no node is asked")
async def test_a_node_that_is_down_is_named_and_another_try_is_harmless(swaps: Swaps, tmp_path: Path) -> None:
    given = replace(await transferred(swaps, "bob_to_lightning"), source_leg=None)
    async with stranger(swaps, tmp_path, bob={"rpc_url": "http://127.0.0.1:9"}) as layers:
        with pytest.raises(NodeUnreachable, match=r"127\.0\.0\.1:9"):
            await layers.complete_proof_async(given)
