/** What a reader of proofs sees and does on the page, in a real browser. */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser } from "playwright-core";

import { OpenPage, startBrowser } from "./open-page.js";
import { changed, proof, vector, VECTORS } from "./vectors.js";

const PROVIDER = "1fe7d6ccd8e5f11db3e2a4cab99d203b530fa9bed072898def7b5602c33be3b2";
const OTHER_PROVIDER = "f8918ed8b2a67f12d87b6efa7738966f4eb0ca22cfb8a3fa75846e261e1e04aa";
const TOKEN = "11".repeat(20);
/** The payee of `outcome/bob-to-lightning`. */
const PAYEE = "02de7c0fb726cddf3328413b8e2c0290836569a9e57ea56bb26bda34e22b05957f";
const REFUNDED = /^Not confirmed.* The file states a refund: /;
const COMPLETED = /^Not confirmed.* The file states a completed transfer: /;
const PARTIAL = /^Not confirmed.* The file states one leg only: /;

let browser: Browser;
let opened: OpenPage;

before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());
beforeEach(async () => {
  opened = await OpenPage.in(browser);
});
afterEach(async () => {
  await opened.close();
  assert.deepEqual(opened.faults, []);
});

describe("verdicts", () => {
  test("every test vector without a policy has its verdict and its reason", async () => {
    const vectors = VECTORS.filter((vector) => vector.isPlain);
    assert.ok(vectors.length > 500);
    await opened.drop(vectors.map((vector) => vector.file));
    const headlines = await opened.headlines();
    const stated: Readonly<Record<string, RegExp>> = { completed: COMPLETED, refunded: REFUNDED, partial: PARTIAL };
    vectors.forEach(({ name, verdict, result }, at) => {
      const expected = verdict === "refused" ? new RegExp(`^Refused: .*\\(${result}\\)$`) : stated[result]!;
      assert.match(headlines[at]!, expected, name);
    });
  });

  const pairs: [name: string, source: string, destination: string][] = [
    ["outcome/bob-to-lightning", "BOB", "LIGHTNING"],
    ["outcome/lightning-to-bob", "LIGHTNING", "BOB"],
    ["outcome/bob-to-rootstock", "BOB", "ROOTSTOCK"],
    ["rootstock/claimed", "ROOTSTOCK", "LIGHTNING"],
    ["bitcoin/claim", "BITCOIN", "LIGHTNING"],
    ["bitcoin/to-bob", "BITCOIN", "BOB"],
  ];
  for (const [name, source, destination] of pairs) {
    test(`a transfer from ${source} to ${destination} is completed, and its legs have their amounts`, async () => {
      await opened.drop([proof(name)]);
      assert.match((await opened.headlines())[0]!, COMPLETED);
      const result = opened.results.first();
      await result.getByRole("heading", { name: `Source: ${source}` }).waitFor();
      await result.getByRole("heading", { name: `Destination: ${destination}` }).waitFor();
      const terms = JSON.parse(proof(name).content as string).terms;
      const amounts = await result.locator(".amount").allInnerTexts();
      assert.match(amounts[1]!.replace(/\D/g, ""), new RegExp(`^${terms.amount}`));
    });
  }

  test("a completed transfer without a confirmed block has a warning", async () => {
    await opened.drop([proof("outcome/bob-to-lightning")]);
    await opened.results.getByText("Anyone can make a file that states this.").waitFor();
    await opened.results.getByText("that real money moved: the network is not mainnet").waitFor();
  });

  test("a refund is no completed transfer", async () => {
    await opened.drop([proof("outcome/refunded")]);
    assert.match((await opened.headlines())[0]!, REFUNDED);
  });

  const preimage = "107661134f21fc7c02223d50ab9eb3600bc3ffc3712423a1e47bb1f9a9dbf55f";
  const forgeries: [what: string, from: string, to: string, reason: string][] = [
    ["a larger amount", '"amount":"100000"', '"amount":"900000"', "terms_signature"],
    ["another preimage", `"preimage":"${preimage}"`, `"preimage":"${"0".repeat(64)}"`, "preimage"],
    ["another provider", PROVIDER, OTHER_PROVIDER, "terms_signature"],
    ["another root of receipts", "74df743bc15c", "74df743bc15d", "receipt_inclusion"],
    ["another payee", '"payee":"3333', '"payee":"4444', "terms_signature"],
    ["mainnet in place of the test network", '"network":"regtest"', '"network":"mainnet"', "terms_signature"],
    ["a space", '"version":1', '"version": 1', "format"],
  ];
  for (const [what, from, to, reason] of forgeries) {
    test(`a proof that was changed is refused: ${what}`, async () => {
      await opened.drop([changed("outcome/bob-to-lightning", from, to)]);
      assert.match((await opened.headlines())[0]!, new RegExp(`^Refused: .*\\(${reason}\\)$`));
      assert.equal(await opened.results.getByRole("heading", { name: /^Source/ }).count(), 0);
    });
  }
});

