/** Measures how long the page needs for a number of proofs, 100 if none is given; writes the seconds of each round as JSON. */

import { OpenPage, startBrowser } from "./open-page.js";
import { VECTORS } from "./vectors.js";

const FILES = Number(process.argv[2] ?? 100);

async function secondsOfRound(opened: OpenPage): Promise<number> {
  const accepted = VECTORS.filter((vector) => vector.isPlain && vector.verdict === "valid");
  const files = Array.from({ length: FILES }, (_, at) => ({ ...accepted[at % accepted.length]!.file, name: `${at}.json` }));
  const seconds = opened.page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const status = document.querySelector('[role="status"]')!;
        let began = NaN;
        window.addEventListener("drop", () => (began = performance.now()), { capture: true });
        new MutationObserver(() => {
          if (status.textContent!.includes("checked")) resolve((performance.now() - began) / 1000);
        }).observe(status, { childList: true });
      }),
  );
  await opened.drop(files);
  return seconds;
}

const browser = await startBrowser();
const rounds: number[] = [];
for (let round = 0; round < 3; round++) {
  const opened = await OpenPage.in(browser);
  rounds.push(await secondsOfRound(opened));
  await opened.close();
}
await browser.close();
console.log(JSON.stringify(rounds));
