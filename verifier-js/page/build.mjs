// Builds the page into one file without any external request: dist/page/check-proofs.html.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const MAX_BYTES = 150_000;

async function bundled(entry) {
  const result = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "ascii",
    legalComments: "none",
  });
  return result.outputFiles[0].text.trim();
}

/** The source of a policy that allows this text, and no other, between two tags. */
function hashOf(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

const script = (await bundled("main.ts")).replaceAll("</script", "<\\/script");
const style = await bundled("style.css");
const parts = { script, style, "script-hash": hashOf(script), "style-hash": hashOf(style) };
const page = readFileSync(here("index.html"), "utf-8").replace(/\{([a-z-]+)\}/g, (_, name) => parts[name]);
const size = Buffer.byteLength(page);
if (size > MAX_BYTES) throw new Error(`the page has ${size} bytes, more than ${MAX_BYTES}`);
mkdirSync(here("../dist/page"), { recursive: true });
writeFileSync(here("../dist/page/check-proofs.html"), page);
console.log(`check-proofs.html: ${size} bytes`);
