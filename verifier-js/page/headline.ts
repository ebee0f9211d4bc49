/** Results in one line: what is shown of each leg, and by which declaration of the reader. */

import type { Judgement, LegReport, Point, Report } from "../src/index.js";
import type { Verdict } from "./verdict.js";
import { OUTCOMES, REASONS } from "./wording.js";

export type Standing = "shown" | "stated" | "partial" | "unconfirmed" | "undecided" | "refused";

const STATED = "as the provider that you named states";

/** How the end of a leg with a block is known. */
const SHOWN_BY: Readonly<Record<LegReport["level"], string>> = {
  finalized: "by your node, as final",
  as_agreed: "by your node",
  trusted_header: "by the header that you trust",
  work: "by the work that you require",
  stated: STATED,
  offline: "in a block that nothing confirms",
};

const STARTS: Readonly<Record<"shown" | "stated", Readonly<Record<Report["outcome"], string>>>> = {
  shown: { completed: "Completed", refunded: "Refunded", partial: "One leg only" },
  stated: { completed: "Stated as completed", refunded: "Stated as refunded", partial: "One leg only" },
};

/** What closes a point that is missing. */
const DECLARATIONS: Readonly<Partial<Record<Point, string>>> = {
  header: "a header or work",
  provider: "the provider",
  asset: "the token",
  test_money: "the network",
};

/** What the page can say of a file as a whole. */
export function standingOf(verdict: Verdict): Standing {
  if (verdict.verdict !== "valid") return verdict.verdict;
  if (verdict.missing.length > 0) return "unconfirmed";
  if (!verdict.isConfirmed) return "partial";
  return isStated(verdict.report) ? "stated" : "shown";
}

/** Whether nothing but the provider's statement tells that a block is on its chain. */
function isStated({ openPoints }: Report): boolean {
  return openPoints.some(({ point }) => point === "header");
}

export function headline(verdict: Verdict): string {
  switch (verdict.verdict) {
    case "refused":
      return `Refused: ${REASONS[verdict.error.reason].toLowerCase()} (${verdict.error.reason})`;
    case "undecided":
      return `Undecided: ${REASONS.level.toLowerCase()}. ${statedInFile(verdict.report)}`;
    case "valid":
      return verdict.missing.length > 0 ? unconfirmed(verdict) : shown(verdict.report);
  }
}

function unconfirmed({ report, missing }: Judgement): string {
  const points = missing.map(({ point }) => DECLARATIONS[point]);
  // Two legs can miss the same declaration.
  const names = Object.values(DECLARATIONS).filter((name) => points.includes(name));
  return `Not confirmed: you have not declared ${listed(names)}. ${statedInFile(report)}`;
}

function statedInFile({ outcome }: Report): string {
  return `The file states ${OUTCOMES[outcome]}.`;
}

function shown(report: Report): string {
  const start = STARTS[isStated(report) ? "stated" : "shown"][report.outcome];
  const legs = ([report.source, report.destination] as const).map((leg) => `${leg.layer}: ${claimAbout(leg, report)}.`);
  return `${start}. ${legs.join(" ")}`;
}

function claimAbout(leg: LegReport, report: Report): string {
  if (leg.evidence === undefined) return leg.level === "stated" ? `${statedEnd(leg, report)}, ${STATED}` : "nothing is shown";
  if (leg.evidence === "lightning_payment") return claimAboutPayment(leg, report);
  return `${leg.result}, ${SHOWN_BY[leg.level]}`;
}

function claimAboutPayment(leg: LegReport, { destination, openPoints }: Report): string {
  // The check accepts only payees that the policy declares, if it declares any. The point is then closed.
  const isDeclared = leg === destination && !openPoints.some(({ point }) => point === "payment");
  if (isDeclared) return "paid, if its payee makes its own preimages, as you declare";
  return leg.level === "stated" ? `paid, ${STATED}` : "its preimage is shown, but no payment";
}

/** How the statement says that a leg without evidence ended. */
function statedEnd(leg: LegReport, { source, statement }: Report): string {
  const stated = leg === source ? statement?.source : statement?.destination;
  if (stated?.finality === "unfunded") return "never funded";
  if (statement?.outcome === "refunded") return "returned";
  return leg.leg.kind === "lightning" ? "paid" : "collected";
}

function nameOf(verdict: Verdict): string {
  const standing = standingOf(verdict);
  if (verdict.verdict === "refused" || standing === "undecided") return standing;
  const { outcome } = verdict.report;
  if (standing === "stated") return `stated as ${outcome}`;
  return standing === "unconfirmed" ? `${outcome} but not confirmed` : outcome;
}

/** How many files have each verdict, in one sentence. */
export function summaryOf(verdicts: readonly Verdict[]): string {
  const counts = new Map<string, number>();
  for (const verdict of verdicts) {
    const name = nameOf(verdict);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${verdicts.length} ${verdicts.length === 1 ? "file" : "files"} checked: ${parts.join(", ")}.`;
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
