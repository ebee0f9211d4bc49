/** The result for one file. */

import type { CompletionStatement, Judgement, Report } from "../src/index.js";
import { satoshi, time } from "./amounts.js";
import { code, description, element } from "./dom.js";
import { headline, standingOf, type Standing } from "./headline.js";
import { legView } from "./leg-view.js";
import type { Verdict } from "./verdict.js";
import { POINTS } from "./wording.js";

const NOT_CONFIRMED =
  "Anyone can make a file that states this. Name the provider, and a header that you trust or the work that you require, in the form “What you require”.";

// No proof shows these, whatever the policy is.
const NEVER_SHOWN = [
  "who the parties are, or that they are different people",
  "that this is the only proof of this payment: count each payment hash once",
  "any time except that of the block: the provider states the other times",
];

/** How a result looks. A mark beside it means that it does not depend on colour. */
const MARKS = { confirmed: "✓", open: "?", refused: "✗" } as const;

const APPEARANCES: Readonly<Record<Standing, keyof typeof MARKS>> = {
  shown: "confirmed",
  stated: "open",
  partial: "open",
  unconfirmed: "open",
  undecided: "open",
  refused: "refused",
};

/** Warnings about what a result does not mean. */
const WARNINGS: Readonly<Partial<Record<Standing, string>>> = {
  stated: "No block is confirmed where the provider's statement is all that you have. Whether it is enough is your declaration.",
  unconfirmed: NOT_CONFIRMED,
  undecided: NOT_CONFIRMED,
};

function openPoints(report: Report): HTMLElement {
  const points = report.openPoints.map(({ point, layer }) => (layer === undefined ? POINTS[point] : `${layer}: ${POINTS[point]}`));
  const items = [...points, ...NEVER_SHOWN].map((text) => element("li", {}, text));
  return element("section", {}, element("h4", {}, "What the proof does not show"), element("ul", {}, ...items));
}

function termsView({ terms, proofId, termsHash }: Report): HTMLElement {
  return element(
    "section",
    {},
    element("h4", {}, "Terms, signed by the provider"),
    description([
      ["Network", terms.network],
      ["The destination receives", satoshi(terms.amount)],
      ["Provider's fee", satoshi(terms.providerFee)],
      ["Network fee", satoshi(terms.networkFee)],
      ["Provider", code(terms.provider)],
      ["Payment hash", code(terms.paymentHash)],
      ["Swap", code(terms.swapId)],
      ["Issued (stated)", time(terms.issuedAt)],
      ["Fund by", time(terms.fundBy)],
      ["Counter-fund by", time(terms.counterFundBy)],
      ["Collect by", time(terms.collectBy)],
      ["Terms hash", code(termsHash)],
      ["Proof id", code(proofId)],
    ]),
  );
}

function statementView(statement: CompletionStatement): HTMLElement {
  return element(
    "section",
    {},
    element("h4", {}, "What the provider states"),
    description([
      ["Outcome", statement.outcome],
      ["Received", satoshi(statement.received)],
      ["Paid", satoshi(statement.paid)],
      ["Source", statement.source.finality],
      ["Destination", statement.destination.finality],
      ["Stated", time(statement.statedAt)],
    ]),
  );
}

function reportView({ report }: Judgement, warning: string | undefined): HTMLElement {
  return element(
    "div",
    {},
    warning === undefined ? undefined : element("p", { class: "warning" }, warning),
    element("div", { class: "legs" }, legView("Source", report.source), legView("Destination", report.destination)),
    openPoints(report),
    report.statement && statementView(report.statement),
    termsView(report),
  );
}

/** The result for one file. It opens and closes, and has its details only once they are read: a page can have many results. */
export class ResultView {
  readonly view: HTMLDetailsElement;
  private isFilled = false;

  constructor(
    name: string,
    private readonly verdict: Verdict,
  ) {
    const appearance = APPEARANCES[standingOf(verdict)];
    const mark = element("span", { class: "mark", "aria-hidden": "true" }, MARKS[appearance]);
    const summary = element("summary", {}, element("h3", {}, mark, ` ${name}`), element("p", { class: "headline" }, headline(verdict)));
    this.view = element("details", { class: appearance }, summary);
    this.view.addEventListener("toggle", () => this.fill());
  }

  open(): void {
    this.fill();
    this.view.open = true;
  }

  private fill(): void {
    if (this.isFilled) return;
    this.isFilled = true;
    this.view.append(detailsOf(this.verdict));
  }
}

function detailsOf(verdict: Verdict): HTMLElement {
  if (verdict.verdict === "refused") return element("p", {}, verdict.error.message);
  return reportView(verdict, WARNINGS[standingOf(verdict)]);
}
