/** Headers from the block of a leg to a block that the verifier trusts. */

import { readBitcoinHeader } from "./bitcoin-header.js";
import type { Block, Shown } from "./block.js";
import type { Hex } from "./bytes.js";
import { check, within } from "./error.js";
import { readEvmHeader } from "./evm-header.js";
import { readShortHeader } from "./rootstock-header.js";
import type { Layer } from "./layer.js";
import type { Evidence } from "./document.js";

const MAX_HEADERS = 262_144;

/** What each kind of header shows. Bitcoin's have no number, and their times may go back. */
interface Link {
  readonly hash: Hex;
  readonly parent: Hex;
  readonly number?: bigint;
  readonly time: bigint;
}

function readerFor(type: Evidence["type"]): (encoding: Uint8Array) => Link {
  switch (type) {
    case "bitcoin_spend":
      return readBitcoinHeader;
    case "rootstock_receipt":
      return readShortHeader;
    default:
      return readEvmHeader;
  }
}

/** Checks that the block of the evidence is the trusted one, or an ancestor of it. */
export function checkHeaderChain(
  type: Evidence["type"],
  block: Block,
  shown: Shown,
  trusted: Hex,
  encodings: readonly Uint8Array[] | undefined,
): void {
  if (encodings === undefined || encodings.length === 0) {
    const known = encodings === undefined ? [block, ...shown.later] : [block];
    check(known.some((each) => each.hash === trusted), "header_chain", "no headers lead to the trusted one");
    return;
  }
  check(encodings.length <= MAX_HEADERS, "header_chain", `more than ${MAX_HEADERS} headers`);
  check(block.hash !== trusted, "header_chain", "headers after the trusted one");
  const read = readerFor(type);
  let before: Omit<Link, "parent"> = block;
  encodings.forEach((encoding, at) => {
    const header = within("header_chain", () => read(encoding));
    check(header.parent === before.hash, "header_chain", "the parent is not the block before it");
    if (header.number !== undefined && before.number !== undefined) {
      const follows = header.number === before.number + 1n && header.time > before.time;
      check(follows, "header_chain", "a number or a time that does not follow");
    }
    check((header.hash === trusted) === (at === encodings.length - 1), "header_chain", "the last header is not the trusted one");
    before = header;
  });
}

/** Headers for layers of which the verifier trusts no block would be ignored. */
export function checkHeadersAreWanted(given: Iterable<Layer>, trusted: ReadonlyMap<Layer, Hex> | undefined): void {
  for (const layer of given) check(trusted?.has(layer) ?? false, "header_chain", `headers of ${layer} without a trusted one`);
}
