/** One leg of a transfer. */

import type { Leg, LegReport } from "../src/index.js";
import { decimal, grouped, satoshi, time } from "./amounts.js";
import { code, description, element, type Row } from "./dom.js";
import { LEVELS } from "./wording.js";

const RESULTS = { collected: "collected by its payee", returned: "returned to its payer" };

function legRows(leg: Leg): Row[] {
  switch (leg.kind) {
    case "evm":
      return [
        ["Locked", `${decimal(leg.amount, leg.tokenDecimals)} of the token (${leg.tokenDecimals} decimals)`],
        ["Token", code(leg.token)],
        ["Contract", code(leg.contract)],
        ["Chain id", leg.chainId.toString()],
        ["Payer", code(leg.payer)],
        ["Payee", code(leg.payee)],
        ["Deadline", time(leg.deadline)],
        ["Agreed finality", leg.finality],
      ];
    case "lightning":
      return [
        ["Invoice over", `${grouped(leg.amountMsat)} msat`],
        ["Payee", code(leg.payee)],
        ["Invoice", code(leg.invoice)],
      ];
    case "bitcoin":
      return [
        ["Payer", code(leg.payer)],
        ["Payee", code(leg.payee)],
        ["Lock until", leg.locktime < 500_000_000 ? `block ${grouped(leg.locktime)}` : time(leg.locktime)],
        ["Agreed finality", leg.finality],
      ];
  }
}

function endOf({ evidence, result }: LegReport): string {
  if (result === undefined) return "no evidence";
  return evidence === "lightning_payment" ? "its preimage is shown" : RESULTS[result];
}

function levelText({ block, evidence, level }: LegReport): string {
  if (block !== undefined || level !== "offline") return LEVELS[level];
  return evidence === undefined ? "nothing is known of this leg" : "the preimage shows that it could be collected";
}

function shownRows(report: LegReport): Row[] {
  const { block, work } = report;
  return [
    ["End", endOf(report)],
    ["Level", `${report.level}: ${levelText(report)}`],
    ["Evidence", report.evidence],
    ["Block", block && grouped(block.number)],
    ["Block hash", block && code(block.hash)],
    ["Block time", block && time(block.time)],
    ["Work of the headers", work === undefined ? undefined : `${grouped(work)} hashes`],
    ["Preimage", report.preimage === undefined ? undefined : code(report.preimage)],
  ];
}

export function legView(title: string, report: LegReport): HTMLElement {
  return element(
    "section",
    { class: "leg" },
    element("h4", {}, `${title}: ${report.layer}`),
    element("p", { class: "amount" }, satoshi(report.satoshi)),
    element("h5", {}, "What the proof shows"),
    description(shownRows(report)),
    element("h5", {}, "What the parties agreed on"),
    description(legRows(report.leg)),
  );
}
