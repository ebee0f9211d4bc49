/** Connects the page's form, its files and its results. */

import type { CheckOptions, Layer, Policy } from "../src/index.js";
import { PolicyError } from "../src/index.js";
import { conditionsView } from "./conditions-view.js";
import { byId } from "./dom.js";
import { summaryOf } from "./headline.js";
import { readHeaders, readPolicy, wantedHeaders, type FieldErrors, type FieldName, type PolicyTexts } from "./policy-form.js";
import { readFiles, type ProofFile } from "./proof-files.js";
import { ResultList } from "./result-list.js";
import { repeatedPayments, verdictOn, type Verdict } from "./verdict.js";

const TEXT_FIELDS = ["providers", "tokens", "contracts", "ownPreimagePayees", "trustedHeaders", "work"] as const;
/** Files are checked in batches of this time: long enough that showing them costs little, and short enough to click. */
const BATCH_MILLISECONDS = 100;
const HEADER_LAYERS: readonly Layer[] = ["BOB", "ROOTSTOCK", "BITCOIN"];

class Page {
  private files: ProofFile[] = [];
  private readonly headers = new Map<Layer, Uint8Array[]>();
  /** The number of the last check: an earlier one ends when a later one begins. */
  private lastCheck = 0;
  private readonly status = byId("status", HTMLElement);
  private readonly results = new ResultList(byId("results", HTMLElement));
  private readonly notice = byId("notice", HTMLElement);
  private readonly conditions = byId("conditions", HTMLElement);

  connect(): void {
    const input = byId("files", HTMLInputElement);
    input.addEventListener("change", () => void this.take(input.files ?? []));
    const target = byId("drop", HTMLElement);
    for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());
    document.addEventListener("dragover", () => target.classList.add("over"));
    document.addEventListener("dragleave", () => target.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      target.classList.remove("over");
      void this.take(event.dataTransfer?.files ?? []);
    });
    byId("policy", HTMLFormElement).addEventListener("change", () => void this.check());
    byId("clear", HTMLButtonElement).addEventListener("click", () => this.clear());
    for (const layer of HEADER_LAYERS) {
      const headers = byId(`headers-${layer}`, HTMLInputElement);
      headers.addEventListener("change", () => void this.takeHeaders(layer, headers.files?.[0]));
    }
    window.addEventListener("beforeprint", () => this.results.openAll());
  }

  private async take(files: Iterable<File>): Promise<void> {
    const read = await readFiles(files);
    // Others may have been read meanwhile.
    this.files = [...this.files, ...read];
    await this.check();
  }

  private async takeHeaders(layer: Layer, file: File | undefined): Promise<void> {
    this.headers.delete(layer);
    let problem = "";
    try {
      if (file !== undefined) this.headers.set(layer, readHeaders(await file.text()));
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      problem = error.message;
    }
    showProblem(`headers-${layer}`, problem);
    await this.check();
  }

  private clear(): void {
    this.lastCheck++;
    this.files = [];
    byId("files", HTMLInputElement).value = "";
    this.showNothing();
    this.status.textContent = "No files.";
  }

  private showNothing(): void {
    this.results.clear();
    this.notice.textContent = "";
    this.conditions.replaceChildren();
  }

  private async check(): Promise<void> {
    const number = ++this.lastCheck;
    const { policy, errors } = readPolicy(policyTexts());
    showErrors(errors);
    this.showNothing();
    if (errors.size > 0) {
      this.status.textContent = "Nothing is checked until the policy is corrected.";
      return;
    }
    if (this.files.length === 0) {
      this.status.textContent = "No files.";
      return;
    }
    this.status.textContent = `Checking ${this.files.length} files.`;
    const options = wantedHeaders(this.headers, policy);
    const verdicts = await this.checkEach(policy, options, number);
    if (number !== this.lastCheck) return;
    this.status.textContent = summaryOf(verdicts);
    this.conditions.replaceChildren(conditionsView(policy, options, Math.floor(Date.now() / 1000)));
    const names = repeatedPayments(verdicts).map((places) => places.map((at) => this.files[at]!.name).join(" and "));
    this.notice.textContent = names.map((each) => `${each} have the same payment hash: this payment counts once.`).join(" ");
  }

  private async checkEach(policy: Policy, options: CheckOptions, number: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    const { files } = this;
    while (verdicts.length < files.length) {
      // The page stays usable between two batches.
      await new Promise((resolve) => setTimeout(resolve));
      if (number !== this.lastCheck) break;
      const batch: [name: string, verdict: Verdict][] = [];
      const end = performance.now() + BATCH_MILLISECONDS;
      do {
        const file = files[verdicts.length]!;
        const verdict = verdictOn(file.bytes, policy, options);
        verdicts.push(verdict);
        batch.push([file.name, verdict]);
      } while (verdicts.length < files.length && performance.now() < end);
      this.results.add(batch);
    }
    if (files.length === 1) this.results.openAll();
    return verdicts;
  }
}

function policyTexts(): PolicyTexts {
  const text = (name: FieldName) => byId(name, HTMLTextAreaElement).value;
  const networks = document.querySelectorAll<HTMLInputElement>('input[name="networks"]:checked');
  return {
    requires: byId("requires", HTMLSelectElement).value,
    networks: [...networks].map((box) => box.value),
    providers: text("providers"),
    tokens: text("tokens"),
    contracts: text("contracts"),
    ownPreimagePayees: text("ownPreimagePayees"),
    trustedHeaders: text("trustedHeaders"),
    work: text("work"),
  };
}

function showProblem(id: string, problem: string): void {
  byId(id, HTMLElement).setAttribute("aria-invalid", String(problem !== ""));
  byId(`${id}-problem`, HTMLElement).textContent = problem;
}

function showErrors(errors: FieldErrors): void {
  for (const name of TEXT_FIELDS) showProblem(name, errors.get(name) ?? "");
}

new Page().connect();
