// Build the console's assets into console/static: hashed names, a manifest, the icons, the licences.
// Called by `npm run build` (make web) and by hatch_build.py before a wheel is made.

import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "console", "static");
const entries = ["src/main.ts", "src/incident.ts", "src/fleet.ts", "css/app.css"];
const packages = [
  "htmx.org", "uplot", "lucide-static",
  "@fontsource-variable/inter", "@fontsource-variable/jetbrains-mono",
];

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const result = await build({
  absWorkingDir: here,
  entryPoints: entries,
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".woff2": "file" },
  metafile: true,
  logLevel: "warning",
});

const manifest = {};
for (const [path, output] of Object.entries(result.metafile.outputs)) {
  if (!output.entryPoint) continue;
  manifest[basename(output.entryPoint).replace(/\.ts$/, ".js")] = basename(path);
}
await writeFile(join(out, "manifest.json"), JSON.stringify(manifest, null, 1));

// Only the icons that icons.txt names; templates put them inline, so they take the text's colour.
const names = (await readFile(join(here, "icons.txt"), "utf8")).split(/\s+/).filter(Boolean);
const icons = {};
for (const name of names) {
  const svg = await readFile(join(here, "node_modules/lucide-static/icons", `${name}.svg`), "utf8");
  icons[name] = svg
    .replace(/<!--.*?-->/gs, "")
    .replace(/\s+class="[^"]*"/, "")
    .replace(/\s+/g, " ")
    .replace("<svg", '<svg class="i" aria-hidden="true"')
    .trim();
}
await writeFile(join(out, "icons.json"), JSON.stringify(icons));

let licences = "The console carries parts of these packages.\n";
for (const name of packages) {
  const folder = join(here, "node_modules", name);
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  licences += `\n==== ${name} ${version} ====\n\n${await readFile(join(folder, "LICENSE"), "utf8")}`;
}
await writeFile(join(out, "licences.txt"), licences);
