"""The fuzz targets. Each passes arbitrary bytes to one decoder, and fails if the decoder breaks its contract.

The contract: a decoder raises only ``FormatError``, and its result encodes to the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import FormatError, InvalidRequest, ProofRefused
from layer2.formats import bech32, bitcoin_block, bitcoin_transaction, bolt11, lnurl, merkle_patricia, rlp
from layer2.formats.bitcoin_block import BitcoinBlock, merkle_root
from layer2.formats.bolt11 import Bolt11Invoice, InvoiceFields, RouteHop
from layer2.formats.byte_reader import ByteReader
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_receipt import DEPOSIT_TYPE, EvmLog, EvmReceipt, bloom_of, decode_receipt
from layer2.formats.evm_revert import decode_revert
from layer2.formats.evm_transaction import Eip1559Transaction, LegacyTransaction, decode_signed
from layer2.formats.keccak import keccak256
from layer2.legs.shown import EvidencePolicy, Owed
from layer2.legs.views import Side
from layer2.proofs.model import TransferProof
from layer2.protocols.evm.rpc.answers import BatchRefused, read_answers
from layer2.protocols.lightning.recipients.recipient import Lnurl, NodeKey, read_recipient
from proofs import fuzzed_challenge, fuzzed_rootstock, fuzzed_storage, made_bitcoin, made_proofs, made_rootstock

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder and its seed inputs."""

    check: Callable[[bytes], bool]
    """Whether the decoder accepts these bytes. Raises AssertionError if it breaks its contract."""
    seeds: tuple[bytes, ...]
    longest: int = 4_096
    """Bytes of an input."""


def _rlp(data: bytes) -> bool:
    with suppress(FormatError):
        assert rlp.encode(rlp.decode(data)) == data
        return True
    return False


def _receipt(data: bytes) -> bool:
    with suppress(FormatError):
        assert decode_receipt(data).encode() == data
        return True
    return False


def _header(data: bytes) -> bool:
    with suppress(FormatError):
        assert decode_header(data).encode() == data
        return True
    return False


def _bitcoin_header(data: bytes) -> bool:
    with suppress(FormatError):
        header = bitcoin_block.decode_header(data)
        assert header.encode() == data
        assert 0 <= header.target < 1 << 256
        assert (header.work > 0) == (header.target > 0)
        return True
    return False


def _bitcoin_transaction(data: bytes) -> bool:
    with suppress(FormatError):
        transaction = bitcoin_transaction.decode_transaction(data)
        assert transaction.encode() == data
        assert transaction.virtual_size <= len(data)
        return True
    return False


def _bitcoin_block(data: bytes) -> bool:
    """A block, and the same bytes under the Merkle root of their transactions, which a fuzzer cannot find."""
    with suppress(FormatError):
        reader = ByteReader(data[bitcoin_block.HEADER_SIZE :], "the block")
        hashes = [bitcoin_transaction.read_transaction(reader).hash for _ in range(reader.count(60))]
        data = data[:36] + merkle_root(hashes or [bytes(32)]) + data[68:]
        assert _encoded(bitcoin_block.decode_block(data)) == data
        return True
    return False


def _bitcoin_evidence(data: bytes) -> bool:
    """A spend: its input (1 byte), and its bytes, in a block that contains them."""
    with suppress(FormatError):
        spend = bitcoin_transaction.decode_transaction(data[1:])
        evidence = replace(made_bitcoin.evidence_of(spend), input=data[0])
        leg = made_bitcoin.LEG
        with suppress(ProofRefused):
            leg.check_evidence(evidence, Owed(Side.PAYER, leg.amount, leg.payment_hash, bytes(32), 0), EvidencePolicy())
            return True
    return False


