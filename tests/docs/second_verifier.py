"""Another verifier of proofs, written from ``docs/proof-format.md`` with other libraries, and nothing of ours.

It follows the page's list; the numbers are the page's. A refusal is a ``ValueError``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import bdkpython as bdk
import bolt11
import rlp  # type: ignore[import-untyped]  # ships no types
from bech32 import CHARSET
from coincurve import PublicKey, PublicKeyXOnly
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from trie.exceptions import BadTrieProof
from trie.hexary import HexaryTrie

from docs.second_rootstock import receipt_of

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
    attestation, *statements = proof["attestations"]
    require(attestation["type"] == "terms_signature" and signed(attestation, terms, terms_hash), "2 terms_signature")
    require(terms["asset"] == "BTC", "4 asset")
    kinds = [terms[side]["kind"] for side in ("source", "destination")]
    layers = [terms[side].get("layer", terms[side]["kind"]) for side in ("source", "destination")]
    require(layers[0] != layers[1], "4 legs")
    ends = []
    for side in ("source", "destination"):
        leg, evidence = terms[side], proof[f"{side}_leg"]
        check_leg = {"evm": check_evm, "lightning": check_lightning, "bitcoin": check_bitcoin}[leg["kind"]]
        ends.append(check_leg(terms, terms_hash, leg, evidence, satoshi(terms, side)))
    require(any(end and kind != "lightning" for kind, end in zip(kinds, ends, strict=True)), "12 evidence")
    require(len(set(ends) - {None}) == 1, "12 outcome")
    require(len(statements) <= 1, "1 format")
    for statement in statements:
        check_statement(statement, terms, terms_hash, kinds, ends)
    if "returned" in ends:
        return "refunded"
    return "partial" if None in ends else "completed"


def check_statement(
    attestation: dict[str, Any],
    terms: dict[str, Any],
    terms_hash: bytes,
    kinds: list[str],
    ends: list[str | None],
) -> None:
    """The provider's completion statement: refused if it is not about the terms, or contradicts the evidence."""
    stated = attestation["statement"]
    require(attestation["type"] == "completion_statement" and stated["version"] == 1, "1 format")
    require(stated["terms_hash"] == terms_hash.hex(), "13 statement_terms")
    digest = tagged("layer2/completion/v1", canonical(stated))
    require(signed(attestation, terms, digest), "13 statement_signature")
    is_completed = {"completed": True, "refunded": False}[stated["outcome"]]
    amounts = [satoshi(terms, side) if is_completed else 0 for side in ("source", "destination")]
    require([stated["received"], stated["paid"]] == [str(each) for each in amounts], "13 statement_amounts")
    finalities = [stated[side]["finality"] for side in ("source", "destination")]
    for side, kind, finality in zip(("source", "destination"), kinds, finalities, strict=True):
        usual = "settled" if kind == "lightning" else "finalized"
        require(finality in ({usual} if is_completed else {usual, "unfunded"}), "13 statement_finality")
        require((stated[side]["block"] is not None) == (finality == "finalized"), "13 statement_finality")
    require(finalities != ["unfunded", "unfunded"], "13 statement_finality")
    require(stated["stated_at"] >= terms["issued_at"], "13 statement_time")
    for end, finality in zip(ends, finalities, strict=True):
        agrees = end == ("collected" if is_completed else "returned") and finality != "unfunded"
        require(end is None or agrees, "14 statement")


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
    require(all(length == FIXED_LENGTHS.get(letter, length) for letter, length in once), "6 invoice")
    letters = [letter for letter, _ in once]
    require(len(letters) == len(set(letters)), "6 invoice_ambiguous")
    expires_at = invoice.date + (3600 if invoice.expiry is None else invoice.expiry)
    require(invoice.date - 60 <= terms["issued_at"] <= expires_at, "6 invoice_time")
    if evidence is None:
        return None
    require(evidence["type"] == "lightning_payment", "7 evidence")
    preimage = bytes.fromhex(evidence["preimage"])
    require(hashlib.sha256(preimage).hexdigest() == terms["payment_hash"], "10 preimage")
    return "collected"


def fields_that_come_once(invoice: str) -> list[tuple[str, int]]:
    """Letter and length of each of the tagged fields that BOLT 11 allows once."""
    # Between the timestamp of seven letters, and the signature and checksum of 110.
    data, found = invoice[invoice.rindex("1") + 8 : -110], list[tuple[str, int]]()
    while data:
        letter, length = data[0], CHARSET.index(data[1]) * 32 + CHARSET.index(data[2])
        if letter in "psdmnhxc9":
            found.append((letter, length))
        data = data[3 + length :]
    return found


