import { toHex } from "../bytes.js";
import type { SignatureChecker } from "../signature.js";

const MAX_ANSWERS = 10_000;

/** Remembers the answer to a question; it forgets the oldest answer when there are too many. */
function remember<Question extends readonly (Uint8Array | number)[], Answer>(
  ask: (...question: Question) => Answer,
): (...question: Question) => Answer {
  const answers = new Map<string, Answer>();
  return (...question) => {
    const key = question.map((part) => (typeof part === "number" ? part.toString() : toHex(part))).join(" ");
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = ask(...question);
    if (answers.size >= MAX_ANSWERS) answers.delete(answers.keys().next().value!);
    answers.set(key, answer);
    return answer;
  };
}

/** Checks each signature once. Many lines of one input have the same terms or the same invoice. */
export function remembering(signatures: SignatureChecker): SignatureChecker {
  return {
    bip340: remember(signatures.bip340),
    ecdsa: remember(signatures.ecdsa),
    recover: remember(signatures.recover),
  };
}
