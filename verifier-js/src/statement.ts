/** The provider's own statement of how a transfer ended. */

import type { Shown } from "./block.js";
import { fromHex, toHex, type Hex } from "./bytes.js";
import { canonicalForm, type JsonValue } from "./canonical-json.js";
import { check } from "./error.js";
import { Fields } from "./fields.js";
import { taggedHash } from "./hash.js";
import { isSignedBy, SCHEMES, type Scheme } from "./signature.js";
import type { Leg, Terms } from "./terms.js";

const ENDS = ["finalized", "settled", "unfunded"] as const;

/** How the provider says that a leg ended. */
export interface StatedLeg {
  readonly finality: (typeof ENDS)[number];
  readonly block: { readonly number: number; readonly hash: Hex } | null;
}

export interface CompletionStatement {
  /** What the provider signed. */
  readonly hash: Uint8Array;
  readonly scheme: Scheme;
  readonly signature: Hex;
  readonly termsHash: Hex;
  readonly outcome: "completed" | "refunded";
  /** Satoshi: what the provider received on the source and kept. */
  readonly received: bigint;
  /** Satoshi: what the provider paid on the destination. */
  readonly paid: bigint;
  readonly source: StatedLeg;
  readonly destination: StatedLeg;
  /** Unix seconds, by the provider's clock. */
  readonly statedAt: number;
}

const STATEMENT = ["version", "terms_hash", "outcome", "received", "paid", "source", "destination", "stated_at"];

export function readStatement(attestation: JsonValue): CompletionStatement {
  const outer = new Fields(attestation, ["type", "statement", "scheme", "signature"]);
  outer.oneOf("type", ["completion_statement"]);
  const statement = outer.value("statement");
  const fields = new Fields(statement, STATEMENT);
  fields.version("version", 1);
  return {
    scheme: outer.oneOf("scheme", SCHEMES),
    signature: outer.hex("signature", 64),
    termsHash: fields.hex("terms_hash", 32),
    outcome: fields.oneOf("outcome", ["completed", "refunded"]),
    received: fields.amount("received"),
    paid: fields.amount("paid"),
    source: readStatedLeg(fields.value("source")),
    destination: readStatedLeg(fields.value("destination")),
    statedAt: fields.number("stated_at"),
    hash: taggedHash("layer2/completion/v1", new TextEncoder().encode(canonicalForm(statement))),
  };
}

function readStatedLeg(value: JsonValue): StatedLeg {
  const fields = new Fields(value, ["block", "finality"]);
  const block = fields.value("block");
  return { finality: fields.oneOf("finality", ENDS), block: block === null ? null : readBlock(block) };
}

function readBlock(value: JsonValue): { number: number; hash: Hex } {
  const fields = new Fields(value, ["number", "hash"]);
  return { number: fields.number("number"), hash: fields.hex("hash", 32) };
}

/** A leg, with what its evidence shows. */
interface LegWithEvidence {
  readonly leg: Leg;
  readonly satoshi: bigint;
  readonly shown: Shown | undefined;
}

/** Checks a statement against the terms and against the evidence of both legs. */
export function checkStatement(
  statement: CompletionStatement,
  terms: Terms,
  source: LegWithEvidence,
  destination: LegWithEvidence,
): void {
  check(statement.termsHash === toHex(terms.hash), "statement_terms", "a statement about other terms");
  const isSigned = isSignedBy(terms.provider, statement.scheme, fromHex(statement.signature), statement.hash);
  check(isSigned, "statement_signature", "not the provider's signature of the statement");
  const isCompleted = statement.outcome === "completed";
  const received = isCompleted ? source.satoshi : 0n;
  const paid = isCompleted ? destination.satoshi : 0n;
  check(statement.received === received && statement.paid === paid, "statement_amounts", "other amounts than the terms");
  checkFinality(statement.source, source.leg, isCompleted);
  checkFinality(statement.destination, destination.leg, isCompleted);
  const isFunded = statement.source.finality !== "unfunded" || statement.destination.finality !== "unfunded";
  check(isFunded, "statement_finality", "neither leg was funded");
  check(statement.statedAt >= terms.issuedAt, "statement_time", "the statement is older than the terms");
  checkAgainstEvidence(statement.source, source.shown, isCompleted);
  checkAgainstEvidence(statement.destination, destination.shown, isCompleted);
}

function checkFinality(stated: StatedLeg, leg: Leg, isCompleted: boolean): void {
  const end = leg.kind === "lightning" ? "settled" : "finalized";
  const isPossible = stated.finality === end || (stated.finality === "unfunded" && !isCompleted);
  check(isPossible, "statement_finality", `a leg of the kind ${leg.kind} that is ${stated.finality}`);
  check((stated.block !== null) === (stated.finality === "finalized"), "statement_finality", "a block is missing or superfluous");
}

function checkAgainstEvidence(stated: StatedLeg, shown: Shown | undefined, isCompleted: boolean): void {
  if (shown === undefined) return;
  const agrees = shown.result === "collected" ? isCompleted : !isCompleted && stated.finality !== "unfunded";
  check(agrees, "statement", `the leg was ${shown.result}`);
}
