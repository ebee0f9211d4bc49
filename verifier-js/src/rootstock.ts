/** Evidence from Rootstock: a log in a receipt of a block that miners of Bitcoin made. */

import type { Shown } from "./block.js";
import { shortest } from "./bytes.js";
import type { RootstockReceipt } from "./document.js";
import { expect, within } from "./error.js";
import { checkEvent, checkLock } from "./evm.js";
import { readCommonFields, type Receipt } from "./receipt.js";
import { decodeRlpList, encodeString, integerOf } from "./rlp.js";
import { readMinedHeader, type RootstockHeader } from "./rootstock-header.js";
import { checkInTrie } from "./rootstock-trie.js";
import type { EvmLeg, Terms } from "./terms.js";

const MAX_TRANSACTION_INDEX = 65_535;

function readChain(encodings: readonly Uint8Array[]): readonly [RootstockHeader, ...RootstockHeader[]] {
  const [first, ...later] = encodings.map(readMinedHeader);
  expect(first !== undefined, "no headers");
  let before = first;
  for (const header of later) {
    expect(header.parent === before.hash, "the parent is not the header before it");
    expect(header.number === before.number + 1n && header.time > before.time, "a number or a time that does not follow");
    before = header;
  }
  return [first, ...later];
}

function readRootstockReceipt(encoding: Uint8Array): Receipt {
  const items = decodeRlpList(encoding);
  expect(items.length === 6, `${items.length} fields`);
  const receipt = readCommonFields(items);
  expect(integerOf(items[4], 8) <= receipt.gasUsed, "more gas than the block used");
  expect(integerOf(items[5], 1) === (receipt.succeeded ? 1n : 0n), "two statuses");
  return receipt;
}

export function checkRootstockReceipt(evidence: RootstockReceipt, leg: EvmLeg, terms: Terms): Shown {
  const lockId = checkLock(leg, terms, "ROOTSTOCK");
  const headers = within("header", () => readChain(evidence.headers));
  const [block, ...later] = headers;
  const receipt = within("receipt_inclusion", () => {
    expect(evidence.transactionIndex <= MAX_TRANSACTION_INDEX, "an index above 65,535");
    const key = encodeString(shortest(BigInt(evidence.transactionIndex)));
    checkInTrie(block.receiptsRoot, key, evidence.receiptProof, evidence.receipt);
    return readRootstockReceipt(evidence.receipt);
  });
  const end = checkEvent(receipt, evidence.logIndex, leg, lockId, terms);
  const work = headers.reduce((sum, header) => sum + header.difficulty, 0n);
  return { ...end, block, work, later };
}
