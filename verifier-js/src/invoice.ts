/** BOLT 11 invoices, in lower case. Every violation is malformed. */

import { bytesOf, decodeBech32, numberOf, paddedBytes } from "./bech32.js";
import { ascii, concat } from "./bytes.js";
import { expect } from "./error.js";
import { sha256 } from "./hash.js";
import { isEcdsaSignature, isPoint, recoveredKey } from "./signature.js";

export interface Invoice {
  readonly network: string;
  readonly amountMsat: bigint | undefined;
  /** Unix seconds. */
  readonly timestamp: number;
  /** Seconds after the timestamp. */
  readonly expiry: number;
  readonly paymentHash: Uint8Array;
  readonly hasBlindedPaths: boolean;
  readonly features: ReadonlySet<number>;
  /** Whether a field that may occur once occurs twice. */
  readonly isAmbiguous: boolean;
  /** The node that signed. */
  readonly payee: Uint8Array;
}

const MAX_LENGTH = 7089;
const TIMESTAMP = 7;
const SIGNATURE = 104;
const HASH_GROUPS = 52;
const KEY_GROUPS = 53;
const HOP = 51;
const DEFAULT_EXPIRY = 3600;
const MAX_EXPIRY = 9_223_372_036n;
const MAX_DELTA = 2n ** 32n - 1n;
const PREFIX = /^ln(bcrt|tbs|tb|bc)(?:([1-9][0-9]{0,19})([munp]?))?$/;
const MSAT_PER_BITCOIN = 100_000_000_000n;
const MAX_MSAT = 21_000_000n * MSAT_PER_BITCOIN;
const DIVISORS = new Map([
  ["", 1n],
  ["m", 1_000n],
  ["u", 1_000_000n],
  ["n", 1_000_000_000n],
  ["p", 1_000_000_000_000n],
]);
const KNOWN_EVEN_FEATURES = new Set([0, 8, 12, 14, 16, 24, 30, 44, 48, 262]);
export const AMP_FEATURES = [30, 31];

/** Types of tagged fields, by their letter's value in Bech32. */
const enum Type {
  PaymentHash = 1,
  RouteHint = 3,
  Features = 5,
  Expiry = 6,
  Address = 9,
  Description = 13,
  Secret = 16,
  Payee = 19,
  BlindedPaths = 20,
  DescriptionHash = 23,
  Delta = 24,
  Metadata = 27,
}

const REPEATABLE: readonly number[] = [Type.RouteHint, Type.Address, Type.BlindedPaths];

interface Field {
  readonly type: number;
  readonly groups: readonly number[];
}

export function readInvoice(text: string): Invoice {
  expect(text.length <= MAX_LENGTH && /^[!-~]*$/.test(text), "too long, or not printable ASCII");
  const { prefix, groups } = decodeBech32(text);
  const { network, amountMsat } = readPrefix(prefix);
  expect(groups.length >= TIMESTAMP + SIGNATURE, "too short");
  const signed = groups.slice(0, -SIGNATURE);
  const all = splitFields(signed.slice(TIMESTAMP));
  for (const field of all) expect(hasItsLength(field), "a field of a wrong length");
  const fields = all.filter((field) => !isIgnored(field));
  const isRepeated = (field: Field, at: number) => fields.slice(0, at).some((each) => each.type === field.type);
  const repeats = fields.filter((field, at) => !REPEATABLE.includes(field.type) && isRepeated(field, at));
  for (const field of fields) if (!repeats.includes(field)) checkField(field);
  const first = (type: Type) => fields.find((field) => field.type === type)?.groups;
  const paymentHash = first(Type.PaymentHash);
  expect(paymentHash !== undefined, "no payment hash");
  const hasBlindedPaths = first(Type.BlindedPaths) !== undefined;
  expect(hasBlindedPaths || first(Type.Secret) !== undefined, "no payment secret");
  expect(!hasBlindedPaths || first(Type.RouteHint) === undefined, "route hints and blinded paths");
  const descriptions = [first(Type.Description), first(Type.DescriptionHash)].filter((each) => each !== undefined);
  expect(descriptions.length === 1, "not one description");
  const expiry = first(Type.Expiry);
  return {
    network,
    amountMsat,
    timestamp: Number(numberOf(signed.slice(0, TIMESTAMP))),
    expiry: expiry === undefined ? DEFAULT_EXPIRY : Number(numberOf(expiry)),
    paymentHash: bytesOf(paymentHash),
    hasBlindedPaths,
    features: featureBits(first(Type.Features) ?? []),
    isAmbiguous: repeats.length > 0,
    payee: signer(prefix, signed, groups.slice(-SIGNATURE), first(Type.Payee)),
  };
}

function readPrefix(prefix: string): { network: string; amountMsat: bigint | undefined } {
  const parts = PREFIX.exec(prefix);
  expect(parts !== null, "an unknown network or amount");
  const [, network, digits, multiplier] = parts;
  if (digits === undefined) return { network: network!, amountMsat: undefined };
  const scaled = BigInt(digits) * MSAT_PER_BITCOIN;
  const divisor = DIVISORS.get(multiplier!)!;
  expect(scaled % divisor === 0n, "a fraction of a millisatoshi");
  const amountMsat = scaled / divisor;
  expect(amountMsat <= MAX_MSAT, "more than all bitcoin");
  return { network: network!, amountMsat };
}

