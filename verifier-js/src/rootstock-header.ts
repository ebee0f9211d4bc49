/** Rootstock's headers, which Bitcoin's miners make while they mine for Bitcoin. */

import { readBitcoinHeader } from "./bitcoin-header.js";
import type { Block } from "./block.js";
import { ByteReader } from "./byte-reader.js";
import { ascii, bigEndian, concat, equal, reversed, toHex, type Hex } from "./bytes.js";
import { expect } from "./error.js";
import { keccak256, sha256, sha256d } from "./hash.js";
import { decodeRlpList, encodeList, encodeString, integerOf, stringOf } from "./rlp.js";
import { continueSha256 } from "./sha256-midstate.js";

export interface RootstockHeader extends Block {
  readonly parent: Hex;
  readonly receiptsRoot: Uint8Array;
  readonly difficulty: bigint;
}

/** A header in its full form, with what shows its work. */
interface MinedHeader extends RootstockHeader {
  readonly tag: Uint8Array;
  readonly bitcoinHeader: Uint8Array;
  readonly merklePath: Uint8Array;
  readonly coinbase: Uint8Array;
}

type Size = readonly [min: number, max: number];
const exactly = (size: number): Size => [size, size];

/** The sizes of the first 16 fields. */
const SIZES: readonly Size[] = [
  exactly(32), // parent hash
  exactly(32), // hash of uncles
  [0, 20], // miner
  exactly(32), // state root
  exactly(32), // transactions root
  exactly(32), // receipts root
  exactly(256), // bloom filter
  [0, 33], // difficulty
  [0, 8], // number
  [0, 32], // gas limit
  [0, 8], // gas used
  [0, 8], // timestamp
  [0, 32], // extra data
  [0, 32], // paid fees
  [0, 33], // minimum gas price
  [0, 4], // number of uncles
];
const BLOOM = 6;
const ADDRESS = 20;
const TAG = 20;
const BITCOIN_HEADER = 80;
const MARK = ascii("RSKBLOCK:");
const LAST_PLACE_OF_MARK = 63;
const MAX_SIBLINGS = 30;
const HASH_LIMIT = 1n << 256n;
const LEAST_DIFFICULTY = 3n;

/** An integer in two's complement, in its shortest form and not negative. */
function signedInteger(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  expect(bytes[0]! < 0x80, "a negative integer");
  expect(bytes.length === 1 || bytes[0] !== 0 || bytes[1]! >= 0x80, "an integer that is not in its shortest form");
  return bigEndian(bytes);
}

/** Takes the fields of a header one after another. */
class HeaderFields {
  private at = 0;

  constructor(private readonly fields: readonly Uint8Array[]) {}

  nextLength(): number {
    return this.fields[this.at]?.length ?? -1;
  }

  take(min: number, max: number = min): Uint8Array {
    const field = this.fields[this.at++];
    expect(field !== undefined && field.length >= min && field.length <= max, `no field of ${min} to ${max} bytes`);
    return field;
  }

  expectEnd(): void {
    expect(this.at === this.fields.length, "superfluous fields");
  }
}

/** What replaces the bloom filter in the mined fields of versions 1 and 2. */
function extensionOf(version: number, bloom: Uint8Array, edges: Uint8Array, baseEvent: Uint8Array | undefined): Uint8Array {
  const parts = [keccak256(bloom), ...(baseEvent === undefined ? [] : [baseEvent]), edges];
  const hash = keccak256(encodeList(...parts.map(encodeString)));
  return encodeList(encodeString(Uint8Array.of(version)), encodeString(hash));
}

function tagOf(mined: readonly Uint8Array[], ummRoot: Uint8Array): Uint8Array {
  const tag = keccak256(encodeList(...mined)).subarray(0, TAG);
  return ummRoot.length === 0 ? tag : keccak256(concat(tag, ummRoot)).subarray(0, TAG);
}

