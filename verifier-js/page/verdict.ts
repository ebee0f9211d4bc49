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
