import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeProof, policyFromJson, ProofError, verifyProof, type Policy, type Undeclared } from "../src/index.js";
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

function undeclared(policy: Policy, each = TRUSTED): readonly Undeclared[] {
  return judgeProof(fileOf(each), policy).undeclared;
}

test("without a policy, everything is undeclared", () => {
  assert.deepEqual(undeclared({}), ["header", "provider", "token", "network"]);
});

test("a policy that declares everything leaves nothing undeclared", () => {
  assert.deepEqual(undeclared(TRUSTING), []);
});

for (const [missing, name] of Object.entries({ providers: "provider", networks: "network", tokens: "token", trustedHeaders: "header" })) {
  test(`a policy without ${missing} leaves the ${name} undeclared, and nothing else`, () => {
    const policy = Object.fromEntries(Object.entries(TRUSTING).filter(([key]) => key !== missing));
    assert.deepEqual(undeclared(policy), [name]);
  });
}

test("mainnet needs no declaration", () => {
  const mainnet = VECTORS.filter(({ verdict, policy }) => verdict === "valid" && Object.keys(policy).length === 0)
    .map((each) => judgeProof(fileOf(each)))
    .filter(({ report }) => report.terms.network === "mainnet");
  assert.ok(mainnet.length > 0);
  for (const each of mainnet) assert.ok(!each.undeclared.includes("network"));
});

test("Rootstock's own coin needs no declaration of a token", () => {
  const coins = VECTORS.filter(({ verdict, policy }) => verdict === "valid" && Object.keys(policy).length === 0)
    .map((each) => judgeProof(fileOf(each)))
    .filter(({ report }) => [report.source, report.destination].every(({ leg }) => leg.kind !== "evm" || /^0+$/.test(leg.token)));
  assert.ok(coins.some(({ report }) => report.source.layer === "ROOTSTOCK" || report.destination.layer === "ROOTSTOCK"));
  for (const each of coins) assert.ok(!each.undeclared.includes("token"));
});

test("a statement is enough in place of a header only if the policy requires no more than a statement", () => {
  assert.deepEqual(undeclared({ ...DECLARED, requires: "stated" }, STATED), []);
  assert.deepEqual(undeclared(DECLARED, STATED), ["header"]);
  assert.deepEqual(undeclared({ ...DECLARED, requires: "as_agreed" }, STATED), ["header"]);
});

test("a leg that is known less than the policy requires leaves its header undeclared, also if no point is open", () => {
  const bitcoin = vector("bitcoin/claim");
  const { work } = verifyProof(fileOf(bitcoin)).source;
  assert.ok(work !== undefined);
  const policy: Policy = { ...DECLARED, providers: new Set([verifyProof(fileOf(bitcoin)).terms.provider]), work: new Map([["BITCOIN", work]]) };
  assert.deepEqual(undeclared({ ...policy, requires: "as_agreed" }, bitcoin), []);
  const judgement = judgeProof(fileOf(bitcoin), { ...policy, requires: "finalized" });
  assert.equal(judgement.verdict, "undecided");
  assert.deepEqual(judgement.undeclared, ["header"]);
  assert.ok(judgement.report.openPoints.every(({ point }) => point !== "header"));
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
