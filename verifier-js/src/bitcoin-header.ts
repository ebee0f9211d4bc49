/** Bitcoin's headers, their work, and paths in the trees whose roots blocks contain. */

import { concat, equal, littleEndian, reversed, toHex, type Hex } from "./bytes.js";
import { expect } from "./error.js";
import { sha256d } from "./hash.js";

export interface BitcoinHeader {
  /** Both hashes as nodes display them. */
  readonly hash: Hex;
  readonly parent: Hex;
  readonly merkleRoot: Uint8Array;
  readonly time: bigint;
  readonly bits: Uint8Array;
}

const HEADER = 80;
const WORD_LIMIT = 1n << 256n;
const TARGET_LIMITS = new Map([
  ["bc", (1n << 224n) - 1n],
  ["tb", 0x0377aen << 216n],
  ["bcrt", (1n << 255n) - 1n],
]);

/** Reads a header; neither its work nor its time is checked. */
export function readBitcoinHeader(encoding: Uint8Array): BitcoinHeader {
  expect(encoding.length === HEADER, `${encoding.length} bytes`);
  return {
    hash: toHex(reversed(sha256d(encoding))),
    parent: toHex(reversed(encoding.subarray(4, 36))),
    merkleRoot: encoding.subarray(36, 68),
    time: littleEndian(encoding.subarray(68, 72)),
    bits: encoding.subarray(72, 76),
  };
}

/** The target of the compact form. */
function targetOf(bits: Uint8Array): bigint {
  const mantissa = littleEndian(bits.subarray(0, 3));
  const exponent = BigInt(bits[3]!);
  expect((mantissa & 0x800000n) === 0n, "a negative target");
  const target = exponent >= 3n ? mantissa << (8n * (exponent - 3n)) : mantissa >> (8n * (3n - exponent));
  expect(target < WORD_LIMIT, "a target of 2^256 or more");
  return target;
}

/** The work of a header, in hashes, on the network with this prefix. */
export function workOf(header: BitcoinHeader, prefix: string): bigint {
  const target = targetOf(header.bits);
  const limit = TARGET_LIMITS.get(prefix);
  expect(limit !== undefined && target > 0n && target <= limit, "a target that the network does not allow");
  expect(BigInt("0x" + header.hash) <= target, "a hash above the target");
  return WORD_LIMIT / (target + 1n);
}

/** The root to which a path leads from a hash at a place. */
export function merkleRoot(hash: Uint8Array, place: number, path: readonly Uint8Array[]): Uint8Array {
  expect(BigInt(place) < 1n << BigInt(path.length), "a place outside the tree");
  let own = hash;
  let rest = place;
  for (const sibling of path) {
    expect(sibling.length === 32, "a hash without 32 bytes");
    if (rest % 2 === 0) {
      own = sha256d(concat(own, sibling));
    } else {
      expect(!equal(sibling, own), "a hash that is its own sibling");
      own = sha256d(concat(sibling, own));
    }
    rest = Math.floor(rest / 2);
  }
  return own;
}
