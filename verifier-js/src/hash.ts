import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { ascii, concat } from "./bytes.js";

export { sha256, keccak_256 as keccak256 };

export function sha256d(bytes: Uint8Array): Uint8Array {
  return sha256(sha256(bytes));
}

/** The tagged hash of BIP 340. */
export function taggedHash(tag: string, bytes: Uint8Array): Uint8Array {
  const prefix = sha256(ascii(tag));
  return sha256(concat(prefix, prefix, bytes));
}
