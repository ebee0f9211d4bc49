/** What a proof shows, how far, and what it does not show. */

import type { Block, Shown } from "./block.js";
import type { Hex } from "./bytes.js";
import type { Evidence } from "./document.js";
import { isAtLeast, type Finality, type Layer } from "./layer.js";
import type { Policy, Requirement } from "./policy.js";
import type { CompletionStatement } from "./statement.js";
import { layerOf, type Leg, type Terms } from "./terms.js";

export type Outcome = "completed" | "partial" | "refunded";

/** From the strongest to the weakest. */
export const LEVELS = ["finalized", "as_agreed", "trusted_header", "work", "stated", "offline"] as const;
export type Level = (typeof LEVELS)[number];

/** A block that the verifier's own node has, and the strongest finality at which it has it. */
export interface Confirmation {
  readonly layer: Layer;
  /** As nodes display it. */
  readonly hash: Hex;
  readonly finality: Finality;
}

export interface LegReport {
  readonly layer: Layer;
  readonly leg: Leg;
  /** The satoshi that the terms require on this leg. */
  readonly satoshi: bigint;
  readonly evidence: Evidence["type"] | undefined;
  /** Undefined without evidence. */
  readonly result: "collected" | "returned" | undefined;
  readonly preimage: Hex | undefined;
  readonly block: Block | undefined;
  /** The work of the headers in the evidence, in hashes. */
  readonly work: bigint | undefined;
  readonly level: Level;
}

export type Point = "header" | "leg" | "provider" | "asset" | "payment" | "preimage" | "test_money";

/** A point that the proof does not show. */
export interface OpenPoint {
  readonly point: Point;
  /** The layer of the leg that the point is about, if it is about one leg. */
  readonly layer: Layer | undefined;
}

export interface Report {
  readonly proofId: Hex;
  readonly termsHash: Hex;
  readonly terms: Terms;
  /** What the provider says about the end, if it says anything. */
  readonly statement: CompletionStatement | undefined;
  readonly outcome: Outcome;
  readonly source: LegReport;
  readonly destination: LegReport;
  readonly openPoints: readonly OpenPoint[];
}

/** The source, and then the destination. */
export function legsOf({ source, destination }: Report): readonly [LegReport, LegReport] {
  return [source, destination];
}

export interface LegFacts {
  readonly leg: Leg;
  readonly satoshi: bigint;
  readonly evidence: Evidence | null;
  readonly shown: Shown | undefined;
}

export function levelOf(facts: LegFacts, policy: Policy, confirmed: readonly Confirmation[], isStated: boolean): Level {
  const layer = layerOf(facts.leg);
  const block = facts.shown?.block;
  if (block !== undefined) {
    const finalities = confirmed.filter((each) => each.layer === layer && each.hash === block.hash).map((each) => each.finality);
    if (finalities.includes("finalized")) return "finalized";
    const agreed = facts.leg.kind === "lightning" ? undefined : facts.leg.finality;
    if (agreed !== undefined && finalities.some((finality) => isAtLeast(finality, agreed))) return "as_agreed";
    if (policy.trustedHeaders?.has(layer) ?? false) return "trusted_header";
  }
  const required = policy.work?.get(layer);
  const work = facts.shown?.work;
  if (required !== undefined && work !== undefined && work >= required) return "work";
  return isStated && policy.providers !== undefined ? "stated" : "offline";
}

/** Whether the levels of both legs are those that the policy requires. */
export function meets(requirement: Requirement, legs: readonly LegReport[]): boolean {
  const withBlock = legs.filter((leg) => leg.block !== undefined);
  switch (requirement) {
    case "nothing":
      return true;
    case "stated":
      return legs.every((leg) => leg.level !== "offline");
    case "as_agreed":
      return withBlock.every((leg) => LEVELS.indexOf(leg.level) <= LEVELS.indexOf("work"));
    case "finalized":
      return withBlock.every((leg) => leg.level === "finalized" || leg.level === "trusted_header");
  }
}

export function openPoints(legs: readonly LegReport[], terms: Terms, policy: Policy): OpenPoint[] {
  const points: OpenPoint[] = [];
  for (const [place, leg] of legs.entries()) {
    const isAcknowledged = place === 0 && leg.level === "stated";
    const add = (point: Point) => points.push({ point, layer: leg.layer });
    if (leg.block !== undefined && (leg.level === "offline" || leg.level === "stated")) add("header");
    if (leg.evidence === undefined) add("leg");
    if (leg.leg.kind === "evm" && policy.tokens === undefined && !isRootstockCoin(leg.leg)) add("asset");
    const isPayment = leg.evidence === "lightning_payment";
    if (isPayment && policy.ownPreimagePayees === undefined && !isAcknowledged) add("payment");
    if (leg.evidence === "evm_storage" && leg.result === "collected") add("preimage");
  }
  if (policy.providers === undefined) points.push({ point: "provider", layer: undefined });
  if (terms.network !== "mainnet" && policy.networks === undefined) points.push({ point: "test_money", layer: undefined });
  return points;
}

/** Whether a leg is in Rootstock's own coin, which has the address zero. */
export function isRootstockCoin(leg: { readonly layer: Layer; readonly token: Hex }): boolean {
  return leg.layer === "ROOTSTOCK" && /^0+$/.test(leg.token);
}
