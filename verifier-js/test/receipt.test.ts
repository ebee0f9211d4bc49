import assert from "node:assert/strict";
import { test } from "node:test";

import { concat } from "../src/bytes.js";
import { Malformed } from "../src/error.js";
import { readReceipt } from "../src/receipt.js";
import { decodeRlp, encodeList, encodeString } from "../src/rlp.js";

const EMPTY = new Uint8Array();
const COMMON = [Uint8Array.of(1), Uint8Array.of(5), new Uint8Array(256)].map(encodeString).concat(encodeList());
const NUMBER = encodeString(Uint8Array.of(7));

const receipt = (type: readonly number[], ...fields: readonly Uint8Array[]) =>
  readReceipt(concat(Uint8Array.from(type), encodeList(...COMMON, ...fields)));

test("a deposit has four fields or six", () => {
  assert.equal(receipt([0x7e]).succeeded, true);
  assert.equal(receipt([0x7e], NUMBER, NUMBER).succeeded, true);
  assert.throws(() => receipt([0x7e], NUMBER), Malformed);
  assert.throws(() => receipt([0x7e], NUMBER, NUMBER, NUMBER), Malformed);
});

test("another receipt has four fields", () => {
  assert.equal(receipt([]).gasUsed, 5n);
  assert.equal(receipt([2]).gasUsed, 5n);
  assert.throws(() => receipt([2], NUMBER, NUMBER), Malformed);
  assert.throws(() => receipt([3]), Malformed);
});

test("lists are nested at most 16 levels deep", () => {
  let nested = encodeList();
  for (let level = 2; level <= 16; level++) nested = encodeList(nested);
  assert.equal(decodeRlp(nested).kind, "list");
  assert.throws(() => decodeRlp(encodeList(nested)), Malformed);
});

for (const [name, bytes] of Object.entries({
  "nothing": [],
  "a byte with a length": [0x81, 0x7f],
  "a short string with a long length": [0xb8, 0x01, 0x80],
  "a length with a leading zero": [0xb9, 0x00, 0x40],
  "a length that is cut off": [0xb9, 0x01],
  "a length of 8 bytes": [0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  "a list that is cut off": [0xc2, 0x01],
  "an item beyond its list": [0xc1, 0x82, 0x80, 0x80],
  "a byte after the item": [0x01, 0x01],
})) {
  test(`RLP with ${name} is malformed`, () => {
    assert.throws(() => decodeRlp(Uint8Array.from(bytes)), Malformed);
  });
}

test("the empty string is RLP", () => {
  assert.deepEqual(decodeRlp(encodeString(EMPTY)), { kind: "string", bytes: EMPTY });
});
