/** Takes the pictures of the documentation: `make page-pictures`. */

import { join } from "node:path";

import { OpenPage, startBrowser } from "./open-page.js";
import { changed, proof, vector, type Vector } from "./vectors.js";

const FOLDER = join(import.meta.dirname, "../../../docs/pictures");
const PROVIDER = "1fe7d6ccd8e5f11db3e2a4cab99d203b530fa9bed072898def7b5602c33be3b2";

/** A policy that names the provider, its network and a block that the reader trusts. */
async function setPolicy(opened: OpenPage, { policy }: Vector): Promise<void> {
  await opened.openPolicy();
  await opened.page.getByLabel("Level of each leg").selectOption("finalized");
  await opened.page.getByLabel("Keys of providers").fill(PROVIDER);
  await opened.page.getByRole("checkbox", { name: "regtest" }).check();
  await opened.page.getByLabel("Tokens: chain id").fill(`60808 ${"11".repeat(20)} 8`);
  await opened.page.getByLabel("Headers that you trust").fill(`BOB ${policy["trusted_headers"].BOB}`);
  await opened.page.getByLabel("Headers that you trust").blur();
}

const browser = await startBrowser();
const confirmed = vector("header-chain/the-block-itself");
const size = { viewport: { width: 900, height: 700 }, colorScheme: "light" } as const;

const one = await OpenPage.in(browser, size);
await setPolicy(one, confirmed);
await one.openPolicy();
await one.drop([{ ...confirmed.file, name: "transfer.json" }]);
const transfer = (await one.results.first().boundingBox())!;
const legs = { ...transfer, height: 500 };
await one.page.screenshot({ path: join(FOLDER, "proof-page-transfer.png"), fullPage: true, clip: legs });
await one.close();

const many = await OpenPage.in(browser, size);
await setPolicy(many, confirmed);
await many.openPolicy();
await many.drop([
  { ...confirmed.file, name: "january.json" },
  { ...proof("outcome/bob-to-rootstock"), name: "february.json" },
  { ...changed("outcome/bob-to-lightning", '"amount":"100000"', '"amount":"900000"'), name: "march-with-a-larger-amount.json" },
]);
await many.page.screenshot({ path: join(FOLDER, "proof-page-files.png"), fullPage: true });
await many.close();
await browser.close();
