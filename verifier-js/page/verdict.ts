/** The verdict on one file, with the report if there is one. */

import { ProofError, verifyProof, type CheckOptions, type Policy, type Report } from "../src/index.js";

export type Verdict =
  | { readonly kind: "valid"; readonly report: Report }
  /** No check failed, but the policy's level is not reached. The report is that of the policy without it. */
  | { readonly kind: "undecided"; readonly report: Report; readonly error: ProofError }
  | { readonly kind: "refused"; readonly error: ProofError };

export function verdictOn(file: Uint8Array, policy: Policy, options: CheckOptions): Verdict {
  try {
    return { kind: "valid", report: verifyProof(file, policy, options) };
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    if (error.verdict === "refused") return { kind: "refused", error };
    return { kind: "undecided", report: verifyProof(file, { ...policy, requires: "nothing" }, options), error };
  }
}

/** Whether the policy confirms the outcome. Otherwise the file only states it: anyone can make such a file. */
export function isConfirmed(report: Report): boolean {
  return !report.openPoints.some(({ point }) => point === "header" || point === "provider");
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

function nameOf(report: Report): string {
  return isConfirmed(report) ? report.outcome : `${report.outcome} but not confirmed`;
}

/** How many files have each verdict, in one sentence. */
export function summaryOf(verdicts: readonly Verdict[]): string {
  const counts = new Map<string, number>();
  for (const verdict of verdicts) {
    const name = verdict.kind === "valid" ? nameOf(verdict.report) : verdict.kind;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${verdicts.length} ${verdicts.length === 1 ? "file" : "files"} checked: ${parts.join(", ")}.`;
}
