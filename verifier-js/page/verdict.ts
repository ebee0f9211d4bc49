/** The verdict on one file, with the report if there is one. */

import { judgeProof, ProofError, type CheckOptions, type Judgement, type Policy } from "../src/index.js";

export type Verdict = Judgement | { readonly verdict: "refused"; readonly error: ProofError };

export function verdictOn(file: Uint8Array, policy: Policy, options: CheckOptions): Verdict {
  try {
    return judgeProof(file, policy, options);
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    return { verdict: "refused", error };
  }
}

/** Whether the policy declares all that the outcome needs. One leg alone is no outcome. */
export function isConfirmed({ report, undeclared }: Judgement): boolean {
  return undeclared.length === 0 && report.outcome !== "partial";
}

/** For each payment hash of more than one file, the places of these files: each payment counts once. */
export function repeatedPayments(verdicts: readonly Verdict[]): number[][] {
  const places = new Map<string, number[]>();
  verdicts.forEach((verdict, at) => {
    if (verdict.verdict === "refused") return;
    const hash = verdict.report.terms.paymentHash;
    places.set(hash, [...(places.get(hash) ?? []), at]);
  });
  return [...places.values()].filter((files) => files.length > 1);
}

function nameOf(judgement: Judgement): string {
  const { outcome } = judgement.report;
  return isConfirmed(judgement) ? outcome : `${outcome} but not confirmed`;
}

/** How many files have each verdict, in one sentence. */
export function summaryOf(verdicts: readonly Verdict[]): string {
  const counts = new Map<string, number>();
  for (const verdict of verdicts) {
    const name = verdict.verdict === "valid" ? nameOf(verdict) : verdict.verdict;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${verdicts.length} ${verdicts.length === 1 ? "file" : "files"} checked: ${parts.join(", ")}.`;
}
