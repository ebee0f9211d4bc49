/** What both parties agreed on before any payment. */

import type { Hex } from "./bytes.js";
import { canonicalForm, type JsonValue } from "./canonical-json.js";
import { Malformed } from "./error.js";
import { Fields, selector } from "./fields.js";
import { taggedHash } from "./hash.js";
import { FINALITIES, LAYERS, type Finality, type Layer } from "./layer.js";

/** A lock in the contract on an EVM chain. */
export interface EvmLeg {
  readonly kind: "evm";
  readonly layer: Layer;
  readonly chainId: number;
  readonly contract: Hex;
  readonly token: Hex;
  readonly tokenDecimals: number;
  /** In the token's smallest unit. */
  readonly amount: bigint;
  readonly payer: Hex;
  readonly payee: Hex;
  /** Unix seconds. */
  readonly deadline: number;
  readonly finality: Finality;
}

/** The payment of one BOLT 11 invoice. */
export interface LightningLeg {
  readonly kind: "lightning";
  readonly prefix: string;
  readonly invoice: string;
  readonly payee: Hex;
  readonly amountMsat: bigint;
  readonly feeLimitMsat: bigint;
  readonly cltvLimit: number;
  readonly minBlocksLeft: number;
}

/** An output of a Bitcoin transaction. */
export interface BitcoinLeg {
  readonly kind: "bitcoin";
  readonly prefix: string;
  /** Satoshi. */
  readonly amount: bigint;
  readonly payer: Hex;
  readonly payee: Hex;
  readonly payeeRelease: Hex;
  readonly paymentHash: Hex;
  readonly locktime: number;
  readonly issuedHeight: number;
  readonly depth: number;
  /** Satoshi for each 1,000 virtual bytes. */
  readonly feeFloor: number;
  readonly finality: Finality;
}

export type Leg = EvmLeg | LightningLeg | BitcoinLeg;

export interface Terms {
  readonly hash: Uint8Array;
  readonly swapId: Hex;
  readonly quoteId: Hex;
  readonly network: string;
  readonly asset: string;
  readonly paymentHash: Hex;
  /** The satoshi that the destination receives. */
  readonly amount: bigint;
  readonly providerFee: bigint;
  readonly networkFee: bigint;
  readonly source: Leg;
  readonly destination: Leg;
  /** Unix seconds, as are the other times. The provider states them; no block shows them. */
  readonly issuedAt: number;
  readonly fundBy: number;
  readonly counterFundBy: number;
  readonly collectBy: number;
  /** 32 bytes for BIP 340, 33 for ECDSA. */
  readonly provider: Hex;
}

const TERMS = [
  "version",
  "swap_id",
  "quote_id",
  "network",
  "asset",
  "payment_hash",
  "amount",
  "provider_fee",
  "network_fee",
  "source",
  "destination",
  "issued_at",
  "fund_by",
  "counter_fund_by",
  "collect_by",
  "provider",
];

const EVM_LEG = [
  "kind",
  "layer",
  "chain_id",
  "contract",
  "token",
  "token_decimals",
  "amount",
  "payer",
  "payee",
  "deadline",
  "finality",
];

const LIGHTNING_LEG = ["kind", "prefix", "invoice", "payee", "amount_msat", "fee_limit_msat", "cltv_limit", "min_blocks_left"];

const BITCOIN_LEG = [
  "kind",
  "prefix",
  "amount",
  "payer",
  "payee",
  "payee_release",
  "payment_hash",
  "locktime",
  "issued_height",
  "depth",
  "fee_floor",
  "finality",
];

export function readTerms(value: JsonValue): Terms {
  const fields = new Fields(value, TERMS);
  fields.version("version", 1);
  return {
    swapId: fields.hex("swap_id", 16),
    quoteId: fields.hex("quote_id", 16),
    network: fields.text("network", 16),
    asset: fields.text("asset", 16),
    paymentHash: fields.hex("payment_hash", 32),
    amount: fields.amount("amount"),
    providerFee: fields.amount("provider_fee"),
    networkFee: fields.amount("network_fee"),
    source: readLeg(fields.value("source")),
    destination: readLeg(fields.value("destination")),
    issuedAt: fields.number("issued_at"),
    fundBy: fields.number("fund_by"),
    counterFundBy: fields.number("counter_fund_by"),
    collectBy: fields.number("collect_by"),
    provider: fields.hex("provider", 32, 33),
    hash: taggedHash("layer2/terms/v1", new TextEncoder().encode(canonicalForm(value))),
  };
}

function readLeg(value: JsonValue): Leg {
  const kind = selector(value, "kind");
  switch (kind) {
    case "evm":
      return readEvmLeg(new Fields(value, EVM_LEG));
    case "lightning":
      return readLightningLeg(new Fields(value, LIGHTNING_LEG));
    case "bitcoin":
      return readBitcoinLeg(new Fields(value, BITCOIN_LEG));
    default:
      throw new Malformed("an unknown kind of leg");
  }
}

function readEvmLeg(fields: Fields): EvmLeg {
  return {
    kind: "evm",
    layer: fields.oneOf("layer", LAYERS),
    chainId: fields.number("chain_id"),
    contract: fields.hex("contract", 20),
    token: fields.hex("token", 20),
    tokenDecimals: fields.number("token_decimals", 36),
    amount: fields.amount("amount"),
    payer: fields.hex("payer", 20),
    payee: fields.hex("payee", 20),
    deadline: fields.number("deadline"),
    finality: fields.oneOf("finality", FINALITIES),
  };
}

function readLightningLeg(fields: Fields): LightningLeg {
  return {
    kind: "lightning",
    prefix: fields.text("prefix", 8),
    invoice: fields.text("invoice", 8000),
    payee: fields.hex("payee", 33),
    amountMsat: fields.amount("amount_msat"),
    feeLimitMsat: fields.amount("fee_limit_msat"),
    cltvLimit: fields.number("cltv_limit"),
    minBlocksLeft: fields.number("min_blocks_left"),
  };
}

function readBitcoinLeg(fields: Fields): BitcoinLeg {
  return {
    kind: "bitcoin",
    prefix: fields.text("prefix", 8),
    amount: fields.amount("amount"),
    payer: fields.hex("payer", 33),
    payee: fields.hex("payee", 33),
    payeeRelease: fields.hex("payee_release", 33),
    paymentHash: fields.hex("payment_hash", 32),
    locktime: fields.number("locktime", 2 ** 31 - 1, 1),
    issuedHeight: fields.number("issued_height", 499_999_999),
    depth: fields.number("depth", 1000),
    feeFloor: fields.number("fee_floor"),
    finality: fields.oneOf("finality", FINALITIES),
  };
}

/** The layer on which a leg is. */
export function layerOf(leg: Leg): Layer {
  switch (leg.kind) {
    case "evm":
      return leg.layer;
    case "lightning":
      return "LIGHTNING";
    case "bitcoin":
      return "BITCOIN";
  }
}
