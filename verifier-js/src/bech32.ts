/** Bech32 of BIP 173, in lower case, without its limit of 90 characters. */

import { concat } from "./bytes.js";
import { expect } from "./error.js";

const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const VALUES = new Map([...CHARACTERS].map((character, value) => [character, value]));
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CHECKSUM = 6;

function step(state: number, value: number): number {
  const top = state >>> 25;
  let next = ((state & 0x1ffffff) << 5) ^ value;
  GENERATOR.forEach((term, bit) => {
    if ((top >> bit) & 1) next ^= term;
  });
  return next;
}

export interface Bech32 {
  /** The part before the last "1". */
  readonly prefix: string;
  /** Groups of five bits, without the checksum. */
  readonly groups: readonly number[];
}

export function decodeBech32(text: string): Bech32 {
  const separator = text.lastIndexOf("1");
  expect(separator > 0, "no separator");
  const prefix = text.slice(0, separator);
  const groups = [...text.slice(separator + 1)].map((character) => {
    const value = VALUES.get(character);
    expect(value !== undefined, "a character that Bech32 does not have");
    return value;
  });
  expect(groups.length >= CHECKSUM, "no checksum");
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  const state = [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31), ...groups].reduce(step, 1);
  expect(state === 1, "a wrong checksum");
  return { prefix, groups: groups.slice(0, -CHECKSUM) };
}

/** The number that groups of five bits are, big-endian. */
export function numberOf(groups: readonly number[]): bigint {
  return groups.reduce((value, group) => (value << 5n) | BigInt(group), 0n);
}

/** The whole bytes in groups of five bits, and the bits that are left. */
function regroup(groups: readonly number[]): { bytes: Uint8Array; left: number; bits: number } {
  const bytes = new Uint8Array(Math.floor((groups.length * 5) / 8));
  let left = 0;
  let bits = 0;
  let at = 0;
  for (const group of groups) {
    left = (left << 5) | group;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = left >> bits;
      left &= (1 << bits) - 1;
    }
  }
  return { bytes, left, bits };
}

/** Bytes in groups of five bits, with at most four bits of padding, which are zero. */
export function bytesOf(groups: readonly number[]): Uint8Array {
  const { bytes, left, bits } = regroup(groups);
  expect(bits < 5 && left === 0, "padding that is not minimal or not zero");
  return bytes;
}

/** The groups as bits, padded with zeros to whole bytes. */
export function paddedBytes(groups: readonly number[]): Uint8Array {
  const { bytes, left, bits } = regroup(groups);
  return bits === 0 ? bytes : concat(bytes, Uint8Array.of(left << (8 - bits)));
}
