/** Merkle Patricia tries, whose keys are such that none is a prefix of another. */

import { equal } from "./bytes.js";
import { expect } from "./error.js";
import { keccak256 } from "./hash.js";
import { decodeRlp, listOf, stringOf, type RlpItem } from "./rlp.js";

const HASH = 32;

/** What a node refers to: a node of the list by its hash, or a node that it contains. */
type Child = { readonly hash: Uint8Array } | { readonly items: readonly RlpItem[] };

function digitsOf(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte) => [byte >> 4, byte & 15]);
}

function isEmpty(item: RlpItem): boolean {
  return item.kind === "string" && item.bytes.length === 0;
}

function nodeItems(item: RlpItem): readonly RlpItem[] {
  const items = listOf(item);
  expect(items.length === 2 || items.length === 17, "a node with neither 2 nor 17 items");
  return items;
}

function childOf(item: RlpItem): Child {
  if (item.kind === "string") return { hash: stringOf(item, HASH) };
  expect(item.encoding.length < HASH, "an embedded node that is too large");
  return { items: nodeItems(item) };
}

function childOfBranch(items: readonly RlpItem[], digit: number | undefined): Child {
  expect(digit !== undefined, "a branch after the end of the key");
  expect(isEmpty(items[16]!), "a branch with a value");
  const references = items.slice(0, 16);
  const full = references.filter((item) => !isEmpty(item));
  expect(full.length >= 2, "a branch with fewer than two children");
  full.forEach(childOf);
  const selected = references[digit]!;
  expect(!isEmpty(selected), "no such child");
  return childOf(selected);
}

/** The path in the first item of a leaf or an extension. */
function pathOf(item: RlpItem): { isLeaf: boolean; digits: readonly number[] } {
  const digits = digitsOf(stringOf(item, 1, Number.MAX_SAFE_INTEGER));
  const flag = digits[0]!;
  expect(flag <= 3, "an unknown flag of a path");
  const isOdd = flag % 2 === 1;
  expect(isOdd || digits[1] === 0, "padding of a path that is not zero");
  return { isLeaf: flag >= 2, digits: digits.slice(isOdd ? 1 : 2) };
}

/** The nodes of a proof, each of which is taken once, in order. */
class Nodes {
  private taken = 0;

  constructor(private readonly encodings: readonly Uint8Array[]) {}

  next(hash: Uint8Array): readonly RlpItem[] {
    const encoding = this.encodings[this.taken];
    expect(encoding !== undefined, "a node is missing");
    expect(this.taken === 0 || encoding.length >= HASH, "a short node that is not embedded");
    expect(equal(keccak256(encoding), hash), "a node with another hash");
    this.taken++;
    return nodeItems(decodeRlp(encoding));
  }

  expectEnd(): void {
    expect(this.taken === this.encodings.length, "superfluous nodes");
  }
}

/** The value of `key` in the trie with this root, to which the nodes lead. */
export function valueInTrie(root: Uint8Array, key: Uint8Array, encodings: readonly Uint8Array[]): Uint8Array {
  const digits = digitsOf(key);
  const nodes = new Nodes(encodings);
  let items = nodes.next(root);
  let at = 0;
  let afterExtension = false;
  for (;;) {
    let child: Child;
    if (items.length === 17) {
      child = childOfBranch(items, digits[at]);
      at += 1;
      afterExtension = false;
    } else {
      expect(!afterExtension, "a leaf or an extension after an extension");
      const path = pathOf(items[0]!);
      expect(path.digits.every((digit, offset) => digits[at + offset] === digit), "another path");
      at += path.digits.length;
      if (path.isLeaf) {
        expect(at === digits.length, "a leaf of a shorter key");
        nodes.expectEnd();
        return stringOf(items[1], 1, Number.MAX_SAFE_INTEGER);
      }
      expect(path.digits.length > 0, "an extension without a path");
      child = childOf(items[1]!);
      afterExtension = true;
    }
    items = "hash" in child ? nodes.next(child.hash) : child.items;
  }
}
