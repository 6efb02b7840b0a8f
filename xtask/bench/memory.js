// How fast one core reads memory: 128 bytes at a time, of a piece that no cache holds. A module of its own, since a loop
// in JavaScript waits for its additions.
const PAGES = 4096; // 256 MB
const PAGE = 65536;
const PASSES = 7;

const unsigned = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]);
const sized = (bytes) => [...unsigned(bytes.length), ...bytes];
const section = (id, bytes) => [id, ...sized(bytes)];
const LANES = 8;

/** `read(from, to)` adds what is there in eight sums of two, and gives one number of them. */
function module() {
  const [I32, I64, V128] = [0x7f, 0x7e, 0x7b];
  const get = (local) => [0x20, local];
  const set = (local) => [0x21, local];
  const load = (offset) => [0xfd, 0x00, 4, ...unsigned(offset)];
  const add = [0xfd, 0xce, 0x01];
  const sums = Array.from({ length: LANES }, (_, lane) => 2 + lane);
  const body = [
    1, LANES, V128,
    0x03, 0x40, // loop
    ...sums.flatMap((sum, lane) => [...get(sum), ...get(0), ...load(16 * lane), ...add, ...set(sum)]),
    ...get(0), 0x41, ...unsigned(16 * LANES), 0x6a, 0x22, 0, // from += 128
    ...get(1), 0x49, 0x0d, 0, // again while from < to
    0x0b,
    ...get(sums[0]), ...sums.slice(1).flatMap((sum) => [...get(sum), ...add]),
    0xfd, 0x1d, 0, // lane 0
    0x0b,
  ];
  const name = (text, kind, index) => [...sized([...new TextEncoder().encode(text)]), kind, index];
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 2, I32, I32, 1, I64]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...unsigned(PAGES)]),
    ...section(7, [2, ...name("read", 0, 0), ...name("memory", 2, 0)]),
    ...section(10, [1, ...sized(body)]),
  ]);
}

/** Gigabytes a second, the best of some passes. */
export async function readMemory() {
  const { instance: { exports: { read, memory } } } = await WebAssembly.instantiate(module());
  // Pages that nothing was written to are all the same one.
  new BigUint64Array(memory.buffer).fill(3n);
  const bytes = PAGES * PAGE;
  let best = Infinity;
  for (let pass = 0; pass < PASSES; pass++) {
    const start = performance.now();
    const sum = read(0, bytes);
    best = Math.min(best, performance.now() - start);
    const words = BigInt(bytes / 16);
    if (sum !== 3n * words) throw new Error(`the read test added up ${sum} instead of ${3n * words}`);
  }
  return bytes / best / 1e6;
}
