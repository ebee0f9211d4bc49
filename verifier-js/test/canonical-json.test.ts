import assert from "node:assert/strict";
import { test } from "node:test";

import { canonicalForm, parseCanonical } from "../src/canonical-json.js";
import { Malformed } from "../src/error.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (file: Uint8Array) => parseCanonical(file, { length: 1000, separators: 500, depth: 4 });

for (const text of [
  "{}",
  "[]",
  "null",
  '{"a":1,"b":[true,false,null,""]}',
  "9007199254740991",
  '"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u001f"',
  '"\u007f\u2028\u{1f600}\ue000"',
  '{"\u{1f600}":1,"\ue000":2}', // UTF-16 code units: the surrogates precede U+E000
  "[[[[]]]]",
]) {
  test(`the canonical text ${JSON.stringify(text)} is read and written back`, () => {
    assert.equal(canonicalForm(parse(bytes(text))), text);
  });
}

for (const text of [
  "",
  " {}",
  "{}\n",
  "\ufeff{}",
  "{} {}",
  '{"a": 1}',
  '{"b":1,"a":2}',
  '{"a":1,"a":1}',
  '{"__proto__":1,"__proto__":1}',
  '{"\ue000":2,"\u{1f600}":1}',
  "1.0",
  "1e3",
  "1E3",
  "-0",
  "-1",
  "01",
  "+1",
  "0.5",
  "9007199254740992",
  "9007199254740993",
  "9007199254740990.9",
  "1e400",
  "NaN",
  "Infinity",
  '"\\/"',
  '"\\u0061"',
  '"\\u001F"',
  '"\\u000a"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\ud83d\\ude00"',
  '"\t"',
  "[[[[[]]]]]",
  "[1,]",
  "{a:1}",
  "'a'",
  "tru",
]) {
  test(`the text ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parse(bytes(text)), Malformed);
  });
}

for (const [name, file] of Object.entries({
  "an overlong slash": [0x22, 0xc0, 0xaf, 0x22],
  "a surrogate in UTF-8": [0x22, 0xed, 0xa0, 0x80, 0x22],
  "a code point above U+10FFFF": [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22],
  "a byte that no character begins with": [0x22, 0x80, 0x22],
  "a character that is cut off": [0x22, 0xe2, 0x80, 0x22],
})) {
  test(`UTF-8 with ${name} is refused`, () => {
    assert.throws(() => parse(Uint8Array.from(file)), Malformed);
  });
}

test("brackets in strings are not levels", () => {
  assert.equal(parse(bytes('"[[[[[[\\"{{{{{{"')), '[[[[[["{{{{{{');
});

test("a file above the limit is refused before it is parsed", () => {
  assert.equal(parse(bytes(`"${"x".repeat(998)}"`)), "x".repeat(998));
  assert.throws(() => parse(bytes(`"${"x".repeat(999)}"`)), /longer than 1000 bytes/);
});

test("a deep file is refused before it is parsed", () => {
  assert.throws(() => parse(bytes("[".repeat(400))), /too many levels/);
});

test("a file with too many values is refused before it is parsed", () => {
  assert.equal(parse(bytes(`"${",".repeat(500)}"`)), ",".repeat(500));
  assert.throws(() => parse(bytes(`"${",[{".repeat(167)}"`)), /too many values/);
});

test("a name of JavaScript's own is a name as any other", () => {
  const value = parse(bytes('{"__proto__":{"constructor":1}}'));
  assert.equal(canonicalForm(value), '{"__proto__":{"constructor":1}}');
});