describe("files", () => {
  test("a hundred files are checked at once, and a payment that several files show is named", async () => {
    const files = Array.from({ length: 100 }, (_, at) => ({ ...proof("outcome/bob-to-lightning"), name: `${at}.json` }));
    await opened.drop(files);
    assert.equal(await opened.status.innerText(), "100 files checked: 100 completed but not confirmed.");
    await opened.page.getByText("99.json have the same payment hash: this payment counts once.").waitFor();
  });

  test("a result has its details once it is opened, so that the page can have many results", async () => {
    const files = Array.from({ length: 600 }, (_, at) => ({ ...proof("outcome/bob-to-lightning"), name: `${at}.json` }));
    await opened.drop(files);
    assert.equal(await opened.results.count(), 600);
    const elements = await opened.page.locator("#results *").count();
    assert.ok(elements <= 600 * 6, `${elements} elements`);
    const last = opened.results.last();
    await last.locator("summary").click();
    await last.getByRole("heading", { name: "Source: BOB" }).waitFor();
    await last.locator("summary").click();
    await last.locator("summary").click();
    assert.equal(await last.getByRole("heading", { name: "Source: BOB" }).count(), 1);
  });

  test("files that are no proofs are refused, and the others are checked", async () => {
    const inputs = ["", "{}", "[".repeat(100_000), new Uint8Array([0x89, 0x50, 0x4e, 0x47]), "x".repeat(1_000_000), "x".repeat(5_000_000)];
    const files = inputs.map((content, at) => ({ name: `${at}.json`, content }));
    await opened.drop([...files, proof("outcome/refunded")]);
    const headlines = await opened.headlines();
    for (const headline of headlines.slice(0, -1)) assert.match(headline, /^Refused: .*\(format\)$/);
    assert.match(headlines.at(-1)!, REFUNDED);
  });

  test("a folder among the files does not keep the others from their check", async () => {
    const [path] = opened.write([proof("outcome/refunded")]);
    const folder = join(dirname(path!), "folder");
    mkdirSync(folder);
    await opened.dropPaths([folder, path!]);
    await opened.status.filter({ hasText: "1 refunded" }).waitFor({ timeout: 5_000 });
  });

  test("files that are dropped while others are read are checked together with them", async () => {
    const [slow, quick] = opened.write([proof("outcome/bob-to-lightning"), { name: "quick.json", content: "{}" }]);
    await opened.page.evaluate(() => {
      const read = Blob.prototype.arrayBuffer;
      Blob.prototype.arrayBuffer = async function () {
        if (this.size > 100) await new Promise((resolve) => setTimeout(resolve, 1_000));
        return read.call(this);
      };
    });
    await opened.dropPaths([slow!]);
    await opened.dropPaths([quick!]);
    await opened.status.filter({ hasText: "2 files checked" }).waitFor({ timeout: 20_000 });
  });

  test("the name of a file is text", async () => {
    await opened.drop([{ ...proof("outcome/refunded"), name: "<img src=x onerror=alert(1)>.json" }]);
    await opened.page.getByRole("heading", { name: "<img src=x onerror=alert(1)>.json" }).waitFor();
    assert.equal(await opened.page.locator("img").count(), 0);
  });

  test("all files can be removed", async () => {
    await opened.drop([proof("outcome/refunded")]);
    await opened.page.getByRole("button", { name: "Remove all files" }).click();
    assert.equal(await opened.results.count(), 0);
    assert.equal(await opened.status.innerText(), "No files.");
  });
});