function readCommonFields(encoding: Uint8Array): { header: RootstockHeader; tag: Uint8Array; bitcoinHeader: Uint8Array; rest: HeaderFields } {
  const items = decodeRlpList(encoding);
  const fields = items.map((item) => stringOf(item, 0, Number.MAX_SAFE_INTEGER));
  const reader = new HeaderFields(fields);
  const first = SIZES.map(([min, max]) => reader.take(min, max));
  expect(first[2]!.length === 0 || first[2]!.length === ADDRESS, "a miner without an address");
  const difficulty = signedInteger(first[7]!);
  signedInteger(first[14]!);
  const next = reader.nextLength();
  const ummRoot = next === 0 || next === ADDRESS ? reader.take(next) : undefined;
  if (reader.nextLength() === 1) {
    const version = reader.take(1)[0]!;
    expect(version === 1 || version === 2, "an unknown version");
    const edges = reader.take(0, 8);
    expect(edges.length % 2 === 0, "an odd number of bytes of edges");
    const baseEvent = version === 2 ? reader.take(0, 128) : undefined;
    first[BLOOM] = extensionOf(version, first[BLOOM]!, edges, baseEvent);
  }
  const mined = [...first, ...(ummRoot === undefined ? [] : [ummRoot])].map(encodeString);
  const bitcoinHeader = reader.take(BITCOIN_HEADER);
  const header = {
    parent: toHex(first[0]!),
    receiptsRoot: first[5]!,
    difficulty,
    number: integerOf(items[8], 8),
    time: integerOf(items[11], 8),
    hash: toHex(keccak256(encodeList(...mined, encodeString(bitcoinHeader)))),
  };
  return { header, tag: tagOf(mined, ummRoot ?? new Uint8Array()), bitcoinHeader, rest: reader };
}

/** Reads a header in its short form, without what shows its work. */
export function readShortHeader(encoding: Uint8Array): RootstockHeader {
  const { header, rest } = readCommonFields(encoding);
  rest.expectEnd();
  return header;
}

/** Reads a header in its full form, and checks its work. */
export function readMinedHeader(encoding: Uint8Array): RootstockHeader {
  const { header, tag, bitcoinHeader, rest } = readCommonFields(encoding);
  const merklePath = rest.take(0, 32 * MAX_SIBLINGS);
  const coinbase = rest.take(0, Number.MAX_SAFE_INTEGER);
  rest.expectEnd();
  expect(header.number > 0n, "the first block, which has no work");
  checkWork({ ...header, tag, bitcoinHeader, merklePath, coinbase });
  return header;
}

function lastIndexOf(bytes: Uint8Array, pattern: Uint8Array): number {
  for (let at = bytes.length - pattern.length; at >= 0; at--) {
    if (equal(bytes.subarray(at, at + pattern.length), pattern)) return at;
  }
  return -1;
}

function checkWork(header: MinedHeader): void {
  const bitcoin = readBitcoinHeader(header.bitcoinHeader);
  const difficulty = header.difficulty > LEAST_DIFFICULTY ? header.difficulty : LEAST_DIFFICULTY;
  expect(BigInt("0x" + bitcoin.hash) <= HASH_LIMIT / difficulty, "too little work");
  let hash = coinbaseHash(header.coinbase, header.tag);
  expect(header.merklePath.length % 32 === 0, "a Merkle path without whole hashes");
  for (let at = 0; at < header.merklePath.length; at += 32) {
    hash = sha256d(concat(hash, reversed(header.merklePath.subarray(at, at + 32))));
  }
  expect(equal(hash, bitcoin.merkleRoot), "Bitcoin's header does not have the coinbase");
}

/** The hash of the coinbase, of which only the end is known; it has the tag. */
function coinbaseHash(coinbase: Uint8Array, tag: Uint8Array): Uint8Array {
  const reader = new ByteReader(coinbase);
  const count = reader.bigEndian(8);
  const midstate = reader.take(32);
  const rest = reader.rest();
  expect(count < 1n << 32n && count % 64n === 0n, "a count that is no multiple of 64, or too large");
  expect(Number(count) + rest.length > 64, "a coinbase of at most 64 bytes");
  const place = lastIndexOf(rest, MARK);
  expect(place >= 0 && place <= LAST_PLACE_OF_MARK, "no mark at one of the first 64 places");
  const marked = rest.subarray(place + MARK.length);
  expect(marked.length >= 32 && marked.length <= 160, "not 32 to 160 bytes after the mark");
  expect(equal(marked.subarray(0, TAG), tag), "another tag");
  return sha256(continueSha256(midstate, Number(count), rest));
}
