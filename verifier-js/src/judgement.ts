/** Whether a verifier can rely on the outcome of a report, and what its policy does not declare. */

import type { Policy } from "./policy.js";
import { legsOf, meets, type OpenPoint, type Report } from "./report.js";

/** A report on a proof that no check refuses. */
export interface Judgement {
  /** "undecided" if a leg does not reach the level that the policy requires. */
  readonly verdict: "valid" | "undecided";
  readonly report: Report;
  /**
   * Whether the verifier can rely on the outcome, as far as the levels of the legs and the other open points go. Otherwise the
   * file only states the outcome, and anyone can make such a file.
   */
  readonly isConfirmed: boolean;
  /** The open points that prevent this, in the order of the report: the policy has to declare what closes them. */
  readonly missing: readonly OpenPoint[];
}

export function judged(report: Report, policy: Policy): Judgement {
  const requires = policy.requires ?? "nothing";
  const verdict = meets(requires, legsOf(report)) ? "valid" : "undecided";
  const missing = report.openPoints.filter((each) => isNeeded(each, requires));
  // A proof of one leg shows no transfer.
  const isConfirmed = verdict === "valid" && missing.length === 0 && report.outcome !== "partial";
  return { verdict, report, isConfirmed, missing };
}

function isNeeded({ point }: OpenPoint, requires: Policy["requires"]): boolean {
  // A policy that requires a statement and no more declares that it is enough in place of the block.
  if (point === "header") return requires !== "stated";
  return point === "provider" || point === "asset" || point === "test_money";
}
