/** SHA-256 continued from its state after some blocks of 64 bytes, which are not known. */

import { expect } from "./error.js";

// The fractional parts of the cube roots of the first 64 primes (FIPS 180-4).
const ROUND_CONSTANTS = roundConstants();

function roundConstants(): Uint32Array {
  const constants = new Uint32Array(64);
  let count = 0;
  for (let candidate = 2n; count < 64; candidate++) {
    let prime = true;
    for (let divisor = 2n; divisor * divisor <= candidate; divisor++) if (candidate % divisor === 0n) prime = false;
    if (prime) constants[count++] = Number(cubeRoot(candidate << 96n) & 0xffffffffn);
  }
  return constants;
}

/** The largest integer whose cube is at most `value`. */
function cubeRoot(value: bigint): bigint {
  let root = 0n;
  for (let bit = 40n; bit >= 0n; bit--) {
    const larger = root | (1n << bit);
    if (larger * larger * larger <= value) root = larger;
  }
  return root;
}

function rotate(value: number, bits: number): number {
  return (value >>> bits) | (value << (32 - bits));
}

function compress(state: Uint32Array, block: DataView, offset: number): void {
  const schedule = new Uint32Array(64);
  for (let at = 0; at < 16; at++) schedule[at] = block.getUint32(offset + 4 * at);
  for (let at = 16; at < 64; at++) {
    const early = schedule[at - 15]!;
    const late = schedule[at - 2]!;
    const low = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const high = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    schedule[at] = schedule[at - 16]! + low + schedule[at - 7]! + high;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let at = 0; at < 64; at++) {
    const choice = (e & f) ^ (~e & g);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const one = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + ROUND_CONSTANTS[at]! + schedule[at]!) | 0;
    const two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((value, at) => (state[at] = state[at]! + value));
}

/**
 * The hash of a message of which the first `count` bytes led to `midstate`, and `rest` follows.
 *
 * @param midstate 32 bytes: the eight words of the state, big-endian.
 * @param count a multiple of 64, below 2^32.
 */
export function continueSha256(midstate: Uint8Array, count: number, rest: Uint8Array): Uint8Array {
  expect(midstate.length === 32 && count % 64 === 0, "no state of SHA-256");
  const words = new DataView(midstate.buffer, midstate.byteOffset, 32);
  const state = Uint32Array.from({ length: 8 }, (_, at) => words.getUint32(4 * at));
  const padded = new Uint8Array(64 * Math.ceil((rest.length + 9) / 64));
  padded.set(rest);
  padded[rest.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(count + rest.length) * 8n);
  for (let offset = 0; offset < padded.length; offset += 64) compress(state, view, offset);
  const hash = new DataView(new ArrayBuffer(32));
  state.forEach((value, at) => hash.setUint32(4 * at, value));
  return new Uint8Array(hash.buffer);
}
