/** What a check required and when it was made, for the printed report, which does not have the form. */

import type { CheckOptions, Policy, Requirement } from "../src/index.js";
import { grouped, time } from "./amounts.js";
import { code, description, element } from "./dom.js";

const REQUIREMENTS: Readonly<Record<Requirement, string>> = {
  nothing: "nothing",
  stated: "stated: by the statement of a named provider, or better",
  as_agreed: "as agreed: by work, or by a trusted header",
  finalized: "final: by a trusted header",
};

/** One line for each entry. */
function lines(entries: Iterable<string> | undefined, none: string): HTMLElement {
  const texts = [...(entries ?? [])];
  if (texts.length === 0) return element("span", {}, none);
  return element("ul", {}, ...texts.map((text) => element("li", {}, code(text))));
}

function tokens({ tokens }: Policy): string[] | undefined {
  return tokens && [...tokens].flatMap(([chain, each]) => [...each].map(([token, decimals]) => `chain ${chain}: ${token}, ${decimals} decimals`));
}

function contracts({ contracts }: Policy): string[] | undefined {
  return contracts && [...contracts].flatMap(([chain, each]) => [...each].map((contract) => `chain ${chain}: ${contract}`));
}

function trustedHeaders({ trustedHeaders }: Policy, { headers }: CheckOptions): string[] | undefined {
  return trustedHeaders && [...trustedHeaders].map(([layer, hash]) => `${layer}: ${hash}, with ${headers?.get(layer)?.length ?? 0} given headers up to it`);
}

function work({ work }: Policy): string[] | undefined {
  return work && [...work].map(([layer, hashes]) => `${layer}: ${grouped(hashes)} hashes`);
}

/** @param checkedAt unix seconds, by the clock of this machine. */
export function conditionsView(policy: Policy, options: CheckOptions, checkedAt: number): HTMLElement {
  return description([
    ["Checked", `${time(checkedAt)}, by the clock of this machine`],
    ["Level of each leg", REQUIREMENTS[policy.requires ?? "nothing"]],
    ["Providers", lines(policy.providers, "not declared")],
    ["Networks", lines(policy.networks, "not declared")],
    ["Tokens", lines(tokens(policy), "not declared")],
    ["Contracts", lines(contracts(policy), "the genuine one only")],
    ["Lightning nodes that make their own preimages", lines(policy.ownPreimagePayees, "not declared")],
    ["Trusted headers", lines(trustedHeaders(policy, options), "none")],
    ["Work", lines(work(policy), "not declared")],
  ]);
}
