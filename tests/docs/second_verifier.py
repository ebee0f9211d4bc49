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
from coincurve import PublicKey, PublicKeyXOnly
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

GENUINE = "c59f2adb373bd4ce8e6a872fb39c997ffdaab552"
CHAINS = {
    "BOB": {"mainnet": 60808, "testnet": 808813, "regtest": 60808},
    "ROOTSTOCK": {"mainnet": 30, "testnet": 31, "regtest": 33},
}
PREFIXES = {"mainnet": ("bc",), "testnet": ("tb", "tbs"), "regtest": ("bcrt",)}
CLAIMED = keccak(text="Claimed(bytes32,bytes32,bytes32)")
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
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
    """``completed``, ``partial`` or ``refunded``; raises ValueError where the proof is refused."""
    proof = json.loads(data)
    require(canonical(proof) == data and proof["version"] == 1, "1 format")
    terms = proof["terms"]
    terms_hash = tagged("layer2/terms/v1", canonical(terms))
    [attestation] = proof["attestations"]
    require(attestation["type"] == "terms_signature" and signed(attestation, terms, terms_hash), "2 terms_signature")
    require(terms["asset"] == "BTC", "4 asset")
    kinds = [terms[side]["kind"] for side in ("source", "destination")]
    layers = [terms[side].get("layer", terms[side]["kind"]) for side in ("source", "destination")]
    require(layers[0] != layers[1], "4 legs")
    ends = []
    for side in ("source", "destination"):
        leg, evidence = terms[side], proof[f"{side}_leg"]
        check_leg = {"evm": check_evm, "lightning": check_lightning}[leg["kind"]]
        ends.append(check_leg(terms, terms_hash, leg, evidence, satoshi(terms, side)))
    require(any(end and kind == "evm" for kind, end in zip(kinds, ends, strict=True)), "11 evidence")
    require(len(set(ends) - {None}) == 1, "11 outcome")
    if "returned" in ends:
        return "refunded"
    return "partial" if None in ends else "completed"


def signed(attestation: dict[str, Any], terms: dict[str, Any], terms_hash: bytes) -> bool:
    key, signature = bytes.fromhex(terms["provider"]), bytes.fromhex(attestation["signature"])
    if attestation["scheme"] == "bip340":
        return len(key) == 32 and PublicKeyXOnly(key).verify(signature, terms_hash)
    require(attestation["scheme"] == "ecdsa" and len(key) == 33, "2 terms_signature")
    require(int.from_bytes(signature[32:], "big") <= HALF_ORDER, "2 terms_signature")
    der = cdata_to_der(deserialize_compact(signature))
    return PublicKey(key).verify(der, terms_hash, hasher=None)


def satoshi(terms: dict[str, Any], side: str) -> int:
    fees = int(terms["provider_fee"]) + int(terms["network_fee"]) if side == "source" else 0
    return int(terms["amount"]) + fees


def check_lightning(
    terms: dict[str, Any], terms_hash: bytes, leg: dict[str, Any], evidence: dict[str, Any] | None, amount: int
) -> str | None:
    invoice = bolt11.decode(leg["invoice"])
    require(leg["prefix"] in PREFIXES[terms["network"]] and invoice.currency == leg["prefix"], "6 invoice_network")
    require(invoice.payment_hash == terms["payment_hash"], "6 invoice_hash")
    require(invoice.amount_msat == int(leg["amount_msat"]) == amount * 1000, "6 invoice_amount")
    require(invoice.payee == leg["payee"], "6 invoice_payee")
    once = fields_that_come_once(leg["invoice"])
    require(len(once) == len(set(once)), "6 invoice_ambiguous")
    expires_at = invoice.date + (3600 if invoice.expiry is None else invoice.expiry)
    require(invoice.date - 60 <= terms["issued_at"] <= expires_at, "6 invoice_time")
    if evidence is None:
        return None
    require(evidence["type"] == "lightning_payment", "7 evidence")
    preimage = bytes.fromhex(evidence["preimage"])
    require(hashlib.sha256(preimage).hexdigest() == terms["payment_hash"], "10 preimage")
    return "collected"


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
) -> str | None:
    require(leg["chain_id"] == CHAINS[leg["layer"]][terms["network"]], "4 network")
    require(int(leg["amount"]) * 10**8 == amount * 10 ** leg["token_decimals"], "5 amount")
    require(leg["contract"] == GENUINE, "9 contract")
    if evidence is None:
        return None
    require(evidence["type"] == "evm_receipt", "7 evidence")
    require(evidence["protocol"] == leg["layer"], "7 layer")
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
    return "collected" if topics[0] == CLAIMED else "returned"
