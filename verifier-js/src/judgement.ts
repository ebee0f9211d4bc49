/** What a policy leaves undeclared of what a report needs before a verifier relies on it. */

import type { Policy } from "./policy.js";
import { legsOf, meets, type Point, type Report } from "./report.js";

/**
 * Something that the policy does not declare:
 *
 * - `header`: what shows the end of each leg, as the policy requires it. It is a trusted header, work or a node; or the statement
 *   of a named provider, if the policy requires `stated`.
 * - `provider`: the key that may sign the terms.
 * - `token`: the tokens that count as bitcoin.
 * - `network`: a network other than mainnet.
 */
export const UNDECLARED = ["header", "provider", "token", "network"] as const;
export type Undeclared = (typeof UNDECLARED)[number];

/** A report on a proof that no check refuses. */
export interface Judgement {
  /** "undecided" if a leg does not reach the level that the policy requires. */
  readonly verdict: "valid" | "undecided";
  readonly report: Report;
  /**
   * In the order of `UNDECLARED`. Empty if the verifier can rely on the report: on its outcome, and on what it shows of each
   * leg. Otherwise the file only states it, and anyone can make such a file.
   */
  readonly undeclared: readonly Undeclared[];
}

const POINTS: Readonly<Partial<Record<Point, Undeclared>>> = { provider: "provider", asset: "token", test_money: "network" };

export function judged(report: Report, policy: Policy): Judgement {
  const requires = policy.requires ?? "nothing";
  const isReached = meets(requires, legsOf(report));
  const points = report.openPoints.map(({ point }) => point);
  const missing = new Set(points.map((point) => POINTS[point]));
  // A policy that requires a statement and no more declares that it is enough in place of the block.
  if (!isReached || (points.includes("header") && requires !== "stated")) missing.add("header");
  return { verdict: isReached ? "valid" : "undecided", report, undeclared: UNDECLARED.filter((each) => missing.has(each)) };
}
