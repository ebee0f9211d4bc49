/** JSON in the canonical form of RFC 8785, restricted to the numbers that a proof may contain. */

import { expect, Malformed } from "./error.js";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** What a file may have at most. */
export interface Limits {
  /** Bytes. */
  readonly length: number;
  /** The characters `,`, `[` and `{`, together, also in strings: they bound the number of values. */
  readonly separators: number;
  /** Levels of lists and objects. */
  readonly depth: number;
}

/** Checks the limits before anything is parsed. */
function expectLimits(file: Uint8Array, limits: Limits): void {
  expect(file.length <= limits.length, `longer than ${limits.length} bytes`);
  const separators = file.reduce((count, byte) => count + (byte === 0x2c || byte === 0x5b || byte === 0x7b ? 1 : 0), 0);
  expect(separators <= limits.separators, "too many values");
  let depth = 0;
  let inString = false;
  for (let at = 0; at < file.length; at++) {
    const byte = file[at];
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++;
      expect(depth <= limits.depth, "too many levels of lists and objects");
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--;
    }
  }
}

/** The canonical form. A number that is not an integer from 0 to 2^53 - 1, and a lone surrogate, have none. */
export function canonicalForm(value: JsonValue): string {
  if (typeof value === "number") {
    expect(Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0), "a number that is not from 0 to 2^53 - 1");
    return String(value);
  }
  if (typeof value === "string") {
    expect(!LONE_SURROGATE.test(value), "a lone surrogate");
    return JSON.stringify(value);
  }
  if (value === null || typeof value === "boolean") return String(value);
  if (isList(value)) return "[" + value.map(canonicalForm).join(",") + "]";
  // Array.sort without a function compares UTF-16 code units, as RFC 8785 requires.
  const names = Object.keys(value).sort();
  return "{" + names.map((name) => canonicalForm(name) + ":" + canonicalForm(value[name]!)).join(",") + "}";
}

export function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/**
 * Reads a file in the canonical form.
 *
 * JSON.parse alone loses repeated names and the forms of numbers. The comparison with the canonical form of what was read finds
 * both, because only one text has a given canonical form: itself.
 */
export function parseCanonical(file: Uint8Array, limits: Limits): JsonValue {
  expectLimits(file, limits);
  let text: string;
  let value: JsonValue;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file);
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw new Malformed("not JSON in UTF-8");
  }
  expect(canonicalForm(value) === text, "not in the canonical form");
  return value;
}
