import type { Hex } from "./bytes.js";

/** A block, as far as its header shows it. */
export interface Block {
  readonly number: bigint;
  /** As nodes display it: on Bitcoin in reverse order. */
  readonly hash: Hex;
  /** Unix seconds. */
  readonly time: bigint;
}

/** What the evidence of a leg shows. */
export interface Shown {
  readonly result: "collected" | "returned";
  readonly preimage: Hex | undefined;
  /** Undefined for a payment over Lightning. */
  readonly block: Block | undefined;
  /** The work of all headers in the evidence, in hashes; undefined on chains without work. */
  readonly work: bigint | undefined;
  /** The headers in the evidence after the block's own, oldest first. */
  readonly later: readonly Block[];
}