def _bitcoin_funding(data: bytes) -> bool:
    """The funding of a spend that names the hash of these bytes, which a fuzzer cannot find."""
    claim = made_bitcoin.spend()
    spent = replace(claim.inputs[1], prevout=bitcoin_transaction.OutPoint(bitcoin_transaction.double_sha256(data), 1))
    evidence = made_bitcoin.evidence_of(replace(claim, inputs=(claim.inputs[0], spent)))
    leg = made_bitcoin.LEG
    owed = Owed(Side.PAYER, leg.amount, leg.payment_hash, bytes(32), 0)
    with suppress(ProofRefused):
        leg.check_evidence(replace(evidence, funding=data), owed, EvidencePolicy())
        funding = bitcoin_transaction.decode_transaction(data)
        assert funding.stripped == data
        assert funding.outputs[1] == bitcoin_transaction.TxOut(leg.amount, leg.htlc.program)
        return True
    return False


def _encoded(block: BitcoinBlock) -> bytes:
    count = bitcoin_transaction.compact_size(len(block.transactions))
    return block.header.encode() + count + b"".join(each.encode() for each in block.transactions)


_LINK = b"\xee" * 32
"""A placeholder for the hash of the next node, because a fuzzer cannot find a preimage of keccak256."""


def _trie(data: bytes) -> bool:
    """An index (2 bytes), then nodes, each prefixed with its length (2 bytes). Their hashes are corrected."""
    index, rest = int.from_bytes(data[:2], "big"), data[2:]
    nodes: list[bytes] = []
    while rest:
        size = int.from_bytes(rest[:2], "big")
        nodes.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    for above in range(len(nodes) - 2, -1, -1):
        nodes[above] = nodes[above].replace(_LINK, keccak256(nodes[above + 1]))
    with suppress(FormatError):
        value = merkle_patricia.verify(keccak256(nodes[0]) if nodes else bytes(32), index, nodes)
        assert value
        assert value in nodes[-1]
        return True
    return False


def _transaction(data: bytes) -> bool:
    with suppress(FormatError):
        assert decode_signed(data).raw == data
        return True
    return False


def _json_rpc(data: bytes) -> bool:
    taken = False
    for ids in ([1], [1, 2, 3]):
        with suppress(FormatError, BatchRefused):
            assert len(read_answers(data, ids)) == len(ids)
            taken = True
    return taken


def _revert(data: bytes) -> bool:
    text = decode_revert(data)
    assert text
    assert text.isprintable()
    assert len(text) < 1_000
    return True


def _bolt11(data: bytes) -> bool:
    """The text itself, and the same bytes with a corrected checksum, as an invoice of the local network."""
    with suppress(FormatError):
        bolt11.decode(data.decode("latin-1"))
    with suppress(FormatError):
        text = bech32.encode("lnbcrt1m", bytes([octet & 31 for octet in data]))
        invoice = bolt11.decode(text)
        assert invoice.text == text
        _check_written_again(invoice)
        return True
    return False


def _check_written_again(invoice: Bolt11Invoice) -> None:
    """An invoice that is decoded and encoded again has the same fields."""
    if invoice.payment_secret is None or 0 in (invoice.expiry, invoice.min_final_cltv_expiry_delta):
        return  # These are decoded, but never encoded.
    said = {field.name: getattr(invoice, field.name) for field in fields_of(InvoiceFields) if field.name != "payee"}
    again = bolt11.decode(bolt11.encode(InvoiceFields(**said), _signed))
    assert {name: getattr(again, name) for name in said} == said
    assert not again.is_ambiguous


def _signed(digest: bytes) -> bytes:
    # A key can be recovered from it for any digest.
    return bytes(31) + b"\x01" + bytes(31) + b"\x01\x00"


def _recipient(data: bytes) -> bool:
    """A recipient as a payer enters it. The shortest text for the recipient decodes to the same recipient."""
    with suppress(InvalidRequest):
        payee = read_recipient(data.decode("latin-1")).payee
        match payee:
            case Bolt11Invoice():
                shortest = payee.text
            case NodeKey():
                shortest = payee.key.hex()
            case Lnurl():
                shortest = lnurl.encode(payee.url)
            case _:
                shortest = str(payee)
        assert read_recipient(shortest).payee == payee
        return True
    return False


def _lnurl_answer(data: bytes) -> bool:
    """An LNURL service's answer, as the first and as the second answer."""
    taken = False
    for read in (lnurl.read_offer, lnurl.read_invoice_answer):
        with suppress(FormatError):
            answer = read(data)
            assert not isinstance(answer, lnurl.PayOffer) or 1 <= answer.least_msat <= answer.most_msat
            taken = True
    return taken


