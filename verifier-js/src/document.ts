/** The file of a proof: terms, attestations, and the evidence of each leg. */

import { type Hex } from "./bytes.js";
import { parseCanonical, type JsonValue } from "./canonical-json.js";
import { expect, Malformed, within } from "./error.js";
import { Fields, selector } from "./fields.js";
import { taggedHash } from "./hash.js";
import { LAYERS, type Layer } from "./layer.js";
import { SCHEMES, type Scheme } from "./signature.js";
import { readStatement, type CompletionStatement } from "./statement.js";
import { readTerms, type Terms } from "./terms.js";

/** A log in a receipt of a block. */
export interface EvmReceipt {
  readonly type: "evm_receipt";
  readonly protocol: Layer;
  readonly header: Uint8Array;
  readonly transactionIndex: number;
  readonly receiptProof: readonly Uint8Array[];
  readonly logIndex: number;
}

/** The status of a lock in the state of a block. */
export interface EvmStorage {
  readonly type: "evm_storage";
  readonly protocol: Layer;
  readonly header: Uint8Array;
  readonly lockId: Hex;
  readonly accountProof: readonly Uint8Array[];
  readonly storageProof: readonly Uint8Array[];
}

/** A log in a receipt of a Rootstock block. */
export interface RootstockReceipt {
  readonly type: "rootstock_receipt";
  readonly headers: readonly Uint8Array[];
  readonly transactionIndex: number;
  readonly receipt: Uint8Array;
  readonly receiptProof: readonly Uint8Array[];
  readonly logIndex: number;
}

export interface LightningPayment {
  readonly type: "lightning_payment";
  readonly preimage: Hex;
}

/** The transaction that spends the output of a leg. */
export interface BitcoinSpend {
  readonly type: "bitcoin_spend";
  readonly headers: readonly Uint8Array[];
  readonly funding: Uint8Array;
  readonly transaction: Uint8Array;
  readonly input: number;
  readonly index: number;
  readonly witnessPath: readonly Uint8Array[];
  readonly coinbase: Uint8Array;
  readonly coinbasePath: readonly Uint8Array[];
}

export type Evidence = EvmReceipt | EvmStorage | RootstockReceipt | LightningPayment | BitcoinSpend;

export interface TermsSignature {
  readonly type: "terms_signature";
  readonly scheme: Scheme;
  readonly signature: Hex;
}

export interface Document {
  /** The tagged hash of the file, which names it. */
  readonly proofId: Uint8Array;
  readonly terms: Terms;
  readonly signature: TermsSignature;
  readonly statement: CompletionStatement | undefined;
  readonly sourceLeg: Evidence | null;
  readonly destinationLeg: Evidence | null;
}

const LIMITS = { length: 1_000_000, separators: 10_000, depth: 64 };
const MAX_ATTESTATIONS = 2;
const MAX_INDEX = 2 ** 32;
const MAX_NODES = 64;
const MAX_ITEM = 100_000;
const MAX_HEADER = 2000;
const MAX_STATE_NODE = 532;
const MAX_BITCOIN_HEADERS = 2016;
const MAX_ROOTSTOCK_HEADERS = 144;
const MAX_TRANSACTION = 400_000;
const MAX_PATH = 32;

export function readDocument(file: Uint8Array): Document {
  return within("format", () => {
    const fields = new Fields(parseCanonical(file, LIMITS), [
      "version",
      "terms",
      "attestations",
      "source_leg",
      "destination_leg",
    ]);
    fields.version("version", 1);
    const attestations = fields.list("attestations", MAX_ATTESTATIONS);
    const [signature, statement] = attestations;
    expect(signature !== undefined, "no attestation");
    return {
      proofId: taggedHash("layer2/proof/v1", file),
      terms: readTerms(fields.value("terms")),
      signature: readTermsSignature(signature),
      statement: statement === undefined ? undefined : readStatement(statement),
      sourceLeg: readEvidence(fields.value("source_leg")),
      destinationLeg: readEvidence(fields.value("destination_leg")),
    };
  });
}

