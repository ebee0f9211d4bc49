/** What a verifier requires. A requirement that is not set requires nothing. */

import { isHex, type Hex } from "./bytes.js";
import { LAYERS, type Layer } from "./layer.js";

export const REQUIREMENTS = ["nothing", "stated", "as_agreed", "finalized"] as const;
export type Requirement = (typeof REQUIREMENTS)[number];

/** Hexadecimal digits are lower-case, without a prefix. */
export interface Policy {
  /** "nothing" if it is not set. */
  readonly requires?: Requirement;
  /** The keys of providers: 32 bytes (BIP 340) or 33 (ECDSA). */
  readonly providers?: ReadonlySet<Hex>;
  readonly networks?: ReadonlySet<string>;
  /** For each chain id, the decimals of each token by its address. */
  readonly tokens?: ReadonlyMap<number, ReadonlyMap<Hex, number>>;
  /** For each chain id, the contracts that are accepted in addition to the genuine one. */
  readonly contracts?: ReadonlyMap<number, ReadonlySet<Hex>>;
  /** Lightning nodes that make the preimages of their invoices themselves, and issue no hold invoices. */
  readonly ownPreimagePayees?: ReadonlySet<Hex>;
  /** For each layer, the hash of a block that is known to be on the chain, as nodes display it. */
  readonly trustedHeaders?: ReadonlyMap<Layer, Hex>;
  /** For BITCOIN and ROOTSTOCK, a number of hashes above zero. */
  readonly work?: ReadonlyMap<Layer, bigint>;
}

/** A policy in JSON that cannot be read. A policy is the verifier's own, so this is a mistake and not a verdict. */
export class PolicyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "PolicyError";
  }
}

type Entries = readonly (readonly [name: string, value: unknown])[];

function entriesOf(value: unknown, what: string): Entries {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new PolicyError(`${what} is not an object`);
  return Object.entries(value);
}

function textsOf(value: unknown, what: string): string[] {
  if (!Array.isArray(value)) throw new PolicyError(`${what} is not a list`);
  return value.map((item: unknown) => {
    if (typeof item !== "string") throw new PolicyError(`${what} contains something other than a text`);
    return item;
  });
}

function hexOf(value: unknown, what: string, ...lengths: readonly number[]): Hex {
  if (typeof value !== "string" || !isHex(value) || !lengths.includes(value.length / 2)) {
    throw new PolicyError(`${what} does not have ${lengths.join(" or ")} bytes in lower-case hexadecimal digits`);
  }
  return value;
}

function hexSet(value: unknown, what: string, ...lengths: readonly number[]): Set<Hex> {
  return new Set(textsOf(value, what).map((item) => hexOf(item, what, ...lengths)));
}

function chainId(text: string): number {
  const id = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(id)) throw new PolicyError(`${text} is not a chain id`);
  return id;
}

export function layerNamed(name: string): Layer {
  const layer = LAYERS.find((each) => each === name);
  if (layer === undefined) throw new PolicyError(`${name} is not a layer`);
  return layer;
}

function decimalsOf(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new PolicyError("the decimals of a token are not an integer");
  return value as number;
}

function workIn(value: unknown): bigint {
  const text = String(value);
  if (!/^[1-9][0-9]*$/.test(text) || (typeof value === "number" && !Number.isSafeInteger(value))) {
    throw new PolicyError("work is not a number of hashes above zero");
  }
  return BigInt(text);
}

function requirementNamed(value: unknown): Requirement {
  const requirement = REQUIREMENTS.find((each) => each === value);
  if (requirement === undefined) throw new PolicyError("requires has an unknown value");
  return requirement;
}

/**
 * Reads a policy from JSON, with the names of the specification: `own_preimage_payees` and `trusted_headers` have underscores,
 * and chain ids are the names of objects.
 */
export function policyFromJson(value: unknown): Policy {
  const policy: { -readonly [Name in keyof Policy]: Policy[Name] } = {};
  for (const [name, part] of entriesOf(value, "the policy")) {
    switch (name) {
      case "requires":
        policy.requires = requirementNamed(part);
        break;
      case "providers":
        policy.providers = hexSet(part, name, 32, 33);
        break;
      case "networks":
        policy.networks = new Set(textsOf(part, name));
        break;
      case "tokens":
        policy.tokens = new Map(entriesOf(part, name).map(([id, tokens]) => [chainId(id), tokensFromJson(tokens)]));
        break;
      case "contracts":
        policy.contracts = new Map(entriesOf(part, name).map(([id, list]) => [chainId(id), hexSet(list, name, 20)]));
        break;
      case "own_preimage_payees":
        policy.ownPreimagePayees = hexSet(part, name, 33);
        break;
      case "trusted_headers":
        policy.trustedHeaders = new Map(entriesOf(part, name).map(([layer, hash]) => [layerNamed(layer), hexOf(hash, name, 32)]));
        break;
      case "work":
        policy.work = new Map(entriesOf(part, name).map(([layer, work]) => [layerNamed(layer), workIn(work)]));
        break;
      default:
        throw new PolicyError(`${name} is not a requirement`);
    }
  }
  return policy;
}

function tokensFromJson(value: unknown): Map<Hex, number> {
  return new Map(entriesOf(value, "tokens").map(([token, decimals]) => [hexOf(token, "a token", 20), decimalsOf(decimals)]));
}
