/** Signatures on secp256k1, all of 32 bytes that are not hashed again. */

import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";

import { bigEndian, fromHex, type Hex } from "./bytes.js";
import { keccak256 } from "./hash.js";

export const SCHEMES = ["bip340", "ecdsa"] as const;
export type Scheme = (typeof SCHEMES)[number];

function attempt<T>(action: () => T): T | undefined {
  // The library throws errors without a class of their own for keys and signatures that cannot exist.
  try {
    return action();
  } catch {
    return undefined;
  }
}

/** Whether 64 bytes are the BIP 340 signature of `digest` by a key of 32 bytes. */
function isBip340Signature(signature: Uint8Array, digest: Uint8Array, key: Uint8Array): boolean {
  return attempt(() => schnorr.verify(signature, digest, key)) ?? false;
}

/** Whether 64 bytes are the ECDSA signature, with a low s, of `digest` by a compressed key. */
export function isEcdsaSignature(signature: Uint8Array, digest: Uint8Array, key: Uint8Array): boolean {
  return attempt(() => secp256k1.verify(signature, digest, key, { prehash: false, lowS: true, format: "compact" })) ?? false;
}

/** The compressed key that made the ECDSA signature, also with a high s; undefined if there is none. */
export function recoveredKey(signature: Uint8Array, recoveryId: number, digest: Uint8Array): Uint8Array | undefined {
  return attempt(() =>
    secp256k1.Signature.fromBytes(signature, "compact").addRecoveryBit(recoveryId).recoverPublicKey(digest).toBytes(true),
  );
}

/** Whether s, the bytes 32 to 63 of an ECDSA signature, is in the lower half of the order. */
export function hasLowS(signature: Uint8Array): boolean {
  return bigEndian(signature.subarray(32, 64)) <= secp256k1.Point.CURVE().n >> 1n;
}

/** The account on an EVM chain that a compressed key owns: 20 bytes. */
export function accountOf(key: Uint8Array): Uint8Array {
  return keccak256(secp256k1.Point.fromBytes(key).toBytes(false).subarray(1)).subarray(12);
}

export function isPoint(key: Uint8Array): boolean {
  return key.length === 33 && attempt(() => secp256k1.Point.fromBytes(key)) !== undefined;
}

/** Whether the signature is by the key, whose length has to fit the scheme. */
export function isSignedBy(keyHex: Hex, scheme: Scheme, signature: Uint8Array, digest: Uint8Array): boolean {
  const key = fromHex(keyHex);
  return scheme === "bip340"
    ? key.length === 32 && isBip340Signature(signature, digest, key)
    : key.length === 33 && isEcdsaSignature(signature, digest, key);
}