def _proof(data: bytes) -> bool:
    with suppress(FormatError):
        assert TransferProof.from_bytes(data).to_bytes() == data
        return True
    return False


def _spends() -> tuple[bytes, ...]:
    return tuple([made_bitcoin.spend(branch).encode() for branch in Branch])


def _blocks() -> tuple[bytes, ...]:
    spends = [made_bitcoin.other(1), made_bitcoin.spend(), made_bitcoin.other(2)]
    committed = made_bitcoin.block_of(spends)
    bare = made_bitcoin.coinbase([b"\x51"], witness=())
    return (
        _encoded(BitcoinBlock(committed.headers[0], (committed.coinbase, *spends))),
        _encoded(BitcoinBlock(committed.headers[1], (bare,))),
    )


def _receipts() -> tuple[bytes, ...]:
    logs = tuple([EvmLog(bytes([n]) * 20, (bytes([n]) * 32,) * n, bytes(n * 20)) for n in range(4)])
    return (
        EvmReceipt(2, True, 21_000, bloom_of(logs), logs).encode(),
        EvmReceipt(0, True, 1 << 40, bloom_of(logs[:1]), logs[:1]).encode(),
        EvmReceipt(DEPOSIT_TYPE, True, 46_109, bytes(256), (), 20_000_001, 1).encode(),
    )


def _headers() -> tuple[bytes, ...]:
    word = bytes(32)
    oldest = EvmHeader(word, word, bytes(20), word, word, word, bytes(256), 0, 1, 2, 3, 4, b"", word, bytes(8))
    newest = EvmHeader(
        word,
        word,
        bytes(20),
        word,
        word,
        word,
        bytes(256),
        0,
        1,
        2,
        3,
        4,
        b"",
        word,
        bytes(8),
        5,
        word,
        0,
        0,
        word,
        word,
    )
    return oldest.encode(), newest.encode()


def _paths() -> tuple[bytes, ...]:
    seeds: list[bytes] = []
    for size, count in ((60, 200), (1, 20)):
        values = [hashlib.shake_256(bytes([n])).digest(size) for n in range(count)]
        for index, nodes in enumerate(merkle_patricia.prove_all(values)):
            linked = list(nodes)
            for place in range(len(nodes) - 1):
                linked[place] = nodes[place].replace(keccak256(nodes[place + 1]), _LINK)
            seed = b"".join([len(node).to_bytes(2, "big") + node for node in linked])
            seeds.append(index.to_bytes(2, "big") + seed)
    return tuple(seeds[::19])


def _transactions() -> tuple[bytes, ...]:
    made = Eip1559Transaction(
        chain_id=60808,
        nonce=1,
        max_priority_fee_per_gas=2,
        max_fee_per_gas=3,
        gas_limit=21_000,
        to=bytes(20),
        value=1,
        data=b"data",
        access_list=((bytes(20), (bytes(32),)),),
    )
    # Any r with a small s recovers a key.
    signature = bytes(31) + b"\x01" + bytes(31) + b"\x01"
    legacy = LegacyTransaction(chain_id=30, nonce=1, gas_price=2, gas_limit=21_000, to=bytes(20), value=1, data=b"data")
    return tuple([each.signed(signature + bytes((parity,))).raw for each in (made, legacy) for parity in (0, 1)])


_ANSWERS = (
    b'{"jsonrpc":"2.0","id":1,"result":"0x1"}',
    b'[{"jsonrpc":"2.0","id":2,"result":null},{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted",'
    b'"data":"0x4e487b710000000000000000000000000000000000000000000000000000000000000011"}}]',
    b'[{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"batch too large"}}]',
)
_REVERTS = (
    bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (4).to_bytes(32, "big") + b"text".ljust(32, b"\x00"),
    bytes.fromhex("4e487b71") + (17).to_bytes(32, "big"),
)


