import { expect } from "./error.js";

/** Lower-case hexadecimal digits without a prefix. */
export type Hex = string;

const DIGITS = "0123456789abcdef";
const PAIRS = Array.from({ length: 256 }, (_, byte) => DIGITS.charAt(byte >> 4) + DIGITS.charAt(byte & 15));

function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
}

export function isHex(text: string): boolean {
  if (text.length % 2 !== 0) return false;
  for (let at = 0; at < text.length; at++) if (digit(text.charCodeAt(at)) < 0) return false;
  return true;
}

/** The bytes of lower-case hexadecimal digits; upper case and prefixes are malformed. */
export function fromHex(text: Hex): Uint8Array {
  expect(text.length % 2 === 0, "an odd number of hexadecimal digits");
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    const high = digit(text.charCodeAt(2 * at));
    const low = digit(text.charCodeAt(2 * at + 1));
    expect(high >= 0 && low >= 0, "not lower-case hexadecimal digits");
    bytes[at] = (high << 4) | low;
  }
  return bytes;
}

export function toHex(bytes: Uint8Array): Hex {
  let text = "";
  for (const byte of bytes) text += PAIRS[byte];
  return text;
}

export function equal(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function reversed(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes).reverse();
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

export function bigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt("0x" + toHex(bytes));
}

export function littleEndian(bytes: Uint8Array): bigint {
  return bigEndian(reversed(bytes));
}

/** A number as 32 bytes, big-endian. */
export function word(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, "0"));
}

/** A number in the fewest bytes, big-endian; zero is no byte. */
export function shortest(value: bigint): Uint8Array {
  if (value === 0n) return new Uint8Array();
  const digits = value.toString(16);
  return fromHex(digits.length % 2 === 0 ? digits : "0" + digits);
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
