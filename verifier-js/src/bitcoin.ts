/** Evidence from Bitcoin: the transaction that spends the output of a leg. */

import { merkleRoot, readBitcoinHeader, workOf } from "./bitcoin-header.js";
import { readTransaction, type BitcoinInput, type BitcoinTransaction } from "./bitcoin-transaction.js";
import type { Block, Shown } from "./block.js";
import { concat, equal, fromHex, littleEndian, toHex, type Hex } from "./bytes.js";
import type { BitcoinSpend } from "./document.js";
import { check, expect, within } from "./error.js";
import { sha256, sha256d } from "./hash.js";
import type { BitcoinLeg } from "./terms.js";

const COMMITMENT = fromHex("6a24aa21a9ed");
const COMMITMENT_LENGTH = 38;
const MAX_BLOCKS_BEFORE = 144n;

function readChain(evidence: BitcoinSpend, leg: BitcoinLeg) {
  return within("header", () => {
    const headers = evidence.headers.map(readBitcoinHeader);
    const [first] = headers;
    expect(first !== undefined, "no headers");
    let work = 0n;
    headers.forEach((header, at) => {
      work += workOf(header, leg.prefix);
      expect(at === 0 || header.parent === headers[at - 1]!.hash, "the parent is not the header before it");
    });
    return { first, headers, work };
  });
}

/** The height with which the coinbase's script begins, in the form of BIP 34. */
function heightOf(coinbase: BitcoinTransaction): bigint {
  const script = coinbase.inputs[0]!.script;
  const size = script[0];
  expect(size !== undefined, "no height");
  if (size >= 0x51 && size <= 0x60) return BigInt(size - 0x50);
  expect(size <= 4 && script.length > size, "a height that is too large or cut off");
  const bytes = script.subarray(1, 1 + size);
  const height = littleEndian(bytes);
  expect(height > 16n && equal(bytes, scriptNumber(height)), "a height that is not in its shortest form");
  return height;
}

/** A positive number, little-endian, in the fewest bytes that leave the highest bit free. */
function scriptNumber(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; rest > 0n; rest >>= 8n) bytes.push(Number(rest & 255n));
  if (bytes.length > 0 && bytes[bytes.length - 1]! >= 0x80) bytes.push(0);
  return Uint8Array.from(bytes);
}

/** The commitment to the witness tree, and the reserved value that belongs to it (BIP 141). */
function commitmentOf(coinbase: BitcoinTransaction): { hash: Uint8Array; reserved: Uint8Array } {
  const witness = coinbase.inputs[0]!.witness;
  expect(witness.length === 1 && witness[0]!.length === 32, "no reserved value");
  const scripts = coinbase.outputs.map((output) => output.script);
  const script = scripts.findLast(
    (each) => each.length >= COMMITMENT_LENGTH && equal(each.subarray(0, COMMITMENT.length), COMMITMENT),
  );
  expect(script !== undefined, "no commitment to witnesses");
  return { hash: script.subarray(COMMITMENT.length, COMMITMENT_LENGTH), reserved: witness[0]! };
}

/** The transaction and the height of the block, which the paths show to have it. */
function included(evidence: BitcoinSpend, root: Uint8Array): { transaction: BitcoinTransaction; height: bigint } {
  return within("inclusion", () => {
    const transaction = readTransaction(evidence.transaction);
    const coinbase = readTransaction(evidence.coinbase);
    expect(evidence.witnessPath.length === evidence.coinbasePath.length, "paths of different lengths");
    expect(evidence.index > 0, "the transaction is the coinbase");
    expect(equal(merkleRoot(coinbase.hash, 0, evidence.coinbasePath), root), "the header does not have the coinbase");
    const commitment = commitmentOf(coinbase);
    const witnessRoot = merkleRoot(transaction.witnessHash, evidence.index, evidence.witnessPath);
    const committed = sha256d(concat(witnessRoot, commitment.reserved));
    expect(equal(committed, commitment.hash), "the block does not have the transaction");
    return { transaction, height: heightOf(coinbase) };
  });
}

function legScript(leg: BitcoinLeg): Uint8Array {
  const key = (hex: Hex) => "21" + hex;
  const locktime = leg.locktime <= 16 ? (0x50 + leg.locktime).toString(16) : pushed(scriptNumber(BigInt(leg.locktime)));
  const claim = "82012088" + "a820" + leg.paymentHash + "88" + key(leg.payee) + "ac";
  const back = key(leg.payer) + "ad" + key(leg.payeeRelease) + "ac" + "7364" + locktime + "b1" + "68";
  return fromHex("63" + claim + "67" + back + "68");
}

function pushed(bytes: Uint8Array): Hex {
  return toHex(Uint8Array.of(bytes.length)) + toHex(bytes);
}

/** Whether OP_IF takes the first branch: neither zero nor the negative zero. */
function isTrue(item: Uint8Array): boolean {
  return item.some((byte, at) => byte !== 0 && !(byte === 0x80 && at === item.length - 1));
}

function checkScript(input: BitcoinInput, funding: BitcoinTransaction, leg: BitcoinLeg): Pick<Shown, "result" | "preimage"> {
  const output = funding.outputs[input.output]!;
  const script = legScript(leg);
  const program = concat(Uint8Array.of(0x00, 0x20), sha256(script));
  check(equal(output.script, program), "script", "the output has another script");
  const [, preimage, selector, witnessScript] = input.witness;
  check(input.witness.length === 4, "script", `the witness has ${input.witness.length} items`);
  check(equal(witnessScript!, script), "script", "the witness has another script");
  if (!isTrue(selector!)) return { result: "returned", preimage: undefined };
  check(toHex(sha256(preimage!)) === leg.paymentHash, "script", "the witness has another preimage");
  return { result: "collected", preimage: toHex(preimage!) };
}

function readFunding(evidence: BitcoinSpend, input: BitcoinInput): BitcoinTransaction {
  return within("funding", () => {
    const funding = readTransaction(evidence.funding);
    expect(!funding.hasWitness, "the funding has witnesses");
    expect(equal(funding.hash, input.funding), "another transaction");
    expect(input.output < funding.outputs.length, "no such output");
    return funding;
  });
}

export function checkBitcoinSpend(evidence: BitcoinSpend, leg: BitcoinLeg): Shown {
  const { first, headers, work } = readChain(evidence, leg);
  const { transaction, height } = included(evidence, first.merkleRoot);
  const input = transaction.inputs[evidence.input];
  check(input !== undefined, "input", `the transaction has ${transaction.inputs.length} inputs`);
  const funding = readFunding(evidence, input);
  const end = checkScript(input, funding, leg);
  check(funding.outputs[input.output]!.amount === leg.amount, "amount", "the output holds another amount");
  check(height >= BigInt(leg.issuedHeight) - MAX_BLOCKS_BEFORE, "header", "the block is older than the terms");
  const blocks: Block[] = headers.map(({ hash, time }, at) => ({ hash, time, number: height + BigInt(at) }));
  return { ...end, block: blocks[0], work, later: blocks.slice(1) };
}