function splitFields(groups: readonly number[]): Field[] {
  const fields: Field[] = [];
  let at = 0;
  while (at < groups.length) {
    expect(at + 3 <= groups.length, "a field is cut off");
    const start = at + 3;
    const end = start + (groups[at + 1]! << 5) + groups[at + 2]!;
    expect(end <= groups.length, "a field is cut off");
    fields.push({ type: groups[at]!, groups: groups.slice(start, end) });
    at = end;
  }
  return fields;
}

function hasItsLength({ type, groups }: Field): boolean {
  switch (type) {
    case Type.PaymentHash:
    case Type.Secret:
    case Type.DescriptionHash:
      return groups.length === HASH_GROUPS;
    case Type.Payee:
      return groups.length === KEY_GROUPS;
    default:
      return true;
  }
}

function isIgnored({ type, groups }: Field): boolean {
  switch (type) {
    case Type.PaymentHash:
    case Type.Secret:
    case Type.DescriptionHash:
    case Type.Payee:
      return false;
    case Type.Address:
      return groups.length > 0 && groups[0]! > 18;
    case Type.RouteHint:
    case Type.Features:
    case Type.Expiry:
    case Type.Description:
    case Type.BlindedPaths:
    case Type.Delta:
    case Type.Metadata:
      return false;
    default:
      return true;
  }
}

function checkField({ type, groups }: Field): void {
  switch (type) {
    case Type.PaymentHash:
    case Type.Secret:
    case Type.DescriptionHash:
    case Type.Payee:
    case Type.Metadata:
      bytesOf(groups);
      break;
    case Type.Description:
      checkUtf8(bytesOf(groups));
      break;
    case Type.RouteHint:
      checkRouteHint(bytesOf(groups));
      break;
    case Type.Address:
      checkAddress(groups);
      break;
    case Type.Features:
      checkFeatures(groups);
      break;
    case Type.Expiry:
      expect(groups[0] !== 0 && numberOf(groups.slice(0, 14)) <= MAX_EXPIRY, "an expiry that is not valid");
      break;
    case Type.Delta:
      expect(groups[0] !== 0 && numberOf(groups.slice(0, 14)) <= MAX_DELTA, "a final delta that is not valid");
      break;
  }
}

function checkUtf8(bytes: Uint8Array): void {
  let valid = true;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    valid = false;
  }
  expect(valid, "a description that is not UTF-8");
}

function checkRouteHint(bytes: Uint8Array): void {
  expect(bytes.length > 0 && bytes.length % HOP === 0, "a route hint that is not valid");
  for (let at = 0; at < bytes.length; at += HOP) expect(isPoint(bytes.subarray(at, at + 33)), "a hop without a key");
}

function checkAddress(groups: readonly number[]): void {
  expect(groups.length > 0, "an address without a version");
  const version = groups[0]!;
  const length = bytesOf(groups.slice(1)).length;
  if (version === 0) expect(length === 20 || length === 32, "an address that is not valid");
  else if (version === 1) expect(length === 32, "an address that is not valid");
  else if (version <= 16) expect(length >= 2 && length <= 40, "an address that is not valid");
  else expect(length === 20, "an address that is not valid");
}

function featureBits(groups: readonly number[]): Set<number> {
  const bits = new Set<number>();
  groups.forEach((group, at) => {
    for (let bit = 0; bit < 5; bit++) if ((group >> bit) & 1) bits.add(5 * (groups.length - 1 - at) + bit);
  });
  return bits;
}

function checkFeatures(groups: readonly number[]): void {
  expect(groups[0] !== 0, "feature bits with a leading zero");
  const bits = featureBits(groups);
  for (const bit of bits) expect(bit % 2 === 1 || KNOWN_EVEN_FEATURES.has(bit), "a feature that this verifier does not know");
  const needsSecret = [16, 17, ...AMP_FEATURES].some((bit) => bits.has(bit));
  expect(!needsSecret || bits.has(14) || bits.has(15), "a feature without the payment secret that it needs");
}

function signer(
  prefix: string,
  signed: readonly number[],
  signatureGroups: readonly number[],
  payeeGroups: readonly number[] | undefined,
): Uint8Array {
  const digest = sha256(concat(ascii(prefix), paddedBytes(signed)));
  const bytes = bytesOf(signatureGroups);
  const signature = bytes.subarray(0, 64);
  const recoveryId = bytes[64]!;
  expect(recoveryId <= 3, "a recovery id above 3");
  if (payeeGroups !== undefined) {
    const payee = bytesOf(payeeGroups);
    expect(isEcdsaSignature(signature, digest, payee), "not signed by the payee that it names");
    return payee;
  }
  const key = recoveredKey(signature, recoveryId, digest);
  expect(key !== undefined, "a signature without a signer");
  return key;
}
