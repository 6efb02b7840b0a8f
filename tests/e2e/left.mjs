// What a training in the browser leaves for PEFT: its folder, and what the page's engine computes with it. Only where
// TRAINED_IN_BROWSER names a folder; tests/golden/from_browser.py reads it there.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = process.env.TRAINED_IN_BROWSER;
export const isAsked = Boolean(FOLDER);

/**
 * For a worker: ln p of the likeliest `top` tokens after each beginning of `tokens`, with the adapters that are loaded
 * and without. The package tells probabilities, which are logits up to a sum.
 */
export const TOLD = `
  async function told(playground, tokens, top) {
    const rows = [];
    for (let n = 1; n <= tokens.length; n += 1) {
      for await (const step of playground.generate({ ids: tokens.slice(0, n), maxTokens: 1, top, compare: true })) {
        if (step.kind !== "token") continue;
        rows.push({ ids: step.top.map(({ id }) => id), steered: step.top.map(({ steered }) => Math.log(steered)), base: step.top.map(({ base }) => Math.log(base)) });
      }
    }
    return { tokens, rows };
  }
`;

/** @param {string} name of the training @param {{name: string, content: string|Uint8Array}[]} files @param {object} expected what `told` gave */
export function leave(name, files, expected) {
  const folder = join(String(FOLDER), name);
  mkdirSync(folder, { recursive: true });
  for (const file of files) writeFileSync(join(folder, file.name), file.content);
  writeFileSync(join(folder, "expected.json"), JSON.stringify(expected));
}
