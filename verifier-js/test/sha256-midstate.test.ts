import assert from "node:assert/strict";
import { test } from "node:test";

import { sha256 } from "../src/hash.js";
import { continueSha256 } from "../src/sha256-midstate.js";

const START = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19";
// The state after 64 zero bytes, from the padding-free compression of one block.
const AFTER_ZEROS = "da5698be17b9b46962335799779fbeca8ce5d491c0d26243bafef9ea1837a9d8";

const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
  test(`from the start, ${length} bytes have their SHA-256`, () => {
    const message = Uint8Array.from({ length }, (_, at) => (at * 7) & 255);
    assert.deepEqual(continueSha256(fromHex(START), 0, message), sha256(message));
  });
}

for (const length of [0, 1, 55, 56, 64, 200]) {
  test(`after a block of zeros, ${length} more bytes have the SHA-256 of the whole`, () => {
    const rest = Uint8Array.from({ length }, (_, at) => (at * 11) & 255);
    const whole = new Uint8Array(64 + length);
    whole.set(rest, 64);
    assert.deepEqual(continueSha256(fromHex(AFTER_ZEROS), 64, rest), sha256(whole));
  });
}
