/** Rootstock's binary tries (RSKIP-107), as far as receipts need them. */

import { ByteReader } from "./byte-reader.js";
import { equal } from "./bytes.js";
import { expect } from "./error.js";
import { keccak256 } from "./hash.js";

const VERSION = 0x40;
const VERSION_MASK = 0xc0;
const LONG_VALUE = 0x20;
const SHARED_PATH = 0x10;
const LEFT = 0x08;
const RIGHT = 0x04;
const LEFT_EMBEDDED = 0x02;
const RIGHT_EMBEDDED = 0x01;
const MAX_PATH_BITS = 32;
const MAX_EMBEDDED = 44;
const SHORT_VALUE = 32;

interface Leaf {
  readonly path: readonly number[];
  readonly valueHash: Uint8Array;
  readonly valueLength: number;
}

/** A child by its hash, or as an embedded node. */
interface Reference {
  readonly isEmbedded: boolean;
  readonly bytes: Uint8Array;
}

interface Inner {
  readonly path: readonly number[];
  readonly children: readonly [left: Reference, right: Reference];
}

function bitsOf(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (byte >> bit) & 1));
}

function readPath(flags: number, reader: ByteReader): readonly number[] {
  if ((flags & SHARED_PATH) === 0) return [];
  const length = reader.byte() + 1;
  expect(length <= MAX_PATH_BITS, "a shared path of more than 32 bits");
  const bits = bitsOf(reader.take(Math.ceil(length / 8)));
  expect(bits.slice(length).every((bit) => bit === 0), "bits after the shared path");
  return bits.slice(0, length);
}

function readReference(isEmbedded: boolean, reader: ByteReader): Reference {
  if (!isEmbedded) return { isEmbedded, bytes: reader.take(32) };
  const length = reader.byte();
  expect(length <= MAX_EMBEDDED, "an embedded node of more than 44 bytes");
  return { isEmbedded, bytes: reader.take(length) };
}

function readNode(encoding: Uint8Array): Leaf | Inner {
  const reader = new ByteReader(encoding);
  const flags = reader.byte();
  expect((flags & VERSION_MASK) === VERSION, "another version of nodes");
  const path = readPath(flags, reader);
  const children = flags & (LEFT | RIGHT);
  if (children === 0) {
    expect((flags & LONG_VALUE) !== 0, "a leaf that does not refer to a long value");
    expect((flags & (LEFT_EMBEDDED | RIGHT_EMBEDDED)) === 0, "an embedded child that is not there");
    const valueHash = reader.take(32);
    const valueLength = Number(reader.bigEndian(3));
    expect(valueLength > SHORT_VALUE, "a long value that is short");
    reader.expectEnd();
    return { path, valueHash, valueLength };
  }
  expect(children === (LEFT | RIGHT) && (flags & LONG_VALUE) === 0, "one child, or a value beside children");
  const left = readReference((flags & LEFT_EMBEDDED) !== 0, reader);
  const right = readReference((flags & RIGHT_EMBEDDED) !== 0, reader);
  reader.compactSize();
  reader.expectEnd();
  return { path, children: [left, right] };
}

/**
 * Checks that the trie with this root has `value` at `key`.
 *
 * @param nodes the node of the value first, and the root last.
 */
export function checkInTrie(root: Uint8Array, key: Uint8Array, nodes: readonly Uint8Array[], value: Uint8Array): void {
  const bits = bitsOf(key);
  let at = 0;
  let reference: Reference = { isEmbedded: false, bytes: root };
  const fromRoot = [...nodes].reverse();
  for (const [depth, encoding] of fromRoot.entries()) {
    const hash = reference.isEmbedded ? encoding : keccak256(encoding);
    expect(equal(hash, reference.bytes), "not the node to which its parent refers");
    const node = readNode(encoding);
    expect(node.path.every((bit, offset) => bits[at + offset] === bit), "another path");
    at += node.path.length;
    if ("valueHash" in node) {
      const isReal = reference.isEmbedded || depth === 0 || encoding.length > MAX_EMBEDDED;
      expect(isReal, "a short node that is not embedded");
      expect(at === bits.length, "the node of a shorter key");
      expect(depth === fromRoot.length - 1, "superfluous nodes");
      expect(node.valueLength === value.length && equal(node.valueHash, keccak256(value)), "another value");
      return;
    }
    expect(!reference.isEmbedded, "an embedded node with children");
    expect(at < bits.length, "children after the end of the key");
    reference = node.children[bits[at]! as 0 | 1];
    at += 1;
  }
  expect(false, "a node is missing");
}
