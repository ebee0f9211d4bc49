import assert from "node:assert/strict";
import { test } from "node:test";

import { policyFromJson, PolicyError, ProofError, verifyProof, type CheckOptions, type Finality, type Policy } from "../src/index.js";
import { fileOf, vector } from "./vectors.js";

const BOB_TO_LIGHTNING = fileOf(vector("outcome/bob-to-lightning"));
const BITCOIN = fileOf(vector("bitcoin/claim"));

function levelOf(policy: Policy, options?: CheckOptions): string {
  return verifyProof(BOB_TO_LIGHTNING, policy, options).source.level;
}

function confirmedAt(finality: Finality): CheckOptions {
  const { block } = verifyProof(BOB_TO_LIGHTNING).source;
  assert.ok(block !== undefined);
  return { confirmed: [{ layer: "BOB", hash: block.hash, finality }] };
}

function isUndecided(error: unknown): boolean {
  return error instanceof ProofError && error.verdict === "undecided" && error.reason === "level";
}

test("a report shows the amounts, the blocks and the preimage", () => {
  const report = verifyProof(BOB_TO_LIGHTNING);
  assert.equal(report.outcome, "completed");
  assert.equal(report.source.satoshi, 100_420n);
  assert.equal(report.destination.satoshi, 100_000n);
  assert.equal(report.source.block?.number, 1234n);
  assert.equal(report.source.block?.time, 0x6ab13bbcn);
  assert.equal(report.source.preimage, report.destination.preimage);
  assert.equal(report.destination.block, undefined);
});

test("without a policy, the report names what the proof does not show", () => {
  const points = verifyProof(BOB_TO_LIGHTNING).openPoints.map(({ point, layer }) => [point, layer]);
  assert.deepEqual(points, [
    ["header", "BOB"],
    ["asset", "BOB"],
    ["payment", "LIGHTNING"],
    ["provider", undefined],
    ["test_money", undefined],
  ]);
});

test("a policy that sets everything, and a node, leave no point open", () => {
  const policy = policyFromJson(vector("policy/all-requirements-are-met").policy);
  assert.deepEqual(verifyProof(BOB_TO_LIGHTNING, policy, confirmedAt("safe")).openPoints, []);
});

test("a leg without evidence is an open point", () => {
  const report = verifyProof(fileOf(vector("outcome/source-only")));
  assert.ok(report.openPoints.some(({ point, layer }) => point === "leg" && layer === "LIGHTNING"));
});

test("a node confirms a leg only at the leg's finality or a stronger one", () => {
  assert.equal(levelOf({}), "offline");
  assert.equal(levelOf({}, confirmedAt("latest")), "offline");
  assert.equal(levelOf({}, confirmedAt("safe")), "as_agreed");
  assert.equal(levelOf({}, confirmedAt("finalized")), "finalized");
});

test("a confirmation of another block or another layer does not count", () => {
  const [own] = confirmedAt("finalized").confirmed!;
  assert.equal(levelOf({}, { confirmed: [{ ...own!, hash: "00".repeat(32) }] }), "offline");
  assert.equal(levelOf({}, { confirmed: [{ ...own!, layer: "ROOTSTOCK" }] }), "offline");
});

test("a trusted header counts as final", () => {
  const each = vector("header-chain/the-block-itself");
  const policy = { ...policyFromJson(each.policy), requires: "finalized" as const };
  assert.equal(verifyProof(fileOf(each), policy).source.level, "trusted_header");
});

test("work counts as agreed, and not as final", () => {
  const work = verifyProof(BITCOIN).destination.work ?? verifyProof(BITCOIN).source.work;
  assert.ok(work !== undefined && work > 0n);
  const enough: Policy = { work: new Map([["BITCOIN", work]]), requires: "as_agreed" };
  const others = verifyProof(BITCOIN).source.layer === "BITCOIN" ? "destination" : "source";
  const other = verifyProof(BITCOIN)[others];
  const confirmed = other.block === undefined ? [] : [{ layer: other.layer, hash: other.block.hash, finality: "finalized" as const }];
  assert.equal(verifyProof(BITCOIN, enough, { confirmed }).source.level, "work");
  assert.throws(() => verifyProof(BITCOIN, { ...enough, requires: "finalized" }, { confirmed }), isUndecided);
  const more: Policy = { ...enough, work: new Map([["BITCOIN", work + 1n]]) };
  assert.throws(() => verifyProof(BITCOIN, more, { confirmed }), isUndecided);
});

test("a proof that does not reach the required level is undecided", () => {
  for (const requires of ["as_agreed", "finalized", "stated"] as const) {
    assert.throws(() => verifyProof(BOB_TO_LIGHTNING, { requires }), isUndecided);
  }
  assert.throws(() => verifyProof(BOB_TO_LIGHTNING, { requires: "finalized" }, confirmedAt("safe")), isUndecided);
  assert.equal(verifyProof(BOB_TO_LIGHTNING, { requires: "as_agreed" }, confirmedAt("safe")).source.level, "as_agreed");
});

test("a failed check takes precedence over a level that is not reached", () => {
  const refused = fileOf(vector("preimage/of-another-hash"));
  assert.throws(
    () => verifyProof(refused, { requires: "finalized" }),
    (error) => error instanceof ProofError && error.verdict === "refused" && error.reason === "preimage",
  );
});

for (const [name, policy] of Object.entries({
  "an unknown requirement": { provider: [] },
  "upper-case digits": { providers: ["AB".repeat(32)] },
  "a key of another length": { providers: ["ab".repeat(31)] },
  "a chain id that is not a number": { tokens: { bob: {} } },
  "decimals that are a text": { tokens: { 1: { ["11".repeat(20)]: "8" } } },
  "an unknown layer": { trusted_headers: { BOBB: "00".repeat(32) } },
  "an unknown level": { requires: "all" },
  "negative work": { work: { BITCOIN: -1 } },
  "no work": { work: { BITCOIN: 0 } },
  "work with a fraction": { work: { BITCOIN: 0.5 } },
})) {
  test(`a policy with ${name} is a mistake`, () => {
    assert.throws(() => policyFromJson(policy), PolicyError);
  });
}
