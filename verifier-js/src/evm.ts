/** Evidence from an EVM chain: an event of the lock's end, or the lock's status. */

import type { Shown } from "./block.js";
import { ascii, concat, equal, fromHex, shortest, toHex, word, type Hex } from "./bytes.js";
import type { EvmReceipt, EvmStorage } from "./document.js";
import { check, expect, within } from "./error.js";
import { readEvmHeader } from "./evm-header.js";
import { keccak256, sha256 } from "./hash.js";
import type { Layer } from "./layer.js";
import { readReceipt, type Receipt } from "./receipt.js";
import { decodeRlp, decodeRlpList, encodeString, integerOf, stringOf } from "./rlp.js";
import type { EvmLeg, Terms } from "./terms.js";
import { valueInTrie } from "./trie.js";

export const GENUINE_CONTRACT: Hex = "c59f2adb373bd4ce8e6a872fb39c997ffdaab552";

const CLAIMED = keccak256(ascii("Claimed(bytes32,bytes32,bytes32)"));
const REFUNDED = keccak256(ascii("Refunded(bytes32,bytes32)"));
const WORD_LIMIT = 1n << 256n;
/** The place of the statuses in the contract's storage. */
const STATUS_SLOT = 1n;
const STATUS_CLAIMED = 2n;
const STATUS_REFUNDED = 3n;
const MAX_TRANSACTION_INDEX = 2 ** 32 - 1;

/** The id of the lock that the leg describes; the evidence is from the leg's layer. */
export function checkLock(leg: EvmLeg, terms: Terms, protocol: Layer): Uint8Array {
  check(protocol === leg.layer, "layer", `evidence from ${protocol} for a leg on ${leg.layer}`);
  const inRange = leg.chainId > 0 && leg.amount > 0n && leg.amount < WORD_LIMIT && leg.deadline > 0;
  check(inRange && !/^0*$/.test(leg.payee), "lock", "no such lock can exist");
  const numbers = (value: bigint | number) => word(BigInt(value));
  const padded = (value: Hex) => fromHex(value.padStart(64, "0"));
  return keccak256(
    concat(
      numbers(leg.chainId),
      padded(leg.contract),
      padded(terms.paymentHash),
      padded(leg.token),
      numbers(leg.amount),
      padded(leg.payee),
      padded(leg.payer),
      numbers(leg.deadline),
      terms.hash,
    ),
  );
}

/** The rules for the receipt, its log and the event; the proof already shows that the block has the receipt. */
export function checkEvent(
  receipt: Receipt,
  logIndex: number,
  leg: EvmLeg,
  lockId: Uint8Array,
  terms: Terms,
): Pick<Shown, "result" | "preimage"> {
  check(receipt.succeeded, "receipt_status", "the transaction failed");
  const log = receipt.logs[logIndex];
  check(log !== undefined, "log_index", `the receipt has ${receipt.logs.length} logs`);
  check(toHex(log.address) === leg.contract, "event", "another contract emitted the log");
  const [event, id, hash] = log.topics;
  check(log.topics.length === 3, "event", `the log has ${log.topics.length} topics`);
  const isClaim = equal(event!, CLAIMED);
  check(isClaim || equal(event!, REFUNDED), "event", "neither Claimed nor Refunded");
  check(log.data.length === (isClaim ? 32 : 0), "event", "data of another length");
  check(!isClaim || equal(sha256(log.data), hash!), "event", "not the preimage of the hash");
  check(equal(id!, lockId), "lock_id", "the event of another lock");
  check(toHex(hash!) === terms.paymentHash, "payment_hash", "the event of another payment hash");
  return isClaim ? { result: "collected", preimage: toHex(log.data) } : { result: "returned", preimage: undefined };
}

/** Ethereum's own forms of evidence exist on Rootstock only on local networks. */
function checkForm(leg: EvmLeg, terms: Terms): void {
  check(leg.layer !== "ROOTSTOCK" || terms.network === "regtest", "evidence", "not evidence from a Rootstock block");
}

export function checkEvmReceipt(evidence: EvmReceipt, leg: EvmLeg, terms: Terms): Shown {
  const lockId = checkLock(leg, terms, evidence.protocol);
  checkForm(leg, terms);
  const header = within("header", () => readEvmHeader(evidence.header));
  const receipt = within("receipt_inclusion", () => {
    expect(evidence.transactionIndex <= MAX_TRANSACTION_INDEX, "an index above 2^32 - 1");
    const key = encodeString(shortest(BigInt(evidence.transactionIndex)));
    return readReceipt(valueInTrie(header.receiptsRoot, key, evidence.receiptProof));
  });
  const end = checkEvent(receipt, evidence.logIndex, leg, lockId, terms);
  return { ...end, block: header, work: undefined, later: [] };
}

export function checkEvmStorage(evidence: EvmStorage, leg: EvmLeg, terms: Terms): Shown {
  const lockId = checkLock(leg, terms, evidence.protocol);
  checkForm(leg, terms);
  const header = within("header", () => readEvmHeader(evidence.header));
  const storageRoot = within("state_inclusion", () => {
    const account = valueInTrie(header.stateRoot, keccak256(fromHex(leg.contract)), evidence.accountProof);
    const items = decodeRlpList(account);
    expect(items.length === 4, "an account without four fields");
    integerOf(items[0], 8);
    integerOf(items[1], 32);
    stringOf(items[3], 32);
    return stringOf(items[2], 32);
  });
  const status = within("storage_inclusion", () => {
    const key = keccak256(keccak256(concat(word(STATUS_SLOT), fromHex(evidence.lockId))));
    return integerOf(decodeRlp(valueInTrie(storageRoot, key, evidence.storageProof)), 32);
  });
  check(status === STATUS_CLAIMED || status === STATUS_REFUNDED, "lock_status", "the lock has not ended");
  check(evidence.lockId === toHex(lockId), "lock_id", "the status of another lock");
  const result = status === STATUS_CLAIMED ? "collected" : "returned";
  return { result, preimage: undefined, block: header, work: undefined, later: [] };
}
