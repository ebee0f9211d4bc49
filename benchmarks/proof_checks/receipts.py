"""Receipt proofs of a block of 200 transactions, compared with the libraries ``trie`` and ``rlp``."""

from __future__ import annotations

from collections.abc import Sequence

import rlp  # type: ignore[import-untyped]  # has no types
from figures import Figure, faster
from trie.hexary import HexaryTrie

from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of, decode_receipt
from layer2.formats.merkle_patricia import prove_all, trie_root, verify
from proof_checks.effort import Effort, cpu_seconds

__all__ = ["measure_receipts"]

RECEIPTS = 200
VERIFY_AIM = 8.0
PROVE_AIM = 10.0


def measure_receipts(effort: Effort) -> list[Figure]:
    """Measure verification one by one, and creation for the whole block."""
    values = _block()
    root, proofs = trie_root(values), prove_all(values)
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

    ours, peer = cpu_seconds(effort, {"ours": verified, "peer": peer_verified})
    made, peer_made = cpu_seconds(
        effort, {"ours": lambda: len(prove_all(values)), "peer": lambda: len(_peer_proofs(values, keys))}
    )
    what = f"of a block of {RECEIPTS} receipts"
    unit = "proofs/s of a core"
    return [
        faster(f"receipt proofs verified, {what}, against trie + rlp", unit, 1 / ours, 1 / peer, aim=VERIFY_AIM),
        faster(f"receipt proofs made, all {what}, against trie", unit, 1 / made, 1 / peer_made, aim=PROVE_AIM),
    ]


def _block() -> list[bytes]:
    """Receipts of payments; every second one is of a token and has a log."""
    moved = event_topic("Transfer(address,address,uint256)")
    values = []
    for number in range(RECEIPTS):
        topics = (moved, bytes(12) + number.to_bytes(20, "big"), bytes(12) + b"\x02" * 20)
        logs = (EvmLog(b"\x03" * 20, topics, number.to_bytes(32, "big")),) if number % 2 else ()
        values.append(EvmReceipt(2, True, 21_000 * (number + 1), bloom_of(logs), logs).encode())
    return values


def _peer_proofs(values: Sequence[bytes], keys: Sequence[bytes]) -> list[set[bytes]]:
    """Build the trie once and get each key's proof, as decoded nodes. Small nodes appear in their parents too."""
    trie = HexaryTrie({})
    for key, value in zip(keys, values, strict=True):
        trie[key] = value
    return [{rlp.encode(node) for node in trie.get_proof(key)} for key in keys]  # type: ignore[no-untyped-call]  # has no types
