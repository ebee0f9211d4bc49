import assert from "node:assert/strict";
import { test } from "node:test";

import { secp256k1 } from "@noble/curves/secp256k1.js";

import { paddedBytes } from "../src/bech32.js";
import { ascii, concat } from "../src/bytes.js";
import { Malformed } from "../src/error.js";
import { sha256 } from "../src/hash.js";
import { readInvoice, type Invoice } from "../src/invoice.js";

const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const KEY = new Uint8Array(32).fill(9);
const PREFIX = "lnbcrt1m";

function groupsOf(bytes: Uint8Array): number[] {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const padded = bits.padEnd(Math.ceil(bits.length / 5) * 5, "0");
  return (padded.match(/.{5}/g) ?? []).map((group) => parseInt(group, 2));
}

function checksum(groups: readonly number[]): number[] {
  const codes = [...PREFIX].map((character) => character.charCodeAt(0));
  let state = 1;
  for (const value of [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31), ...groups, 0, 0, 0, 0, 0, 0]) {
    const top = state >>> 25;
    state = ((state & 0x1ffffff) << 5) ^ value;
    [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3].forEach((term, bit) => (state ^= (top >> bit) & 1 ? term : 0));
  }
  state ^= 1;
  return [25, 20, 15, 10, 5, 0].map((shift) => (state >> shift) & 31);
}

function field(type: string, groups: readonly number[]): number[] {
  return [CHARACTERS.indexOf(type), groups.length >> 5, groups.length & 31, ...groups];
}

const HASH = field("p", groupsOf(new Uint8Array(32).fill(1)));
const SECRET = field("s", groupsOf(new Uint8Array(32).fill(2)));
const DESCRIPTION = field("d", groupsOf(ascii("a cup of tea")));
const BLINDED_PATHS = field("5", groupsOf(new Uint8Array(40)));
const PLAIN = [HASH, SECRET, DESCRIPTION];

function read(...fields: readonly (readonly number[])[]): Invoice {
  const signed = [0, 0, 0, 0, 0, 0, 1, ...fields.flat()];
  const digest = sha256(concat(ascii(PREFIX), paddedBytes(signed)));
  const signature = secp256k1.sign(digest, KEY, { prehash: false, format: "recovered" });
  const groups = [...signed, ...groupsOf(concat(signature.subarray(1), signature.subarray(0, 1)))];
  const text = [...groups, ...checksum(groups)].map((group) => CHARACTERS.charAt(group)).join("");
  return readInvoice(`${PREFIX}1${text}`);
}

test("an invoice has its signer and its amount", () => {
  const invoice = read(...PLAIN);
  assert.deepEqual(invoice.payee, secp256k1.getPublicKey(KEY, true));
  assert.equal(invoice.amountMsat, 100_000_000n);
  assert.equal(invoice.isAmbiguous, false);
});

test("of a repeated field, the first counts and the others are not read", () => {
  const invalid = field("d", groupsOf(Uint8Array.of(0xff)));
  assert.equal(read(...PLAIN, invalid).isAmbiguous, true);
  assert.throws(() => read(HASH, SECRET, invalid, DESCRIPTION), Malformed);
});

test("blinded paths may be repeated, as may route hints and addresses", () => {
  const address = field("f", [0, ...groupsOf(new Uint8Array(20))]);
  assert.equal(read(HASH, DESCRIPTION, BLINDED_PATHS, BLINDED_PATHS, address, address).isAmbiguous, false);
});

test("a number without a group is zero", () => {
  assert.equal(read(...PLAIN, field("x", [])).expiry, 0);
  assert.throws(() => read(...PLAIN, field("x", [0])), Malformed);
});