def check_bitcoin(
    terms: dict[str, Any], terms_hash: bytes, leg: dict[str, Any], evidence: dict[str, Any] | None, amount: int
) -> str | None:
    require(leg["prefix"] in PREFIXES[terms["network"]], "4 network")
    require(int(leg["amount"]) == amount and leg["payment_hash"] == terms["payment_hash"], "5 amount")
    if evidence is None:
        return None
    require(evidence["type"] == "bitcoin_spend", "7 evidence")
    headers = [bytes.fromhex(each) for each in evidence["headers"]]
    require(headers and all(len(each) == 80 and has_work(each, leg["prefix"]) for each in headers), "11 header")
    parents = [each[4:36] for each in headers[1:]]
    require(parents == [double_sha256(each) for each in headers[:-1]], "11 header")
    spend, coinbase = (bdk.Transaction(bytes.fromhex(evidence[name])) for name in ("transaction", "coinbase"))
    starts = coinbase.input()[0].script_sig.to_bytes()
    height = int.from_bytes(starts[1 : 1 + starts[0]], "little") if starts[0] < 0x51 else starts[0] - 0x50
    require(height >= leg["issued_height"] - 144, "11 header")
    paths = [[bytes.fromhex(each) for each in evidence[name]] for name in ("coinbase_path", "witness_path")]
    require(len(paths[0]) == len(paths[1]) and 0 < evidence["index"] < 1 << len(paths[1]), "11 inclusion")
    require(root(coinbase.compute_txid().serialize(), 0, paths[0]) == headers[0][36:68], "11 inclusion")
    scripts = [each.script_pubkey.to_bytes() for each in coinbase.output()]
    marked = [each for each in scripts if each.startswith(bytes.fromhex("6a24aa21a9ed")) and len(each) >= 38]
    [reserved] = coinbase.input()[0].witness
    require(marked and len(reserved) == 32, "11 inclusion")
    committed = root(spend.compute_wtxid().serialize(), evidence["index"], paths[1])
    require(double_sha256(committed + reserved) == marked[-1][6:38], "11 inclusion")
    return how_spent(leg, spend, evidence["input"], bytes.fromhex(evidence["funding"]))


def has_work(header: bytes, prefix: str) -> bool:
    target = int.from_bytes(header[72:75], "little") << 8 * (header[75] - 3)
    easiest = {"bc": 2**224 - 1, "tb": 0x0377AE << 216, "bcrt": 2**255 - 1}[prefix]
    return header[74] < 0x80 and int.from_bytes(double_sha256(header), "little") <= target <= easiest


