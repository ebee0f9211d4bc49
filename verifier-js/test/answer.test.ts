import assert from "node:assert/strict";
import { test } from "node:test";

import { secp256k1 } from "@noble/curves/secp256k1.js";

import { ascii, concat, toHex } from "../src/bytes.js";
import { canonicalForm, type JsonValue } from "../src/canonical-json.js";
import { keccak256, taggedHash } from "../src/hash.js";
import { AnswerError, checkAnswer, type AnswerReason } from "../src/index.js";
import { accountOf } from "../src/signature.js";
import { vector } from "./vectors.js";

const TAKER = new Uint8Array(32).fill(1);
const PROVIDER = new Uint8Array(32).fill(2);
const keyOf = (secret: Uint8Array) => secp256k1.getPublicKey(secret);
const utf8 = (value: JsonValue) => new TextEncoder().encode(canonicalForm(value));

interface Asked {
  readonly proof: Uint8Array;
  readonly challenge: Readonly<Record<string, JsonValue>>;
}

/** A vector whose source is between the two keys. Its other checks do not matter here. */
function ask(name: string, keyName: (secret: Uint8Array) => string): Asked {
  const proof = JSON.parse(vector(name).proof!);
  Object.assign(proof.terms.source, { payer: keyName(TAKER), payee: keyName(PROVIDER) });
  const challenge = {
    version: 1,
    terms_hash: toHex(taggedHash("layer2/terms/v1", utf8(proof.terms))),
    swap_id: proof.terms.swap_id,
    verifier: "Example Bank",
    nonce: "ab".repeat(32),
    expires_at: 1_000,
  };
  return { proof: utf8(proof), challenge };
}

const onBob = () => ask("outcome/bob-to-lightning", (secret) => toHex(accountOf(keyOf(secret))));
const onBitcoin = () => ask("bitcoin/claim", (secret) => toHex(keyOf(secret)));

function textOf(challenge: Asked["challenge"]): Uint8Array {
  return ascii(
    "layer2 holder challenge, version 1\n\nI hold a key of the taker of this transfer. I state this to this verifier only. " +
      `This signature moves no money.\n\nVerifier: ${challenge["verifier"]}\nTransfer: ${challenge["swap_id"]}\n` +
      `Terms: ${challenge["terms_hash"]}\nValid until (unix time): ${challenge["expires_at"]}\nChallenge: ${challenge["nonce"]}`,
  );
}

function byAccount(challenge: Asked["challenge"], secret: Uint8Array): Uint8Array {
  const text = textOf(challenge);
  const digest = keccak256(concat(ascii(`\x19Ethereum Signed Message:\n${text.length}`), text));
  const recoverable = secp256k1.sign(digest, secret, { prehash: false, format: "recovered" });
  return concat(recoverable.subarray(1), Uint8Array.of(27 + recoverable[0]!));
}

function byOutputKey(challenge: Asked["challenge"], secret: Uint8Array): Uint8Array {
  return secp256k1.sign(taggedHash("layer2/holder-challenge/v1", textOf(challenge)), secret, { prehash: false });
}

function checked({ proof, challenge }: Asked, signature: Uint8Array, answered = challenge, now = 1_000) {
  return checkAnswer(proof, utf8(challenge), utf8({ version: 1, challenge: answered, signature: toHex(signature) }), now);
}

function refuses(reason: AnswerReason, check: () => unknown): void {
  assert.throws(check, (error) => error instanceof AnswerError && error.reason === reason);
}

test("an answer by the taker's account names its leg", () => {
  const asked = onBob();
  const key = toHex(accountOf(keyOf(TAKER)));
  assert.deepEqual(checked(asked, byAccount(asked.challenge, TAKER)), [{ layer: "BOB", side: "payer", key }]);
});

test("an answer by the taker's key of an output names its leg", () => {
  const asked = onBitcoin();
  const key = toHex(keyOf(TAKER));
  assert.deepEqual(checked(asked, byOutputKey(asked.challenge, TAKER)), [{ layer: "BITCOIN", side: "payer", key }]);
});

test("an answer by the provider, or by a stranger, is refused", () => {
  const asked = onBob();
  refuses("answer_provider", () => checked(asked, byAccount(asked.challenge, PROVIDER)));
  refuses("answer_signature", () => checked(asked, byAccount(asked.challenge, new Uint8Array(32).fill(3))));
  refuses("answer_signature", () => checked(asked, byOutputKey(asked.challenge, TAKER)));
});

test("an answer counts until the expiry and no longer", () => {
  const asked = onBob();
  const signature = byAccount(asked.challenge, TAKER);
  for (const late of [1_001, Infinity, NaN]) refuses("answer_expired", () => checked(asked, signature, asked.challenge, late));
});

test("an answer to another challenge, for another verifier or about another transfer is refused", () => {
  const asked = onBob();
  const changes: [AnswerReason, Record<string, JsonValue>][] = [
    ["answer_challenge", { nonce: "cd".repeat(32) }],
    ["answer_challenge", { expires_at: 2_000 }],
    ["answer_verifier", { verifier: "Other Bank" }],
    ["answer_proof", { swap_id: "00".repeat(16) }],
    ["format", { verifier: " Example Bank" }],
  ];
  for (const [reason, change] of changes) {
    const other = { ...asked.challenge, ...change };
    refuses(reason, () => checked(asked, byAccount(other, TAKER), other));
  }
});
