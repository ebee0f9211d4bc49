import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
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

const COMMAND = fileURLToPath(new URL("../src/bin/layer2-verify.js", import.meta.url));

test("the command ends in silence if its reader has seen enough", () => {
  const input = VECTORS.map((vector) => JSON.stringify(vector)).join("\n");
  const shell = '"$0" "$1" | head -n 1';
  const ran = spawnSync("sh", ["-c", shell, process.execPath, COMMAND], { input, encoding: "utf-8", maxBuffer: 1 << 28 });
  assert.equal(ran.stderr, "");
  assert.equal(ran.stdout.trimEnd().split("\n").length, 1);
});

test("the command names its input if it is given a file", () => {
  const ran = spawnSync(process.execPath, [COMMAND, "transfer.json"], { input: "", encoding: "utf-8" });
  assert.equal(ran.status, 2);
  assert.match(ran.stderr, /^layer2-verify: takes no arguments; it reads the standard input/);
});

test("the command gives the answer to each vector, in their order", () => {
  const input = VECTORS.map((vector) => JSON.stringify(vector)).join("\n");
  const output = execFileSync(process.execPath, [COMMAND], { input, encoding: "utf-8", maxBuffer: 1 << 28 });
  const answers = output.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown);
  assert.deepEqual(
    answers,
    VECTORS.map(({ name, verdict, result }) => ({ name, verdict, result })),
  );
});
