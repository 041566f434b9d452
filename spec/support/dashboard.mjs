// Looks at the example's page in a real browser: posts clicks, waits until it shows them, takes pictures at two widths.
// node dashboard.mjs URL FOLDER: prints one line of JSON; anything on the console, or a failed request, is in it.
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const [url, folder] = process.argv.slice(2);

const home = mkdtempSync(join(tmpdir(), "chromium-"));
const browser = await chromium.launchPersistentContext(home, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const said = { console: [], failed: [], overflow: [], dark: false };
try {
  const page = await browser.newPage();
  page.on("console", (message) => said.console.push(message.text()));
  page.on("pageerror", (error) => said.console.push(String(error)));
  page.on("requestfailed", (request) => said.failed.push(request.url()));
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("state").textContent === "live");
  said.before = await page.textContent("#minute");
  for (let round = 0; round < 5; round++) {
    for (const [event, count] of [["search", 40], ["<b>view</b>", 90 + 10 * round], ["buy", 5]]) {
      const clicks = Array.from({ length: count }, (_, i) => ({ event, user: `user ${i}` }));
      await page.request.post(new URL("/clicks", url).href, { data: clicks });
    }
    await page.waitForFunction((least) =>
      Number(document.getElementById("minute").textContent.replaceAll(",", "")) >= least, (round + 1) * 135);
  }
  const total = 5 * (40 + 5) + 450 + 100;
  await page.waitForFunction((all) =>
    Number(document.getElementById("minute").textContent.replaceAll(",", "")) === all, total);
  said.events = await page.locator("#events .name").allTextContents();
  said.shards = await page.locator("#shards .name").count();
  for (const [name, width, height, scheme] of [["wide", 1280, 900, "light"], ["narrow", 390, 844, "light"], ["dark", 1280, 900, "dark"]]) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    await page.screenshot({ path: join(folder, `dashboard-${name}.png`), fullPage: true });
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (excess > 0) said.overflow.push(`${name}: ${excess} px`);
  }
  said.minute = await page.textContent("#minute");
  said.lag = await page.textContent("#lag");
} finally {
  await browser.close();
  rmSync(home, { recursive: true, force: true });
}
console.log(JSON.stringify(said));
