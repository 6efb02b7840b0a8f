// A moving picture of single ones, as an animated WebP: the browser codes the pictures, and here they are put into
// one file (https://developers.google.com/speed/webp/docs/riff_container). Of each only what changed is kept.

/** A chunk of a RIFF file. @param {string} name @param {Buffer} body */
function chunk(name, body) {
  const head = Buffer.alloc(8);
  head.write(name, "latin1");
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

/** A number in three bytes. @param {number} number */
const three = (number) => Buffer.from([number & 255, number >> 8 & 255, number >> 16]);

/**
 * @param {{png: Buffer, ms: number}[]} frames of one size, each with how long it stays
 * @param {import("playwright-core").Browser} browser
 * @param {{width: number, quality: number}} options
 * @returns {Promise<Buffer>}
 */
export async function moving(frames, browser, { width, quality }) {
  const desk = await browser.newPage();
  try {
    const urls = frames.map(({ png }) => `data:image/png;base64,${png.toString("base64")}`);
    const { height, parts } = await desk.evaluate(coded, { urls, width, quality });
    const all = parts.map(({ webp, x, y, w, h }, at) => {
      const file = Buffer.from(webp, "base64");
      // The picture's own chunk is the last one; before it stand others, such as one of colours.
      const picture = file.subarray(file.indexOf("VP8 ", 12, "latin1"));
      // Nothing is blended: what lies there is covered.
      const place = [x / 2, y / 2, w - 1, h - 1, frames[at].ms].map(three);
      return chunk("ANMF", Buffer.concat([...place, Buffer.from([2]), picture]));
    });
    const isMoving = Buffer.from([2, 0, 0, 0]);
    const size = chunk("VP8X", Buffer.concat([isMoving, three(width - 1), three(height - 1)]));
    // White behind, for ever.
    const turns = chunk("ANIM", Buffer.from([255, 255, 255, 255, 0, 0]));
    return chunk("RIFF", Buffer.concat([Buffer.from("WEBP"), size, turns, ...all]));
  } finally {
    await desk.close();
  }
}

/** In the browser: each picture in this width, and of it the rectangle that differs from the one before. */
async function coded({ urls, width, quality }) {
  const parts = [];
  let before;
  let height = 0;
  for (const url of urls) {
    const image = new Image();
    image.src = url;
    await image.decode();
    height = Math.round(image.naturalHeight * width / image.naturalWidth);
    const canvas = new OffscreenCanvas(width, height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, 0, 0, width, height);
    const now = new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer);
    let [left, top, right, bottom] = before ? [width, height, 0, 0] : [0, 0, width, height];
    for (let at = 0; before && at < now.length; at++) {
      if (now[at] === before[at]) continue;
      const [x, y] = [at % width, Math.floor(at / width)];
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
    }
    before = now;
    // Places are even; one without a change keeps its time with a dot of itself.
    const [x, y] = [left, top].map((at, axis) => Math.min(at, [width, height][axis] - 2) & ~1);
    const [w, h] = [Math.max(right - x, 2), Math.max(bottom - y, 2)];
    const part = new OffscreenCanvas(w, h);
    // Without transparency the coder writes one plain chunk.
    part.getContext("2d", { alpha: false }).drawImage(canvas, -x, -y);
    const bytes = new Uint8Array(await (await part.convertToBlob({ type: "image/webp", quality })).arrayBuffer());
    parts.push({ webp: bytes.toBase64?.() ?? btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")), x, y, w, h });
  }
  return { height, parts };
}
