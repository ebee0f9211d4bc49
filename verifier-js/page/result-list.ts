/** The results of all files, in their order. */

import { element } from "./dom.js";
import { ResultView } from "./result-view.js";
import type { Verdict } from "./verdict.js";

export class ResultList {
  private results: ResultView[] = [];

  constructor(private readonly list: HTMLElement) {}

  clear(): void {
    this.results = [];
    this.list.replaceChildren();
  }

  /** Adds results at once: the browser lays out and paints the page after each addition. */
  add(checked: readonly (readonly [name: string, verdict: Verdict])[]): void {
    const added = checked.map(([name, verdict]) => new ResultView(name, verdict));
    this.results.push(...added);
    this.list.append(...added.map(({ view }) => element("li", {}, view)));
  }

  openAll(): void {
    for (const result of this.results) result.open();
  }
}
