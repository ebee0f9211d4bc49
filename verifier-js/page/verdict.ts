/** The verdict on one file, with the report if there is one. */

import {
  ProofError,
  verifyProof,
  type CheckOptions,
  type OpenPoint,
  type Point,
  type Policy,
  type Report,
} from "../src/index.js";

const UNDECLARED: readonly Point[] = ["provider", "asset", "test_money"];

export type Verdict =
  | { readonly kind: "valid"; readonly report: Report; readonly isConfirmed: boolean }
  /** No check failed, but the policy's level is not reached. The report is that of the policy without it. */
  | { readonly kind: "undecided"; readonly report: Report; readonly isConfirmed: boolean; readonly error: ProofError }
  | { readonly kind: "refused"; readonly error: ProofError };

export function verdictOn(file: Uint8Array, policy: Policy, options: CheckOptions): Verdict {
  try {
    const report = verifyProof(file, policy, options);
    return { kind: "valid", report, isConfirmed: isConfirmed(report, policy) };
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    if (error.verdict === "refused") return { kind: "refused", error };
    const lower: Policy = { ...policy, requires: "nothing" };
    const report = verifyProof(file, lower, options);
    return { kind: "undecided", report, isConfirmed: isConfirmed(report, lower), error };
  }
}

/**
 * Whether the policy confirms the outcome. Otherwise the file only states it: anyone can make such a file. The signer, the
 * token and the network must be declared, and both legs known. If the policy requires no more than the statement of a
 * provider that it names, the statement is enough in place of the blocks.
 */
function isConfirmed({ openPoints, outcome }: Report, { requires }: Policy): boolean {
  const isOpen = ({ point }: OpenPoint) => UNDECLARED.includes(point) || (point === "header" && requires !== "stated");
  return outcome !== "partial" && !openPoints.some(isOpen);
}

/** For each payment hash of more than one file, the places of these files: each payment counts once. */
export function repeatedPayments(verdicts: readonly Verdict[]): number[][] {
  const places = new Map<string, number[]>();
  verdicts.forEach((verdict, at) => {
    if (verdict.kind === "refused") return;
    const hash = verdict.report.terms.paymentHash;
    places.set(hash, [...(places.get(hash) ?? []), at]);
  });
  return [...places.values()].filter((files) => files.length > 1);
}

function nameOf({ report, isConfirmed }: Verdict & { kind: "valid" }): string {
  return isConfirmed ? report.outcome : `${report.outcome} but not confirmed`;
}

/** How many files have each verdict, in one sentence. */
export function summaryOf(verdicts: readonly Verdict[]): string {
  const counts = new Map<string, number>();
  for (const verdict of verdicts) {
    const name = verdict.kind === "valid" ? nameOf(verdict) : verdict.kind;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${verdicts.length} ${verdicts.length === 1 ? "file" : "files"} checked: ${parts.join(", ")}.`;
}