def _invoices() -> tuple[bytes, ...]:
    """The groups of invoices with few fields, with all fields, and with repeated fields."""
    little = InvoiceFields(
        prefix="bcrt",
        amount_msat=100_000_000,
        timestamp=1_790_000_000,
        payment_hash=bytes(32),
        payment_secret=bytes(32),
        description="swap",
        expiry=3600,
        min_final_cltv_expiry_delta=80,
    )
    hop = RouteHop(bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"), 1, 2, 3, 4)
    much = replace(
        little,
        description=None,
        description_hash=bytes(32),
        metadata=b"data",
        route_hints=((hop, hop), (hop,)),
        fallback_addresses=((0, bytes(20)), (17, bytes(20))),
        feature_bits=frozenset({8, 14, 17, 99}),
    )
    first, second = (bech32.decode(bolt11.encode(each, _signed))[1] for each in (little, much))
    repeated = first[:-104] + first[7:-104] + bytes([20, 0, 2, 0, 0]) + first[-104:]
    return first, second, repeated


_URL = "https://a.example/?id=1"
_RECIPIENTS = (
    f"bitcoin:1BoatSLRHtKNngkdXEeobR76b53LETtpyT?amount=0.5&label=%20&lightning={lnurl.encode(_URL)}",
    f"lightning:{lnurl.encode(_URL).upper()}",
    f"https://a.example/?lightning={lnurl.encode(_URL)}",
    "name+tag@a.example",
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@a.example:9735",
)
_LNURL_ANSWERS = (
    b'{"tag":"payRequest","callback":"https://a.example/","minSendable":1,"maxSendable":2,"payerData":{"name":{"mandatory":'
    b'false}},"metadata":"[[\\"text/plain\\",\\"tea\\"],[\\"text/email\\",\\"a@b.example\\"],[\\"x\\",1.5]]"}',
    b'{"pr":"lnbc1","routes":[],"status":"OK"}',
    b'{"status":"ERROR","reason":"\\ud800"}',
)


TARGETS = {
    "rlp": Target(_rlp, (_receipts()[0][1:], _receipts()[1], *_headers())),
    "receipt": Target(_receipt, _receipts()),
    "header": Target(_header, _headers()),
    "bitcoin_header": Target(_bitcoin_header, tuple([each[:80] for each in _blocks()])),
    "bitcoin_transaction": Target(_bitcoin_transaction, (*_spends(), made_bitcoin.coinbase([], witness=()).encode())),
    "bitcoin_block": Target(_bitcoin_block, _blocks()),
    "bitcoin_evidence": Target(_bitcoin_evidence, tuple([b"\x01" + each for each in _spends()])),
    "bitcoin_funding": Target(_bitcoin_funding, (made_bitcoin.FUNDING.stripped,)),
    "rsk_header": Target(fuzzed_rootstock.header, fuzzed_rootstock.HEADERS),
    "rsk_trie": Target(fuzzed_rootstock.trie, fuzzed_rootstock.PATHS),
    "rsk_evidence": Target(fuzzed_rootstock.evidence, fuzzed_rootstock.RECEIPTS),
    "trie": Target(_trie, _paths()),
    "account": Target(fuzzed_storage.account, fuzzed_storage.ACCOUNTS),
    "storage_evidence": Target(fuzzed_storage.evidence, fuzzed_storage.PATHS),
    "transaction": Target(_transaction, _transactions()),
    "json_rpc": Target(_json_rpc, _ANSWERS),
    "revert": Target(_revert, _REVERTS),
    "bolt11": Target(_bolt11, _invoices(), longest=1_200),
    "recipient": Target(_recipient, tuple(text.encode() for text in _RECIPIENTS)),
    "lnurl_answer": Target(_lnurl_answer, _LNURL_ANSWERS),
    "proof": Target(
        _proof,
        (
            made_proofs.to_lightning().to_bytes(),
            made_rootstock.from_rootstock().to_bytes(),
            made_proofs.refunded().to_bytes(),
            made_proofs.between_chains().to_bytes(),
            made_bitcoin.from_bitcoin().to_bytes(),
        ),
        longest=12_288,
    ),
    "holder_challenge": Target(fuzzed_challenge.challenge, fuzzed_challenge.CHALLENGES),
    "holder_answer": Target(fuzzed_challenge.answer, fuzzed_challenge.ANSWERS),
}