describe("the policy", () => {
  const headline = async () => (await opened.headlines())[0]!;

  /** Declares the network and the token of the made proofs. */
  async function declare(): Promise<void> {
    await opened.page.getByRole("checkbox", { name: "regtest" }).check();
    await fill("Tokens: chain id", `60808 ${TOKEN} 8`);
  }

  /** The hash that the page shows of the block of a leg. */
  async function blockHash(leg: string): Promise<string> {
    const section = opened.results.locator("section.leg").filter({ has: opened.page.getByRole("heading", { name: leg }) });
    return section.locator("dl > div").filter({ hasText: "Block hash" }).locator("code").innerText();
  }

  /** Writes into a field and leaves it. */
  async function fill(label: string, text: string): Promise<void> {
    const field = opened.page.getByLabel(label);
    await field.fill(text);
    await field.blur();
  }

  test("changes the verdict with the provider", async () => {
    await opened.openPolicy();
    await opened.drop([proof("outcome/bob-to-lightning")]);
    await fill("Keys of providers", OTHER_PROVIDER);
    await opened.checked(1);
    assert.match(await headline(), /\(provider\)$/);
    await fill("Keys of providers", `${OTHER_PROVIDER}\n0x${PROVIDER.toUpperCase()}`);
    await opened.status.filter({ hasText: "1 completed" }).waitFor();
    assert.match(await headline(), COMPLETED);
  });

  test("changes the verdict with the network", async () => {
    await opened.openPolicy();
    await opened.drop([proof("outcome/bob-to-lightning")]);
    await opened.page.getByRole("checkbox", { name: "mainnet" }).check();
    await opened.status.filter({ hasText: "1 refused" }).waitFor();
    assert.match(await headline(), /\(network\)$/);
    await opened.page.getByRole("checkbox", { name: "regtest" }).check();
    await opened.status.filter({ hasText: "1 completed" }).waitFor();
  });

  test("changes the verdict with the required level", async () => {
    await opened.openPolicy();
    await opened.drop([proof("statement/bob-to-lightning"), proof("outcome/bob-to-lightning")]);
    await opened.page.getByLabel("Level of each leg").selectOption("stated");
    await opened.status.filter({ hasText: "2 undecided" }).waitFor();
    await fill("Keys of providers", PROVIDER);
    await opened.status.filter({ hasText: "1 completed but not confirmed, 1 undecided" }).waitFor();
    await declare();
    await opened.status.filter({ hasText: "1 stated as completed, 1 undecided" }).waitFor();
    await opened.page.getByLabel("Level of each leg").selectOption("finalized");
    await opened.status.filter({ hasText: "2 undecided" }).waitFor();
  });

  test("confirms a block with a header that the reader trusts, and the headers up to it", async () => {
    const { policy, headers } = vector("header-chain/four-headers");
    await opened.openPolicy();
    await opened.page.getByLabel("Level of each leg").selectOption("finalized");
    await opened.drop([proof("header-chain/four-headers")]);
    assert.match(await headline(), /^Undecided: /);
    await fill("Headers that you trust", `BOB ${policy["trusted_headers"].BOB}`);
    await opened.status.filter({ hasText: "1 refused" }).waitFor();
    assert.match(await headline(), /\(header_chain\)$/);
    await opened.page.getByLabel("BOB", { exact: true }).setInputFiles(opened.write([{ name: "headers.txt", content: headers["BOB"]!.join("\n") }]));
    await opened.status.filter({ hasText: "1 completed but not confirmed" }).waitFor();
    await fill("Keys of providers", PROVIDER);
    await declare();
    await opened.status.filter({ hasText: "1 completed." }).waitFor();
    assert.match(await headline(), /^Completed\. BOB: collected, by the header that you trust\. /);
    await opened.results.getByText("trusted_header: the block leads to a header that you trust").waitFor();
  });

  test("with the statement of a provider, and no header, does not show that the transfer is completed", async () => {
    await opened.openPolicy();
    await opened.drop([proof("statement/bob-to-rootstock")]);
    await opened.page.getByLabel("Level of each leg").selectOption("stated");
    await fill("Keys of providers", PROVIDER);
    await opened.page.getByRole("checkbox", { name: "regtest" }).check();
    await fill("Tokens: chain id", `60808 ${TOKEN} 8\n33 ${TOKEN} 8`);
    await opened.status.filter({ hasText: "1 stated as completed." }).waitFor();
    const states = "collected, as the provider that you named states";
    assert.equal(await headline(), `Stated as completed. BOB: ${states}. ROOTSTOCK: ${states}.`);
    await fill("Headers that you trust", `BOB ${await blockHash("Source: BOB")}`);
    await opened.results.getByText("by the header that you trust").waitFor();
    assert.equal(await headline(), `Stated as completed. BOB: collected, by the header that you trust. ROOTSTOCK: ${states}.`);
    await fill("Headers that you trust", `BOB ${await blockHash("Source: BOB")}\nROOTSTOCK ${await blockHash("Destination: ROOTSTOCK")}`);
    await opened.status.filter({ hasText: "1 completed." }).waitFor();
    assert.equal(await headline(), "Completed. BOB: collected, by the header that you trust. ROOTSTOCK: collected, by the header that you trust.");
  });

  test("that is not complete is named in the verdict, with what it does not declare", async () => {
    await opened.openPolicy();
    await opened.drop([proof("outcome/bob-to-lightning")]);
    assert.match(await headline(), /^Not confirmed: you have not declared a header or work, the provider, the token and the network\. The file states a completed transfer: /);
    await fill("Keys of providers", PROVIDER);
    await declare();
    await opened.results.getByText("you have not declared a header or work.").waitFor();
  });

  test("does not show a payment on Lightning with a preimage, unless it declares the payee", async () => {
    await opened.openPolicy();
    await opened.drop([proof("outcome/bob-to-lightning")]);
    await fill("Keys of providers", PROVIDER);
    await declare();
    await fill("Headers that you trust", `BOB ${await blockHash("Source: BOB")}`);
    await opened.status.filter({ hasText: "1 completed." }).waitFor();
    const bob = "Completed. BOB: collected, by the header that you trust.";
    assert.equal(await headline(), `${bob} LIGHTNING: its preimage is shown, but no payment.`);
    await fill("Lightning nodes that make", PAYEE);
    await opened.results.getByText("LIGHTNING: paid").waitFor();
    assert.equal(await headline(), `${bob} LIGHTNING: paid, if its payee makes its own preimages, as you declare.`);
  });

  test("with a mistake checks nothing, and names the mistake at its field", async () => {
    await opened.openPolicy();
    await opened.drop([proof("outcome/bob-to-lightning")]);
    await fill("Keys of providers", "my provider");
    await opened.status.filter({ hasText: "Nothing is checked" }).waitFor();
    assert.equal(await opened.results.count(), 0);
    const field = opened.page.getByLabel("Keys of providers");
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    const described = await field.getAttribute("aria-describedby");
    assert.notEqual(await opened.page.locator(`#${described}`).innerText(), "");
  });
});

