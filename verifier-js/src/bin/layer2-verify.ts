#!/usr/bin/env node
/**
 * Checks proofs, one for each line of the standard input, and writes one line of JSON for each.
 *
 * A line is an object as in the test vectors: `name`, the file as a text (`proof`) or in hexadecimal digits (`proof_hex`), and
 * optionally `policy` and `headers`. The answer has `name`, `verdict` ("valid", "refused" or "undecided") and `result` (the outcome,
 * the reason, or an empty text). The command exits with status 0 if it could read every line, and with 2 otherwise. It takes no
 * arguments.
 */

import { createInterface } from "node:readline";

import { fromHex } from "../bytes.js";
import { verifyProof } from "../check.js";
import { ProofError } from "../error.js";
import type { Layer } from "../layer.js";
import { layerNamed, policyFromJson } from "../policy.js";

interface Answer {
  readonly name: string;
  readonly verdict: "valid" | "refused" | "undecided";
  readonly result: string;
}

type Line = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Line {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fileOf(line: Line): Uint8Array {
  if (typeof line["proof_hex"] === "string") return fromHex(line["proof_hex"]);
  if (typeof line["proof"] === "string") return new TextEncoder().encode(line["proof"]);
  throw new TypeError("a line has neither proof nor proof_hex");
}

function headersOf(value: unknown): Map<Layer, Uint8Array[]> {
  const headers = new Map<Layer, Uint8Array[]>();
  if (!isObject(value)) throw new TypeError("headers is not an object");
  for (const [layer, list] of Object.entries(value)) {
    if (!Array.isArray(list)) throw new TypeError("the headers of a layer are not a list");
    headers.set(
      layerNamed(layer),
      list.map((each: unknown) => fromHex(String(each))),
    );
  }
  return headers;
}

function answer(text: string): Answer {
  const line: unknown = JSON.parse(text);
  if (!isObject(line) || typeof line["name"] !== "string") throw new TypeError("a line is not an object with a name");
  const name = line["name"];
  const policy = policyFromJson(line["policy"] ?? {});
  try {
    const report = verifyProof(fileOf(line), policy, { headers: headersOf(line["headers"] ?? {}) });
    return { name, verdict: "valid", result: report.outcome };
  } catch (error) {
    if (error instanceof ProofError) return { name, verdict: error.verdict, result: error.verdict === "refused" ? error.reason : "" };
    throw error;
  }
}

// A reader such as `head` closes the output when it has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

if (process.argv.length > 2) {
  process.stderr.write("layer2-verify: takes no arguments; it reads the standard input, one JSON object on each line\n");
  process.exit(2);
}

for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (text === "") continue;
  try {
    process.stdout.write(JSON.stringify(answer(text)) + "\n");
  } catch (error) {
    process.stderr.write(`layer2-verify: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
    break;
  }
}
