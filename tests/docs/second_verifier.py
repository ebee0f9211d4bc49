"""Another verifier of proofs, written from ``docs/proofs.md`` with other libraries, and nothing of ours.

It follows the page's list; the numbers are the page's. A refusal is a ``ValueError``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import bolt11
import rlp  # type: ignore[import-untyped]  # ships no types
from bech32 import CHARSET
from coincurve import PublicKeyXOnly
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

GENUINE = "c59f2adb373bd4ce8e6a872fb39c997ffdaab552"
CHAINS = {"mainnet": 60808, "testnet": 808813, "regtest": 60808}
PREFIXES = {"mainnet": ("bc",), "testnet": ("tb", "tbs"), "regtest": ("bcrt",)}
CLAIMED = keccak(text="Claimed(bytes32,bytes32,bytes32)")
FIXED_LENGTHS = {"p": 52, "s": 52, "h": 52, "n": 53}
REFUNDED = keccak(text="Refunded(bytes32,bytes32)")


def tagged(tag: str, data: bytes) -> bytes:
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


def canonical(value: object) -> bytes:
    # Enough for RFC 8785 where all keys are ASCII and all numbers integers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def require(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(what)


def outcome_of(data: bytes) -> str:
    """``completed`` or ``refunded``; raises ValueError where the proof is refused."""
    proof = json.loads(data)
    require(canonical(proof) == data and proof["version"] == 1, "1 format")
    terms = proof["terms"]
    terms_hash = tagged("layer2/terms/v1", canonical(terms))
    [attestation] = proof["attestations"]
    key = PublicKeyXOnly(bytes.fromhex(terms["provider"]))
    require(key.verify(bytes.fromhex(attestation["signature"]), terms_hash), "2 terms_signature")
    legs = {}
    for side in ("source", "destination"):
        legs[terms[side]["type"]] = (terms[side], proof[f"{side}_leg"], satoshi(terms, side))
    require(set(legs) == {"evm", "lightning"} and terms["asset"] == "BTC", "4 legs")
    invoice_time, preimage = check_lightning(terms, *legs["lightning"])
    name, block_time = check_evm(terms, terms_hash, *legs["evm"])
    require((name == CLAIMED) == (preimage is not None), "11 outcome")
    if name == REFUNDED:
        return "refunded"
    require(invoice_time <= block_time, "12 invoice_time")
    return "completed"


def satoshi(terms: dict[str, Any], side: str) -> int:
    fees = int(terms["provider_fee"]) + int(terms["network_fee"]) if side == "source" else 0
    return int(terms["amount"]) + fees


def check_lightning(
    terms: dict[str, Any], leg: dict[str, Any], evidence: dict[str, Any] | None, amount: int
) -> tuple[int, bytes | None]:
    invoice = bolt11.decode(leg["invoice"])
    require(leg["network"] in PREFIXES[terms["network"]] and invoice.currency == leg["network"], "6 invoice_network")
    require(invoice.payment_hash == terms["payment_hash"], "6 invoice_hash")
    require(invoice.amount_msat == int(leg["amount_msat"]) == amount * 1000, "6 invoice_amount")
    require(invoice.payee == leg["payee"], "6 invoice_payee")
    once = fields_that_come_once(leg["invoice"])
    require(len(once) == len(set(once)), "6 invoice_ambiguous")
    if evidence is None:
        return invoice.date, None
    require(evidence["type"] == "lightning_payment", "11 evidence")
    preimage = bytes.fromhex(evidence["preimage"])
    require(hashlib.sha256(preimage).hexdigest() == terms["payment_hash"], "10 preimage")
    return invoice.date, preimage


def fields_that_come_once(invoice: str) -> str:
    """The letters of the tagged fields that BOLT 11 allows once, each as often as it comes with a right length."""
    # Between the timestamp of seven letters, and the signature and checksum of 110.
    data, found = invoice[invoice.rindex("1") + 8 : -110], ""
    while data:
        letter, length = data[0], CHARSET.index(data[1]) * 32 + CHARSET.index(data[2])
        if letter in "psdmnhxc9" and length == FIXED_LENGTHS.get(letter, length):
            found += letter
        data = data[3 + length :]
    return found


def check_evm(
    terms: dict[str, Any], terms_hash: bytes, leg: dict[str, Any], evidence: dict[str, Any] | None, amount: int
) -> tuple[bytes, int]:
    require(leg["protocol"] == "BOB" and leg["chain_id"] == CHAINS[terms["network"]], "4 network")
    require(int(leg["amount"]) * 10**8 == amount * 10 ** leg["token_decimals"], "5 amount")
    require(leg["contract"] == GENUINE, "9 contract")
    if evidence is None:
        raise ValueError("11 evidence")
    header = rlp.decode(bytes.fromhex(evidence["header"]))
    require(len(header) in (15, 16, 17, 20, 21), "7 header")
    nodes = [rlp.decode(bytes.fromhex(node)) for node in evidence["receipt_proof"]]
    key = rlp.encode(evidence["transaction_index"])
    value = HexaryTrie.get_from_proof(header[5], key, nodes)  # type: ignore[no-untyped-call]  # has no types
    require(value, "7 receipt_inclusion")
    status, _, _, logs, *_ = rlp.decode(value if value[0] >= 0xC0 else value[1:])
    require(status == b"\x01" and evidence["log_index"] < len(logs), "7 receipt_status")
    address, topics, data = logs[evidence["log_index"]]
    require(address.hex() == leg["contract"] and topics[0] in (CLAIMED, REFUNDED), "7 event")
    payment_hash = bytes.fromhex(terms["payment_hash"])
    types = ["uint256", "address", "bytes32", "address", "uint256", "address", "address", "uint256", "bytes32"]
    words = [
        leg["chain_id"],
        bytes.fromhex(leg["contract"]),
        payment_hash,
        bytes.fromhex(leg["token"]),
        int(leg["amount"]),
        bytes.fromhex(leg["payee"]),
        bytes.fromhex(leg["payer"]),
        leg["deadline"],
        terms_hash,
    ]
    require(topics[1:] == [keccak(encode(types, words)), payment_hash], "8 lock_id")
    require(topics[0] == REFUNDED or hashlib.sha256(data).digest() == payment_hash, "7 event")
    return topics[0], int.from_bytes(header[11], "big")