describe("access", () => {
  /** Presses Tab until the element with this name has the focus. */
  async function tabTo(name: string): Promise<void> {
    for (let presses = 0; presses < 40; presses++) {
      await opened.page.keyboard.press("Tab");
      const focused = opened.page.locator(":focus");
      const text = await focused.evaluate((element) => ((element as HTMLInputElement).labels?.[0] ?? element).textContent ?? "");
      if (text.includes(name)) return;
    }
    assert.fail(`Tab does not lead to ${name}`);
  }

  test("the keyboard alone is enough to choose files, to set the policy and to read the result", async () => {
    const { page } = opened;
    const chosen = page.waitForEvent("filechooser");
    await tabTo("Choose one or more proofs");
    await page.keyboard.press("Enter");
    await (await chosen).setFiles(opened.write([proof("outcome/bob-to-lightning"), proof("outcome/refunded")]));
    await opened.checked(2);
    await tabTo("What you require");
    await page.keyboard.press("Enter");
    await tabTo("Keys of providers");
    await page.keyboard.type(OTHER_PROVIDER);
    // The field is left, and so the files are checked again.
    await page.keyboard.press("Tab");
    await opened.status.filter({ hasText: "2 refused" }).waitFor();
    await tabTo("outcome-bob-to-lightning.json");
    const reason = opened.results.first().locator("details > p");
    assert.equal(await reason.isVisible(), false);
    await page.keyboard.press("Enter");
    await reason.waitFor({ state: "visible" });
  });

  test("every control has a name, and results are announced", async () => {
    await opened.openPolicy();
    const unnamed = await opened.page
      .locator("input, select, textarea, button")
      .evaluateAll((all) => all.filter((each) => ((each as HTMLInputElement).labels?.length ?? 0) === 0 && each.textContent === "").map((each) => each.id));
    assert.deepEqual(unnamed, []);
    assert.equal(await opened.status.getAttribute("aria-live"), "polite");
    await opened.page.getByRole("main").waitFor();
    await opened.page.getByRole("heading", { level: 1, name: "Check proofs of transfers" }).waitFor();
    assert.equal(await opened.page.locator("html").getAttribute("lang"), "en");
  });

  test("nothing is wider than a phone", async () => {
    await opened.page.setViewportSize({ width: 360, height: 640 });
    await opened.openPolicy();
    const names = ["outcome/bob-to-lightning", "rootstock/claimed", "bitcoin/to-bob", "statement/bob-to-rootstock"];
    await opened.drop([...names.map(proof), { name: `${"long".repeat(50)}.json`, content: "" }]);
    for (const summary of await opened.results.locator("summary").all()) await summary.click();
    const widths = await opened.page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.equal(widths[0], widths[1]);
  });

  test("print shows what was required, the finality, and when the files were checked", async () => {
    const { page } = opened;
    const conditions = page.getByRole("region", { name: "What was required" });
    const row = (name: string) => conditions.locator("dl > div").filter({ has: page.getByText(name, { exact: true }) }).locator("dd").innerText();
    await page.clock.setFixedTime("2026-03-04T05:06:07Z");
    const { policy, headers, file } = vector("header-chain/four-headers");
    await opened.drop([file]);
    assert.equal(await conditions.isVisible(), false);
    await page.emulateMedia({ media: "print" });
    assert.equal(await row("Checked"), "2026-03-04 05:06:07 UTC, by the clock of this machine");
    assert.equal(await row("Level of each leg"), "nothing");
    for (const name of ["Providers", "Networks", "Tokens", "Work"]) assert.equal(await row(name), "not declared");
    await page.emulateMedia({ media: "screen" });
    await opened.openPolicy();
    const trusted = policy["trusted_headers"].BOB as string;
    const texts = [
      ["Keys of providers", PROVIDER],
      ["Tokens: chain id", `60808 0x${TOKEN} 8`],
      ["Contracts that you accept", `30 ${"cc".repeat(20)}`],
      ["Lightning nodes that make", PAYEE],
      ["Headers that you trust", `BOB ${trusted}`],
      ["Work of the headers", "BITCOIN 1_000_000"],
    ] as const;
    await page.getByLabel("BOB", { exact: true }).setInputFiles(opened.write([{ name: "headers.txt", content: headers["BOB"]!.join("\n") }]));
    for (const [label, text] of texts) await page.getByLabel(label).fill(text);
    await page.getByRole("checkbox", { name: "regtest" }).check();
    await page.clock.setFixedTime("2026-03-05T00:00:00Z");
    await page.getByLabel("Level of each leg").selectOption("finalized");
    await opened.status.filter({ hasText: "1 completed." }).waitFor();
    await page.emulateMedia({ media: "print" });
    assert.equal(await row("Checked"), "2026-03-05 00:00:00 UTC, by the clock of this machine");
    assert.equal(await row("Level of each leg"), "final: by a trusted header");
    assert.equal(await row("Providers"), PROVIDER);
    assert.equal(await row("Networks"), "regtest");
    assert.equal(await row("Tokens"), `chain 60808: ${TOKEN}, 8 decimals`);
    assert.equal(await row("Contracts"), `chain 30: ${"cc".repeat(20)}`);
    assert.equal(await row("Lightning nodes that make their own preimages"), PAYEE);
    assert.equal(await row("Trusted headers"), `BOB: ${trusted}, with ${headers["BOB"]!.length} given headers up to it`);
    assert.equal(await row("Work"), "BITCOIN: 1,000,000 hashes");
  });

  test("print shows no requirement before the files are checked", async () => {
    const { page } = opened;
    await page.emulateMedia({ media: "print" });
    const rows = page.getByRole("region", { name: "What was required" }).locator("dt");
    assert.equal(await rows.count(), 0);
    await opened.drop([proof("outcome/refunded")]);
    await page.emulateMedia({ media: "print" });
    assert.equal(await rows.count(), 9);
    await page.emulateMedia({ media: "screen" });
    await page.getByRole("button", { name: "Remove all files" }).click();
    await page.emulateMedia({ media: "print" });
    assert.equal(await rows.count(), 0);
  });

  test("print shows every result in full", async () => {
    await opened.drop([proof("outcome/bob-to-lightning"), proof("outcome/refunded")]);
    assert.equal(await opened.results.locator("dl").first().isVisible(), false);
    await opened.page.pdf();
    await opened.page.emulateMedia({ media: "print" });
    assert.equal(await opened.page.getByLabel("Choose one or more proofs").isVisible(), false);
    for (const result of await opened.results.all()) assert.ok(await result.locator("dl").first().isVisible());
  });
});
