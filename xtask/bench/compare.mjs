// Medians, and when a difference of two builds is one.

/** How often the old build's runs are dealt into two hands. */
const DEALS = 2000;
/** The share of deals whose hands differ by less than the spread. */
export const SHARE = 0.95;
/** A difference that is never worth a verdict, also where equal builds have none. */
const SLACK = 0.005;

const sorted = (values) => [...values].sort((a, b) => a - b);

export function summary(values) {
  const list = sorted(values);
  const middle = (list[(list.length - 1) >> 1] + list[list.length >> 1]) / 2;
  return { min: list[0], median: middle, max: list.at(-1) };
}

const median = (values) => summary(values).median;

/** Numbers from 0 to 1, the same in every run of this script. */
function* numbers(seed = 1) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/**
 * By how much medians of equal builds differ: the runs of one build are dealt into two hands, again and again;
 * in 95 of 100 deals the hands' medians differ by no more than this part of themselves.
 */
export function spread(values) {
  const random = numbers();
  const differences = Array.from({ length: DEALS }, () => {
    const cards = [...values];
    for (let at = cards.length - 1; at > 0; at--) {
      const other = Math.floor(random.next().value * (at + 1));
      [cards[at], cards[other]] = [cards[other], cards[at]];
    }
    const half = cards.length >> 1;
    const [one, two] = [median(cards.slice(0, half)), median(cards.slice(half))];
    return one === two ? 0 : Math.abs(one / two - 1);
  });
  return differences.sort((a, b) => a - b)[Math.ceil(SHARE * DEALS) - 1];
}

/** What an old and a new build's numbers say; `more` of them may be better, or less. */
export function compare(old, now, more) {
  const ratio = median(old) === median(now) ? 1 : median(now) / median(old);
  const noise = Math.max(spread(old), SLACK);
  const verdict = Math.abs(ratio - 1) <= noise ? "within" : ratio > 1 === more ? "better" : "worse";
  return { old: summary(old), new: summary(now), ratio, spread: noise, verdict };
}
