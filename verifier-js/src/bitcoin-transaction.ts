/** Bitcoin's transactions in the encoding of BIP 144. Other bytes are malformed. */

import { ByteReader } from "./byte-reader.js";
import { concat } from "./bytes.js";
import { expect } from "./error.js";
import { sha256d } from "./hash.js";

export interface BitcoinInput {
  /** The hash of the transaction whose output the input spends, in the order of the bytes. */
  readonly funding: Uint8Array;
  readonly output: number;
  readonly script: Uint8Array;
  readonly witness: readonly Uint8Array[];
}

export interface BitcoinOutput {
  /** Satoshi. */
  readonly amount: bigint;
  readonly script: Uint8Array;
}

export interface BitcoinTransaction {
  readonly inputs: readonly BitcoinInput[];
  readonly outputs: readonly BitcoinOutput[];
  readonly hasWitness: boolean;
  /** The transaction's hash without witnesses, in the order of the bytes. */
  readonly hash: Uint8Array;
  /** The transaction's hash with witnesses. */
  readonly witnessHash: Uint8Array;
}

const MAX_SATOSHI = 21_000_000n * 100_000_000n;

/** Reads as many items as a compact size states. Each has bytes, so the length of the transaction bounds the work. */
function readItems<T>(reader: ByteReader, read: () => T): T[] {
  const items: T[] = [];
  for (let left = reader.compactSize(); left > 0n; left--) items.push(read());
  return items;
}

function readInput(reader: ByteReader): Omit<BitcoinInput, "witness"> {
  const funding = reader.take(32);
  const output = Number(reader.littleEndian(4));
  const script = reader.sizedBytes();
  reader.take(4);
  return { funding, output, script };
}

function readOutput(reader: ByteReader): BitcoinOutput {
  const amount = reader.littleEndian(8);
  expect(amount <= MAX_SATOSHI, "an output above all bitcoin");
  return { amount, script: reader.sizedBytes() };
}

export function readTransaction(encoding: Uint8Array): BitcoinTransaction {
  const reader = new ByteReader(encoding);
  const version = reader.take(4);
  const hasWitness = encoding[4] === 0;
  if (hasWitness) expect(reader.byte() === 0 && reader.byte() === 1, "no inputs, or an unknown flag");
  const start = reader.position;
  const inputs = readItems(reader, () => readInput(reader));
  const outputs = readItems(reader, () => readOutput(reader));
  expect(inputs.length > 0 && outputs.length > 0, "no inputs or no outputs");
  const body = encoding.subarray(start, reader.position);
  const witnesses = hasWitness ? inputs.map(() => readItems(reader, () => reader.sizedBytes())) : [];
  expect(!hasWitness || witnesses.some((witness) => witness.length > 0), "a marker without a witness");
  const locktime = reader.take(4);
  reader.expectEnd();
  return {
    inputs: inputs.map((input, at) => ({ ...input, witness: witnesses[at] ?? [] })),
    outputs,
    hasWitness,
    hash: sha256d(concat(version, body, locktime)),
    witnessHash: sha256d(encoding),
  };
}
