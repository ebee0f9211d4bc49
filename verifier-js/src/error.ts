/** The names of the checks, as the specification writes them in brackets. */
export type Reason =
  | "amount"
  | "asset"
  | "contract"
  | "event"
  | "evidence"
  | "format"
  | "funding"
  | "header"
  | "header_chain"
  | "inclusion"
  | "input"
  | "invoice"
  | "invoice_ambiguous"
  | "invoice_amount"
  | "invoice_hash"
  | "invoice_kind"
  | "invoice_network"
  | "invoice_payee"
  | "invoice_time"
  | "layer"
  | "legs"
  | "level"
  | "lock"
  | "lock_id"
  | "lock_status"
  | "log_index"
  | "network"
  | "outcome"
  | "payee"
  | "payment_hash"
  | "preimage"
  | "provider"
  | "receipt_inclusion"
  | "receipt_status"
  | "script"
  | "state_inclusion"
  | "statement"
  | "statement_amounts"
  | "statement_finality"
  | "statement_signature"
  | "statement_terms"
  | "statement_time"
  | "storage_inclusion"
  | "terms_signature"
  | "token";

/**
 * No report: either a check failed, or nothing shows what the policy requires.
 *
 * `verdict` is "refused" if `reason` names a check that failed. It is "undecided", with the reason "level", if no check failed but
 * the proof does not reach the level that the policy requires.
 */
export class ProofError extends Error {
  readonly verdict: "refused" | "undecided";
  readonly reason: Reason;

  constructor(verdict: "refused" | "undecided", reason: Reason, message: string) {
    super(`${reason}: ${message}`);
    this.name = "ProofError";
    this.verdict = verdict;
    this.reason = reason;
  }
}

/** Bytes that do not have the form that a decoder requires. The caller of the decoder knows which check this fails. */
export class Malformed extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Malformed";
  }
}

export function refuse(reason: Reason, message: string): never {
  throw new ProofError("refused", reason, message);
}

/** Refuses the proof unless the condition holds. */
export function check(condition: boolean, reason: Reason, message: string): asserts condition {
  if (!condition) refuse(reason, message);
}

/** Refuses the bytes that a decoder reads unless the condition holds. */
export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Malformed(message);
}

/** Runs a decoder whose failure means that the check `reason` fails. */
export function within<T>(reason: Reason, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof Malformed) refuse(reason, error.message);
    throw error;
  }
}
