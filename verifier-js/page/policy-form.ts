/** The policy that the form describes. An empty field sets no requirement. */

import { policyFromJson, PolicyError, type CheckOptions, type Layer, type Policy } from "../src/index.js";

/** The texts of the form's fields, by the names of their requirements. Lists have one entry on each line. */
export interface PolicyTexts {
  readonly requires: string;
  readonly providers: string;
  readonly networks: readonly string[];
  readonly tokens: string;
  readonly contracts: string;
  readonly ownPreimagePayees: string;
  readonly trustedHeaders: string;
  readonly work: string;
}

export type FieldName = keyof PolicyTexts;

/** What is wrong with the entries of some fields. */
export type FieldErrors = ReadonlyMap<FieldName, string>;

function linesOf(text: string): string[][] {
  const lines = text.split("\n").map((line) => line.trim().split(/[\s,:]+/));
  return lines.filter((words) => words[0] !== "");
}

/** Addresses and hashes are often written with a prefix and in upper case. */
function plainHex(word: string): string {
  return word.toLowerCase().replace(/^0x/, "");
}

function column(text: string): string[] {
  return linesOf(text).map((words) => {
    if (words.length !== 1) throw new PolicyError("write one entry on each line");
    return plainHex(words[0]!);
  });
}

function table(text: string, names: readonly string[]): string[][] {
  return linesOf(text).map((words) => {
    if (words.length !== names.length) throw new PolicyError(`write ${names.join(", ")} on each line`);
    return words;
  });
}

function tokensFrom(text: string): Record<string, Record<string, number>> {
  const tokens: Record<string, Record<string, number>> = {};
  for (const [chain, token, decimals] of table(text, ["the chain id", "the token", "its decimals"])) {
    if (!/^[0-9]{1,2}$/.test(decimals!)) throw new PolicyError(`${decimals} is not a number of decimals`);
    tokens[chain!] = { ...tokens[chain!], [plainHex(token!)]: Number(decimals) };
  }
  return tokens;
}

function contractsFrom(text: string): Record<string, string[]> {
  const contracts: Record<string, string[]> = {};
  for (const [chain, contract] of table(text, ["the chain id", "the contract"])) {
    contracts[chain!] = [...(contracts[chain!] ?? []), plainHex(contract!)];
  }
  return contracts;
}

function layersFrom(text: string, value: (word: string) => string, name: string): Record<string, string> {
  const entries = table(text, ["the layer", name]).map(([layer, word]) => [layer!.toUpperCase(), value(word!)] as const);
  return Object.fromEntries(entries);
}

function requirements(texts: PolicyTexts): [FieldName, string, () => unknown][] {
  const withoutSeparators = (word: string) => word.replace(/_/g, "");
  return [
    ["requires", "requires", () => texts.requires],
    ["providers", "providers", () => column(texts.providers)],
    ["networks", "networks", () => texts.networks],
    ["tokens", "tokens", () => tokensFrom(texts.tokens)],
    ["contracts", "contracts", () => contractsFrom(texts.contracts)],
    ["ownPreimagePayees", "own_preimage_payees", () => column(texts.ownPreimagePayees)],
    ["trustedHeaders", "trusted_headers", () => layersFrom(texts.trustedHeaders, plainHex, "the block's hash")],
    ["work", "work", () => layersFrom(texts.work, withoutSeparators, "the number of hashes")],
  ];
}

function isEmpty(entry: string | readonly string[]): boolean {
  return typeof entry === "string" ? entry.trim() === "" : entry.length === 0;
}

/** The policy, or what is wrong with it. */
export function readPolicy(texts: PolicyTexts): { policy: Policy; errors: FieldErrors } {
  let policy: Policy = {};
  const errors = new Map<FieldName, string>();
  for (const [field, name, value] of requirements(texts)) {
    if (isEmpty(texts[field])) continue;
    try {
      policy = { ...policy, ...policyFromJson({ [name]: value() }) };
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      errors.set(field, error.message);
    }
  }
  return { policy, errors };
}

/** The headers in a file with one on each line, as nodes return them. */
export function readHeaders(text: string): Uint8Array[] {
  return linesOf(text).map(([word], at) => {
    const digits = plainHex(word!);
    if (!/^(?:[0-9a-f]{2})*$/.test(digits)) throw new PolicyError(`line ${at + 1} is not a header in hexadecimal digits`);
    return Uint8Array.from({ length: digits.length / 2 }, (_, place) => parseInt(digits.slice(2 * place, 2 * place + 2), 16));
  });
}

/** Headers only for the layers of which the policy trusts a block: others would refuse every proof. */
export function wantedHeaders(headers: ReadonlyMap<Layer, Uint8Array[]>, policy: Policy): CheckOptions {
  return { headers: new Map([...headers].filter(([layer]) => policy.trustedHeaders?.has(layer) ?? false)) };
}
