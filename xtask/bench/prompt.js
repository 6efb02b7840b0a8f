// A prompt of a given length.

/**
 * As many of `words` as `count` finds no more than `wanted` tokens in, and at least one.
 * @param {string[]} words
 * @param {number} wanted
 * @param {(text: string) => number} count
 */
export function fit(words, wanted, count) {
  const text = (taken) => words.slice(0, taken).join(" ");
  let [low, high] = [1, words.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (count(text(middle)) <= wanted) low = middle;
    else high = middle - 1;
  }
  return text(low);
}