def double_sha256(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def root(leaf: bytes, index: int, path: list[bytes]) -> bytes:
    for sibling in path:
        require(len(sibling) == 32 and not (index & 1 and sibling == leaf), "11 inclusion")
        leaf = double_sha256(sibling + leaf if index & 1 else leaf + sibling)
        index >>= 1
    return leaf


def how_spent(leg: dict[str, Any], spend: bdk.Transaction, place: int, funding: bytes) -> str:
    """What the input shows, if it spends an output of the leg's script and amount."""
    require(place < len(spend.input()), "11 input")
    outpoint, made_by = spend.input()[place].previous_output, bdk.Transaction(funding)
    hashes = (outpoint.txid.serialize(), made_by.compute_txid().serialize())
    require(hashes == (double_sha256(funding), double_sha256(funding)), "11 funding")
    require(outpoint.vout < len(made_by.output()), "11 funding")
    output = made_by.output()[outpoint.vout]
    claim = f"and_v(v:sha256({leg['payment_hash']}),pk({leg['payee']}))"
    back = f"and_v(v:pk({leg['payer']}),or_d(pk({leg['payee_release']}),after({leg['locktime']})))"
    descriptor = bdk.Descriptor(f"wsh(or_i({claim},{back}))", bdk.NetworkKind.TEST)
    wallet = bdk.Wallet.create_single(descriptor, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
    program = wallet.peek_address(bdk.KeychainKind.EXTERNAL, 0).address.script_pubkey().to_bytes()
    require(output.script_pubkey.to_bytes() == program, "11 script")
    witness = spend.input()[place].witness
    require(len(witness) == 4 and b"\x00\x20" + hashlib.sha256(witness[-1]).digest() == program, "11 script")
    is_claim = witness[2].lstrip(b"\x00") not in (b"", b"\x80")
    require(not is_claim or hashlib.sha256(witness[1]).hexdigest() == leg["payment_hash"], "11 script")
    require(output.value.to_sat() == int(leg["amount"]), "11 amount")
    return "collected" if is_claim else "returned"


def check_evm(
    terms: dict[str, Any], terms_hash: bytes, leg: dict[str, Any], evidence: dict[str, Any] | None, amount: int
) -> str | None:
    require(leg["chain_id"] == CHAINS[leg["layer"]][terms["network"]], "4 network")
    require(int(leg["amount"]) * 10**8 == amount * 10 ** leg["token_decimals"], "5 amount")
    require(leg["contract"] == GENUINE, "9 contract")
    if evidence is None:
        return None
    lock_id = id_of_lock(terms, terms_hash, leg)
    if evidence["type"] == "evm_storage":
        return end_in_storage(leg, evidence, terms["network"], lock_id)
    status, logs = receipt_in(leg, evidence, terms["network"])
    require(status == b"\x01" and evidence["log_index"] < len(logs), "7 receipt_status")
    address, topics, data = logs[evidence["log_index"]]
    require(address.hex() == leg["contract"] and topics[0] in (CLAIMED, REFUNDED), "7 event")
    payment_hash = bytes.fromhex(terms["payment_hash"])
    require(topics[1:] == [lock_id, payment_hash], "8 lock_id")
    require(topics[0] == REFUNDED or hashlib.sha256(data).digest() == payment_hash, "7 event")
    return "collected" if topics[0] == CLAIMED else "returned"


def id_of_lock(terms: dict[str, Any], terms_hash: bytes, leg: dict[str, Any]) -> bytes:
    types = ["uint256", "address", "bytes32", "address", "uint256", "address", "address", "uint256", "bytes32"]
    words = [
        leg["chain_id"],
        bytes.fromhex(leg["contract"]),
        bytes.fromhex(terms["payment_hash"]),
        bytes.fromhex(leg["token"]),
        int(leg["amount"]),
        bytes.fromhex(leg["payee"]),
        bytes.fromhex(leg["payer"]),
        leg["deadline"],
        terms_hash,
    ]
    return keccak(encode(types, words))


def end_in_storage(leg: dict[str, Any], evidence: dict[str, Any], network: str, lock_id: bytes) -> str:
    """What the status of the lock in the contract's storage shows, if it is under the evidence's header."""
    header = header_of(leg, evidence, network)
    account = found_in_trie(header[3], keccak(bytes.fromhex(leg["contract"])), evidence["account_proof"])
    slot = keccak((1).to_bytes(32, "big") + lock_id)
    status = found_in_trie(rlp.decode(account)[2], keccak(slot), evidence["storage_proof"])
    require(status in (b"\x02", b"\x03"), "7 lock_status")
    require(evidence["lock_id"] == lock_id.hex(), "8 lock_id")
    return "collected" if status == b"\x02" else "returned"


def receipt_in(leg: dict[str, Any], evidence: dict[str, Any], network: str) -> list[Any]:
    """Status and logs of the receipt, if it is under the evidence's header."""
    if evidence["type"] == "rootstock_receipt":
        require(leg["layer"] == "ROOTSTOCK", "7 layer")
        return receipt_of(evidence)
    require(evidence["type"] == "evm_receipt", "7 evidence")
    header = header_of(leg, evidence, network)
    value = found_in_trie(header[5], rlp.encode(evidence["transaction_index"]), evidence["receipt_proof"])
    status, _, _, logs, *_ = rlp.decode(value if value[0] >= 0xC0 else value[1:])
    return [status, logs]


def header_of(leg: dict[str, Any], evidence: dict[str, Any], network: str) -> list[bytes]:
    require(evidence["protocol"] == leg["layer"], "7 layer")
    require(leg["layer"] != "ROOTSTOCK" or network == "regtest", "7 evidence")
    header: list[bytes] = rlp.decode(bytes.fromhex(evidence["header"]))
    require(len(header) in (15, 16, 17, 20, 21), "7 header")
    return header


def found_in_trie(root: bytes, key: bytes, nodes: list[str]) -> bytes:
    decoded = [rlp.decode(bytes.fromhex(node)) for node in nodes]
    try:
        value: bytes = HexaryTrie.get_from_proof(root, key, decoded)  # type: ignore[no-untyped-call]  # has no types
    except BadTrieProof as error:
        raise ValueError("7 inclusion") from error
    require(value, "7 inclusion")
    return value
