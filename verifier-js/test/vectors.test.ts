import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { LAYERS, policyFromJson, ProofError, verifyProof, type Layer } from "../src/index.js";
import { fileOf, VECTORS, type Vector } from "./vectors.js";

function headersOf(vector: Vector): Map<Layer, Uint8Array[]> {
  const entries = Object.entries(vector.headers).map(([name, list]): [Layer, Uint8Array[]] => {
    const layer = LAYERS.find((each) => each === name);
    assert.ok(layer !== undefined);
    return [layer, list.map((hex) => Uint8Array.from(Buffer.from(hex, "hex")))];
  });
  return new Map(entries);
}

function answerTo(vector: Vector): { verdict: string; result: string } {
  try {
    const report = verifyProof(fileOf(vector), policyFromJson(vector.policy), { headers: headersOf(vector) });
    return { verdict: "valid", result: report.outcome };
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    return { verdict: error.verdict, result: error.verdict === "refused" ? error.reason : "" };
  }
}

test("there are vectors of each verdict", () => {
  assert.ok(VECTORS.length >= 658);
  assert.ok(VECTORS.some((vector) => vector.verdict === "valid"));
  assert.ok(VECTORS.some((vector) => vector.verdict === "refused"));
});

test("the verifier gives the verdict and the result of each vector", () => {
  const answers = VECTORS.map((vector) => ({ name: vector.name, ...answerTo(vector) }));
  assert.deepEqual(
    answers,
    VECTORS.map(({ name, verdict, result }) => ({ name, verdict, result })),
  );
});

test("the command gives the answer to each vector, in their order", () => {
  const command = fileURLToPath(new URL("../src/bin/layer2-verify.js", import.meta.url));
  const input = VECTORS.map((vector) => JSON.stringify(vector)).join("\n");
  const output = execFileSync(process.execPath, [command], { input, encoding: "utf-8", maxBuffer: 1 << 28 });
  const answers = output.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown);
  assert.deepEqual(
    answers,
    VECTORS.map(({ name, verdict, result }) => ({ name, verdict, result })),
  );
});
