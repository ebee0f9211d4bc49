"""Receipt proofs of a real block of 200 transactions, compared with the libraries ``trie`` and ``rlp``, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import rlp  # type: ignore[import-untyped]  # has no types
from figures import Figure, faster
from load.rounds import Round, medians
from trie.hexary import HexaryTrie

from evm_client.network import Bench, Effort
from layer2.formats.evm_receipt import decode_receipt
from layer2.formats.merkle_patricia import prove_all, trie_root, verify

__all__ = ["measure_proofs"]

RECEIPTS = 200
VERIFY_AIM = 8.0
PROVE_AIM = 10.0


async def measure_proofs(bench: Bench, effort: Effort) -> list[Figure]:
    """Measure verification one by one, and creation for the whole block."""
    tx_ids = await bench.full_block(RECEIPTS)
    status = await bench.bob.get_transaction_status_async(tx_ids[0])
    if status.block_number is None:
        raise SystemExit("a mined transaction is not in a block")
    height = hex(status.block_number)
    raw = await bench.ask("debug_getRawReceipts", height)
    values = [bytes.fromhex(each[2:]) for each in raw]
    root = bytes.fromhex((await bench.ask("eth_getBlockByNumber", height, False))["receiptsRoot"][2:])
    if trie_root(values) != root or len(values) < RECEIPTS:
        raise SystemExit(f"the block's {len(values)} receipts do not match its root")
    proofs = prove_all(values)
    keys = [rlp.encode(index) for index in range(len(values))]
    if _peer_proofs(values, keys) != [set(proof) for proof in proofs]:
        raise SystemExit("trie makes different proofs")

    def verified() -> int:
        for index, proof in enumerate(proofs):
            decode_receipt(verify(root, index, proof))
        return len(proofs)

    def peer_verified() -> int:
        for key, proof in zip(keys, proofs, strict=True):
            nodes = [rlp.decode(node) for node in proof]
            value = HexaryTrie.get_from_proof(root, key, nodes)  # type: ignore[no-untyped-call]  # has no types
            rlp.decode(value if value[0] >= 0xC0 else value[1:])
        return len(proofs)

    def proved() -> int:
        return len(prove_all(values))

    def peer_proved() -> int:
        return len(_peer_proofs(values, keys))

    rounds = effort.rounds
    checks = await medians(
        rounds, {"ours": _round(verified, effort.seconds), "peer": _round(peer_verified, effort.seconds)}
    )
    makes = await medians(rounds, {"ours": _round(proved, effort.seconds), "peer": _round(peer_proved, effort.seconds)})
    what = f"of a block of {len(values)} receipts"
    return [
        faster(f"proofs verified, {what}, against trie + rlp", "proofs/s", *checks.values(), aim=VERIFY_AIM),
        faster(f"proofs made, all {what}, against trie", "proofs/s", *makes.values(), aim=PROVE_AIM),
    ]


def _peer_proofs(values: Sequence[bytes], keys: Sequence[bytes]) -> list[set[bytes]]:
    """Build the trie once and get each key's proof, as decoded nodes. Small nodes appear in their parents too."""
    trie = HexaryTrie({})
    for key, value in zip(keys, values, strict=True):
        trie[key] = value
    return [{rlp.encode(node) for node in trie.get_proof(key)} for key in keys]  # type: ignore[no-untyped-call]  # has no types


def _round(work: Callable[[], int], seconds: float) -> Round:
    async def measured() -> float:
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            done += work()
        return done / (time.perf_counter() - start)

    return measured
