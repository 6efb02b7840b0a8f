// The pictures of docs/screens, as the page is now: `cargo xtask screenshots`. With names, only those.
// Each is what a visitor sees, of the live model where its name says so; none is put together.
import { mkdirSync, writeFileSync } from "node:fs";

import { UPSTREAM, finished, launch, loadModel, open } from "./e2e/support.mjs";
import { moving } from "./moving.mjs";

const OUT = new URL("../docs/screens/", import.meta.url);
/** The most bytes that a picture may have, and a moving one. */
const [MOST, MOST_MOVING] = [150_000, 1_000_000];

const browser = await launch();
const page = async (hash = "", options = {}) => {
  const opened = await open(browser, UPSTREAM + hash, { viewport: { width: 1280, height: 720 }, reducedMotion: "reduce", ...options });
  await opened.page.locator("#base-text .tok").first().waitFor({ state: "attached" });
  // A lesson may hide it.
  await opened.page.locator(".device", { hasText: /CPU|GPU/ }).waitFor({ state: "attached" });
  return opened.page;
};

/** The page with a live text in it. */
async function live(hash = "") {
  const here = await page(hash);
  await loadModel(here);
  await here.locator("#run").click();
  await finished(here);
  return here;
}

/** @type {Record<string, () => Promise<any>>} */
const SHOTS = {
  first: () => page(),
  run: () => live("#p=Tell me about the weather today.&seed=9"),
  async plots() {
    const here = await live("#p=Tell me about the weather today.&seed=9&n=24");
    await here.locator("#curve").evaluate((fold) => { fold.open = true; });
    await here.locator("#curve").getByLabel(/one prompt/).check();
    for (const [label, text] of [["Prompt", "How was your day?"], [/^Answer that/, "It was wonderful, I enjoyed every minute."], ["Its opposite", "It was awful, I hated every minute."]]) {
      const box = here.locator("#curve").getByLabel(label, { exact: true }).filter({ visible: true });
      await box.fill(text);
      await box.blur();
    }
    await here.locator("#dose-measure").click();
    await here.locator("#curve svg.plot").first().waitFor();
    await here.locator("#curve").evaluate((panel) => panel.scrollIntoView());
    return here;
  },
  lesson: () => page("#lesson=dose&step=3"),
  phone: () => page("", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }),
  dark: () => page("", { colorScheme: "dark" }),
  german: () => page("#lang=de"),
};

/** The recording of the first view, while c goes from 1 to −1 and back. */
async function turned() {
  const here = await page("", { viewport: { width: 1100, height: 620 }, reducedMotion: "no-preference" });
  const frames = [];
  const take = async (ms) => frames.push({ png: await here.screenshot(), ms });
  const slider = here.locator("#adapters input[type=range]").first();
  for (const c of [1, 0.5, 0, -0.5, -1, -0.5, 0, 0.5]) {
    await slider.fill(String(c));
    for (let step = 0; step < 8; step++) {
      await take(150);
      await here.waitForTimeout(150);
    }
    await take(1000);
  }
  await here.context().close();
  return moving(frames, browser, { width: 900, quality: 0.7 });
}

/** A picture in fewer bytes: the browser has a coder. @param {Buffer} png */
async function webp(png) {
  const desk = await browser.newPage();
  try {
    for (const quality of [0.9, 0.8, 0.7, 0.5]) {
      const bytes = Buffer.from(await desk.evaluate(async ([url, quality]) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
        canvas.getContext("2d").drawImage(image, 0, 0);
        return canvas.toDataURL("image/webp", quality).split(",")[1];
      }, [`data:image/png;base64,${png.toString("base64")}`, quality]), "base64");
      if (bytes.length <= MOST) return bytes;
    }
    throw new Error(`no quality makes it smaller than ${MOST} bytes`);
  } finally {
    await desk.close();
  }
}

mkdirSync(OUT, { recursive: true });
try {
  const names = process.argv.slice(2);
  for (const name of names.length ? names : ["turned", ...Object.keys(SHOTS)]) {
    if (name === "turned") {
      const bytes = await turned();
      if (bytes.length > MOST_MOVING) throw new Error(`${name} has ${bytes.length} bytes, more than ${MOST_MOVING}`);
      writeFileSync(new URL(`${name}.webp`, OUT), bytes);
      console.log(`${name}: ${bytes.length} bytes`);
      continue;
    }
    if (!SHOTS[name]) throw new Error(`there is no picture ${name}; there are ${Object.keys(SHOTS).join(", ")}`);
    const here = await SHOTS[name]();
    if (!here) {
      console.log(`${name}: left out, as there is none`);
      continue;
    }
    const bytes = await webp(await here.screenshot());
    writeFileSync(new URL(`${name}.webp`, OUT), bytes);
    console.log(`${name}: ${bytes.length} bytes`);
    await here.context().close();
  }
} finally {
  await browser.close();
}
