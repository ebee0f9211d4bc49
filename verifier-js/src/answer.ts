/** Whether a holder's answer to a challenge is signed by a key of the taker. It does not check the proof. */

import { ascii, concat, fromHex, toHex, type Hex } from "./bytes.js";
import { parseCanonical, type JsonValue } from "./canonical-json.js";
import { readDocument } from "./document.js";
import { expect, Malformed } from "./error.js";
import { Fields } from "./fields.js";
import { keccak256, taggedHash } from "./hash.js";
import type { Layer } from "./layer.js";
import { accountOf, hasLowS, isEcdsaSignature, recoveredKey } from "./signature.js";
import { layerOf, type Leg, type Terms } from "./terms.js";

/** The names of the checks, as the specification writes them in brackets. */
export type AnswerReason =
  | "format"
  | "answer_challenge"
  | "answer_expired"
  | "answer_format"
  | "answer_high_s"
  | "answer_proof"
  | "answer_provider"
  | "answer_signature"
  | "answer_verifier";

/** A check of an answer that failed. */
export class AnswerError extends Error {
  readonly reason: AnswerReason;

  constructor(reason: AnswerReason, message: string) {
    super(`${reason}: ${message}`);
    this.name = "AnswerError";
    this.reason = reason;
  }
}

/** A party's key in one leg: the address of an account (20 bytes), or a compressed public key of a Bitcoin leg (33 bytes). */
export interface LegKey {
  readonly layer: Layer;
  readonly side: "payer" | "payee";
  readonly key: Hex;
}

interface Challenge {
  readonly termsHash: Hex;
  readonly swapId: Hex;
  readonly verifier: string;
  readonly nonce: Hex;
  /** Unix seconds. */
  readonly expiresAt: number;
}

const LIMITS = { length: 4096, separators: 10_000, depth: 64 };
const CHALLENGE = ["version", "terms_hash", "swap_id", "verifier", "nonce", "expires_at"];
const NAME = /^[!-~](?:[ -~]*[!-~])?$/;
const ACCOUNT_DIGITS = 40;
const SIGNATURE = 64;
const SIGNATURE_OF_ACCOUNT = 65;
/** By the last byte: wallets write 27 and 28, signers of digests 0 and 1. */
const RECOVERY_IDS: ReadonlyMap<number, number> = new Map([0, 1, 27, 28].map((last) => [last, last % 27]));

/**
 * Checks that a key of the taker signed the verifier's own challenge. Use a challenge once.
 *
 * @param proof the bytes of the proof that was presented. It is read and not checked: anyone can make terms with keys of their own.
 * @param challenge the verifier's own copy, and not one that came with the answer.
 * @param now unix seconds at which the answer arrived.
 * @returns the key that signed, once for each leg in which it is the taker's, the source first.
 * @throws AnswerError if a check fails. ProofError if the file is not a proof.
 */
export function checkAnswer(proof: Uint8Array, challenge: Uint8Array, answer: Uint8Array, now: number): readonly LegKey[] {
  const { terms } = readDocument(proof);
  const own = asFormat(() => readChallenge(parseCanonical(challenge, LIMITS)));
  const given = asFormat(() => readAnswer(answer));
  for (const each of [own, given.challenge]) {
    check(each.swapId === terms.swapId && each.termsHash === toHex(terms.hash), "answer_proof", "about another transfer or other terms");
  }
  check(given.challenge.verifier === own.verifier, "answer_verifier", "for another verifier");
  check(textOf(given.challenge) === textOf(own), "answer_challenge", "to another challenge");
  // A time that is not a number is not before the expiry.
  check(now <= own.expiresAt, "answer_expired", `the challenge was valid until ${own.expiresAt}`);
  return signersOf(terms, textOf(own), given.signature);
}

function readAnswer(file: Uint8Array): { challenge: Challenge; signature: Uint8Array } {
  const fields = new Fields(parseCanonical(file, LIMITS), ["version", "challenge", "signature"]);
  fields.version("version", 1);
  return { challenge: readChallenge(fields.value("challenge")), signature: fields.bytes("signature", SIGNATURE_OF_ACCOUNT) };
}

function readChallenge(value: JsonValue): Challenge {
  const fields = new Fields(value, CHALLENGE);
  fields.version("version", 1);
  const verifier = fields.text("verifier", 64);
  expect(NAME.test(verifier), "the verifier's name is not printable ASCII");
  return {
    termsHash: fields.hex("terms_hash", 32),
    swapId: fields.hex("swap_id", 16),
    verifier,
    nonce: fields.hex("nonce", 32),
    expiresAt: fields.number("expires_at"),
  };
}

/** What is signed. It has every field of the challenge. */
function textOf({ verifier, swapId, termsHash, expiresAt, nonce }: Challenge): string {
  return `layer2 holder challenge, version 1

I hold a key of the taker of this transfer. I state this to this verifier only. This signature moves no money.

Verifier: ${verifier}
Transfer: ${swapId}
Terms: ${termsHash}
Valid until (unix time): ${expiresAt}
Challenge: ${nonce}`;
}

function signersOf(terms: Terms, text: string, signature: Uint8Array): readonly LegKey[] {
  const isOfLength = signature.length === SIGNATURE || signature.length === SIGNATURE_OF_ACCOUNT;
  check(isOfLength, "answer_format", "a signature of another length");
  check(hasLowS(signature), "answer_high_s", "a high s");
  const takers = keysOf(terms.source, "payer").concat(keysOf(terms.destination, "payee"));
  const signers = takers.filter((each) => hasSigned(each.key, text, signature));
  if (signers.length > 0) return signers;
  const providers = keysOf(terms.source, "payee").concat(keysOf(terms.destination, "payer"));
  const isProvider = providers.some((each) => hasSigned(each.key, text, signature));
  check(!isProvider, "answer_provider", "signed by the provider");
  throw new AnswerError("answer_signature", "not signed by a key of the taker");
}

function keysOf(leg: Leg, side: LegKey["side"]): LegKey[] {
  return leg.kind === "lightning" ? [] : [{ layer: layerOf(leg), side, key: leg[side] }];
}

function hasSigned(key: Hex, text: string, signature: Uint8Array): boolean {
  const message = ascii(text);
  if (key.length !== ACCOUNT_DIGITS) {
    return signature.length === SIGNATURE && isEcdsaSignature(signature, taggedHash("layer2/holder-challenge/v1", message), fromHex(key));
  }
  if (signature.length !== SIGNATURE_OF_ACCOUNT) return false;
  const recoveryId = RECOVERY_IDS.get(signature[SIGNATURE]!);
  check(recoveryId !== undefined, "answer_format", "the last byte is not 0, 1, 27 or 28");
  const digest = keccak256(concat(ascii(`\x19Ethereum Signed Message:\n${message.length}`), message));
  const signer = recoveredKey(signature.subarray(0, SIGNATURE), recoveryId, digest);
  check(signer !== undefined, "answer_format", "a signature without a signer");
  return toHex(accountOf(signer)) === key;
}

function check(condition: boolean, reason: AnswerReason, message: string): asserts condition {
  if (!condition) throw new AnswerError(reason, message);
}

function asFormat<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Malformed) throw new AnswerError("format", error.message);
    throw error;
  }
}
