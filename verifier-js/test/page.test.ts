import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decimal, grouped, satoshi, time } from "../page/amounts.js";
import { headline, summaryOf } from "../page/headline.js";
import { readHeaders, readPolicy, wantedHeaders, type PolicyTexts } from "../page/policy-form.js";
import { repeatedPayments, verdictOn } from "../page/verdict.js";
import { policyFromJson, verifyProof, type Policy } from "../src/index.js";
import { fileOf, vector, VECTORS } from "./vectors.js";

const PAGE = readFileSync(new URL("../../dist/page/check-proofs.html", import.meta.url), "utf-8");
const EMPTY: PolicyTexts = {
  requires: "nothing",
  providers: "",
  networks: [],
  tokens: "",
  contracts: "",
  ownPreimagePayees: "",
  trustedHeaders: "",
  work: "",
};
const COMPLETED = fileOf(vector("outcome/bob-to-lightning"));

function between(start: string, end: string): string {
  const at = PAGE.indexOf(start) + start.length;
  return PAGE.slice(at, PAGE.indexOf(end, at));
}

function allowedHash(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

test("the page is one file of less than 150 kB, and its policy allows its own script and style alone", () => {
  assert.ok(Buffer.byteLength(PAGE) < 150_000);
  const csp = between('http-equiv="Content-Security-Policy" content="', '"');
  const script = allowedHash(between("<script>", "</script>"));
  const style = allowedHash(between("<style>", "</style>"));
  assert.equal(
    csp,
    `default-src 'none'; script-src ${script}; style-src ${style}; img-src data:; base-uri 'none'; form-action 'none'`,
  );
});

test("the page names no other file and no host, except in the licences of its packages", () => {
  const licence = /<p class="licence">[^<]*<\/p>/g;
  assert.equal(PAGE.match(licence)?.length, 3);
  assert.doesNotMatch(PAGE.replace(licence, ""), /https?:|\ssrc=|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\(/);
  assert.deepEqual(PAGE.match(/\shref="[^"]*"/g), [' href="data:,"']);
  assert.deepEqual(PAGE.match(/\son[a-z]+="/g), null);
});

test("each control of the page has a label, and what describes it exists", () => {
  const ids = new Set([...PAGE.matchAll(/\sid="([^"]+)"/g)].map((match) => match[1]));
  for (const [tag, kind] of PAGE.matchAll(/<(input|select|textarea)\s[^>]*>/g)) {
    const id = /\sid="([^"]+)"/.exec(tag)?.[1];
    if (kind === "input" && tag.includes('type="checkbox"')) continue;
    assert.ok(id !== undefined && PAGE.includes(`<label for="${id}">`), tag);
  }
  for (const [, name] of PAGE.matchAll(/aria-(?:describedby|labelledby)="([^"]+)"/g)) assert.ok(ids.has(name!), name);
});

test("an empty form is a policy that requires nothing", () => {
  const { policy, errors } = readPolicy(EMPTY);
  assert.deepEqual(policy, { requires: "nothing" });
  assert.equal(errors.size, 0);
});

test("a form with every field is the policy of the same JSON", () => {
  const hash = "AB".repeat(32);
  const { policy, errors } = readPolicy({
    requires: "finalized",
    providers: `0x${hash}\n\n${"02" + "cd".repeat(32)}  `,
    networks: ["mainnet"],
    tokens: `60808 0x${"Aa".repeat(20)} 8\n60808, ${"bb".repeat(20)}, 18`,
    contracts: `30:${"cc".repeat(20)}`,
    ownPreimagePayees: "03" + "ee".repeat(32),
    trustedHeaders: `bob: 0x${hash}`,
    work: "BITCOIN 1_000_000",
  });
  assert.equal(errors.size, 0);
  const expected = policyFromJson({
    requires: "finalized",
    providers: ["ab".repeat(32), "02" + "cd".repeat(32)],
    networks: ["mainnet"],
    tokens: { 60808: { ["aa".repeat(20)]: 8, ["bb".repeat(20)]: 18 } },
    contracts: { 30: ["cc".repeat(20)] },
    own_preimage_payees: ["03" + "ee".repeat(32)],
    trusted_headers: { BOB: "ab".repeat(32) },
    work: { BITCOIN: 1_000_000 },
  });
  assert.deepEqual(policy, expected);
});

test("each wrong field has its own error, and the others still count", () => {
  const { policy, errors } = readPolicy({
    ...EMPTY,
    providers: "abc",
    tokens: `60808 ${"aa".repeat(20)}`,
    trustedHeaders: `MOON ${"ab".repeat(32)}`,
    work: "BITCOIN many",
    networks: ["regtest"],
  });
  assert.deepEqual([...errors.keys()], ["providers", "tokens", "trustedHeaders", "work"]);
  assert.deepEqual(policy.networks, new Set(["regtest"]));
});

test("headers are read with and without a prefix, and are used only up to a trusted one", () => {
  const headers = readHeaders("0xC0FF\n\nee\n");
  assert.deepEqual(headers, [Uint8Array.of(0xc0, 0xff), Uint8Array.of(0xee)]);
  assert.throws(() => readHeaders("0xabc"), /line 1/);
  const trusted = policyFromJson({ trusted_headers: { BITCOIN: "00".repeat(32) } });
  assert.equal(wantedHeaders(new Map([["BOB", headers]]), trusted).headers?.size, 0);
  assert.equal(wantedHeaders(new Map([["BITCOIN", headers]]), trusted).headers?.size, 1);
});

test("an undecided proof keeps the report of what it shows", () => {
  const verdict = verdictOn(COMPLETED, { requires: "finalized" }, {});
  assert.equal(verdict.verdict, "undecided");
  assert.ok(verdict.verdict === "undecided" && verdict.report.outcome === "completed");
});

test("the summary counts each verdict, and names payments that count once", () => {
  const verdicts = [
    verdictOn(COMPLETED, {}, {}),
    verdictOn(COMPLETED, { requires: "finalized" }, {}),
    verdictOn(fileOf(vector("bitcoin/refund")), {}, {}),
    verdictOn(fileOf(vector("format/empty")), {}, {}),
  ];
  assert.equal(summaryOf(verdicts), "4 files checked: 1 completed but not confirmed, 1 undecided, 1 refunded but not confirmed, 1 refused.");
  assert.deepEqual(repeatedPayments(verdicts.slice(0, 2)), [[0, 1]]);
  assert.deepEqual(repeatedPayments(verdicts.slice(3)), []);
});

const TOKEN = "11".repeat(20);
/** What a reader declares of the made proofs, in addition to their provider. */
const DECLARED = {
  networks: new Set(["regtest"]),
  tokens: new Map([60808, 33].map((chain) => [chain, new Map([[TOKEN, 8]])])),
};

const PROVIDER = verifyProof(COMPLETED).terms.provider;
const STATED = "as the provider that you named states";

function headlineOf(name: string, policy: Policy): string {
  const each = vector(name);
  return headline(verdictOn(fileOf(each), { ...policyFromJson(each.policy), ...policy }, {}));
}

test("the headline of a result names what the policy does not declare", () => {
  const states = "The file states a completed transfer: both legs were collected.";
  assert.equal(headline(verdictOn(COMPLETED, {}, {})), `Not confirmed: you have not declared a header or work, the provider, the token and the network. ${states}`);
  const trusted = "header-chain/the-block-itself";
  assert.equal(headlineOf(trusted, {}), `Not confirmed: you have not declared the provider, the token and the network. ${states}`);
  assert.equal(headlineOf(trusted, { ...DECLARED }), `Not confirmed: you have not declared the provider. ${states}`);
  const named = { providers: new Set([PROVIDER]) };
  assert.equal(headlineOf(trusted, { ...named, networks: DECLARED.networks }), `Not confirmed: you have not declared the token. ${states}`);
});

test("the headline of a result names for each leg the declaration that shows its end", () => {
  const named = { ...DECLARED, providers: new Set([PROVIDER]) };
  const bob = "Completed. BOB: collected, by the header that you trust.";
  assert.equal(headlineOf("header-chain/the-block-itself", named), `${bob} LIGHTNING: its preimage is shown, but no payment.`);
  const { payee } = verifyProof(COMPLETED).destination.leg;
  const payees = { ...named, ownPreimagePayees: new Set([payee]) };
  assert.equal(headlineOf("header-chain/the-block-itself", payees), `${bob} LIGHTNING: paid, if its payee makes its own preimages, as you declare.`);
  const work = { ...named, work: new Map([["BITCOIN", 1n]] as const) };
  assert.equal(headlineOf("bitcoin/claim", work), "Completed. BITCOIN: collected, by the work that you require. LIGHTNING: its preimage is shown, but no payment.");
  assert.equal(headlineOf("bitcoin/refund", work), "Refunded. BITCOIN: returned, by the work that you require. LIGHTNING: nothing is shown.");
});

test("a headline that relies on a statement says so, and only if the policy requires no more", () => {
  const stated = "statement/bob-to-rootstock";
  const requires = (level: Policy["requires"]) => headlineOf(stated, { ...DECLARED, requires: level! });
  assert.equal(requires("stated"), `Stated as completed. BOB: collected, ${STATED}. ROOTSTOCK: collected, ${STATED}.`);
  assert.match(requires("nothing"), /^Not confirmed: you have not declared a header or work\. The file states /);
  assert.match(requires("as_agreed"), /^Undecided: nothing shows what your policy requires\. The file states /);
  assert.equal(
    headlineOf("statement/refunded", { ...DECLARED, providers: new Set([PROVIDER]), requires: "stated" }),
    `Stated as refunded. BOB: returned, ${STATED}. LIGHTNING: never funded, ${STATED}.`,
  );
});

test("one leg is no transfer, also if the statement names the end of the other", () => {
  const policy: Policy = { ...DECLARED, providers: new Set([PROVIDER]), requires: "stated" };
  const verdict = verdictOn(fileOf(vector("statement/of-a-leg-without-evidence")), policy, {});
  assert.match(headline(verdict), /^One leg only\. .*, as the provider that you named states\.$/);
  assert.equal(summaryOf([verdict]), "1 file checked: 1 partial.");
});

test("the result of each reason names it", () => {
  const refused = new Map(VECTORS.filter((each) => each.verdict === "refused").map((each) => [each.result, each]));
  assert.ok(refused.size > 40);
  for (const [reason, each] of refused) {
    const verdict = verdictOn(fileOf(each), policyFromJson(each.policy), {});
    if (reason !== "header_chain") assert.match(headline(verdict), new RegExp(`^Refused: .*\\(${reason}\\)$`));
  }
});

test("amounts and times are exact", () => {
  assert.equal(grouped(1_234_567n), "1,234,567");
  assert.equal(satoshi(100_420n), "100,420 sat (0.0010042 BTC)");
  assert.equal(decimal(0n, 8), "0");
  assert.equal(decimal(10n ** 18n + 1n, 18), "1.000000000000000001");
  assert.equal(decimal(5n, 0), "5");
  assert.equal(time(1_790_000_001), "2026-09-21 14:13:21 UTC");
  assert.equal(time(2n ** 63n), "9223372036854775808 s");
});
