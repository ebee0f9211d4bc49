import { readFileSync } from "node:fs";

export interface Vector {
  readonly name: string;
  readonly proof?: string;
  readonly proof_hex?: string;
  readonly policy: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly verdict: "valid" | "refused" | "undecided";
  readonly result: string;
}

const FILE = new URL("../../../src/layer2/proofs/vectors/v1.jsonl", import.meta.url);

export const VECTORS: readonly Vector[] = readFileSync(FILE, "utf-8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line) as Vector);

export function vector(name: string): Vector {
  const found = VECTORS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found;
}

export function fileOf(each: Vector): Uint8Array {
  return each.proof_hex === undefined ? new TextEncoder().encode(each.proof) : Uint8Array.from(Buffer.from(each.proof_hex, "hex"));
}
