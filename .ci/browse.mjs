// Opens pages in Chromium, in both schemes, wide and narrow: nothing on the console, no scrolling sideways, nothing that axe finds, a
// visible focus for each key press, and a page that is there within a second and has at most 3 MB. Screenshots are kept.
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import puppeteer from "puppeteer-core";

const [chromium, folder, ...pages] = process.argv.slice(2);
const axe = readFileSync(`${folder}/node_modules/axe-core/axe.min.js`, "utf8");
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const problems = [];

async function look(file, scheme, width) {
  const page = await browser.newPage();
  const tell = (what) => problems.push(`${basename(file)}, ${scheme}, ${width} px: ${what}`);
  page.on("console", (message) => tell(`console: ${message.text()}`));
  page.on("pageerror", (error) => tell(`error: ${error}`));
  page.on("request", (request) => request.url() === `file://${file}` || request.url().startsWith("data:") || tell(`loads ${request.url()}`));
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setViewport({ width, height: 900 });
  await page.goto(`file://${file}`);
  const loaded = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  if (wide > width) tell(`the page is ${wide} px wide`);
  for (let press = 0; press < 6; press += 1) {
    await page.keyboard.press("Tab");
    const seen = await page.evaluate(() => document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none" || document.activeElement.matches("input"));
    if (!seen) tell(`no visible focus after ${press + 1} presses of Tab`);
  }
  await page.screenshot({ path: `${folder}/${basename(file, ".html")}-${scheme}-${width}.png` });
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map((one) => `${one.id}: ${one.nodes[0].html}`));
  found.forEach((one) => tell(`axe: ${one}`));
  await page.close();
  return loaded;
}

for (const file of pages) {
  const times = [];
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 380]) times.push(await look(file, scheme, width));
  }
  const bytes = statSync(file).size;
  const best = Math.min(...times);
  console.log(`${basename(file)}: ${(bytes / 1e6).toFixed(2)} MB, loaded in ${Math.round(best)} ms (best of ${times.length})`);
  if (bytes > 3e6) problems.push(`${basename(file)} has ${bytes} bytes`);
  if (best > 1000) problems.push(`${basename(file)} takes ${Math.round(best)} ms to load`);
}
await browser.close();
problems.forEach((problem) => console.error(problem));
process.exitCode = problems.length === 0 ? 0 : 1;
