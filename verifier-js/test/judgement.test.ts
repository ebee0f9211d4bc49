import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeProof, policyFromJson, ProofError, verifyProof, type Policy, type Point } from "../src/index.js";
import { fileOf, vector, VECTORS } from "./vectors.js";

const TRUSTED = vector("header-chain/the-block-itself");
const STATED = vector("statement/bob-to-rootstock");
const { provider } = verifyProof(fileOf(TRUSTED)).terms;

/** What a reader declares of the made proofs. */
const DECLARED = {
  providers: new Set([provider]),
  networks: new Set(["regtest"]),
  tokens: new Map([60808, 33].map((chain) => [chain, new Map([["11".repeat(20), 8]])])),
};
const TRUSTING: Policy = { ...policyFromJson(TRUSTED.policy), ...DECLARED };

function missing(policy: Policy, each = TRUSTED): readonly Point[] {
  const judgement = judgeProof(fileOf(each), policy);
  const points = judgement.missing.map(({ point }) => point);
  if (judgement.verdict === "valid") assert.equal(judgement.isConfirmed, points.length === 0);
  return points;
}

test("without a policy, everything is missing", () => {
  assert.deepEqual(missing({}), ["header", "asset", "provider", "test_money"]);
});

test("a policy that declares everything confirms the outcome", () => {
  assert.deepEqual(missing(TRUSTING), []);
});

for (const [requirement, point] of Object.entries({ providers: "provider", networks: "test_money", tokens: "asset", trustedHeaders: "header" })) {
  test(`a policy without ${requirement} misses the point ${point} and nothing else`, () => {
    const policy = Object.fromEntries(Object.entries(TRUSTING).filter(([key]) => key !== requirement));
    assert.deepEqual(missing(policy), [point]);
  });
}

test("mainnet needs no declaration", () => {
  const mainnet = VECTORS.filter(({ verdict, policy }) => verdict === "valid" && Object.keys(policy).length === 0)
    .map((each) => judgeProof(fileOf(each)))
    .filter(({ report }) => report.terms.network === "mainnet");
  assert.ok(mainnet.length > 0);
  for (const each of mainnet) assert.ok(each.missing.every(({ point }) => point !== "test_money"));
});

test("Rootstock's own coin needs no declaration of a token", () => {
  const coins = VECTORS.filter(({ verdict, policy }) => verdict === "valid" && Object.keys(policy).length === 0)
    .map((each) => judgeProof(fileOf(each)))
    .filter(({ report }) => [report.source, report.destination].every(({ leg }) => leg.kind !== "evm" || /^0+$/.test(leg.token)));
  assert.ok(coins.some(({ report }) => report.source.layer === "ROOTSTOCK" || report.destination.layer === "ROOTSTOCK"));
  for (const each of coins) assert.ok(each.missing.every(({ point }) => point !== "asset"));
});

test("a statement is enough in place of a header only if the policy requires no more than a statement", () => {
  assert.deepEqual(missing({ ...DECLARED, requires: "stated" }, STATED), []);
  assert.deepEqual(missing(DECLARED, STATED), ["header", "header"]);
  assert.deepEqual(missing({ ...DECLARED, requires: "as_agreed" }, STATED), ["header", "header"]);
});

test("a leg that is known less than the policy requires confirms nothing, also if no point is missing", () => {
  const bitcoin = vector("bitcoin/claim");
  const { work } = verifyProof(fileOf(bitcoin)).source;
  assert.ok(work !== undefined);
  const policy: Policy = { ...DECLARED, providers: new Set([verifyProof(fileOf(bitcoin)).terms.provider]), work: new Map([["BITCOIN", work]]) };
  assert.deepEqual(missing({ ...policy, requires: "as_agreed" }, bitcoin), []);
  const judgement = judgeProof(fileOf(bitcoin), { ...policy, requires: "finalized" });
  assert.equal(judgement.verdict, "undecided");
  assert.deepEqual([judgement.missing, judgement.isConfirmed], [[], false]);
});

test("one leg is no transfer, also if nothing is missing", () => {
  const policy: Policy = { ...DECLARED, requires: "stated" };
  const judgement = judgeProof(fileOf(vector("statement/of-a-leg-without-evidence")), policy);
  assert.deepEqual([judgement.verdict, judgement.missing, judgement.isConfirmed], ["valid", [], false]);
});

test("a proof is judged as it is verified, for every vector without headers", () => {
  for (const each of VECTORS.filter(({ headers }) => Object.keys(headers).length === 0)) {
    const policy = policyFromJson(each.policy);
    try {
      const { verdict, report } = judgeProof(fileOf(each), policy);
      assert.equal(verdict, each.verdict, each.name);
      if (verdict === "valid") assert.deepEqual(report, verifyProof(fileOf(each), policy));
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      assert.deepEqual([error.verdict, error.reason], [each.verdict, each.result], each.name);
    }
  }
});
