/** The page in headless Chromium, from its file and without a network. A request for anything else is an error. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from "playwright-core";

/** Debian's. */
const CHROMIUM = "/usr/bin/chromium";
const PAGE = pathToFileURL(join(import.meta.dirname, "../../../src/layer2/proofs/page/check-proofs.html")).href;

export interface NamedFile {
  readonly name: string;
  readonly content: string | Uint8Array;
}

export async function startBrowser(): Promise<Browser> {
  // Chromium's sandbox refuses to run as root, as tests in containers do.
  return chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 });
}

/** One tab with the page. */
export class OpenPage {
  /** What a page without fault leaves empty: requests, errors and warnings. */
  readonly faults: string[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), "proofs-"));

  private constructor(readonly page: Page) {}

  static async in(browser: Browser, options: BrowserContextOptions = {}): Promise<OpenPage> {
    const context = await browser.newContext({ locale: "en", timezoneId: "UTC", ...options });
    await context.setOffline(true);
    context.setDefaultTimeout(100_000);
    const opened = new OpenPage(await context.newPage());
    const { page, faults } = opened;
    page.on("request", (request) => {
      if (request.url() !== PAGE) faults.push(`request: ${request.url()}`);
    });
    page.on("websocket", (socket) => faults.push(`websocket: ${socket.url()}`));
    page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
    page.on("console", (message) => faults.push(`console: ${message.text()}`));
    await page.goto(PAGE);
    return opened;
  }

  async close(): Promise<void> {
    await this.page.context().close();
    rmSync(this.folder, { recursive: true });
  }

  /** Writes files to a folder on the disk, and returns their paths. */
  write(files: readonly NamedFile[]): string[] {
    return files.map(({ name, content }) => {
      const path = join(this.folder, name);
      writeFileSync(path, content);
      return path;
    });
  }

  /** Drops files on the page as a file manager does, and waits until all that the page has are checked. */
  async drop(files: readonly NamedFile[]): Promise<void> {
    const before = await this.results.count();
    await this.dropPaths(this.write(files));
    await this.checked(before + files.length);
  }

  async dropPaths(paths: readonly string[]): Promise<void> {
    const session = await this.page.context().newCDPSession(this.page);
    const data = { items: [], files: [...paths], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await session.send("Input.dispatchDragEvent", { type, x: 100, y: 100, data });
    }
    await session.detach();
  }

  /** Waits until the page says that it has checked so many files. */
  async checked(count: number): Promise<void> {
    await this.status.filter({ hasText: new RegExp(`^${count} files? checked`) }).waitFor();
  }

  get status(): Locator {
    return this.page.getByRole("status").first();
  }

  get results(): Locator {
    return this.page.getByRole("region", { name: "Results" }).getByRole("listitem").filter({ has: this.page.getByRole("heading", { level: 3 }) });
  }

  /** The verdict on each file, in the order of the files. */
  async headlines(): Promise<string[]> {
    return this.results.locator(".headline").allInnerTexts();
  }

  /** Opens what the policy's form hides at first. */
  async openPolicy(): Promise<void> {
    await this.page.getByRole("heading", { name: "What you require" }).click();
  }
}
