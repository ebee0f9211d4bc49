/** Checks TransferProofs, which show how a transfer of bitcoin between two layers ended. */

export { AnswerError, checkAnswer, type AnswerReason, type LegKey } from "./answer.js";
export type { Block } from "./block.js";
export type { Hex } from "./bytes.js";
export { judgeProof, verifyProof, type CheckOptions } from "./check.js";
export type { Evidence } from "./document.js";
export { ProofError, type Reason } from "./error.js";
export type { Judgement } from "./judgement.js";
export { FINALITIES, LAYERS, type Finality, type Layer } from "./layer.js";
export { PolicyError, policyFromJson, REQUIREMENTS, type Policy, type Requirement } from "./policy.js";
export { LEVELS, type Confirmation, type LegReport, type Level, type OpenPoint, type Outcome, type Point, type Report } from "./report.js";
export type { CompletionStatement, StatedLeg } from "./statement.js";
export type { BitcoinLeg, EvmLeg, Leg, LightningLeg, Terms } from "./terms.js";
