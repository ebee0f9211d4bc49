/** Receipts of transactions on EVM chains. */

import { equal } from "./bytes.js";
import { expect } from "./error.js";
import { keccak256 } from "./hash.js";
import { decodeRlpList, integerOf, listOf, stringOf, type RlpItem } from "./rlp.js";

export interface Log {
  readonly address: Uint8Array;
  readonly topics: readonly Uint8Array[];
  readonly data: Uint8Array;
}

export interface Receipt {
  readonly succeeded: boolean;
  readonly gasUsed: bigint;
  readonly logs: readonly Log[];
}

const TYPES = [1, 2, 4];
const DEPOSIT = 0x7e;
const LEGACY = 0xc0;
const BLOOM = 256;

/** Decodes a receipt, with its type. */
export function readReceipt(encoding: Uint8Array): Receipt {
  const type = encoding[0];
  expect(type !== undefined, "an empty receipt");
  if (type >= LEGACY) return readPlainReceipt(decodeRlpList(encoding));
  const items = decodeRlpList(encoding.subarray(1));
  expect(type === DEPOSIT || TYPES.includes(type), "an unknown type of receipt");
  if (type !== DEPOSIT || items.length === 4) return readPlainReceipt(items);
  expect(items.length === 6, "a deposit with neither four nor six fields");
  integerOf(items[4], 8);
  integerOf(items[5], 8);
  return readCommonFields(items);
}

function readPlainReceipt(items: readonly RlpItem[]): Receipt {
  expect(items.length === 4, `${items.length} fields`);
  return readCommonFields(items);
}

/** Decodes the status, the gas, the bloom filter and the logs. */
export function readCommonFields(items: readonly RlpItem[]): Receipt {
  const status = integerOf(items[0], 1);
  expect(status <= 1n, "a status that is neither 0 nor 1");
  const logs = listOf(items[3]).map(readLog);
  expect(equal(stringOf(items[2], BLOOM), bloomOf(logs)), "not the bloom filter of the logs");
  expect(status === 1n || logs.length === 0, "a failed transaction with logs");
  return { succeeded: status === 1n, gasUsed: integerOf(items[1], 8), logs };
}

function readLog(item: RlpItem): Log {
  const items = listOf(item);
  expect(items.length === 3, "a log without three fields");
  const topics = listOf(items[1]).map((topic) => stringOf(topic, 32));
  expect(topics.length <= 4, "more than four topics");
  return { address: stringOf(items[0], 20), topics, data: stringOf(items[2], 0, Number.MAX_SAFE_INTEGER) };
}

function bloomOf(logs: readonly Log[]): Uint8Array {
  const bloom = new Uint8Array(BLOOM);
  for (const log of logs) {
    for (const value of [log.address, ...log.topics]) {
      const hash = keccak256(value);
      for (const at of [0, 2, 4]) {
        const bit = ((hash[at]! << 8) | hash[at + 1]!) & 2047;
        const place = BLOOM - 1 - (bit >> 3);
        bloom[place] = bloom[place]! | (1 << (bit & 7));
      }
    }
  }
  return bloom;
}
