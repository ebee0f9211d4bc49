/** Canonical RLP: each item in its shortest encoding, with nothing after it. Other bytes are malformed. */

import { bigEndian, concat, shortest } from "./bytes.js";
import { expect } from "./error.js";

export interface RlpString {
  readonly kind: "string";
  readonly bytes: Uint8Array;
}

export interface RlpList {
  readonly kind: "list";
  readonly items: readonly RlpItem[];
  /** The whole encoding of the list. */
  readonly encoding: Uint8Array;
}

export type RlpItem = RlpString | RlpList;

const MAX_LEVELS = 16;

/** The place of an item's content. */
interface Extent {
  readonly isList: boolean;
  readonly start: number;
  readonly end: number;
}

function extentAt(bytes: Uint8Array, at: number, limit: number): Extent {
  const first = bytes[at]!;
  if (first < 0x80) return { isList: false, start: at, end: at + 1 };
  const isList = first >= 0xc0;
  const base = isList ? 0xc0 : 0x80;
  let start = at + 1;
  let length = first - base;
  if (length > 55) {
    const size = length - 55;
    start += size;
    expect(start <= limit && bytes[at + 1] !== 0, "a length that is cut off or not the shortest");
    const long = bigEndian(bytes.subarray(at + 1, start));
    expect(long > 55n, "a length that is not the shortest");
    expect(long <= BigInt(limit), "an item that is cut off");
    length = Number(long);
  }
  const end = start + length;
  expect(end <= limit, "an item that is cut off");
  expect(isList || length !== 1 || bytes[start]! >= 0x80, "a byte that is not in its shortest form");
  return { isList, start, end };
}

function itemAt(bytes: Uint8Array, at: number, limit: number, levels: number): { item: RlpItem; end: number } {
  const { isList, start, end } = extentAt(bytes, at, limit);
  if (!isList) return { item: { kind: "string", bytes: bytes.subarray(start, end) }, end };
  expect(levels > 0, "too many levels of lists");
  const items: RlpItem[] = [];
  let next = start;
  while (next < end) {
    const inner = itemAt(bytes, next, end, levels - 1);
    items.push(inner.item);
    next = inner.end;
  }
  return { item: { kind: "list", items, encoding: bytes.subarray(at, end) }, end };
}

export function decodeRlp(bytes: Uint8Array): RlpItem {
  expect(bytes.length > 0, "no RLP");
  const { item, end } = itemAt(bytes, 0, bytes.length, MAX_LEVELS);
  expect(end === bytes.length, "bytes after the item");
  return item;
}

/** The items of bytes that are one list. */
export function decodeRlpList(bytes: Uint8Array): readonly RlpItem[] {
  return listOf(decodeRlp(bytes));
}

export function listOf(item: RlpItem | undefined): readonly RlpItem[] {
  expect(item?.kind === "list", "not a list");
  return item.items;
}

/** A string of `min` to `max` bytes. */
export function stringOf(item: RlpItem | undefined, min: number, max: number = min): Uint8Array {
  expect(item?.kind === "string", "not a string");
  expect(item.bytes.length >= min && item.bytes.length <= max, `not ${min} to ${max} bytes`);
  return item.bytes;
}

/** A big-endian integer without leading zeros, of at most `size` bytes; zero is the empty string. */
export function integerOf(item: RlpItem | undefined, size: number): bigint {
  const bytes = stringOf(item, 0, size);
  expect(bytes[0] !== 0, "an integer with a leading zero");
  return bigEndian(bytes);
}

function encodeLength(length: number, base: number): Uint8Array {
  if (length <= 55) return Uint8Array.of(base + length);
  const digits = shortest(BigInt(length));
  return concat(Uint8Array.of(base + 55 + digits.length), digits);
}

export function encodeString(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 1 && bytes[0]! < 0x80) return bytes;
  return concat(encodeLength(bytes.length, 0x80), bytes);
}

/** A list of items that are already encoded. */
export function encodeList(...items: readonly Uint8Array[]): Uint8Array {
  const content = concat(...items);
  return concat(encodeLength(content.length, 0xc0), content);
}
