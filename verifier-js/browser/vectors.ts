/** The test vectors as files that can be dropped. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { NamedFile } from "./open-page.js";

export interface Vector {
  readonly name: string;
  readonly file: NamedFile;
  /** Whether it is to be checked without a policy and without further headers. */
  readonly isPlain: boolean;
  readonly policy: Readonly<Record<string, any>>;
  readonly headers: Readonly<Record<string, string[]>>;
  readonly verdict: string;
  readonly result: string;
}

const LINES = readFileSync(join(import.meta.dirname, "../../../src/layer2/proofs/vectors/v1.jsonl"), "utf-8");

export const VECTORS: readonly Vector[] = LINES.trimEnd()
  .split("\n")
  .map((line) => {
    const fields = JSON.parse(line);
    const content = fields.proof ?? Buffer.from(fields.proof_hex, "hex");
    return {
      name: fields.name,
      file: { name: `${fields.name.replaceAll("/", "-")}.json`, content },
      isPlain: Object.keys(fields.policy).length + Object.keys(fields.headers).length === 0,
      policy: fields.policy,
      headers: fields.headers,
      verdict: fields.verdict,
      result: fields.result,
    };
  });

export function vector(name: string): Vector {
  const found = VECTORS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no vector ${name}`);
  return found;
}

export function proof(name: string): NamedFile {
  return vector(name).file;
}

/** The text of a proof with one part replaced. */
export function changed(name: string, from: string, to: string): NamedFile {
  const original = proof(name);
  if (typeof original.content !== "string" || !original.content.includes(from)) throw new Error(`${name} has no ${from}`);
  return { name: "forged.json", content: original.content.replace(from, to) };
}
