/** Headers of Ethereum and of the chains that use its headers. */

import type { Block } from "./block.js";
import { toHex } from "./bytes.js";
import { expect } from "./error.js";
import { keccak256 } from "./hash.js";
import { decodeRlpList, integerOf, stringOf, type RlpItem } from "./rlp.js";

export interface EvmHeader extends Block {
  readonly parent: string;
  readonly stateRoot: Uint8Array;
  readonly receiptsRoot: Uint8Array;
}

const COUNTS = [15, 16, 17, 20, 21];

type FieldCheck = (item: RlpItem) => void;
const bytes =
  (min: number, max: number = min): FieldCheck =>
  (item) =>
    stringOf(item, min, max);
const integer =
  (size: number): FieldCheck =>
  (item) =>
    integerOf(item, size);

const FIELDS: readonly FieldCheck[] = [
  bytes(32), // parent hash
  bytes(32), // hash of ommers
  bytes(20), // fee recipient
  bytes(32), // state root
  bytes(32), // transactions root
  bytes(32), // receipts root
  bytes(256), // bloom filter
  integer(32), // difficulty
  integer(8), // number
  integer(8), // gas limit
  integer(8), // gas used
  integer(8), // timestamp
  bytes(0, 32), // extra data
  bytes(32), // mix hash
  bytes(8), // nonce
  integer(32), // base fee
  bytes(32), // withdrawals root
  integer(8), // blob gas used
  integer(8), // excess blob gas
  bytes(32), // parent beacon block root
  bytes(32), // requests hash
];

export function readEvmHeader(encoding: Uint8Array): EvmHeader {
  const items = decodeRlpList(encoding);
  expect(COUNTS.includes(items.length), `${items.length} fields`);
  items.forEach((item, at) => FIELDS[at]!(item));
  return {
    parent: toHex(stringOf(items[0], 32)),
    stateRoot: stringOf(items[3], 32),
    receiptsRoot: stringOf(items[5], 32),
    number: integerOf(items[8], 8),
    time: integerOf(items[11], 8),
    hash: toHex(keccak256(encoding)),
  };
}