function readTermsSignature(value: JsonValue): TermsSignature {
  const fields = new Fields(value, ["type", "scheme", "signature"]);
  return {
    type: fields.oneOf("type", ["terms_signature"]),
    scheme: fields.oneOf("scheme", SCHEMES),
    signature: fields.hex("signature", 64),
  };
}

function readEvidence(value: JsonValue): Evidence | null {
  if (value === null) return null;
  switch (selector(value, "type")) {
    case "evm_receipt":
      return readEvmReceipt(value);
    case "evm_storage":
      return readEvmStorage(value);
    case "rootstock_receipt":
      return readRootstockReceipt(value);
    case "lightning_payment":
      return readLightningPayment(value);
    case "bitcoin_spend":
      return readBitcoinSpend(value);
    case "bolt12_payer_proof":
    case "anchored_header":
      throw new Malformed("a type of evidence that is reserved for later versions");
    default:
      throw new Malformed("an unknown type of evidence");
  }
}

function readEvmReceipt(value: JsonValue): EvmReceipt {
  const fields = new Fields(value, ["type", "protocol", "header", "transaction_index", "receipt_proof", "log_index"]);
  return {
    type: "evm_receipt",
    protocol: fields.oneOf("protocol", LAYERS),
    header: fields.bytes("header", MAX_HEADER),
    transactionIndex: fields.number("transaction_index", MAX_INDEX),
    receiptProof: fields.listOfBytes("receipt_proof", MAX_NODES, MAX_ITEM),
    logIndex: fields.number("log_index", MAX_INDEX),
  };
}

function readEvmStorage(value: JsonValue): EvmStorage {
  const fields = new Fields(value, ["type", "protocol", "header", "lock_id", "account_proof", "storage_proof"]);
  return {
    type: "evm_storage",
    protocol: fields.oneOf("protocol", LAYERS),
    header: fields.bytes("header", MAX_HEADER),
    lockId: fields.hex("lock_id", 32),
    accountProof: fields.listOfBytes("account_proof", MAX_NODES, MAX_STATE_NODE),
    storageProof: fields.listOfBytes("storage_proof", MAX_NODES, MAX_STATE_NODE),
  };
}

function readRootstockReceipt(value: JsonValue): RootstockReceipt {
  const fields = new Fields(value, ["type", "headers", "transaction_index", "receipt", "receipt_proof", "log_index"]);
  return {
    type: "rootstock_receipt",
    headers: fields.listOfBytes("headers", MAX_ROOTSTOCK_HEADERS, MAX_ITEM),
    transactionIndex: fields.number("transaction_index", MAX_INDEX),
    receipt: fields.bytes("receipt", MAX_ITEM),
    receiptProof: fields.listOfBytes("receipt_proof", MAX_NODES, MAX_ITEM),
    logIndex: fields.number("log_index", MAX_INDEX),
  };
}

function readLightningPayment(value: JsonValue): LightningPayment {
  const fields = new Fields(value, ["type", "preimage"]);
  return { type: "lightning_payment", preimage: fields.hex("preimage", 32) };
}

function readBitcoinSpend(value: JsonValue): BitcoinSpend {
  const fields = new Fields(value, [
    "type",
    "headers",
    "funding",
    "transaction",
    "input",
    "index",
    "witness_path",
    "coinbase",
    "coinbase_path",
  ]);
  return {
    type: "bitcoin_spend",
    headers: fields.listOfBytes("headers", MAX_BITCOIN_HEADERS, MAX_ITEM),
    funding: fields.bytes("funding", MAX_TRANSACTION),
    transaction: fields.bytes("transaction", MAX_TRANSACTION),
    input: fields.number("input", MAX_INDEX),
    index: fields.number("index", MAX_INDEX),
    witnessPath: fields.listOfBytes("witness_path", MAX_PATH, MAX_ITEM),
    coinbase: fields.bytes("coinbase", MAX_ITEM),
    coinbasePath: fields.listOfBytes("coinbase_path", MAX_PATH, MAX_ITEM),
  };
}
