/** The check of a proof: the rules of the specification, in its order. */

import { checkBitcoinSpend } from "./bitcoin.js";
import type { Shown } from "./block.js";
import { fromHex, toHex, type Hex } from "./bytes.js";
import { readDocument, type Document, type Evidence } from "./document.js";
import { check, ProofError, refuse } from "./error.js";
import { checkEvmReceipt, checkEvmStorage } from "./evm.js";
import { checkHeaderChain, checkHeadersAreWanted } from "./header-chain.js";
import { sha256 } from "./hash.js";
import { judged, type Judgement } from "./judgement.js";
import type { Layer } from "./layer.js";
import { checkOwed } from "./owed.js";
import type { Policy } from "./policy.js";
import {
  legsOf,
  levelOf,
  meets,
  openPoints,
  type Confirmation,
  type LegFacts,
  type LegReport,
  type Outcome,
  type Report,
} from "./report.js";
import { checkRootstockReceipt } from "./rootstock.js";
import { isSignedBy } from "./signature.js";
import { checkStatement } from "./statement.js";
import { layerOf, type Leg, type LightningLeg, type Terms } from "./terms.js";

export interface CheckOptions {
  /** For each layer, the encoded headers from the child of the leg's block to the trusted block, oldest first. */
  readonly headers?: ReadonlyMap<Layer, readonly Uint8Array[]>;
  /** Blocks that the verifier's own node has. */
  readonly confirmed?: readonly Confirmation[];
}

const NETWORKS = ["mainnet", "testnet", "regtest"] as const;
type Network = (typeof NETWORKS)[number];

/** The chain ids and prefixes that belong to each network. */
const CHAINS: ReadonlyMap<Layer, { readonly kind: Leg["kind"] } & Readonly<Record<Network, readonly (number | string)[]>>> =
  new Map([
    ["BOB", { kind: "evm", mainnet: [60808], testnet: [808813], regtest: [60808] }],
    ["ROOTSTOCK", { kind: "evm", mainnet: [30], testnet: [31], regtest: [33] }],
    ["LIGHTNING", { kind: "lightning", mainnet: ["bc"], testnet: ["tb", "tbs"], regtest: ["bcrt"] }],
    ["BITCOIN", { kind: "bitcoin", mainnet: ["bc"], testnet: ["tb"], regtest: ["bcrt"] }],
  ]);

/**
 * Checks a proof.
 *
 * A report at the level "offline" does not show that anything happened: anyone can make a header. See `level` and `openPoints`.
 *
 * @param file the bytes of the file.
 * @throws ProofError if a check fails, or if nothing shows what the policy requires.
 */
export function verifyProof(file: Uint8Array, policy: Policy = {}, options: CheckOptions = {}): Report {
  const report = reportOn(file, policy, options);
  if (!meets(policy.requires ?? "nothing", legsOf(report))) {
    throw new ProofError("undecided", "level", "nothing shows what the policy requires");
  }
  return report;
}

/**
 * Checks a proof as `verifyProof` does, and keeps the report if it does not reach the level that the policy requires.
 *
 * @throws ProofError if a check fails.
 */
export function judgeProof(file: Uint8Array, policy: Policy = {}, options: CheckOptions = {}): Judgement {
  return judged(reportOn(file, policy, options), policy);
}

function reportOn(file: Uint8Array, policy: Policy, options: CheckOptions): Report {
  const document = readDocument(file);
  const { terms } = document;
  checkTerms(document, policy);
  const total = terms.amount + terms.providerFee + terms.networkFee;
  checkOwed(terms.source, total, terms, policy);
  checkOwed(terms.destination, terms.amount, terms, policy);
  const source = readFacts(terms.source, total, document.sourceLeg, terms, policy);
  const destination = readFacts(terms.destination, terms.amount, document.destinationLeg, terms, policy);
  const outcome = outcomeOf(source.shown, destination.shown);
  if (document.statement !== undefined) checkStatement(document.statement, terms, source, destination);
  checkHeaders([source, destination], policy, options);
  return makeReport(document, outcome, source, destination, policy, options);
}

function checkTerms({ terms, signature }: Document, policy: Policy): void {
  const isSigned = isSignedBy(terms.provider, signature.scheme, fromHex(signature.signature), terms.hash);
  check(isSigned, "terms_signature", "not the provider's signature of the terms");
  check(policy.providers?.has(terms.provider) ?? true, "provider", `${terms.provider} is not accepted`);
  check(policy.networks?.has(terms.network) ?? true, "network", "the network is not accepted");
  check(terms.asset === "BTC", "asset", "the asset is not BTC");
  check(terms.amount > 0n, "amount", "the amount is zero");
  checkPlace(terms.source, terms.network);
  checkPlace(terms.destination, terms.network);
  check(layerOf(terms.source) !== layerOf(terms.destination), "legs", "both legs are on one layer");
}

