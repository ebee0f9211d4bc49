// Builds the page into one file without any external request: dist/page/check-proofs.html.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const MAX_BYTES = 150_000;

async function bundled(entry) {
  const { outputFiles, metafile } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "ascii",
    legalComments: "none",
    metafile: true,
  });
  return { text: outputFiles[0].text.trim(), inputs: Object.keys(metafile.inputs) };
}

/** The licences of the packages that have a file in the bundle, and of the page itself, for its readers. */
function licences(inputs) {
  const packages = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  const folders = [...new Set(packages)].filter((name) => name !== undefined).sort().map((name) => `../node_modules/${name}`);
  const sections = ["..", ...folders].map((folder) => {
    const { name, version } = JSON.parse(readFileSync(here(`${folder}/package.json`), "utf-8"));
    return `<h3>${name} ${version}</h3>\n<p class="licence">${escaped(readFileSync(here(`${folder}/LICENSE`), "utf-8").trim())}</p>`;
  });
  return sections.join("\n");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** The source of a policy that allows this text, and no other, between two tags. */
function hashOf(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

const bundle = await bundled("main.ts");
const script = bundle.text.replaceAll("</script", "<\\/script");
const style = (await bundled("style.css")).text;
const parts = {
  script,
  style,
  "script-hash": hashOf(script),
  "style-hash": hashOf(style),
  licences: licences(bundle.inputs),
};
const page = readFileSync(here("index.html"), "utf-8").replace(/\{([a-z-]+)\}/g, (_, name) => parts[name]);
const size = Buffer.byteLength(page);
if (size > MAX_BYTES) throw new Error(`the page has ${size} bytes, more than ${MAX_BYTES}`);
mkdirSync(here("../dist/page"), { recursive: true });
writeFileSync(here("../dist/page/check-proofs.html"), page);
console.log(`check-proofs.html: ${size} bytes`);
