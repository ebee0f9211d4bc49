"""The checks that no file of a proof can show to be missing, and why."""

from __future__ import annotations

from typing import Final

__all__ = ["NOT_REACHED"]

_BY_REASON: Final[dict[str, tuple[str, ...]]] = {
    "Only an error of the calling program reaches it: no field of a file gets there with another size or type.": (
        "formats.evm_abi _parameter_types: FormatError(f'ABI: {signature!r} is not a canonical signature of sta",
        "formats.evm_abi _parameter_types: FormatError(f'ABI: type {name!r} in {signature!r} is not supported')",
        "formats.evm_abi _word: FormatError('ABI: a number outside of uint256')",
        "formats.evm_abi _word: FormatError(f'ABI: {len(value)} bytes are neither an address nor a b",
        "formats.evm_header __post_init__: FormatError('EVM header: the set of fields is of no known fork')",
        "formats.evm_header __post_init__: FormatError(f'EVM header: {name} is not a number of {bits} bits')",
        "formats.evm_receipt __post_init__: FormatError('EVM receipt: a deposit has both nonce and version (sinc",
        "formats.evm_receipt __post_init__: FormatError('EVM receipt: a number does not fit 64 bits')",
        "formats.merkle_patricia _follow: FormatError(f'trie: a root of {len(root)} bytes, expected {_HASH_SIZ",
        "formats.rlp encode_int: FormatError('RLP: integers are not negative')",
        "formats.rsk_trie verify: FormatError(f'Rootstock trie: a root of {len(root)} bytes, expected",
        "formats.sha256_midstate resume_sha256: FormatError(f'SHA-256: a state of {len(state)} bytes, expected {STAT",
        "formats.tagged_signature verify: FormatError('a BIP 340 digest must be 32 bytes')",
        "formats.tagged_signature verify_ecdsa: FormatError('a digest must be 32 bytes')",
        "contracts.htlc __post_init__: FormatError(f'HTLC lock: {name} of {len(value)} bytes, expected {siz",
        "model.transactions __post_init__: FormatError(f'a preimage has 32 bytes, not {len(self.secret)}')",
        "formats.canonical_json _check: FormatError(f'{type(value).__name__} has no canonical JSON form')",
        "formats.canonical_json _check: FormatError(f'JSON is nested deeper than {MAX_DEPTH} levels')",
        "formats.canonical_json _check: FormatError('a JSON object has a key that is not text')",
    ),
    "The verifier's own policy is wrong, and not the file.": (
        "proofs.policy __post_init__: InvalidRequest(f\"work: only the headers of {' and '.join(sorted(with",
        "proofs.policy __post_init__: InvalidRequest('work: for each layer, a positive number of hashes')",
        "proofs.policy __post_init__: InvalidRequest('tokens: for each chain id, a mapping from tokens to",
        "proofs.policy _check_forms: InvalidRequest(f'requires: a Requirement, not {requires!r}')",
        "proofs.policy _check_forms: InvalidRequest(f'networks: a set of names, not one text: {networks!r",
        "proofs.policy _check_forms: InvalidRequest(f'trusted_headers: each layer is a Layer2ProtocolType",
        "proofs.policy _check_bytes: InvalidRequest(f\"{name}: each one is {' or '.join(map(str, sizes))}",
    ),
    "It bounds work before it begins; what is beyond the limit is also refused later, for the same reason.": (
        "formats.bech32 decode: FormatError('a bech32 text is too short for its checksum')",
        "formats.byte_reader count: FormatError(f'{self._what} ends too early')",
        "formats.canonical_json check_nesting: FormatError(f'JSON is nested deeper than {MAX_DEPTH} levels')",
        "formats.rlp decode: FormatError(f'RLP: {len(data)} bytes, the maximum is {MAX_SIZE}')",
    ),
    "It serves others, or words the refusal better. A later check refuses the same files, with the same reason.": (
        "proofs.model outcome_of: ProofRefused('evidence', 'no leg shows how the transfer ended')",
        "legs.evidence read_evidence: FormatError(f'{what}: the evidence type {name!r} is reserved, and th",
        "formats.bech32 decode: FormatError('a bech32 text mixes upper and lower case')",
        "formats.bech32 decode: FormatError('a bech32 text has no human-readable part')",
        "formats.bech32 decode: FormatError(f'a bech32 text has a character outside its alphabet: {f",
        "formats.bolt11 decode: FormatError('an invoice is too short for a timestamp and a signature",
        "formats.byte_reader take: FormatError(f'{self._what} ends too early')",
        "formats.canonical_json _parsed: FormatError('JSON is not UTF-8')",
        "formats.canonical_json _parsed: FormatError(f'not JSON: {error.msg} (character {error.pos})')",
        "formats.canonical_json _check_integer: FormatError('a JSON integer is beyond 2**53 - 1')",
        "formats.canonical_json _refuse_fraction: FormatError('a JSON number is not a whole number without fraction or",
        "formats.canonical_json _refuse_constant: FormatError(f'JSON has no {name}')",
        "formats.evm_header decode_header: FormatError(f'EVM header: {name} is a list')",
        "formats.merkle_patricia _follow: FormatError('trie: a node that is neither branch, nor extension, nor",
        "formats.merkle_patricia _decoded: FormatError('trie: a node is not a list')",
        "formats.merkle_patricia _present: FormatError('trie: there is no value at this key')",
        "formats.tagged_signature verify: return False",
    ),
    "A vector would need more bytes than a file of vectors should have: 262,145 headers.": (
        "proofs.header_chain _chain: _refused(f'more than {MAX_HEADERS} headers')",
    ),
    "No valid root has such a value: an entry of a trie is not empty, and a receipt has more than 256 bytes.": (
        "formats.evm_receipt decode_receipt: FormatError('EVM receipt: no bytes')",
        "formats.rsk_trie _decoded: FormatError('Rootstock trie: a short value must be part of its leaf'",
    ),
}

NOT_REACHED: Final = {check: reason for reason, checks in _BY_REASON.items() for check in checks}
"""The reason by check, as the table writes it."""