function checkPlace(leg: Leg, networkName: string): void {
  const chains = CHAINS.get(layerOf(leg));
  check(chains?.kind === leg.kind, "legs", `${layerOf(leg)} has no leg of the kind ${leg.kind}`);
  const network = NETWORKS.find((each) => each === networkName);
  check(network !== undefined, "network", "an unknown network");
  const chain = leg.kind === "evm" ? leg.chainId : leg.prefix;
  check(chains![network].includes(chain), "network", `the chain ${chain} is not on ${network}`);
}

function readFacts(leg: Leg, satoshi: bigint, evidence: Evidence | null, terms: Terms, policy: Policy): LegFacts {
  const shown = evidence === null ? undefined : readEvidence(evidence, leg, terms, policy);
  return { leg, satoshi, evidence, shown };
}

function readEvidence(evidence: Evidence, leg: Leg, terms: Terms, policy: Policy): Shown {
  if (evidence.type === "lightning_payment" && leg.kind === "lightning") return readPayment(evidence.preimage, leg, terms, policy);
  if (evidence.type === "bitcoin_spend" && leg.kind === "bitcoin") return checkBitcoinSpend(evidence, leg);
  if (evidence.type === "evm_receipt" && leg.kind === "evm") return checkEvmReceipt(evidence, leg, terms);
  if (evidence.type === "evm_storage" && leg.kind === "evm") return checkEvmStorage(evidence, leg, terms);
  if (evidence.type === "rootstock_receipt" && leg.kind === "evm") return checkRootstockReceipt(evidence, leg, terms);
  return refuse("evidence", `${evidence.type} for a leg of the kind ${leg.kind}`);
}

function readPayment(preimage: Hex, leg: LightningLeg, terms: Terms, policy: Policy): Shown {
  check(toHex(sha256(fromHex(preimage))) === terms.paymentHash, "preimage", "not the preimage of the payment hash");
  if (policy.ownPreimagePayees !== undefined) {
    const isMade = leg === terms.destination && policy.ownPreimagePayees.has(leg.payee);
    check(isMade, "payee", "the preimage does not show that the payee was paid");
  }
  return { result: "collected", preimage, block: undefined, work: undefined, later: [] };
}

function outcomeOf(source: Shown | undefined, destination: Shown | undefined): Outcome {
  check(source?.block !== undefined || destination?.block !== undefined, "evidence", "no evidence names a block");
  const results = [source, destination].flatMap((shown) => (shown === undefined ? [] : [shown.result]));
  check(new Set(results).size === 1, "outcome", "one leg was collected and the other returned");
  if (results[0] === "returned") return "refunded";
  return results.length === 2 ? "completed" : "partial";
}

function checkHeaders(legs: readonly LegFacts[], policy: Policy, options: CheckOptions): void {
  checkHeadersAreWanted(options.headers?.keys() ?? [], policy.trustedHeaders);
  for (const { leg, evidence, shown } of legs) {
    const layer = layerOf(leg);
    const trusted = policy.trustedHeaders?.get(layer);
    if (trusted === undefined || evidence === null || shown?.block === undefined) continue;
    checkHeaderChain(evidence.type, shown.block, shown, trusted, options.headers?.get(layer));
  }
}

function makeReport(
  document: Document,
  outcome: Outcome,
  source: LegFacts,
  destination: LegFacts,
  policy: Policy,
  options: CheckOptions,
): Report {
  const { terms } = document;
  const legReport = (facts: LegFacts): LegReport => ({
    layer: layerOf(facts.leg),
    leg: facts.leg,
    satoshi: facts.satoshi,
    evidence: facts.evidence?.type,
    result: facts.shown?.result,
    preimage: facts.shown?.preimage,
    block: facts.shown?.block,
    work: facts.shown?.work,
    level: levelOf(facts, policy, options.confirmed ?? [], document.statement !== undefined),
  });
  const legs = [legReport(source), legReport(destination)] as const;
  return {
    proofId: toHex(document.proofId),
    termsHash: toHex(terms.hash),
    terms,
    statement: document.statement,
    outcome,
    source: legs[0],
    destination: legs[1],
    openPoints: openPoints(legs, terms, policy),
  };
}
