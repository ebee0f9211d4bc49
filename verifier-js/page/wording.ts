/** What the page says about each reason, level and open point. */

import type { Level, Outcome, Point, Reason } from "../src/index.js";

/** What a file states. */
export const OUTCOMES: Readonly<Record<Outcome, string>> = {
  completed: "a completed transfer: both legs were collected",
  partial: "one leg only: it was collected, and the other has no evidence",
  refunded: "a refund: what was locked went to its payer",
};

export const LEVELS: Readonly<Record<Level, string>> = {
  finalized: "your node has the block at or below its finalized head",
  as_agreed: "your node has the block at the finality that the parties agreed on",
  trusted_header: "the block leads to a header that you trust",
  work: "the headers in the proof have the work that you require",
  stated: "a provider that you named states this end; no block is confirmed",
  offline: "nothing confirms this leg: anyone can make a block header",
};

export const POINTS: Readonly<Record<Point, string>> = {
  header: "that the block exists: no header that you trust leads to it",
  leg: "how this leg ended: it has no evidence",
  provider: "who the provider is: you named none",
  asset: "that the token is worth a bitcoin: you named no tokens",
  payment: "that someone paid the invoice: the preimage alone does not show it",
  preimage: "the preimage: the state of the contract does not contain it",
  test_money: "that real money moved: the network is not mainnet",
};

const FORM = "The file does not have the form of a proof";
const EVIDENCE = "The evidence does not show what it has to show";
const TERMS = "The terms contradict themselves or the evidence";
const INVOICE = "The invoice is not valid, or does not match the terms";
const STATEMENT = "The provider's statement does not match the terms or the evidence";
const POLICY = "The proof does not meet your policy";

export const REASONS: Readonly<Record<Reason, string>> = {
  amount: TERMS,
  asset: TERMS,
  contract: POLICY,
  event: EVIDENCE,
  evidence: EVIDENCE,
  format: FORM,
  funding: EVIDENCE,
  header: EVIDENCE,
  header_chain: "No chain of headers leads from the block to the header that you trust",
  inclusion: EVIDENCE,
  input: EVIDENCE,
  invoice: INVOICE,
  invoice_ambiguous: INVOICE,
  invoice_amount: INVOICE,
  invoice_hash: INVOICE,
  invoice_kind: INVOICE,
  invoice_network: INVOICE,
  invoice_payee: INVOICE,
  invoice_time: INVOICE,
  layer: EVIDENCE,
  legs: TERMS,
  level: "Nothing shows what your policy requires",
  lock: TERMS,
  lock_id: EVIDENCE,
  lock_status: EVIDENCE,
  log_index: EVIDENCE,
  network: "The network is not one that you accept, or the legs are on other networks",
  outcome: "The two legs contradict each other",
  payee: POLICY,
  payment_hash: EVIDENCE,
  preimage: EVIDENCE,
  provider: POLICY,
  receipt_inclusion: EVIDENCE,
  receipt_status: EVIDENCE,
  script: EVIDENCE,
  state_inclusion: EVIDENCE,
  statement: STATEMENT,
  statement_amounts: STATEMENT,
  statement_finality: STATEMENT,
  statement_signature: STATEMENT,
  statement_terms: STATEMENT,
  statement_time: STATEMENT,
  storage_inclusion: EVIDENCE,
  terms_signature: "The provider did not sign these terms",
  token: POLICY,
};
